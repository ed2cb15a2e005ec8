"""Do OTP and SNOT recover the transport plan? Laws, costs and maps against the exact ones, three seeds, defaults only.

python benchmarks/recovery.py            # the table of benchmarks/results/recovery.md
python benchmarks/recovery.py --quick    # one seed, short fits: does it run?
"""

import statistics
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from common import heading, make_parser, median_and_range, row, timed
from sklearn.exceptions import ConvergenceWarning

from neuralot import CriticLoss, Optimizer, OTPTransport, SNOTTransport
from neuralot.datasets import (
    TransportPair,
    make_convex_potential,
    make_gaussians,
    make_one_to_many,
    make_parallel,
    make_perpendicular,
)
from neuralot.estimators.base import BaseTransport
from neuralot.metrics import (
    cosine_similarity,
    d_target,
    l2_uvp,
    mode_coverage,
    target_floor,
    transport_cost,
)
from neuralot.solve import Status

# distances between samples of N_SCORE rows, averaged over N_PAIRS pairs of them; costs over N_COST rows
N_FIT, N_SCORE, N_PAIRS, N_COST = 4096, 2000, 5, 20_000
# the objective of the papers, with the number of steps that it requires
PLAIN = {
    "map_form": "network",
    "critic_loss": CriticLoss(expectile_weight=0.0),
    "optimizer": Optimizer("adam", weight_decay=0.0, n_map_steps=10),
}
PLAIN |= {"learning_rate_init": 1e-3, "batch_size": 256, "max_iter": 3000}
PLAIN_OTP = PLAIN | {"noise_shape": "isotropic", "schedule": "linear"}

Result = dict[str, float]


@dataclass(frozen=True)
class Case:
    """One row of the table: a pair, a method and its goal."""

    pair: TransportPair
    name: str
    make: Callable[..., BaseTransport]
    settings: dict
    goal: Callable[[Result], bool] | None = None


def law_and_cost_within(factor: float, offset: float) -> Callable[[Result], bool]:
    return lambda r: r["D_target"] <= factor * r["floor"] + offset and abs(r["cost"] / r["exact"] - 1) <= 0.03


def splits_mass(r: Result) -> bool:
    return law_and_cost_within(1, 0.02)(r) and 0.45 <= r["branch"] <= 0.55


def map_within(uvp: float, cosine: float = 0.0) -> Callable[[Result], bool]:
    return lambda r: r["L2-UVP"] <= uvp and r["cosine"] >= cosine


def cases() -> list[Case]:
    otp, snot = OTPTransport, SNOTTransport
    perpendicular, parallel, one_to_many = make_perpendicular(), make_parallel(), make_one_to_many()
    rows = [
        Case(perpendicular, "OTP", otp, {}, law_and_cost_within(2, 0.002)),
        Case(perpendicular, "SNOT", snot, {}),
        Case(perpendicular, "OTP, plain", otp, PLAIN_OTP),
        Case(perpendicular, "SNOT, plain (OTM)", snot, PLAIN),
        Case(parallel, "OTP", otp, {}, law_and_cost_within(2, 0.002)),
        Case(parallel, "SNOT", snot, {}, law_and_cost_within(2, 0.002)),
        Case(parallel, "OTP, plain", otp, PLAIN_OTP),
        Case(parallel, "SNOT, plain (OTM)", snot, PLAIN),
        Case(one_to_many, "OTP", otp, {}, splits_mass),
        Case(one_to_many, "OTP, plain", otp, PLAIN_OTP),
        Case(one_to_many, "SNOT", snot, {}),
        Case(one_to_many, "SNOT, network", snot, {"map_form": "network"}),
        Case(one_to_many, "SNOT, noise (OTM-s)", snot, {"noise_dim": 2}),
        Case(one_to_many, "SNOT, plain (OTM)", snot, PLAIN),
        Case(one_to_many, "SNOT, plain, noise (OTM-s)", snot, PLAIN | {"noise_dim": 2}),
    ]
    for make in (make_gaussians, make_convex_potential):
        for n_features, uvp in ((2, 0.5), (8, 2.0)):
            pair = make(n_features)
            rows.append(Case(pair, "SNOT", snot, {}, map_within(uvp, cosine=0.99)))
            rows.append(Case(pair, "OTP", otp, {}, map_within(2 * uvp)))
            rows.append(Case(pair, "SNOT, plain (OTM)", snot, PLAIN))
            rows.append(Case(pair, "OTP, plain", otp, PLAIN_OTP))
    return rows


def run(case: Case, seed: int, settings: dict, floor: float, n_score: int) -> Result:
    """Fit with one seed and score on new rows; the fit does not use the exact solution."""
    pair = case.pair
    X_fit, Y_fit = pair.sample(N_FIT, random_state=seed)
    X, Y = pair.sample(N_COST, N_PAIRS * n_score, random_state=1000 + seed)
    estimator = case.make(random_state=seed, **(case.settings | settings))
    with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):
        _, seconds = timed(lambda: estimator.fit(X_fit, Y_fit))
    draws = estimator.sample(X, random_state=seed)[0]
    result = {
        "D_target": statistics.mean(map(d_target, *(np.split(rows[: len(Y)], N_PAIRS) for rows in (draws, Y)))),
        "floor": floor,
        "cost": transport_cost(X, draws),
        "exact": pair.cost,
        "fit s": seconds,
        "diverged": float(estimator.status_ in (Status.DIVERGED, Status.FAILED)),
    }
    if pair.modes is not None:
        result["branch"] = float(mode_coverage(draws, pair.modes)[0])
    if pair.exact_map is not None:
        exact, images = pair.exact_map(X), estimator.transform(X)
        result["L2-UVP"] = l2_uvp(images, exact, pair.target_variance)
        result["cosine"] = cosine_similarity(X, images, exact)
    return result


def cell(results: list[Result], key: str) -> str:
    """Median and range over the seeds."""
    values = [result[key] for result in results if key in result]
    digits = {"fit s": 0, "branch": 3, "cost": 3, "exact": 3, "cosine": 4, "L2-UVP": 3}.get(key, 4)
    return median_and_range(values, f".{digits}f") if values else ""


COLUMNS = ("D_target", "floor", "cost", "exact", "branch", "L2-UVP", "cosine", "fit s")


def main() -> None:
    parser = make_parser(__doc__, "one seed and fits of 100 steps")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", default="", help="end of the methods' names: 'OTP', 'SNOT', '(OTM-s)', 'plain'")
    options = parser.parse_args()
    seeds, settings, n_score = (1, {"max_iter": 100}, 300) if options.quick else (options.seeds, {}, N_SCORE)
    if options.quick:
        print("Fits of 100 steps and small samples: the figures are meaningless.")
    print(heading(["pair", "method", *COLUMNS, "seeds that reach the goal"]), flush=True)
    for case in (case for case in cases() if case.name.endswith(options.only)):
        floor = target_floor(case.pair.target, n=n_score, n_pairs=2 * N_PAIRS, random_state=0).mean
        results = [run(case, seed, settings, floor, n_score) for seed in range(seeds)]
        reached = "" if case.goal is None or options.quick else f"{sum(map(case.goal, results))} of {seeds}"
        if n_diverged := int(sum(result["diverged"] for result in results)):
            reached = f"{reached} {n_diverged} of {seeds} diverged".strip()
        label = f"{case.pair.name}, d = {case.pair.n_features}"
        print(row([label, case.name, *(cell(results, key) for key in COLUMNS), reached]), flush=True)


if __name__ == "__main__":
    main()
