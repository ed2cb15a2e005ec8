"""How accurate a map does each solver give in so many seconds? L2-UVP on pairs whose exact map is known.

python benchmarks/w2.py --folder PATH      # the published Wasserstein-2 benchmark, the table of benchmarks/README.md
python benchmarks/w2.py                    # without its weights: make_convex_potential pairs
python benchmarks/w2.py --quick            # does it run? (make bench)

Every solver gets the same rows, one core and the same budget of fit; two jobs run side by side, a core each. Each
result is a line of the CSV file as soon as it is there, and a run goes on where the last one ended.
"""

import contextlib
import csv
import itertools
import multiprocessing
import os
import statistics
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import astuple, dataclass, fields
from functools import partial
from pathlib import Path

import numpy as np
from common import Job, add_w2, heading, median_and_range, parser_of, row, rows_of, timed, w2_name

from neuralot import SNOTTransport
from neuralot.metrics import l2_uvp

BATCH_OF_PEERS = 1024  # ott-jax leaves it to the user; its authors use 1024
SINKHORN_REG = 0.1
LARGEST_EXACT = 16_384  # rows a side: the cost matrix alone takes 2 GiB

Map = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Result(Job):
    """One line of the CSV file; `setup` is what was not counted: compiling, or smaller trial fits."""

    uvp: float
    fit: float
    setup: float
    n_rows: int
    n_steps: int

    @property
    def job(self) -> Job:
        return Job(*astuple(self)[: len(fields(Job))])


@dataclass(frozen=True)
class Fitted:
    """A map, and what it took: seconds of fit and of set-up, rows seen, steps made."""

    map: Map
    fit: float
    setup: float
    n_rows: int
    n_steps: int = 0


def identity(X: np.ndarray, Y: np.ndarray, budget: float, seed: int) -> Fitted:
    return Fitted(lambda X_new: X_new, 0.0, 0.0, len(X))


def neuralot(X: np.ndarray, Y: np.ndarray, budget: float, seed: int, **settings) -> Fitted:
    transport = SNOTTransport(max_time=budget, random_state=seed, **settings)
    _, seconds = timed(lambda: transport.fit(X, Y))
    return Fitted(transport.transform, seconds, 0.0, len(X), transport.n_iter_)


def ott_enot(X: np.ndarray, Y: np.ndarray, budget: float, seed: int) -> Fitted:
    import jax
    from ott.neural.methods.expectile_neural_dual import ExpectileNeuralDual

    solver = ExpectileNeuralDual(
        X.shape[1], num_train_iters=10**9, valid_freq=10**9, rng=jax.random.key(seed), logging=False
    )
    return _ott(solver, X, Y, budget, seed)


def ott_w2(X: np.ndarray, Y: np.ndarray, budget: float, seed: int) -> Fitted:
    import jax
    from ott.neural.methods.neuraldual import W2NeuralDual

    solver = W2NeuralDual(X.shape[1], num_train_iters=10**9, valid_freq=10**9, rng=jax.random.key(seed), logging=False)
    return _ott(solver, X, Y, budget, seed)


class _Over(Exception):
    """Raised by the callback of an ott-jax solver when its seconds are used up: it has no other way to stop."""


def _ott(solver, X: np.ndarray, Y: np.ndarray, budget: float, seed: int) -> Fitted:
    import jax

    rng = np.random.default_rng(seed)
    times = [time.perf_counter()]

    def batches(rows):
        while True:
            yield rows[rng.integers(len(rows), size=BATCH_OF_PEERS)]

    def watch(step, potentials):
        jax.block_until_ready((solver.state_f.params, solver.state_g.params))
        times.append(time.perf_counter())
        if step >= 2 and times[-1] - times[2] >= budget:
            raise _Over

    source, target = batches(X), batches(Y)
    with contextlib.suppress(_Over):
        solver(source, target, source, target, callback=watch)
    # the first two steps compile, one for each direction
    fit, setup = times[-1] - times[2], times[2] - times[0]
    potentials = solver.to_dual_potentials()
    return Fitted(lambda X_new: np.asarray(potentials.transport(X_new)), fit, setup, len(X), len(times) - 1)


