"""Are masses right if they may change, and what does that cure? Against exact answers and POT.

python benchmarks/unbalanced.py                  # the tables of benchmarks/results/unbalanced.md
python benchmarks/unbalanced.py --quick          # does it run? (make bench)
"""

import warnings
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import ot
from common import heading, make_parser, median_and_range, row, timed
from sklearn.svm import SVC

from neuralot import OTPTransport, SNOTTransport
from neuralot.datasets import make_unbalanced_gaussians

N_HELD_OUT = 4000
POT_ITERATIONS = 500
# of two clusters whose centres are 8 apart: a sixth of the mass moves from one to the other
BALANCED_COST = 8**2 / 6
STEPS_OF_MASSES, STEPS_OF_CURES, STEPS_WHEN_QUICK = 1000, 400, 60
NEURAL = {"neuralot SNOT": SNOTTransport, "neuralot OTP": OTPTransport}
METHODS = [*NEURAL, "POT, 1000 rows"]


class Answer(NamedTuple):
    """Masses of held-out source rows, cost of the plan, and images of these rows."""

    mass: np.ndarray
    cost: float
    images: np.ndarray


# exact masses


def pot_plan(X: np.ndarray, Y: np.ndarray, kind: str, reg: float) -> tuple[np.ndarray, float]:
    """POT's plan between equally weighted rows, and its cost; ``'chi2'`` is a multiple of POT's ``'l2'``."""
    a, b = np.full(len(X), 1 / len(X)), np.full(len(Y), 1 / len(Y))
    costs, factor = ot.dist(X, Y), 1 if kind == "kl" else 2 * len(X)
    div = "kl" if kind == "kl" else "l2"
    plan = ot.unbalanced.mm_unbalanced(a, b, costs, factor * reg, div=div, numItermax=POT_ITERATIONS)
    return plan, float((plan * costs).sum())


def nearest(known: np.ndarray, rows: np.ndarray) -> np.ndarray:
    return ot.dist(rows, known).argmin(axis=1)


def solve_pot(X: np.ndarray, Y: np.ndarray, held_out: np.ndarray, kind: str, reg: float) -> Answer:
    """POT on 1000 rows; a held-out row has the mass and the displacement of the nearest one."""
    X, Y = X[:1000], Y[:1000]
    plan, cost = pot_plan(X, Y, kind, reg)
    mass = plan.sum(axis=1)
    shifts = plan @ Y / np.maximum(mass, 1e-300)[:, None] - X
    found = nearest(X, held_out)
    return Answer(len(X) * mass[found], cost, held_out + shifts[found])


def solve_neural(cls: type, max_iter: int, seed: int) -> Callable[..., Answer]:
    def solve(X: np.ndarray, Y: np.ndarray, held_out: np.ndarray, kind: str, reg: float) -> Answer:
        regs = {"reg_marginal_source": reg, "reg_marginal_target": reg}
        transport = cls(unbalanced=kind, max_iter=max_iter, random_state=seed, **regs).fit(X, Y)
        return Answer(transport.source_mass(held_out), transport.transport_cost_, transport.transform(held_out))

    return solve


def gaussians(
    d: int, reg: float, seed: int, kind: str, n_rows: int = 4096
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float, Answer]:
    """Rows, held-out rows, penalty and exact answer between two Gaussians."""
    pair = make_unbalanced_gaussians(d, reg, shift=2.0)
    (X, Y), held_out = pair.sample(n_rows, random_state=seed), pair.sample(N_HELD_OUT, random_state=seed + 1000)[0]
    return X, Y, held_out, reg, Answer(pair.source_mass(held_out), pair.cost, pair.exact_map(held_out))


