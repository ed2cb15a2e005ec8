"""A million rows: a bijection of the samples, the exact plan, and a map for new rows.

python benchmarks/million.py            # the table of benchmarks/results/million.md
python benchmarks/million.py --quick    # does it run? (make bench)

POT's `ot.bsp.compute_bspot_bijection` matches the rows of two samples of equal size, in log-linear time and without a
guarantee; `ot.lp.emd2_lazy` finds the exact plan in linear memory; `SNOTTransport` learns a map. Each job runs in a
process of its own with one thread, so that its memory is its own, and ends after --limit seconds of CPU time.
"""

import argparse
import json
import resource
import subprocess
import sys
import warnings

import numpy as np
from common import heading, make_parser, row
from sklearn.datasets import make_s_curve

from neuralot.datasets import make_gaussians

N_FRESH = 2000
METHODS = ("exact", "bijection", "SNOT")
COLUMNS = (
    "pair",
    "n",
    "method",
    "CPU s",
    "peak GiB",
    "cost",
    "cost / best",
    "fresh cost",
    "fresh W2^2 (floor)",
    "UVP %",
)
Rows = np.ndarray


def half_moon(n: int, rng: np.random.Generator) -> Rows:
    """Half of a cylinder, with noise."""
    angle = rng.uniform(0, np.pi, size=n)
    rows = np.stack([np.cos(angle), rng.uniform(0, 2, size=n), np.sin(angle)], axis=1)
    return rows + 0.05 * rng.normal(size=(n, 3))


def s_curve(n: int, rng: np.random.Generator) -> Rows:
    return make_s_curve(n, noise=0.05, random_state=int(rng.integers(2**31)))[0]


GAUSSIANS = make_gaussians(64)
PAIRS = {
    "half-moon to S-curve, d = 3": (half_moon, s_curve, None),
    "Gaussians, d = 64": (GAUSSIANS.source, GAUSSIANS.target, GAUSSIANS),
    "the same S-curve, d = 3": (s_curve, s_curve, None),
}


def measure(name: str, n: int, method: str, max_iter: int, seed: int) -> dict[str, float]:
    """Cost on the samples, and what the map does to new rows."""
    import ot

    source, target, _ = PAIRS[name]
    rng = np.random.default_rng([seed, n])
    X, Y = source(n, rng), target(n, rng)
    start = resource.getrusage(resource.RUSAGE_SELF)
    found: dict[str, float] = {}
    if method == "exact":
        found["cost"] = float(ot.lp.emd2_lazy(X, Y, numItermax=10**9, return_matrix=False))
    elif method == "bijection":
        _, bijection, _ = ot.bsp.compute_bspot_bijection(X, Y, seed=seed)
        found["cost"] = float(((X - Y[bijection]) ** 2).sum(axis=1).mean())
    else:
        found |= _measure_map(X, Y, name, max_iter, seed, rng)
    end = resource.getrusage(resource.RUSAGE_SELF)
    found.setdefault("seconds", end.ru_utime + end.ru_stime - start.ru_utime - start.ru_stime)
    return found | {"peak": max(0, end.ru_maxrss - start.ru_maxrss) / 2**20}


def _measure_map(X: Rows, Y: Rows, name: str, max_iter: int, seed: int, rng: np.random.Generator) -> dict[str, float]:
    from neuralot import SNOTTransport
    from neuralot.metrics import exact_cost, l2_uvp

    source, target, pair = PAIRS[name]
    start = resource.getrusage(resource.RUSAGE_SELF)
    with warnings.catch_warnings(action="ignore"):
        transport = SNOTTransport(max_iter=max_iter, random_state=seed).fit(X, Y)
    end = resource.getrusage(resource.RUSAGE_SELF)
    cost = sum(((rows - transport.transform(rows)) ** 2).sum() for rows in np.array_split(X, max(1, len(X) // 2**16)))
    new, fresh, other = source(N_FRESH, rng), target(N_FRESH, rng), target(N_FRESH, rng)
    images = transport.transform(new)
    found = {
        "cost": float(cost / len(X)),
        "seconds": end.ru_utime + end.ru_stime - start.ru_utime - start.ru_stime,
        "fresh cost": float(((new - images) ** 2).sum(axis=1).mean()),
        "fresh W2": exact_cost(images, fresh),
        "floor": exact_cost(other, fresh),
    }
    return found if pair is None else found | {"uvp": l2_uvp(images, pair.exact_map(new), pair.target_variance)}


def in_process(arguments: list[str], limit: int) -> dict[str, float] | None:
    """Result of `measure` in a new process; None if it ran out of time or memory."""

    def limit_time() -> None:
        resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))

    command = [sys.executable, __file__, "--job", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=limit_time)
    if done.returncode == 0:
        return dict(json.loads(done.stdout.splitlines()[-1]))
    if done.returncode > 0:
        raise RuntimeError(done.stderr)
    return None  # ended by a signal


def print_rows(name: str, n: int, options: argparse.Namespace) -> None:
    methods = METHODS if n <= options.largest_exact else METHODS[1:]
    found = {
        method: in_process([name, str(n), method, str(options.max_iter), str(options.seed)], options.limit)
        for method in methods
    }
    costs = [each["cost"] for method, each in found.items() if each and method != "SNOT"]
    pair = PAIRS[name][2]
    best = pair.cost if pair else min(costs, default=np.nan)
    for method, each in found.items():
        if each is None:
            print(row([name, f"2^{n.bit_length() - 1}", method, f"over {options.limit}", "", "", "", "", "", ""]))
            continue
        fresh = ["", "", ""]
        if method == "SNOT":
            fresh = [f"{each['fresh cost']:.4g}", f"{each['fresh W2']:.4g} ({each['floor']:.4g})"]
            fresh.append(f"{each['uvp']:.2f}" if "uvp" in each else "")
        figures = [f"{each['seconds']:.0f}", f"{each['peak']:.2f}", f"{each['cost']:.4g}", f"{each['cost'] / best:.3f}"]
        print(row([name, f"2^{n.bit_length() - 1}", method, *figures, *fresh]), flush=True)


def main() -> None:
    if sys.argv[1:2] == ["--job"]:
        name, n, method, max_iter, seed = sys.argv[2:]
        print(json.dumps(measure(name, int(n), method, int(max_iter), int(seed))))
        return
    parser = make_parser(__doc__, "512 rows, 20 steps")
    parser.add_argument("--sizes", type=int, nargs="+", default=[2**14, 2**17, 2**20])
    parser.add_argument("--pairs", nargs="+", choices=PAIRS, default=list(PAIRS))
    parser.add_argument("--largest-exact", type=int, default=2**14, help="most rows for which the exact plan is sought")
    parser.add_argument("--max-iter", type=int, default=1000, help="steps of SNOT")
    parser.add_argument("--limit", type=int, default=1200, help="seconds of CPU time of a job")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.quick:
        options.sizes, options.max_iter = [512], 20
        print("Fits of 20 steps: the figures are meaningless.")
    print(heading(COLUMNS), flush=True)
    for n in options.sizes:
        for name in options.pairs:
            print_rows(name, n, options)


if __name__ == "__main__":
    main()