def pot_linear(X: np.ndarray, Y: np.ndarray, budget: float, seed: int) -> Fitted:
    import ot

    transport, seconds = timed(lambda: ot.da.LinearTransport().fit(Xs=X, Xt=Y))
    return Fitted(lambda X_new: transport.transform(Xs=X_new), seconds, 0.0, len(X))


def pot_emd(X: np.ndarray, Y: np.ndarray, budget: float, seed: int) -> Fitted:
    import ot

    return _largest(lambda: ot.da.EMDTransport(max_iter=10**8), X, Y, budget, growth=8)


def pot_sinkhorn(X: np.ndarray, Y: np.ndarray, budget: float, seed: int) -> Fitted:
    import ot

    return _largest(lambda: ot.da.SinkhornTransport(reg_e=SINKHORN_REG), X, Y, budget, growth=4)


def _largest(make: Callable, X: np.ndarray, Y: np.ndarray, budget: float, growth: float) -> Fitted:
    """Fit on ever more rows, twice as many each time, until the next fit would not end within the budget."""
    begin = time.perf_counter()
    n_rows, seconds, fitted = 256, 0.0, None
    while n_rows <= min(len(X), LARGEST_EXACT) and growth * seconds <= budget:
        transport = make()
        start = time.perf_counter()
        transport.fit(Xs=X[:n_rows].astype(np.float64), Xt=Y[:n_rows].astype(np.float64))
        seconds = time.perf_counter() - start
        if fitted is not None and seconds > budget:
            break
        fitted = transport, seconds, n_rows
        n_rows *= 2
    transport, seconds, n_rows = fitted
    return Fitted(
        lambda X_new: transport.transform(Xs=X_new.astype(np.float64)),
        seconds,
        time.perf_counter() - begin - seconds,
        n_rows,
    )


SOLVERS: dict[str, Callable[[np.ndarray, np.ndarray, float, int], Fitted]] = {
    "neuralot SNOT": neuralot,
    "neuralot SNOT, free network": partial(neuralot, map_form="network", expectile_weight=0),
    "ott-jax ENOT": ott_enot,
    "ott-jax W2NeuralDual": ott_w2,
    "POT EMD": pot_emd,
    "POT Sinkhorn": pot_sinkhorn,
    "POT linear": pot_linear,
    "identity": identity,
}
WITHOUT_BUDGET = ("POT linear", "identity")
COLUMNS = ("d", "solver", "budget s", "L2-UVP %", "times ours", "fit s", "set-up s", "rows", "steps", "seeds")


def run(job: Job, folder: str | None, n_rows: int) -> Result:
    rows = rows_of(job, folder, n_rows)
    with warnings.catch_warnings(action="ignore"):
        fitted = SOLVERS[job.solver](rows["X"], rows["Y"], job.budget, job.seed)
        images = np.asarray(fitted.map(rows["X_test"]), dtype=np.float64)
    uvp = l2_uvp(images, rows["exact"], float(job.n_features)) if np.isfinite(images).all() else float("nan")
    return Result(*astuple(job), uvp, fitted.fit, fitted.setup, fitted.n_rows, fitted.n_steps)


def take_a_core(cores) -> None:
    """Give this worker a core of its own; the variables speak to the libraries that are imported later."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {cores.get()})
    import torch

    torch.set_num_threads(1)


def read(path: Path) -> list[Result]:
    if not path.exists():
        return []
    types = [field.type for field in fields(Result)]
    with path.open(newline="") as file:
        lines = list(csv.reader(file))[1:]
    return [Result(*(convert(text) for convert, text in zip(types, line, strict=True))) for line in lines]


def append(path: Path, result: Result) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.writer(file)
        if new:
            writer.writerow(field.name for field in fields(Result))
        values = (f"{value:.6g}" if isinstance(value, float) else value for value in astuple(result))
        writer.writerow(values)


def table(results: list[Result]) -> str:
    """Medians over the seeds, and the range; beside each the ratio to neuralot's at the same budget."""
    lines = [heading(COLUMNS)]
    order = list(SOLVERS)
    groups: dict[tuple, list[Result]] = {}
    for result in sorted(results, key=lambda r: (r.n_features, order.index(r.solver), r.budget, r.seed)):
        groups.setdefault((result.n_features, result.solver, result.budget), []).append(result)
    for (d, solver, budget), group in groups.items():
        median = {name: statistics.median(getattr(r, name) for r in group) for name in ("uvp", "fit", "setup")}
        ours = groups.get((d, order[0], budget))
        ratio = f"{median['uvp'] / statistics.median(r.uvp for r in ours):.1f}" if ours and ours != group else ""
        uvp = median_and_range([r.uvp for r in group], ".3g")
        cells = [d, solver, f"{budget:g}" if budget else "", uvp, ratio]
        cells += [f"{median['fit']:.0f}", f"{median['setup']:.0f}", max(r.n_rows for r in group)]
        cells += [statistics.median_low(r.n_steps for r in group) or "", len(group)]
        lines.append(row(cells))
    return "\n".join(lines)