def clusters(_: int, reg: float, seed: int, kind: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, float, Answer]:
    """Two far clusters with shares 1/2 and 2/3 of their laws: no mass crosses, and no row moves."""
    rng = np.random.default_rng(seed)

    def draw(n: int, share: float) -> tuple[np.ndarray, np.ndarray]:
        is_left = rng.random(n) < share
        return 0.3 * rng.normal(size=(n, 2)) + np.where(is_left[:, None], [-4, 0], [4, 0]), is_left

    (X, _), (Y, _), (held_out, is_left) = draw(4096, 1 / 2), draw(4096, 2 / 3), draw(N_HELD_OUT, 1 / 2)
    # psi'(s) + psi'(t) = 0 with s / t = b / a for a cluster of mass a in the source and b in the target
    ratio = np.where(is_left, 4 / 3, 2 / 3)
    mass = np.sqrt(ratio) if kind == "kl" else 2 / (1 + 1 / ratio)
    return X, Y, held_out, reg, Answer(mass, 0.0, held_out)


CASES = {
    "Gaussians, d = 2, kl": (gaussians, 2, 4.0, "kl"),
    "Gaussians, d = 16, kl": (gaussians, 16, 8.0, "kl"),
    "Gaussians, d = 16, kl, 16 384 rows": (partial(gaussians, n_rows=16_384), 16, 8.0, "kl"),
    "two clusters, kl": (clusters, 2, 2.0, "kl"),
    "two clusters, chi2": (clusters, 2, 2.0, "chi2"),
}


def show_masses(cases: list[str], methods: list[str], seeds: list[int], max_iter: int) -> None:
    print(heading(["case", "method", "error of masses, %", "error of cost, %", "error of map, %", "s"]), flush=True)
    for name in cases:
        make, d, reg, kind = CASES[name]
        for method in methods:
            cells: list[list[float]] = [[], [], [], []]
            for seed in seeds:
                X, Y, held_out, penalty, exact = make(d, reg, seed, kind)
                solve = solve_neural(NEURAL[method], max_iter, seed) if method in NEURAL else solve_pot
                with warnings.catch_warnings(action="ignore"):
                    found, seconds = timed(lambda: solve(X, Y, held_out, kind, penalty))  # noqa: B023
                squares = ((found.images - exact.images) ** 2).sum(axis=1)
                errors = (
                    np.abs(found.mass - exact.mass).mean() / exact.mass.mean(),
                    abs(found.cost - exact.cost) / (exact.cost or BALANCED_COST),
                    np.average(squares, weights=exact.mass) / Y.var(axis=0).sum(),
                )
                for cell, value in zip(cells, (*(100 * error for error in errors), seconds), strict=True):
                    cell.append(value)
            forms = (".1f", ".1f", ".2f", ".0f")
            texts = [median_and_range(cell, form) for cell, form in zip(cells, forms, strict=True)]
            print(row([name, method, *texts]), flush=True)


# cures


class Task(NamedTuple):
    """Rows, a function of images and masses of the source rows (the figure of the table), and the penalty."""

    X: np.ndarray
    Y: np.ndarray
    judge: Callable[[np.ndarray, np.ndarray], float]
    reg: float | str = "auto"


def one_row(rng: np.random.Generator) -> Task:
    """Root mean square distance per column of the images of other rows from those of the exact balanced map, in sd."""
    X, Y = rng.normal(size=(1000, 2)), rng.normal(size=(1000, 2)) + 0.5
    truth = X[1:] + 0.5
    X[0] = 9999
    return Task(X, Y, lambda images, mass: float(np.sqrt(((images[1:] - truth) ** 2).mean())), 20.0)


def far_rows(rng: np.random.Generator) -> Task:
    """The same with 5 % of the rows in a cluster far away."""
    X, Y = rng.normal(size=(1000, 2)), rng.normal(size=(1000, 2)) + 0.5
    truth = X[50:] + 0.5
    X[:50] += [15, 0]
    return Task(X, Y, lambda images, mass: float(np.sqrt(((images[50:] - truth) ** 2).mean())), 20.0)


def label_shift(rng: np.random.Generator) -> Task:
    """Accuracy of a classifier on new target rows; 50 % of the source and 90 % of the target are in the first class."""
    root = np.linalg.cholesky([[1, 0.95], [0.95, 1]])

    def draw(share: float, shift: float) -> tuple[np.ndarray, np.ndarray]:
        y = (rng.random(1000) > share).astype(int)
        return rng.normal(size=(1000, 2)) @ root.T + np.outer(y, [5, 0]) + [0, shift], y

    (X, y), (Y, _), (new, truth) = draw(0.5, 0), draw(0.9, -3), draw(0.9, -3)
    return Task(X, Y, lambda images, mass: float(SVC().fit(images, y, sample_weight=mass).score(new, truth)))


