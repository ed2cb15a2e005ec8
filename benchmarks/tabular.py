"""Transports of tables, point clouds, counts and cells, and entropic plans: ours, others, and free answers.

python benchmarks/tabular.py maps                     # batch effects, point clouds, counts
python benchmarks/tabular.py cells --folder FOLDER    # f50_2.npy ... f50_7.npy, published with LightSB
python benchmarks/tabular.py entropic                 # conditional Bures-UVP on plans known in closed form
python benchmarks/tabular.py --quick                  # does it run? (make bench)

Budgets and times are of the processor, so that other work on the machine takes nothing from a fit. The tables are in
tabular.md, which says what each column means.
"""

import csv
import itertools
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from common import heading, make_parser, median_and_range, row, timed
from light_sb import LightSB
from scipy.spatial.distance import cdist
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler
from transports import TRANSPORTS, Map, neural

from neuralot.costs import SquaredEuclidean
from neuralot.datasets import make_eight_gaussians, make_entropic_plan, make_moons
from neuralot.diagnostics.statistics import Sample, exact_cost, marginal_distance, monotonicity_gap
from neuralot.metrics import conditional_bures_uvp, l2_uvp
from neuralot.solve.status import Status

DAYS = [(2, 3, 4), (3, 4, 7)]  # start, left-out day, end
MAX_ROWS = 2000  # for the measures
N_ENTROPIC, N_CONDITIONED, N_DRAWS = 20_000, 100, 1000


class Task(NamedTuple):
    """Rows of a fit, held-out rows, and the exact images of the held-out source rows if they are known."""

    X: np.ndarray
    Y: np.ndarray
    X_held: np.ndarray
    Y_held: np.ndarray
    exact: np.ndarray | None = None


# tasks


def batch(rows: np.ndarray, rng: np.random.Generator) -> Task:
    """A batch effect: in each column a gain, an offset and a step, which is increasing and thus an optimal map."""
    rows = StandardScaler().fit_transform(rows)
    d = rows.shape[1]
    gain, offset, height = np.exp(0.5 * rng.normal(size=d)), rng.normal(size=d), rng.uniform(0, 2, d)
    place, width = 0.5 * rng.normal(size=d), rng.uniform(0.2, 0.5, d)
    change = lambda x: gain * x + offset + height * np.tanh((x - place) / width)  # noqa: E731
    X, Y, X_held, Y_held = np.array_split(rows[rng.permutation(len(rows))], 4)
    return Task(X, change(Y), X_held, change(Y_held), change(X_held))


def wine(rng: np.random.Generator) -> Task:
    return batch(load_wine().data, rng)


def cancer(rng: np.random.Generator) -> Task:
    return batch(load_breast_cancer().data, rng)


def digits(rng: np.random.Generator) -> Task:
    return batch(PCA(16, random_state=0).fit_transform(load_digits().data), rng)


def planar(rng: np.random.Generator) -> Task:
    """Eight Gaussians to two moons."""
    laws = make_eight_gaussians().target, make_moons().target
    return Task(*(law(2000, rng) for law in laws), *(law(2000, rng) for law in laws))


def surfaces(rng: np.random.Generator) -> Task:
    """A torus to two spheres, in space."""

    def torus(n: int) -> np.ndarray:
        t = 2 * np.pi * rng.random(n)
        s = 2 * np.pi * rng.random(n)
        r = 1 + 0.4 * np.cos(s)
        return np.stack([r * np.cos(t), r * np.sin(t), 0.4 * np.sin(s)], axis=1)

    def spheres(n: int) -> np.ndarray:
        z = rng.normal(size=(n, 3))
        side = np.where(rng.random(n) < 0.5, -1.0, 1.0)[:, None]
        return 0.6 * z / np.linalg.norm(z, axis=1, keepdims=True) + side * np.array([0.8, 0.0, 0.5])

    return Task(torus(2000), spheres(2000), torus(2000), spheres(2000))


