"""Where are rows between the times of their samples, and how many?

A branching process with a known law, single cells, and two clones with known rates of growth.

python benchmarks/trajectories.py --folder ../shared/msci  # the tables of benchmarks/results/trajectories.md
python benchmarks/trajectories.py --quick                  # does it run? (make bench)

Without --folder there is no table of single cells. The folder has the arrays f50_2.npy, f50_3.npy, f50_4.npy and
f50_7.npy of the repository of LightSB: cells of four days in 50 principal components.
"""

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import ot
from common import heading, make_parser, median_and_range, row, timed
from scipy.spatial.distance import cdist

from neuralot import OTPTransport, SNOTTransport, TrajectoryTransport
from neuralot.metrics import exact_cost

SPEED, N_SCORE, N_MATCHED, N_HELD_OUT, N_ENERGY = 2.0, 2000, 3000, 1500, 4000
# left-out day: the days before and after
LEFT_OUT = {3: (2, 4), 4: (3, 7)}
Rows = np.ndarray


def branches(t: float, n: int, d: int, rng: np.random.Generator, even: bool = False) -> tuple[Rows, Rows]:
    """Rows at time t of a Gaussian that splits in two along its last coordinate, and their velocities.

    The halves move apart at constant speed. The map between two times is monotone in the last coordinate and keeps the
    others, so it is optimal, and the law at each time is the displacement interpolation of any earlier and later law.
    With `even`, both halves have n / 2 rows, so that their numbers add no noise to a distance.
    """
    rows = rng.normal(size=(n, d))
    if even:
        rows[:, -1] = np.abs(rows[:, -1]) * np.resize([-1, 1], n)
    velocities = np.zeros((n, d))
    velocities[:, -1] = SPEED * np.sign(rows[:, -1])
    return rows + t * velocities, velocities


def affine_map(X: Rows, Y: Rows) -> Callable[[Rows], Rows]:
    """Optimal map between the Gaussians with the moments of two samples."""
    matrix, offset = ot.gaussian.empirical_bures_wasserstein_mapping(X, Y, reg=1e-8)
    return lambda rows: rows @ matrix + offset


def mixture(X: Rows, Y: Rows, s: float, n: int, rng: np.random.Generator) -> Rows:
    """Rows of two samples, of the second with probability s: no transport at all."""
    from_second = rng.random(n) < s
    return np.where(from_second[:, None], Y[rng.integers(len(Y), size=n)], X[rng.integers(len(X), size=n)])


def matched(X: Rows, Y: Rows) -> tuple[Rows, Rows]:
    """Pairs of the exact optimal plan between samples of equal size (POT)."""
    plan = ot.emd([], [], ot.dist(X, Y), numItermax=10**7)
    return X, Y[plan.argmax(axis=1)]


def energy_distance(x: Rows, y: Rows) -> float:
    """Unbiased estimate of E|x - y| - E|x - x'| / 2 - E|y - y'| / 2, from at most 4000 rows of each sample.

    Without the halves, which the tables of LightSB have, too, the distance would be twice as large.
    """
    x, y = (np.random.default_rng(0).permutation(rows)[:N_ENERGY] for rows in (x, y))
    within = [cdist(rows, rows).sum() / (len(rows) * (len(rows) - 1)) for rows in (x, y)]
    return float(cdist(x, y).mean() - sum(within) / 2)


