"""A million rows: a bijection of the samples, the exact plan, and a map for new rows.

python benchmarks/million.py                            # the table of benchmarks/results/million.md
python benchmarks/million.py --record jobs.jsonl        # the same, if it may be interrupted
python benchmarks/million.py --quick                    # does it run? (make bench)

POT's `ot.bsp.compute_bspot_bijection` matches the rows of two samples of equal size, in log-linear time and without a
guarantee; `ot.emd2` finds the exact plan from the matrix of costs, and `ot.lp.emd2_lazy` ("exact, lazy") in linear
memory; `SNOTTransport` learns a map. Each job runs in a process of its own with one thread, so that its memory is its
own, and ends after --limit seconds of CPU time. With --record, each finished job is a line of a file, and a job in the
file is not run again; --show prints the table of the jobs in the file, and runs none.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import warnings
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
from common import heading, make_parser, median_and_range, row
from sklearn.datasets import make_s_curve

from neuralot.datasets import make_gaussians

N_FRESH = 2000
EXACT = ("exact", "exact, lazy")
METHODS = (*EXACT, "bijection", "SNOT")
COLUMNS = (
    "pair",
    "n",
    "method",
    "seeds",
    "CPU s",
    "peak GiB",
    "cost",
    "cost / best",
    "fresh cost",
    "fresh W2^2; floor",
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
    start, memory = cpu_seconds(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found: dict[str, float] = {}
    if method == "exact":
        found["cost"] = float(ot.emd2([], [], ot.dist(X, Y), numItermax=10**9))
    elif method == "exact, lazy":
        found["cost"] = float(ot.lp.emd2_lazy(X, Y, numItermax=10**9, return_matrix=False))
    elif method == "bijection":
        _, bijection, _ = ot.bsp.compute_bspot_bijection(X, Y, seed=seed)
        found["cost"] = float(((X - Y[bijection]) ** 2).sum(axis=1).mean())
    else:
        found |= _measure_map(X, Y, name, max_iter, seed, rng)
    found.setdefault("seconds", cpu_seconds() - start)
    return found | {"peak": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory) / 2**20}


def cpu_seconds(who: int = resource.RUSAGE_SELF) -> float:
    used = resource.getrusage(who)
    return used.ru_utime + used.ru_stime


def _measure_map(X: Rows, Y: Rows, name: str, max_iter: int, seed: int, rng: np.random.Generator) -> dict[str, float]:
    from neuralot import SNOTTransport
    from neuralot.metrics import exact_cost, l2_uvp

    source, target, pair = PAIRS[name]
    start = cpu_seconds()
    with warnings.catch_warnings(action="ignore"):
        transport = SNOTTransport(max_iter=max_iter, random_state=seed).fit(X, Y)
    seconds = cpu_seconds() - start
    cost = sum(((rows - transport.transform(rows)) ** 2).sum() for rows in np.array_split(X, max(1, len(X) // 2**16)))
    new, fresh, other = source(N_FRESH, rng), target(N_FRESH, rng), target(N_FRESH, rng)
    images = transport.transform(new)
    found = {
        "cost": float(cost / len(X)),
        "seconds": seconds,
        "fresh cost": float(((new - images) ** 2).sum(axis=1).mean()),
        "fresh W2": exact_cost(images, fresh),
        "floor": exact_cost(other, fresh),
    }
    return found if pair is None else found | {"uvp": l2_uvp(images, pair.exact_map(new), pair.target_variance)}


class Job(NamedTuple):
    """One method on one pair of samples."""

    pair: str
    n: int
    method: str
    max_iter: int
    seed: int


class Jobs:
    """Results of jobs; `record` is a file of JSON lines that keeps them, or None.

    The value of a job that ran out of time is its limit in seconds.
    """

    def __init__(self, limit: int, record: Path | None, only_show: bool) -> None:
        self.limit, self.record, self.only_show = limit, record, only_show
        lines = record.read_text().splitlines() if record and record.exists() else []
        self.known = {Job(*entry["job"]): entry["found"] or entry["limit"] for entry in map(json.loads, lines)}

    def result(self, job: Job) -> dict[str, float] | int | None:
        """Result of a job in a new process; None if it is not known and must not be run."""
        if job in self.known or self.only_show:
            return self.known.get(job)
        found = in_process([*map(str, job)], self.limit)
        if self.record is not None:
            with self.record.open("a") as file:
                file.write(json.dumps({"job": job, "limit": self.limit, "found": found}) + "\n")
        return found or self.limit


def in_process(arguments: list[str], limit: int) -> dict[str, float] | None:
    """Result of `measure` in a new process; None if it ran out of time."""

    def limit_time() -> None:
        resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))

    start = cpu_seconds(resource.RUSAGE_CHILDREN)
    command = [sys.executable, __file__, "--job", *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=limit_time, env=environment)
    if done.returncode == 0:
        return dict(json.loads(done.stdout.splitlines()[-1]))
    if done.returncode > 0 or cpu_seconds(resource.RUSAGE_CHILDREN) - start < limit - 1:
        raise RuntimeError(f"{arguments} ended with {done.returncode}: {done.stderr}")
    return None


def best_costs(name: str, results: dict[str, dict[int, dict[str, float]]], seeds: Sequence[int]) -> dict[int, float]:
    """Cost by seed: the exact one of the laws, or else that of the exact plan or, without one, the bijection."""
    pair = PAIRS[name][2]
    if pair:
        return dict.fromkeys(seeds, pair.cost)
    exact = results["exact, lazy"] | results["exact"]
    return {seed: each["cost"] for seed, each in (exact or results["bijection"]).items()}


def print_rows(name: str, n: int, options: argparse.Namespace, jobs: Jobs) -> None:
    methods = [method for method in METHODS if n <= options.largest_exact or method not in EXACT]
    results: dict[str, dict[int, dict[str, float]]] = {method: {} for method in METHODS}
    limits: dict[str, list[int]] = {method: [] for method in METHODS}
    for method, seed in product(methods, options.seeds):
        found = jobs.result(Job(name, n, method, options.max_iter, seed))
        if isinstance(found, int):
            limits[method].append(found)
        elif found is not None:
            results[method][seed] = found
    for method in methods:
        first = [name, f"2^{n.bit_length() - 1}", method]
        if limits[method]:
            print(row([*first, len(limits[method]), f"over {max(limits[method])}", *[""] * 6]), flush=True)
        if results[method]:
            best = best_costs(name, results, options.seeds)
            ratios = [each["cost"] / best[seed] for seed, each in results[method].items() if seed in best]
            print(row([*first, *cells([*results[method].values()], ratios)]), flush=True)


def cells(found: list[dict[str, float]], ratios: list[float]) -> list[object]:
    """Cells of a row, from the results of its seeds."""

    def column(key: str, form: str) -> str:
        return median_and_range([each[key] for each in found], form) if key in found[0] else ""

    distance = f"{column('fresh W2', '.3g')}; {column('floor', '.3g')}" if "floor" in found[0] else ""
    return [
        len(found),
        column("seconds", ".0f"),
        column("peak", ".2f"),
        column("cost", ".4g"),
        median_and_range(ratios, ".3f") if ratios else "",
        column("fresh cost", ".4g"),
        distance,
        column("uvp", ".2f"),
    ]


def main() -> None:
    if sys.argv[1:2] == ["--job"]:
        name, n, method, max_iter, seed = sys.argv[2:]
        print(json.dumps(measure(name, int(n), method, int(max_iter), int(seed))))
        return
    parser = make_parser(__doc__, "512 rows, 20 steps, one seed")
    parser.add_argument("--sizes", type=int, nargs="+", default=[2**14, 2**17, 2**20])
    parser.add_argument("--pairs", nargs="+", choices=PAIRS, default=list(PAIRS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--largest-exact", type=int, default=2**14, help="most rows for which the exact plan is sought")
    parser.add_argument("--max-iter", type=int, default=1000, help="steps of SNOT")
    parser.add_argument("--limit", type=int, default=1500, help="seconds of CPU time of a job")
    parser.add_argument("--record", type=Path, help="file that keeps the results of finished jobs")
    parser.add_argument("--show", action="store_true", help="print the jobs of --record, and run none")
    options = parser.parse_args()
    if options.quick:
        options.sizes, options.max_iter, options.seeds = [512], 20, options.seeds[:1]
        print("Fits of 20 steps: the figures are meaningless.")
    jobs = Jobs(options.limit, options.record, options.show)
    print(heading(COLUMNS), flush=True)
    for n, name in product(options.sizes, options.pairs):
        print_rows(name, n, options, jobs)


if __name__ == "__main__":
    main()