def counts(rng: np.random.Generator) -> Task:
    """Logarithms of counts of 50 genes in five types of cells; the target has other gains and loses counts."""
    d, n_types = 50, 5
    means = np.exp(rng.normal(1.0, 1.0, size=(n_types, d)))
    gains = np.exp(0.5 * rng.normal(size=d))

    def draw(n: int, gain: np.ndarray | float, dropout: float) -> np.ndarray:
        depth = rng.gamma(5.0, 0.2, size=(n, 1))
        rate = gain * depth * means[rng.integers(n_types, size=n)] * rng.gamma(2.0, 0.5, size=(n, d))
        lost = rng.random((n, d)) < dropout * np.exp(-0.2 * rate)
        return np.log1p(np.where(lost, 0, rng.poisson(rate)))

    return Task(draw(2000, 1.0, 0.1), draw(2000, gains, 0.5), draw(2000, 1.0, 0.1), draw(2000, gains, 0.5))


TASKS: dict[str, Callable[[np.random.Generator], Task]] = {
    "wine, batches": wine,
    "cancer, batches": cancer,
    "digits, batches": digits,
    "Gaussians to moons": planar,
    "torus to spheres": surfaces,
    "counts": counts,
}


def cells(folder: Path, start: int, end: int, rng: np.random.Generator) -> Task:
    X, Y = (shuffled(folder, day, rng) for day in (start, end))
    return Task(X[MAX_ROWS:], Y[MAX_ROWS:], X[:MAX_ROWS], Y[:MAX_ROWS])


def shuffled(folder: Path, day: int, rng: np.random.Generator) -> np.ndarray:
    return rng.permutation(np.load(folder / f"f50_{day}.npy").astype(np.float64))


# measures


def energy_distance(A: np.ndarray, B: np.ndarray) -> float:
    """2 E|a - b| - E|a - a'| - E|b - b'|, of all pairs of rows, so that equal laws have more than 0."""
    return float(2 * cdist(A, B).mean() - cdist(A, A).mean() - cdist(B, B).mean())


def measures(transport, task: Task) -> dict[str, float]:
    images = np.asarray(transport.sample(task.X_held, 1, random_state=0))[0]
    if not np.isfinite(images).all():
        return {"energy": np.inf}
    X, T, Y = (Sample(rows, np.full(len(rows), 1 / len(rows))) for rows in (task.X_held, images, task.Y_held))
    marginal, cost = marginal_distance(T, Y), float(((task.X_held - images) ** 2).sum(axis=1).mean())
    half = len(task.Y_held) // 2
    found = {
        "energy": energy_distance(images, task.Y_held),
        "floor": energy_distance(task.Y_held[:half], task.Y_held[half:]) / 2,
        "excess": 100 * marginal.excess.value / Y.variance,
        "cost": 100 * cost / exact_cost(X, Y),
        "gap": 100 * monotonicity_gap(X, images, SquaredEuclidean()) / cost if cost else 0.0,
    }
    if task.exact is not None:
        found["uvp"] = l2_uvp(transport.transform(task.X_held), task.exact, float(Y.variance))
    return found


def fit(name: str, task: Task, budget: float, seed: int) -> dict[str, object]:
    with warnings.catch_warnings(action="ignore"):
        transport, seconds = timed(lambda: TRANSPORTS[name](task.X, task.Y, budget, seed))
    found = measures(transport, task) | effort(transport) | {"seconds": seconds}
    return {"transport": name, "seed": seed, **found, "fitted": transport}


def effort(transport) -> dict[str, float]:
    """Steps of the fit, and for ours whether it says that they were too few."""
    n_iter, status = (getattr(transport, name, None) for name in ("n_iter_", "status_"))
    steps = {} if n_iter is None else {"steps": n_iter}
    return steps if status is None else steps | {"short": float(status is Status.SHORT)}


# parts


def maps(options) -> list[dict[str, object]]:
    found = []
    for seed, name in itertools.product(options.seeds, options.tasks):
        task = TASKS[name](np.random.default_rng(seed))
        label = f"{name}, d = {task.X.shape[1]}"
        if task.exact is not None:
            best = measures(Map(lambda rows, exact=task.exact: exact), task)
            found += record({"task": label, "transport": "exact map", "seed": seed, **best}, options.csv)
        for transport in options.transports:
            result = fit(transport, task, options.budget, seed)
            del result["fitted"]
            found += record({"task": label, **result}, options.csv)
    return found