def dying_type(rng: np.random.Generator) -> Task:
    """Share of the plan's mass on images of their own type; the third of three types dies out, and all drift."""
    centres = 4 * np.eye(5)[:3]
    types, after = rng.choice(3, 1000, p=[0.4, 0.4, 0.2]), rng.choice(2, 1000)
    drift = np.array([0, 0, 0, 1, 1])
    X, Y = (centres[of] + 0.5 * rng.normal(size=(1000, 5)) for of in (types, after))
    judge = lambda images, mass: float(np.average(nearest(centres + drift, images) == types, weights=mass))  # noqa: E731
    return Task(X, Y + drift, judge)


TASKS = {
    "one row at 9999: error, sd": one_row,
    "5 % far away: error, sd": far_rows,
    "label shift: accuracy": label_shift,
    "a type dies: mass on own type": dying_type,
}


def penalty(task: Task) -> float:
    """Penalty of a task for POT."""
    if not isinstance(task.reg, str):
        return task.reg
    return SNOTTransport(unbalanced="kl", max_iter=1, random_state=0).fit(task.X, task.Y).reg_marginal_source_


def transported(method: str, task: Task, max_iter: int, seed: int) -> float:
    """Figure of a method on a task; all unbalanced methods have the same penalty."""
    ones = np.ones(len(task.X))
    if method == "no transport":
        return task.judge(task.X, ones)
    if method == "POT exact":
        plan = ot.emd([], [], ot.dist(task.X, task.Y))
        return task.judge(len(task.X) * plan @ task.Y, ones)
    if method == "POT unbalanced":
        plan, _ = pot_plan(task.X, task.Y, "kl", penalty(task))
        mass = plan.sum(axis=1)
        has_mass = mass > 1e-12
        images = np.where(has_mass[:, None], plan @ task.Y / np.maximum(mass, 1e-300)[:, None], task.X)
        return task.judge(images, len(task.X) * mass)
    cls, kind = NEURAL[method.removesuffix(", kl")], "kl" if method.endswith("kl") else None
    regs = dict.fromkeys(["reg_marginal_source", "reg_marginal_target"], "auto" if kind is None else task.reg)
    transport = cls(unbalanced=kind, max_iter=max_iter, random_state=seed, **regs).fit(task.X, task.Y)
    return task.judge(transport.transform(task.X), transport.source_mass(task.X))


def show_cures(seeds: list[int], max_iter: int) -> None:
    print(heading(["method", *TASKS]), flush=True)
    for method in ("no transport", "POT exact", "POT unbalanced", *NEURAL, *(f"{name}, kl" for name in NEURAL)):
        cells = []
        for make in TASKS.values():
            with warnings.catch_warnings(action="ignore"):
                figures = [transported(method, make(np.random.default_rng(seed)), max_iter, seed) for seed in seeds]
            cells.append(median_and_range(figures, ".3f"))
        print(row([method, *cells]), flush=True)


def main() -> None:
    parser = make_parser(__doc__, "one seed and few steps")
    parser.add_argument("--seeds", type=int, nargs="+", default=[10, 11, 12])
    parser.add_argument("--tables", nargs="+", choices=["masses", "cures"], default=["masses", "cures"])
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS, help="of the table of masses")
    options = parser.parse_args()
    seeds = options.seeds[:1] if options.quick else options.seeds
    steps = {"masses": STEPS_OF_MASSES, "cures": STEPS_OF_CURES}
    if options.quick:
        steps = dict.fromkeys(steps, STEPS_WHEN_QUICK)
        options.cases = [name for name in options.cases if "d = 16" not in name]
    if "masses" in options.tables:
        show_masses(options.cases, options.methods, seeds, steps["masses"])
        print(flush=True)
    if "cures" in options.tables:
        show_cures(seeds, steps["cures"])


if __name__ == "__main__":
    main()
