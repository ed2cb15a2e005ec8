"""How accurate is the map of each solver within a budget of seconds? L2-UVP on pairs with a known exact map.

python benchmarks/w2.py --folder PATH      # the published Wasserstein-2 benchmark: benchmarks/results/w2.csv
python benchmarks/w2.py                    # without its weights: make_convex_potential pairs
python benchmarks/w2.py --quick            # does it run? (make bench)

Every solver has the same rows, one core and the same budget; two jobs run in parallel, each on its own core. Results
are appended to the CSV file one by one, and a new run skips those in the file.
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
from common import Job, add_w2, heading, load_rows, make_parser, median_and_range, row, timed, w2_name

from neuralot import CriticLoss, SNOTTransport
from neuralot.metrics import l2_uvp

OTT_BATCH_SIZE = 1024  # ott-jax has no default; its authors use 1024
SINKHORN_REG = 0.1
MAX_POT_ROWS = 16_384  # per sample; the cost matrix alone takes 2 GiB

Map = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Result(Job):
    """One line of the CSV file; `setup` is the time for compilation or smaller trial fits, which is not counted."""

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
    """A map, the seconds of its fit and set-up, and the numbers of rows and of steps."""

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


class _BudgetUsed(Exception):
    """Raised by the callback of an ott-jax solver at the end of the budget, which is the only way to stop it."""


def _ott(solver, X: np.ndarray, Y: np.ndarray, budget: float, seed: int) -> Fitted:
    import jax

    rng = np.random.default_rng(seed)
    times = [time.perf_counter()]

    def batches(rows):
        while True:
            yield rows[rng.integers(len(rows), size=OTT_BATCH_SIZE)]

    def record_time(step, potentials):
        jax.block_until_ready((solver.state_f.params, solver.state_g.params))
        times.append(time.perf_counter())
        if step >= 2 and times[-1] - times[2] >= budget:
            raise _BudgetUsed

    source, target = batches(X), batches(Y)
    with contextlib.suppress(_BudgetUsed):
        solver(source, target, source, target, callback=record_time)
    # the first two steps compile, one per direction
    fit, setup = times[-1] - times[2], times[2] - times[0]
    potentials = solver.to_dual_potentials()
    return Fitted(lambda X_new: np.asarray(potentials.transport(X_new)), fit, setup, len(X), len(times) - 1)


def pot_linear(X: np.ndarray, Y: np.ndarray, budget: float, seed: int) -> Fitted:
    import ot

    transport, seconds = timed(lambda: ot.da.LinearTransport().fit(Xs=X, Xt=Y))
    return Fitted(lambda X_new: transport.transform(Xs=X_new), seconds, 0.0, len(X))


def pot_emd(X: np.ndarray, Y: np.ndarray, budget: float, seed: int) -> Fitted:
    import ot

    return _fit_largest(lambda: ot.da.EMDTransport(max_iter=10**8), X, Y, budget, growth=8)


def pot_sinkhorn(X: np.ndarray, Y: np.ndarray, budget: float, seed: int) -> Fitted:
    import ot

    return _fit_largest(lambda: ot.da.SinkhornTransport(reg_e=SINKHORN_REG), X, Y, budget, growth=4)


def _fit_largest(make: Callable, X: np.ndarray, Y: np.ndarray, budget: float, growth: float) -> Fitted:
    """Double the number of rows until the next fit would exceed the budget."""
    begin = time.perf_counter()
    n_rows, seconds, fitted = 256, 0.0, None
    while n_rows <= min(len(X), MAX_POT_ROWS) and growth * seconds <= budget:
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
    "neuralot SNOT, free network": partial(neuralot, map_form="network", critic_loss=CriticLoss(expectile_weight=0)),
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
    rows = load_rows(job, folder, n_rows)
    with warnings.catch_warnings(action="ignore"):
        fitted = SOLVERS[job.solver](rows["X"], rows["Y"], job.budget, job.seed)
        images = np.asarray(fitted.map(rows["X_test"]), dtype=np.float64)
    uvp = l2_uvp(images, rows["exact"], float(job.n_features)) if np.isfinite(images).all() else float("nan")
    return Result(*astuple(job), uvp, fitted.fit, fitted.setup, fitted.n_rows, fitted.n_steps)


def pin_to_core(cores) -> None:
    """Run this worker on its own core, with one thread."""
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
    """Medians and ranges over the seeds, and ratios to neuralot's median with the same budget."""
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
    fig, axes = plt.subplots(1, len(dims), figsize=(3.6 * len(dims) + 2.4, 3.8), squeeze=False, layout="constrained")
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
            medians = [statistics.median(values) for values in uvp]
            axis.plot(seconds, medians, "o-", color=f"C{index}", label=solver)
            axis.fill_between(seconds, list(map(min, uvp)), list(map(max, uvp)), color=f"C{index}", alpha=0.2)
        axis.set(xscale="log", yscale="log", xlabel="seconds of fit, one core", title=f"d = {d}")
    axes[0, 0].set_ylabel("L2-UVP, %")
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside right center")
    path.parent.mkdir(parents=True, exist_ok=True)
    plt.savefig(path, dpi=110)


def main() -> None:
    parser = make_parser(__doc__, "one seed, d = 2 and 4, 5 seconds, files in build/")
    add_w2(parser, budgets=[1, 5, 15, 60, 300], seeds=[20, 21, 22])
    parser.add_argument("--solvers", nargs="+", choices=SOLVERS, default=list(SOLVERS))
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1), help="number of parallel fits")
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
        os.environ[variable] = "1"  # one thread per worker, for libraries that are imported later
    context = multiprocessing.get_context("spawn")
    cores = context.Queue()
    available = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]
    for core in itertools.islice(itertools.cycle(available), options.jobs):
        cores.put(core)
    with ProcessPoolExecutor(options.jobs, context, pin_to_core, (cores,)) as pool:
        for future in as_completed([pool.submit(run, job, options.folder, options.rows) for job in jobs]):
            result = future.result()
            append(options.csv, result)
            done.append(result)
            print(f"{result.job} L2-UVP {result.uvp:.3g} % in {result.fit:.1f} s", flush=True)
    done = [result for result in done if result.pair == name]
    print(f"\n{name}, {options.rows} rows per sample\n\n{table(done)}")
    figure(done, options.figure)


if __name__ == "__main__":
    main()
