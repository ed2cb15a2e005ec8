"""Is the verdict of `diagnose` right? Right and wrong maps, fitted and constructed, on pairs with known plans.

python benchmarks/certificates.py                # the tables of benchmarks/results/certificates.md
python benchmarks/certificates.py --show         # tables from the file of results, without a fit
python benchmarks/certificates.py --rows 250 --fits --seeds 0 1 2 --results build/certificates_250.jsonl  # few rows
python benchmarks/certificates.py --quick        # does it run? (make bench)

A run appends each report to a file of JSON lines and skips those that the file already has. Verdicts are decided again
from the quantities in the file, by the limits of the current code. The reports on one pair and seed share their rows,
and with them many exact costs: each is computed once, and no Sinkhorn divergence, unless --time is given.

The true error of a map is its mean squared distance to the exact one, as a share of the target's variance. Of a plan
that splits mass, it is ([sqrt(cost) - W2(source, target)]_+ + W2(images, target))^2 with the known W2 between the laws;
the distance to the target is estimated from 4000 rows, and near the limits six times. If the exact plan is known, the
mean squared distance of its draws to the support of the exact one takes its place where it is larger. Wrong is an error
above 3 %, right one below 1.5 %.

The second table has the CPU seconds of a diagnosis, from runs with --time. The third is about fits on pairs with an
exact map: the bound of the error that the dual value gives, and the rank correlation of `uncertainty` with the root
mean square error of eight draws of a row.
"""

import argparse
import itertools
import json
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import joblib
import numpy as np
import ot
import torch
from common import heading, make_parser, median_and_range, row
from scipy.stats import spearmanr

from neuralot import CriticLoss, OTPTransport, SNOTTransport, TransportReport, W2GNTransport, diagnose
from neuralot.datasets import (
    TransportPair,
    make_circles,
    make_convex_potential,
    make_gaussians,
    make_multi_perpendicular,
    make_one_to_many,
    make_parallel,
    make_perpendicular,
)
from neuralot.diagnostics import marginal, statistics
from neuralot.diagnostics.statistics import Estimate, Sample, marginal_distance
from neuralot.diagnostics.verdict import decide, reason_of_spurious_solution
from neuralot.divergences import optimal_cost
from neuralot.methods.smoothing import is_thin