def branching(d: int, n_rows: int, max_iter: int, seed: int) -> dict[str, list[float]]:
    """Squared W2 distance to the law at the times 0.5 and 1.5, by method."""
    rng = np.random.default_rng([seed, d])
    samples = [branches(t, n_rows, d, rng)[0] for t in (0, 1, 2)]
    trajectory = TrajectoryTransport(SNOTTransport(max_iter=max_iter, random_state=seed))
    _, seconds = timed(lambda: trajectory.fit(samples, time=[0, 1, 2]))
    new, velocities = branches(0, N_SCORE, d, rng, even=True)
    found: dict[str, list[float]] = {}
    for k, t in enumerate((0.5, 1.5)):
        first, last = samples[k][:N_SCORE], samples[k + 1][:N_SCORE]
        x, y = matched(first, last)
        truth, other = (branches(t, N_SCORE, d, rng, even=True)[0] for _ in range(2))
        rows = {
            "floor": other,
            "trajectory": trajectory.interpolate(new, t),
            "POT, pairs of the samples": (x + y) / 2,
            "affine": (first + affine_map(first, last)(first)) / 2,
            "mixture": mixture(samples[k], samples[k + 1], 0.5, N_SCORE, rng),
        }
        for name, each in rows.items():
            found.setdefault(name, []).append(exact_cost(each, truth))
        away = np.abs(new[:, -1]) > 0.2  # the velocity jumps between the branches
        error = ((trajectory.velocity(new, t) - velocities)[away] ** 2).sum(axis=1).mean()
        found.setdefault("velocity", []).append(100 * error / SPEED**2)
    return found | {"s": [seconds, seconds]}


def print_branching(options: argparse.Namespace) -> None:
    print("\nSquared W2 distance to the law between the samples; error of the velocities in percent.\n")
    columns = ["floor", "trajectory", "POT, pairs of the samples", "affine", "mixture", "velocity", "s"]
    print(heading(["d", "t", *columns]), flush=True)
    for d in options.dims:
        runs = [branching(d, options.rows, options.max_iter, seed) for seed in options.seeds]
        for k, t in enumerate((0.5, 1.5)):
            cells = [median_and_range([each[name][k] for each in runs], ".3f") for name in columns]
            print(row([d, t, *cells]), flush=True)


def left_out(days: Mapping[int, Rows], middle: int, max_iter: int, seed: int) -> dict[str, tuple[float, float]]:
    """Energy distances at the left-out day and, for held-out cells, at the day after, by method."""
    rng = np.random.default_rng(seed)
    before, after = LEFT_OUT[middle]
    s = (middle - before) / (after - before)
    shuffled = {day: rng.permutation(days[day]) for day in (before, after)}
    (X, start), (Y, end) = (np.split(rows, [len(rows) - N_HELD_OUT]) for rows in shuffled.values())
    truth = days[middle]
    trajectory = TrajectoryTransport(OTPTransport(max_iter=max_iter, random_state=seed))
    _, seconds = timed(lambda: trajectory.fit([X, Y], time=[before, after]))
    affine = affine_map(X, Y)
    nearest = ot.da.EMDTransport(max_iter=10**7).fit(Xs=X[:N_MATCHED], Xt=Y[:N_MATCHED])
    x, y = matched(X[:N_MATCHED], Y[:N_MATCHED])
    draws = trajectory.sample(start, random_state=seed)[0]
    half = rng.permutation(truth)
    n = len(truth) // 2
    return {
        "trajectory": (energy_distance(trajectory.interpolate(X, middle), truth), energy_distance(draws, end)),
        "affine": (energy_distance((1 - s) * X + s * affine(X), truth), energy_distance(affine(start), end)),
        "POT": (
            energy_distance((1 - s) * x + s * y, truth),
            energy_distance(nearest.transform(Xs=start), end),
        ),
        "mixture": (energy_distance(mixture(X, Y, s, len(X), rng), truth), np.nan),
        "day before": (energy_distance(X, truth), energy_distance(start, end)),
        "day after": (energy_distance(Y, truth), np.nan),
        "floor": (energy_distance(half[:n], half[n:]), energy_distance(Y, end)),
        "s": (seconds, seconds),
    }