def cells_part(options) -> list[dict[str, object]]:
    """Endpoints of two pairs of days, and the left-out day between them from interpolated cells."""
    found = []
    for seed, (start, between, end) in itertools.product(options.seeds, DAYS):
        rng = np.random.default_rng(seed)
        task, left_out = cells(options.folder, start, end, rng), shuffled(options.folder, between, rng)
        middle, others = left_out[:MAX_ROWS], left_out[MAX_ROWS : 2 * MAX_ROWS]
        name = f"day {start} to {end}"
        share = (between - start) / (end - start)
        mixed = np.where(rng.random((MAX_ROWS, 1)) < share, task.Y_held, task.X_held)
        free = {"mixture of both days": mixed, "start day": task.X_held, "end day": task.Y_held}
        free["left-out day, other cells"] = others
        for transport in options.transports:
            result = fit(transport, task, options.budget, seed)
            images = result.pop("fitted").sample(task.X_held, 1, random_state=0)[0]
            result["middle"] = energy_distance((1 - share) * task.X_held + share * images, middle)
            found += record({"task": name, **result}, options.csv)
        for baseline, rows in free.items():
            result = {"task": name, "transport": baseline, "seed": seed, "middle": energy_distance(rows, middle)}
            found += record(result, options.csv)
    return found


def entropic(options) -> list[dict[str, object]]:
    """OTP with its default noise, with noise of variance eps, and LightSB, beside draws of the exact plan."""
    found = []
    for seed, potential, d, eps in itertools.product(options.seeds, ("mixture", "box"), options.dims, options.eps):
        pair = make_entropic_plan(d, eps, potential=potential)
        X, Y = pair.sample(N_ENTROPIC, random_state=seed)
        X_held, _ = pair.sample(N_CONDITIONED, 1, random_state=1000 + seed)
        moments = pair.conditional_moments(X_held)
        # variance eps in the units of a fit, in which the mean variance of both laws is 1
        level = 2 * eps / (X.var(axis=0).mean() + Y.var(axis=0).mean())
        noise = {"noise_shape": "isotropic", "eps_min": level, "eps_max": max(level, 0.25)}
        fits = {
            "OTP": lambda X, Y, budget, seed: neural("OTPTransport", X, Y, budget, seed),
            "OTP, noise eps": lambda X, Y, budget, seed, noise=noise: neural(
                "OTPTransport", X, Y, budget, seed, **noise
            ),
            "LightSB": lambda X, Y, budget, seed, eps=eps: LightSB(eps, max_time=budget, random_state=seed).fit(X, Y),
        }
        task = {"task": f"{potential}, d = {d}, eps = {eps:g}", "seed": seed}
        rng = np.random.default_rng(seed)
        draws = {
            "exact draws": np.stack([pair.exact_plan(X_held, rng) for _ in range(N_DRAWS)]),
            "independent": np.stack([pair.target(N_CONDITIONED, rng) for _ in range(N_DRAWS)]),
            "exact mean": moments[0][None],
        }
        for name, values in draws.items():
            result = {"transport": name, "uvp": conditional_bures_uvp(values, *moments, pair.target_variance)}
            found += record({**task, **result}, options.csv)
        for name, make in fits.items():
            with warnings.catch_warnings(action="ignore"):
                fitted, seconds = timed(lambda make=make: make(X, Y, options.budget, seed))  # noqa: B023
            uvp = conditional_bures_uvp(fitted.sample(X_held, N_DRAWS, random_state=0), *moments, pair.target_variance)
            result = {"transport": name, "uvp": uvp, **effort(fitted), "seconds": seconds}
            found += record({**task, **result}, options.csv)
    return found


