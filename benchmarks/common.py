"""Helpers of the benchmarks: options, tables, times, memory, and rows of the Wasserstein-2 pairs.

neuralot is only imported inside functions, because step.py also runs with older commits of it.
"""

import argparse
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    from neuralot.datasets import TransportPair

GIB = 2**30
N_TEST = 4096
Result = TypeVar("Result")

# options


def make_parser(doc: str, quick: str) -> argparse.ArgumentParser:
    """Parser with the option --quick, which every benchmark has."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=quick)
    return parser


def add_sizes(parser: argparse.ArgumentParser, dims: list[int], seeds: list[int], tuned_on: str, rows: int) -> None:
    parser.add_argument("--dims", type=int, nargs="+", default=dims)
    parser.add_argument("--seeds", type=int, nargs="+", default=seeds, help=f"the defaults were tuned on {tuned_on}")
    parser.add_argument("--rows", type=int, default=rows, help="rows of each sample")


def add_w2(parser: argparse.ArgumentParser, budgets: list[float], seeds: list[int]) -> None:
    """Add the options of the scripts that run on the Wasserstein-2 benchmark."""
    parser.add_argument("--folder", help="folder with the published weights of the benchmark")
    parser.add_argument("--budgets", type=float, nargs="+", default=budgets, help="budgets of a fit in seconds")
    add_sizes(parser, [2, 16, 64], seeds, "others", 2**19)


# tables


def row(cells: Iterable[object]) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def heading(columns: Sequence[str]) -> str:
    return f"{row(columns)}\n|{'---|' * len(columns)}"


def median_and_range(values: Sequence[float], form: str) -> str:
    """`median (lowest..highest)`, or only the median if all are equal at this precision."""
    low, median, high = (format(value, form) for value in (min(values), statistics.median(values), max(values)))
    return median if low == high else f"{median} ({low}..{high})"


# times and memory


def timed(work: Callable[[], Result]) -> tuple[Result, float]:
    """Result of `work`, and its duration in seconds."""
    start = time.perf_counter()
    result = work()
    return result, time.perf_counter() - start


def seconds_per_step(records: Iterable[Mapping[str, float]]) -> float:
    """Median over the records of a fit."""
    return statistics.median(
        (after["seconds"] - before["seconds"]) / (after["step"] - before["step"]) for before, after in pairwise(records)
    )


def allocated_bytes() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("RssAnon"))


def measure_memory(work: Callable[[], object]) -> tuple[float, float]:
    """Duration of `work` in seconds, and the peak of the memory that it allocates in GiB."""
    before, peak, done = allocated_bytes(), 0.0, threading.Event()

    def monitor() -> None:
        nonlocal peak
        while not done.wait(0.01):
            peak = max(peak, allocated_bytes() - before)

    thread = threading.Thread(target=monitor)
    thread.start()
    _, seconds = timed(work)
    done.set()
    thread.join()
    return seconds, peak / GIB


# pairs of the Wasserstein-2 benchmark


@dataclass(frozen=True)
class Job:
    pair: str
    n_features: int
    solver: str
    budget: float
    seed: int


def w2_name(folder: str | None) -> str:
    """Name of the pairs: the published ones, or our own if `folder` is None."""
    return "w2_benchmark" if folder else "convex_potential"


def load_pair(name: str, n_features: int, folder: str | None) -> "TransportPair":
    from neuralot.datasets import load_w2_benchmark, make_convex_potential

    return load_w2_benchmark(folder, n_features) if name == "w2_benchmark" else make_convex_potential(n_features)


def load_rows(job: Job, folder: str | None, n_rows: int) -> dict[str, np.ndarray]:
    """Training rows, test rows and their exact images; cached in a file, because drawing them is slow at d = 64."""
    cache = Path(tempfile.gettempdir()) / "neuralot-w2"
    cache.mkdir(exist_ok=True)
    path = cache / f"{job.pair}-{job.n_features}-{job.seed}-{n_rows}.npz"
    if not path.exists():
        pair = load_pair(job.pair, job.n_features, folder)
        X, Y = pair.sample(n_rows, random_state=job.seed)
        X_test, _ = pair.sample(N_TEST, 1, random_state=1000 + job.seed)
        rows = {"X": X, "Y": Y, "X_test": X_test, "exact": pair.exact_map(X_test)}
        partial = path.with_suffix(f".{os.getpid()}.npz")
        np.savez(partial, **{name: array.astype(np.float32) for name, array in rows.items()})
        partial.rename(path)
    with np.load(path) as rows:
        return dict(rows)