def figure(results: list[Result], path: Path) -> None:
    """L2-UVP against seconds of fit, one panel per dimension."""
    import matplotlib.pyplot as plt

    dims = sorted({result.n_features for result in results})
    drawn, axes = plt.subplots(1, len(dims), figsize=(3.6 * len(dims) + 2.4, 3.8), squeeze=False, layout="constrained")
    for axis, d in zip(axes[0], dims, strict=True):
        for index, solver in enumerate(SOLVERS):
            budgets: dict[float, list[Result]] = {}
            for result in results:
                if (result.n_features, result.solver) == (d, solver) and np.isfinite(result.uvp):
                    budgets.setdefault(result.budget, []).append(result)
            if not budgets:
                continue
            uvp = [[r.uvp for r in group] for _, group in sorted(budgets.items())]
            if solver in WITHOUT_BUDGET:
                axis.axhline(statistics.median(uvp[0]), color=f"C{index}", linestyle=":", label=solver)
                continue
            seconds = [statistics.median(r.fit for r in group) for _, group in sorted(budgets.items())]
            middle = [statistics.median(values) for values in uvp]
            axis.plot(seconds, middle, "o-", color=f"C{index}", label=solver)
            axis.fill_between(seconds, list(map(min, uvp)), list(map(max, uvp)), color=f"C{index}", alpha=0.2)
        axis.set(xscale="log", yscale="log", xlabel="seconds of fit, one core", title=f"d = {d}")
    axes[0, 0].set_ylabel("L2-UVP, %")
    drawn.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside right center")
    path.parent.mkdir(parents=True, exist_ok=True)
    plt.savefig(path, dpi=110)


def main() -> None:
    parser = parser_of(__doc__, "one seed, d = 2 and 4, 5 seconds, files in build/")
    add_w2(parser, budgets=[1, 5, 15, 60, 300], seeds=[20, 21, 22])
    parser.add_argument("--solvers", nargs="+", choices=SOLVERS, default=list(SOLVERS))
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1), help="fits side by side")
    parser.add_argument("--csv", type=Path, default=Path("benchmarks/results/w2.csv"))
    parser.add_argument("--figure", type=Path, default=Path("benchmarks/results/w2.png"))
    options = parser.parse_args()
    if options.quick:
        options.dims, options.budgets, options.seeds, options.rows = [2, 4], [5.0], [0], 2**14
        options.csv, options.figure = Path("build/bench/w2.csv"), Path("build/bench/w2.png")
        options.csv.unlink(missing_ok=True)
    name = w2_name(options.folder)
    done = read(options.csv)
    known = {result.job for result in done}
    jobs = [
        Job(name, d, solver, 0.0 if solver in WITHOUT_BUDGET else budget, seed)
        for seed, d, budget, solver in itertools.product(options.seeds, options.dims, options.budgets, options.solvers)
    ]
    jobs = [job for job in dict.fromkeys(jobs) if job not in known]
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = "1"  # one core for each worker
    context = multiprocessing.get_context("spawn")
    cores = context.Queue()
    available = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]
    for core in itertools.islice(itertools.cycle(available), options.jobs):
        cores.put(core)
    with ProcessPoolExecutor(options.jobs, context, take_a_core, (cores,)) as pool:
        for future in as_completed([pool.submit(run, job, options.folder, options.rows) for job in jobs]):
            result = future.result()
            append(options.csv, result)
            done.append(result)
            print(f"{result.job} L2-UVP {result.uvp:.3g} % in {result.fit:.1f} s", flush=True)
    done = [result for result in done if result.pair == name]
    print(f"\n{name}, {options.rows} rows a side\n\n{table(done)}")
    figure(done, options.figure)


if __name__ == "__main__":
    main()