def record(result: dict[str, object], path: Path | None) -> list[dict[str, object]]:
    """Print a result, and append it to a CSV file, so that an interrupted run keeps it."""
    print(time.strftime("%H:%M:%S"), *(f"{v:.4g}" if isinstance(v, float) else v for v in result.values()), flush=True)
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        columns = ["task", "transport", "seed", *COLUMNS]
        is_new = not path.exists()
        with path.open("a", newline="") as file:
            writer = csv.DictWriter(file, columns)
            if is_new:
                writer.writeheader()
            writer.writerow({k: f"{v:.5g}" if isinstance(v, float) else v for k, v in result.items()})
    return [result]


COLUMNS = {
    "uvp": ("UVP %", ".3g"),
    "energy": ("energy distance", ".3g"),
    "floor": ("floor", ".3g"),
    "excess": ("W2 excess %", ".2f"),
    "cost": ("cost %", ".1f"),
    "gap": ("gap %", ".2f"),
    "middle": ("left-out day", ".2f"),
    "steps": ("steps", ".0f"),
    "short": ("short", ""),
    "seconds": ("fit s", ".1f"),
}


def table(found: list[dict[str, object]]) -> str:
    """Median and range over the seeds, and the number of fits that ended too early."""
    columns = [name for name in COLUMNS if any(name in each for each in found)]
    lines = [heading(["task", "transport", *(COLUMNS[name][0] for name in columns)])]
    for key in dict.fromkeys((each["task"], each["transport"]) for each in found):
        rows = [each for each in found if (each["task"], each["transport"]) == key]
        lines.append(row([*key, *(cell(name, [each[name] for each in rows if name in each]) for name in columns)]))
    return "\n".join(lines)


def cell(name: str, values: list[float]) -> str:
    if not values:
        return ""
    return f"{sum(values):.0f} of {len(values)}" if name == "short" else median_and_range(values, COLUMNS[name][1])


def tables(found: list[dict[str, object]]) -> str:
    """UVP, and the steps of the fits, with one row per plan and one column per transport."""
    fits = [each for each in found if "steps" in each]
    return f"{pivot(found, 'uvp', 'plan')}\n\n{pivot(fits, 'steps', 'steps on')}"


def pivot(found: list[dict[str, object]], column: str, label: str) -> str:
    transports = dict.fromkeys(each["transport"] for each in found)
    lines = [heading([label, *transports])]
    for task in dict.fromkeys(each["task"] for each in found):
        values = [[r[column] for r in found if (r["task"], r["transport"]) == (task, name)] for name in transports]
        lines.append(row([task, *(cell(column, each) for each in values)]))
    return "\n".join(lines)


PARTS = {"maps": maps, "cells": cells_part, "entropic": entropic}


def main() -> None:
    parser = make_parser(__doc__, "one seed, two tasks and one entropic plan, budgets of 1 s")
    parser.add_argument("part", nargs="?", choices=PARTS, default="maps")
    parser.add_argument("--folder", type=Path, help="folder with the arrays of the cells")
    parser.add_argument("--seeds", type=int, nargs="+", default=[10, 11, 12])
    parser.add_argument("--budget", type=float, default=5.0, help="seconds of the processor of fits that take a budget")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--transports", nargs="+", choices=TRANSPORTS, default=list(TRANSPORTS))
    parser.add_argument("--dims", type=int, nargs="+", default=[2, 16, 64])
    parser.add_argument("--eps", type=float, nargs="+", default=[0.1, 1.0])
    parser.add_argument("--csv", type=Path, help="file for the single results")
    options = parser.parse_args()
    parts = [options.part]
    if options.quick:
        options.seeds, options.budget, options.tasks = [0], 1.0, ["wine, batches", "cancer, batches"]
        options.dims, options.eps, parts = [2], [0.1], ["maps", "entropic"]
    if "cells" in parts and not options.folder:
        parser.error("the cells need --folder")
    torch.set_num_threads(1)
    time.perf_counter = time.process_time  # of neuralot, the other fits and `timed`
    for part in parts:
        print(f"\n{(tables if part == 'entropic' else table)(PARTS[part](options))}\n")


if __name__ == "__main__":
    main()
