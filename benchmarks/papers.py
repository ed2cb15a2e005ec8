"""The experiments of the papers on spurious solutions, measured again.

python benchmarks/papers.py --experiment recovery    # one of the tables of benchmarks/papers.md
python benchmarks/papers.py --quick                  # do all of them run? (make bench)
python benchmarks/papers.py --show                   # tables from build/papers; figures to benchmarks/results

Every fit of one table has the same number of steps. A run appends each result to a CSV file and skips the results that
the file already has.
"""

import csv
import itertools
import statistics
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from common import make_parser
from joblib import Parallel, delayed
from paper_tables import FIGURES, Results, convergence_table, scores_table
from sklearn.exceptions import ConvergenceWarning
from thin_sets import families

from neuralot import CriticLoss, Optimizer, OTPTransport, SNOTTransport
from neuralot.datasets import (
    TransportPair,
    make_multi_perpendicular,
    make_one_to_many,
    make_parallel,
    make_perpendicular,
)
from neuralot.estimators.base import BaseTransport
from neuralot.metrics import d_cost, d_target, exact_cost, spread_ratio, target_floor
from neuralot.solve import Status

N_FIT, N_SCORE, N_PAIRS = 4096, 1000, 3
# rows and draws of each for the error of the plan
N_ROWS, N_DRAWS = 64, 128
# draws at each record of a fit
N_ALONG = 1024
LEVELS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.25, 0.5)

Result = dict[str, object]
FLOORS: dict[tuple[str, int, int], float] = {}


def plain(n_map_steps: int = 10) -> dict[str, object]:
    """The objective of the papers: no regularisation, a free network."""
    return {
        "map_form": "network",
        "critic_loss": CriticLoss(expectile_weight=0.0),
        "optimizer": Optimizer("adam", weight_decay=0.0, n_map_steps=n_map_steps),
        "learning_rate_init": 1e-3,
        "batch_size": 256,
    }


PLAIN_OTP = {"noise_shape": "isotropic", "schedule": "linear", "eps_max": 0.25, "eps_min": 0.05}


class Annealed(OTPTransport):
    """OTP whose noise falls during another share of the fit."""

    share = 0.7

    def _method(self, n_features, params, cost, generator):
        params.anneal_fraction = self.share
        return super()._method(n_features, params, cost, generator)


def annealed(share: float, **params: object) -> OTPTransport:
    transport = Annealed(**params)
    transport.share = share
    return transport


@dataclass(frozen=True)
class Task:
    """One fit: `key` names its row, and `make` builds the transport."""

    key: dict[str, object]
    pair: Callable[[], TransportPair]
    make: Callable[[int], BaseTransport]
    seed: int
    n_fit: int = N_FIT
    along: bool = False  # whether to measure at every record of the fit
    constants: dict[str, object] = field(default_factory=dict)


# scores


def plan_error(pair: TransportPair, X: np.ndarray, draws: np.ndarray, rng: np.random.Generator) -> float:
    """Mean over rows of the squared W2 distance between drawn and exact conditional laws.

    `draws` has the shape (n_draws, n_rows, n_features). An exact conditional law here is uniform on at most two points.
    """
    exact = np.stack([pair.exact_plan(X, rng) for _ in range(N_DRAWS)])
    return statistics.mean(exact_cost(draws[:, i], np.unique(exact[:, i], axis=0)) for i in range(len(X)))


def fit(transport: BaseTransport, X: np.ndarray, Y: np.ndarray) -> float:
    """Fit without warnings, and return the seconds of the processor, of one thread."""
    start = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.filterwarnings("ignore", category=UserWarning)
        transport.fit(X, Y)
    return time.process_time() - start


def floor_of(pair: TransportPair, n_score: int) -> float:
    key = pair.name, pair.n_features, n_score
    if key not in FLOORS:
        FLOORS[key] = target_floor(pair.target, n=n_score, n_pairs=2 * N_PAIRS, random_state=0).mean
    return FLOORS[key]