def print_cells(options: argparse.Namespace) -> None:
    days = {day: np.load(Path(options.folder) / f"f50_{day}.npy").astype(float) for day in (2, 3, 4, 7)}
    print("\nEnergy distance at the left-out day, and of the images of held-out cells at the day after.\n")
    columns = ["trajectory", "affine", "POT", "mixture", "day before", "day after", "floor", "s"]
    print(heading(["days", "at", *columns]), flush=True)
    found = {
        middle: [left_out(days, middle, options.max_iter, seed) for seed in options.cell_seeds] for middle in LEFT_OUT
    }
    for k in (0, 1):
        for middle, (before, after) in LEFT_OUT.items():
            values = {each: [run[each][k] for run in found[middle]] for each in columns}
            cells = ["" if np.isnan(values[each][0]) else median_and_range(values[each], ".3f") for each in columns]
            print(row([f"{before}, {after}", (middle, after)[k], *cells]), flush=True)


def clones(t: float, n: int, rng: np.random.Generator) -> tuple[Rows, Rows]:
    """Rows at time t of two far clones that drift, and their weights, which grow as exp(t / 2) and exp(-t / 4)."""
    is_first = np.arange(n) < n // 2
    rows = rng.normal(size=(n, 2)) + np.where(is_first, 6, -6)[:, None] + [t, 0]
    return rows, np.where(is_first, np.exp(t / 2), np.exp(-t / 4)) / n


def growth(max_iter: int, seed: int, reg: float) -> dict[str, list[float]]:
    """Largest errors of the masses at four times, in percent: of both clones together, and of one of them."""
    rng = np.random.default_rng(seed)
    samples, weights = zip(*(clones(t, 2000, rng) for t in (0, 1, 2)), strict=True)
    penalties = {"unbalanced": "kl", "reg_marginal_source": reg, "reg_marginal_target": reg}
    trajectory = TrajectoryTransport(SNOTTransport(**penalties, max_iter=max_iter, random_state=seed))
    trajectory.fit(samples, time=[0, 1, 2], sample_weight=weights)
    errors: dict[str, list[float]] = {}
    for name, rows in (("rows of the fit", samples[0]), ("new rows", clones(0, 10_000, rng)[0])):
        is_first = rows[:, 0] > 0
        for t in (0.5, 1, 1.5, 2):
            masses = trajectory.growth(rows, t) / len(rows)
            found, exact = (masses[is_first].sum(), masses[~is_first].sum()), (np.exp(t / 2) / 2, np.exp(-t / 4) / 2)
            errors.setdefault(f"both, {name}", []).append(100 * abs(sum(found) / sum(exact) - 1))
            worst = max(abs(mass / true - 1) for mass, true in zip(found, exact, strict=True))
            errors.setdefault(f"one clone, {name}", []).append(100 * worst)
    return errors


def print_growth(options: argparse.Namespace) -> None:
    print("\nLargest errors of the masses of two growing clones at the times 0.5, 1, 1.5 and 2, in percent.\n")
    runs = {reg: [growth(options.max_iter, seed, reg) for seed in options.seeds] for reg in (30.0, 5.0)}
    columns = list(runs[30.0][0])
    print(heading(["penalty", *columns]), flush=True)
    for reg, found in runs.items():
        print(
            row([reg, *(median_and_range([max(each[name]) for each in found], ".1f") for name in columns)]), flush=True
        )


TABLES = {"branching": print_branching, "growth": print_growth, "cells": print_cells}


def main() -> None:
    parser = make_parser(__doc__, "one seed, d = 2, 20 steps, no cells")
    parser.add_argument("--folder", help="folder with the single-cell arrays")
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=list(TABLES))
    parser.add_argument("--dims", type=int, nargs="+", default=[2, 8])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of branches and clones")
    parser.add_argument("--cell-seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4], help="of the single cells")
    parser.add_argument("--rows", type=int, default=4000, help="rows of each sample of the branching process")
    parser.add_argument("--max-iter", type=int, default=600, help="steps of each fit")
    options = parser.parse_args()
    if options.quick:
        options.dims, options.seeds, options.max_iter, options.folder = [2], [0], 20, None
        print("Fits of 20 steps: the figures are meaningless.")
    for name in options.tables:
        if name != "cells" or options.folder:
            TABLES[name](options)


if __name__ == "__main__":
    main()