RIGHT, WRONG = 0.015, 0.03
N_FIT, N_TRUTH, N_STEPS = 4000, 4000, 1200
N_DRAWS, N_REPEATS = 16, 6
PAIRS = [
    make_gaussians,
    make_convex_potential,
    make_parallel,
    make_perpendicular,
    make_one_to_many,
    make_circles,
    make_multi_perpendicular,
]
# the source is normal, so that there are rotations that preserve it
NORMAL = {"gaussians", "convex_potential"}
ANGLE = np.pi / 6
PLAIN = {"map_form": "network", "critic_loss": CriticLoss(expectile_weight=0.0)}
FITS = {
    "SNOT": lambda seed: SNOTTransport(max_iter=N_STEPS, random_state=seed),
    "OTP": lambda seed: OTPTransport(max_iter=N_STEPS, random_state=seed),
    "W2GN": lambda seed: W2GNTransport(max_iter=N_STEPS, random_state=seed),
    "SNOT, plain": lambda seed: SNOTTransport(max_iter=N_STEPS, random_state=seed, **PLAIN),
    "OTP, plain": lambda seed: OTPTransport(
        max_iter=N_STEPS, random_state=seed, noise_shape="isotropic", schedule="linear", **PLAIN
    ),
    "SNOT, 5 % of the steps": lambda seed: SNOTTransport(max_iter=N_STEPS // 20, random_state=seed),
    "OTP, 5 % of the steps": lambda seed: OTPTransport(max_iter=N_STEPS // 20, random_state=seed),
}
Plan = Callable[[np.ndarray, np.random.Generator], np.ndarray]


class Drawn:
    """A plan given by a function."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    def sample(self, X: np.ndarray, n_draws: int = 1, random_state: int = 0) -> np.ndarray:
        rng = np.random.default_rng(random_state)
        return np.stack([self.plan(X, rng) for _ in range(n_draws)])


def rotation(d: int) -> np.ndarray:
    """Rotation by 30 degrees in each pair of columns."""
    cosine, sine = np.cos(ANGLE), np.sin(ANGLE)
    return np.kron(np.eye(d // 2), [[cosine, -sine], [sine, cosine]])


def constructed(pair: TransportPair, X: np.ndarray, Y: np.ndarray) -> dict[str, Drawn]:
    """Maps that no fit made; X and Y are rows for their moments."""
    mean, sd = Y.mean(axis=0), np.sqrt(Y.var(axis=0).sum() / Y.shape[1])
    ridge = 1e-9 * np.eye(X.shape[1])
    A, b = ot.gaussian.bures_wasserstein_mapping(X.mean(axis=0), mean, np.cov(X.T) + ridge, np.cov(Y.T) + ridge)
    plans: dict[str, Plan] = {"identity": lambda x, rng: x, "affine": lambda x, rng: x @ A + b}
    exact = pair.exact_plan
    if exact is not None:
        plans |= {
            "exact": exact,
            "exact, 3 % noise": lambda x, rng: exact(x, rng) + 0.03 * sd * rng.normal(size=x.shape),
            "exact, contracted": lambda x, rng: mean + 0.8 * (exact(x, rng) - mean),
            "exact, permuted": lambda x, rng: rng.permutation(exact(x, rng)),
        }
    if exact is not None and pair.name in NORMAL:
        centre, root = X.mean(axis=0), np.linalg.cholesky(np.cov(X.T)).T
        rotated = lambda x: centre + (x - centre) @ np.linalg.inv(root) @ rotation(X.shape[1]) @ root  # noqa: E731
        plans["exact, rotated"] = lambda x, rng: exact(rotated(x), rng)
    return {name: Drawn(plan) for name, plan in plans.items()}


def true_error(pair: TransportPair, transport: Drawn, seed: int) -> float:
    """Error with the exact map, plan or cost, as a share of the target's variance.

    If it is estimated and near the limits, it is the mean over six samples.
    """
    error = sampled_error(pair, transport, seed)
    if pair.exact_map is None and RIGHT / 2 < error < 1.5 * WRONG:
        return float(np.mean([error, *(sampled_error(pair, transport, seed + 1000 * k) for k in range(1, N_REPEATS))]))
    return error


def sampled_error(pair: TransportPair, transport: Drawn, seed: int) -> float:
    """Error with one sample."""
    X, Y = pair.sample(N_TRUTH, random_state=10_000 + seed)
    variance = Y.var(axis=0).sum()
    images = np.asarray(transport.sample(X, 1, seed))[0]
    if pair.exact_map is not None:
        return float(((images - pair.exact_map(X)) ** 2).sum(axis=1).mean() / variance)
    equal = np.full(N_TRUTH, 1 / N_TRUTH)
    excess = marginal_distance(Sample(images, equal), Sample(Y, equal)).excess.value
    cost = ((images - X) ** 2).sum(axis=1).mean()
    error = (max(np.sqrt(cost) - np.sqrt(pair.cost), 0) + np.sqrt(max(excess, 0))) ** 2
    if pair.exact_plan is not None:
        rng = np.random.default_rng(seed)
        # by each of the draws, which contain all points of the support of a conditional law
        distances = [((images - pair.exact_plan(X, rng)) ** 2).sum(axis=1) for _ in range(N_DRAWS)]
        error = max(error, np.min(distances, axis=0).mean())
    return float(error / variance)


def names_of(make: Callable[[int], TransportPair], d: int, fits: list[str]) -> list[str]:
    """Names of the transports of a pair."""
    few = make(d).sample(100, random_state=0)
    return [*constructed(make(d), *few), *fits]


def remembered(compute: Callable[..., float]) -> Callable[..., float]:
    """Return a function that computes the cost of equal samples once."""
    known: dict[str, float] = {}

    def cost_of(*samples: object) -> float:
        key = joblib.hash(samples)
        if key not in known:
            known[key] = compute(*samples)
        return known[key]

    return cost_of


def examine_all(
    make: Callable[[int], TransportPair], d: int, seed: int, names: list[str], args: argparse.Namespace
) -> None:
    """Diagnose transports of a pair, and append the results to the file."""
    if not args.time:
        statistics.optimal_cost = remembered(optimal_cost)
        # only printed, never a reason
        marginal.sinkhorn_divergence = lambda *_, **__: np.nan
    for name in names:
        result = examine(make, d, seed, name, args.rows)
        append(args.results, result if args.time else {**result, "seconds": None})


def examine(make: Callable[[int], TransportPair], d: int, seed: int, name: str, n_held_out: int) -> dict[str, Any]:
    """Diagnose one transport of a pair on held-out rows."""
    pair = make(d)
    X, Y = pair.sample(N_FIT, random_state=seed)
    X_held, Y_held = pair.sample(n_held_out, random_state=5000 + seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        transport = FITS[name](seed).fit(X, Y) if name in FITS else constructed(pair, X, Y)[name]
    start = time.process_time()
    report = diagnose(transport, X_held, Y_held)
    seconds = time.process_time() - start
    covariances = (torch.from_numpy(np.cov(rows.T)) for rows in (X_held, Y_held))
    return {
        "pair": pair.name,
        "d": d,
        "seed": seed,
        "transport": name,
        "error": true_error(pair, transport, seed),
        "bound": bound_of(report),
        "rank": rank_correlation(pair, transport, X_held),
        "seconds": seconds,
        "thin": is_thin(torch.from_numpy(X_held), *covariances),
        "needs_density": getattr(transport, "_needs_density", True),
        "report": report.to_dict(),
    }


def verdict_of(result: dict[str, Any]) -> str:
    """Decide the verdict from the quantities of a report."""
    report = result["report"]
    estimate = lambda values: Estimate(values["value"], values["standard_error"], values["degrees"])  # noqa: E731
    laws = SimpleNamespace(**report["marginal"] | {"spread_text": ""})
    # reports of earlier versions have no column_spread, or do not say whether it is beyond sampling error
    laws.column_spread = np.array(getattr(laws, "column_spread", laws.spread), dtype=float)
    factors = np.maximum(laws.column_spread, 1 / np.maximum(laws.column_spread, 1e-300))
    laws.column_differs = np.array(getattr(laws, "column_differs", factors > 2), dtype=bool)
    for name in ("excess", "by_column", "log_spread"):
        setattr(laws, name, estimate(getattr(laws, name)))
    return decide(
        laws,
        SimpleNamespace(**report["optimality"], gap_text=""),
        {name: SimpleNamespace(**{"share_of": "variance"} | each) for name, each in report["baselines"].items()},
        blur=report["blur"],
        curl=estimate(report["curl"]) if report["curl"] else None,
        n_rows=min(report["n_source"], report["n_target"]),
        early=report["ended_early"],
        spurious=reason_of_spurious_solution(
            result["thin"],
            result["needs_density"],
            report["ended_early"],
            report["dual"] and report["dual"]["relative_gap"],
        ),
        dimension=report["dimension"],
    )[0].name


def bound_of(report: TransportReport) -> float:
    """Bound of the error, as a share of the target's variance; nan if there is none."""
    return np.nan if report.dual is None else (report.dual.error_bound / report.dual.spread) ** 2


def rank_correlation(pair: TransportPair, transport: object, X: np.ndarray) -> float:
    """Spearman correlation of uncertainty and error over rows; nan if one is not known."""
    if pair.exact_map is None or not hasattr(transport, "uncertainty"):
        return np.nan
    errors = ((transport.sample(X, 8, random_state=1) - pair.exact_map(X)) ** 2).sum(axis=2).mean(axis=0)
    return float(spearmanr(transport.uncertainty(X), errors)[0])


def table_of_fits(found: list[dict[str, Any]]) -> str:
    """Bounds and rank correlations of fits on pairs with an exact map."""
    lines = [heading(["transport", "d", "n", "with a bound", "bound below error", "bound / error", "rank correlation"])]
    fits = [each for each in found if np.isfinite(each["rank"])]
    for name, d in dict.fromkeys((each["transport"], each["d"]) for each in fits):
        chosen = [each for each in fits if (each["transport"], each["d"]) == (name, d)]
        bound, error, rank = np.array([[each[key] for key in ("bound", "error", "rank")] for each in chosen]).T
        ratios = np.sqrt(bound / error)[np.isfinite(bound)]
        ratio = median_and_range(ratios, ".1f") if len(ratios) else ""
        cells = [len(chosen), len(ratios), int((ratios < 1).sum()), ratio, median_and_range(rank, ".2f")]
        lines.append(row([name, d, *cells]))
    return "\n".join(lines)


def table_of_times(found: list[dict[str, Any]]) -> str:
    """Seconds of a diagnosis by the number of features."""
    lines = [heading(["d", "n", "seconds of a diagnosis"])]
    timed = [each for each in found if each["seconds"]]
    for d in sorted({each["d"] for each in timed}):
        seconds = [each["seconds"] for each in timed if each["d"] == d]
        lines.append(row([d, len(seconds), median_and_range(seconds, ".1f")]))
    return "\n".join(lines)


def truth(result: dict[str, Any]) -> str:
    """Whether the transport is right."""
    error = result["error"]
    return "right" if error <= RIGHT else "wrong" if error >= WRONG else "between"


def table(found: list[dict[str, Any]]) -> str:
    """Verdicts by truth."""
    verdicts = ("OPTIMAL", "MARGINAL_NOT_MET", "SPURIOUS", "NOT_CONVERGED", "UNDECIDED")
    lines = [heading(["transport", "truth", "n", *verdicts])]
    counts = Counter((each["transport"], truth(each), verdict_of(each)) for each in found)
    names = dict.fromkeys(each["transport"] for each in found)
    for name, kind in itertools.product([*names, "all"], ("right", "between", "wrong")):
        cells = [
            sum(n for key, n in counts.items() if key[1:] == (kind, v) and name in (key[0], "all")) for v in verdicts
        ]
        if sum(cells):
            lines.append(row([name, kind, sum(cells), *cells]))
    return "\n".join(lines)


def table_of_shares(found: list[dict[str, Any]]) -> str:
    """Wrong maps that are called optimal, and right ones that are not, by the number of features."""
    dims = sorted({each["d"] for each in found})
    lines = [
        heading(
            ["transport", *(f"{share}, d = {d}" for share in ("wrong called OPTIMAL", "right doubted") for d in dims)]
        )
    ]
    for name in [*dict.fromkeys(each["transport"] for each in found), "all"]:
        cells = []
        for kind, d in itertools.product(("wrong", "right"), dims):
            of_kind = [x for x in found if name in (x["transport"], "all") and x["d"] == d and truth(x) == kind]
            chosen = [x for x in of_kind if (verdict_of(x) == "OPTIMAL") == (kind == "wrong")]
            cells.append(f"{len(chosen)} of {len(of_kind)}" if of_kind else "")
        lines.append(row([name, *cells]))
    return "\n".join(lines)


def main() -> None:
    parser = make_parser(__doc__, "one seed, d = 2, constructed maps only, 250 rows")
    parser.add_argument("--dims", type=int, nargs="+", default=[2, 8, 32])
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(20)))
    parser.add_argument("--fits", nargs="*", default=list(FITS), choices=list(FITS))
    parser.add_argument("--rows", type=int, default=2000, help="held-out rows of each side")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--results", type=Path, default=Path("build/certificates.jsonl"), help="file of the reports")
    parser.add_argument("--time", action="store_true", help="compute all exact costs again, for the second table")
    parser.add_argument("--show", action="store_true", help="run nothing")
    args = parser.parse_args()
    if args.quick:
        args.dims, args.seeds, args.fits, args.rows, args.time = [2], [0], [], 250, True
        args.results = Path(tempfile.mkdtemp()) / "certificates.jsonl"
    found = read(args.results)
    if not args.show:
        done = {(each["pair"], each["d"], each["seed"], each["transport"]) for each in found}
        missing = lambda make, d, seed: [  # noqa: E731
            name for name in names_of(make, d, args.fits) if (make(d).name, d, seed, name) not in done
        ]
        tasks = [
            (make, d, seed, missing(make, d, seed))
            for seed, d, make in itertools.product(args.seeds, args.dims, PAIRS)
            if make is not make_circles or d == 2
        ]
        joblib.Parallel(args.jobs)(joblib.delayed(examine_all)(*task, args) for task in tasks)
        found = read(args.results)
    print(table(found) + "\n\n" + table_of_shares(found) + "\n\n" + table_of_times(found))
    if any(np.isfinite(each["rank"]) for each in found):
        print("\n" + table_of_fits(found))


def read(path: Path) -> list[dict[str, Any]]:
    """Read the results of earlier runs."""
    return [json.loads(line) for line in path.open()] if path.exists() else []


def append(path: Path, result: dict[str, Any]) -> None:
    """Append a result to the file, so that an interrupted run keeps it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(json.dumps(result, default=float) + "\n")


if __name__ == "__main__":
    main()