def score(task: Task, n_score: int) -> list[Result]:
    pair, seed = task.pair(), task.seed
    X_fit, Y_fit = pair.sample(task.n_fit, random_state=seed)
    X, Y = pair.sample(N_PAIRS * n_score, random_state=1000 + seed)
    transport, rng = task.make(seed), np.random.default_rng(seed)
    if task.along:
        return follow(task, pair, transport, (X_fit, Y_fit), X[: N_ROWS // 2])
    seconds = fit(transport, X_fit, Y_fit)
    draws = np.asarray(transport.sample(X, random_state=seed)[0], dtype=float)
    varying = Y.std(axis=0) > 0
    result = {
        **task.key,
        **task.constants,
        "d": pair.n_features,
        "seed": seed,
        "D_target": statistics.mean(map(d_target, np.split(draws, N_PAIRS), np.split(Y, N_PAIRS))),
        "floor": floor_of(pair, n_score),
        "D_cost": d_cost(X, draws, pair.cost),
        "exact cost": pair.cost,
        "variance": pair.target_variance,
        "spread": spread_ratio(draws[:, varying], Y[:, varying]).min(),
        "plan error": "",
        "plan floor": "",
        "seconds": seconds,
        "steps": transport.n_iter_,
        "diverged": int(transport.status_ in (Status.DIVERGED, Status.FAILED)),
        "affine": int("affine" in transport.history_[-1]),
        "eps_min": getattr(transport, "eps_min_", ""),
    }
    if pair.exact_plan is not None:
        rows = X[:N_ROWS]
        drawn = np.asarray(transport.sample(rows, N_DRAWS, random_state=seed), dtype=float)
        result["plan error"] = plan_error(pair, rows, drawn, rng)
        exact = np.stack([pair.exact_plan(rows, rng) for _ in range(N_DRAWS)])
        result["plan floor"] = plan_error(pair, rows, exact, rng)
    return [result]


def follow(
    task: Task, pair: TransportPair, transport: BaseTransport, laws: tuple[np.ndarray, np.ndarray], X: np.ndarray
) -> list[Result]:
    """Error of the plan at every record of the fit, with the noise of that moment."""
    first = task.make(task.seed).set_params(max_iter=1)
    fit(first, *laws)
    units, results = first.units_, []
    x = torch.from_numpy(units.from_source(X).astype(np.float32)).repeat(N_ALONG, 1)

    def measure(step: int, problem, record) -> bool:
        generator, rng = torch.Generator().manual_seed(0), np.random.default_rng(0)
        with torch.no_grad():
            drawn = problem.draw(x, generator, record["progress"]).double().numpy()
        draws = units.to_target(drawn, np.tile(X, (N_ALONG, 1))).reshape(N_ALONG, *X.shape)
        error = plan_error(pair, X, draws, rng)
        results.append({**task.key, "seed": task.seed, "step": step, "eps": record["eps"], "plan error": error})
        return False

    rng = np.random.default_rng(0)
    exact = np.stack([pair.exact_plan(X, rng) for _ in range(N_ALONG)])
    floor = plan_error(pair, X, exact, rng)
    seconds = fit(transport.set_params(callbacks=[measure]), *laws)
    return [result | {"plan floor": floor, "seconds": seconds} for result in results]


# experiments


def recovery(seeds: list[int], dims: list[int], n_steps: int) -> Iterator[Task]:
    """The pairs of the first paper, in any dimension."""
    pairs = (make_perpendicular, make_parallel, make_one_to_many, make_multi_perpendicular)
    steps = {"max_iter": n_steps}
    methods: dict[str, Callable[[int, int], BaseTransport]] = {
        "OTM": lambda d, seed: SNOTTransport(random_state=seed, **plain(), **steps),
        "OTM-s": lambda d, seed: SNOTTransport(random_state=seed, noise_dim=d, **plain(), **steps),
        "OTP, plain": lambda d, seed: OTPTransport(random_state=seed, **plain(), **PLAIN_OTP, **steps),
        "OTP, ours": lambda d, seed: OTPTransport(random_state=seed, **steps),
    }
    for seed, d, make, (name, method) in itertools.product(seeds, dims, pairs, methods.items()):
        key = {"pair": make.__name__.removeprefix("make_"), "d": d, "method": name}
        yield Task(key, lambda make=make, d=d: make(d), lambda s, m=method, d=d: m(d, s), seed)


def ablation(seeds: list[int], dims: list[int], n_steps: int) -> Iterator[Task]:
    """One parameter at a time, from our defaults and from the papers' settings."""
    eps_min = [("eps_min", v, 0.7, {"eps_min": v, "eps_max": max(v, 0.25)}) for v in LEVELS]
    changes = [
        *eps_min,
        *(("schedule", v, 0.7, {"schedule": v}) for v in ("geometric", "linear", "vp")),
        *(("anneal_fraction", v, v, {}) for v in (0.05, 0.4, 0.7, 1.0)),
    ]
    papers = plain() | PLAIN_OTP
    cases = [("ours", *change) for change in changes]
    cases += [("ours", "K_T", k, 0.7, {"optimizer": Optimizer(n_map_steps=k)}) for k in (1, 2, 5, 10)]
    cases += [("plain", *change, papers | params) for *change, params in changes]
    cases += [("plain", "K_T", k, 0.7, plain(k) | PLAIN_OTP) for k in (1, 2, 5, 10, 20)]
    pairs = (make_one_to_many, make_multi_perpendicular)
    for seed, d, make, (base, name, value, share, params) in itertools.product(seeds, dims, pairs, cases):
        key = {"pair": make.__name__.removeprefix("make_"), "d": d, "base": base, "parameter": name, "value": value}
        arguments = params | {"max_iter": n_steps}
        yield Task(
            key,
            lambda make=make, d=d: make(d),
            lambda s, share=share, a=arguments: annealed(share, random_state=s, **a),
            seed,
        )


def dimension(seeds: list[int], dims: list[int], n_steps: int) -> Iterator[Task]:
    """Sources of any Hausdorff dimension."""
    steps = {"max_iter": n_steps}
    methods: dict[str, Callable[[int], BaseTransport]] = {
        "SNOT, plain": lambda seed: SNOTTransport(random_state=seed, **plain(), **steps),
        "SNOT, ours": lambda seed: SNOTTransport(random_state=seed, **steps),
        "OTP, ours": lambda seed: OTPTransport(random_state=seed, **steps),
    }
    for seed, each, (name, method) in itertools.product(seeds, families(), methods.items()):
        constants = {"dimension": each.s, "saddle points": each.saddles}
        yield Task({"pair": each.name, "method": name}, each.make, method, seed, constants=constants)


def convergence(seeds: list[int], dims: list[int], n_steps: int) -> Iterator[Task]:
    """The whole run, with eps far below its default."""
    levels = {"max_iter": n_steps, "eps_max": 0.25, "eps_min": 0.002}
    methods = {
        "OTP, ours": levels,
        "OTP, plain": plain() | {"noise_shape": "isotropic", "schedule": "geometric"} | levels,
    }
    for (name, params), seed, make in itertools.product(methods.items(), seeds, (make_one_to_many, make_parallel)):
        if name == "OTP, plain" and make is make_parallel:
            continue
        key = {"pair": make.__name__.removeprefix("make_"), "method": name}
        yield Task(key, make, lambda s, p=params: annealed(1.0, random_state=s, **p), seed, along=True)


def make_curved_split(m: int, d: int = 256) -> TransportPair:
    """An m-dimensional curved set in d - 1 coordinates, split along the last."""
    rng = np.random.default_rng(m)
    frequencies = rng.normal(size=(m, d - 1)) * 0.7
    phases = rng.uniform(0, 2 * np.pi, d - 1)

    def source(n: int, rng: np.random.Generator) -> np.ndarray:
        features = np.cos(rng.uniform(-1, 1, size=(n, m)) @ frequencies * np.pi / 2 + phases)
        return np.column_stack([features * np.sqrt(2 * m / (d - 1)), np.zeros(n)])

    last = np.eye(d)[-1]

    def plan(X: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return X + rng.choice([-1.0, 1.0], size=(len(X), 1)) * last

    Y = plan(source(20_000, np.random.default_rng(0)), np.random.default_rng(1))
    return TransportPair(
        name=f"curved_split_{m}",
        n_features=d,
        source=source,
        target=lambda n, rng: plan(source(n, rng), rng),
        exact_plan=plan,
        cost=1.0,
        target_variance=float(Y.var(axis=0).sum()),
    )


def intrinsic(seeds: list[int], dims: list[int], n_steps: int) -> Iterator[Task]:
    """Last noise level against sample size and intrinsic dimension, d = 256."""
    levels = (0.001, 0.01, 0.04, 0.25, "auto")
    for seed, m, n, level in itertools.product(seeds, (2, 4, 8), (512, 4096), levels):
        yield Task(
            {"m": m, "n": n, "level": level},
            lambda m=m: make_curved_split(m, max(dims)),
            lambda s, level=level: OTPTransport(eps_min=level, max_iter=n_steps, random_state=s),
            seed,
            n_fit=n,
        )


@dataclass(frozen=True)
class Experiment:
    tasks: Callable[[list[int], list[int], int], Iterable[Task]]
    dims: list[int]
    n_steps: int
    by: tuple[str, ...]
    seeds: list[int] = field(default_factory=lambda: [30, 31, 32])  # no default was tuned on them
    n_score: int = N_SCORE
    table: Callable[[Results, tuple[str, ...]], str] = scores_table


EXPERIMENTS = {
    "recovery": Experiment(recovery, [2, 4, 16, 64, 256], 600, ("pair", "d", "method")),
    "ablation": Experiment(ablation, [2], 600, ("pair", "base", "parameter", "value")),
    "dimension": Experiment(dimension, [2], 600, ("dimension", "saddle points", "pair", "method")),
    "convergence": Experiment(
        convergence, [2], 600, ("pair", "method"), seeds=list(range(30, 40)), table=convergence_table
    ),
    "intrinsic": Experiment(intrinsic, [256], 300, ("m", "n", "level")),
}


# results


def read(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def append(path: Path, results: list[Result]) -> None:
    """Append results, so that an interrupted run keeps them."""
    is_new = not path.exists()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, list(results[0]))
        if is_new:
            writer.writeheader()
        writer.writerows(results)


def run(experiment: Experiment, path: Path | None, seeds: list[int], dims: list[int], only: str, jobs: int) -> Results:
    """Run the tasks that `path` does not hold, and return all results."""
    found = read(path) if path else []
    missing = []
    for task in experiment.tasks(seeds, dims, experiment.n_steps):
        key = {name: str(value) for name, value in (task.key | {"seed": task.seed}).items()}
        if only in key.values() or not only:
            missing += [] if any(key.items() <= result.items() for result in found) else [task]
    for results in Parallel(jobs, return_as="generator")(delayed(score)(task, experiment.n_score) for task in missing):
        if path:
            append(path, results)
            print(list(results[-1].values()), flush=True)
        found += [{name: str(value) for name, value in result.items()} for result in results]
    return found


def quick(experiment: Experiment) -> Experiment:
    """Three of the tasks, with few steps and rows, in at most 16 dimensions."""

    def tasks(seeds: list[int], dims: list[int], n_steps: int) -> Iterable[Task]:
        every = list(experiment.tasks(seeds, dims, n_steps))
        return [replace(each, n_fit=300) for each in every[:: max(1, len(every) // 3)]]

    dims = [min(16, min(experiment.dims))]
    return replace(experiment, tasks=tasks, dims=dims, seeds=experiment.seeds[:1], n_steps=20, n_score=100)


def main() -> None:
    parser = make_parser(__doc__, "one seed, and a few tasks with few steps and rows")
    parser.add_argument("--experiment", choices=list(EXPERIMENTS), nargs="+", default=list(EXPERIMENTS))
    parser.add_argument("--dims", type=int, nargs="+")
    parser.add_argument("--seeds", type=int, nargs="+")
    parser.add_argument("--only", default="", help="a method, pair or parameter")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=Path("build/papers"), help="folder of the CSV files")
    parser.add_argument("--show", action="store_true", help="run nothing")
    args = parser.parse_args()
    if args.quick:
        print("Fits of 20 steps and small samples: the figures are meaningless.")
    for name in args.experiment:
        each = quick(EXPERIMENTS[name]) if args.quick else EXPERIMENTS[name]
        path = None if args.quick else args.folder / f"{name}.csv"
        if args.show:
            results = read(args.folder / f"{name}.csv")
            if not results:
                print(f"\n{args.folder / name}.csv has no results")
                continue
        else:
            results = run(each, path, args.seeds or each.seeds, args.dims or each.dims, args.only, args.jobs)
        print(f"\n{name}\n\n{each.table(results, each.by)}", flush=True)
        if args.show and name in FIGURES:
            FIGURES[name](results, Path(__file__).parent / "results" / f"papers_{name}.png")


if __name__ == "__main__":
    main()
