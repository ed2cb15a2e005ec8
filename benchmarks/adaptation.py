"""Does a transport help a classifier over to another domain? Accuracy on target rows that no fit has seen.

python benchmarks/adaptation.py                  # the table of benchmarks/README.md
python benchmarks/adaptation.py --development    # other tasks, to choose settings on without those of the table
python benchmarks/adaptation.py --quick          # does it run? (make bench)
"""

import statistics
import warnings
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import ot
from common import heading, parser_of, row, timed
from scipy.ndimage import gaussian_filter, shift
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine, make_classification, make_moons
from sklearn.decomposition import PCA
from sklearn.model_selection import KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from neuralot import DomainAdapter, OTPTransport, SNOTTransport
from neuralot.estimators.base import BaseTransport

CLASSIFIER = make_pipeline(StandardScaler(), SVC())
STEPS, STEPS_WHEN_QUICK = 600, 60


class Task(NamedTuple):
    """Source rows and labels, target rows to fit on, and target rows and labels to score on."""

    X: np.ndarray
    y: np.ndarray
    target: np.ndarray
    held_out: np.ndarray
    truth: np.ndarray


def moons(rng: np.random.Generator) -> Task:
    """Two moons, and others turned by 30 degrees."""
    (X, y), (target, _), (held_out, truth) = (
        make_moons(n, noise=0.1, random_state=int(rng.integers(2**31))) for n in (400, 400, 1000)
    )
    turn = np.array([[np.cos(np.pi / 6), np.sin(np.pi / 6)], [-np.sin(np.pi / 6), np.cos(np.pi / 6)]])
    return Task(X, y, target @ turn, held_out @ turn, truth)


def affine(rng: np.random.Generator) -> Task:
    """Ten principal components of digits, and others under a positive-definite map and a shift."""
    rows, labels = load_digits(return_X_y=True)
    rows = PCA(10, random_state=0).fit_transform(rows) / 10
    return in_thirds(rows, labels, positive_definite(10, rng), rng)


def positive_definite(d: int, rng: np.random.Generator) -> Callable[[np.ndarray], np.ndarray]:
    axes = np.linalg.qr(rng.normal(size=(d, d)))[0]
    matrix, offset = axes @ np.diag(np.exp(rng.uniform(-1, 1, d))) @ axes.T, 2 * rng.normal(size=d)
    return lambda rows: rows @ matrix + offset


def blurred(rng: np.random.Generator) -> Task:
    """Digits, and others blurred, moved by .8 of a pixel and dimmed."""

    def change(rows: np.ndarray) -> np.ndarray:
        images = [0.6 * shift(gaussian_filter(row.reshape(8, 8), 0.6), (0.8, 0), order=1) for row in rows]
        return np.stack(images).reshape(-1, 64)

    return in_thirds(*load_digits(return_X_y=True), change, rng)


def batches(rng: np.random.Generator) -> Task:
    """Wines, and others with a gain, an offset and noise in every column."""
    return in_batches(*load_wine(return_X_y=True), rng)


def in_batches(rows: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> Task:
    rows = StandardScaler().fit_transform(rows)
    gain, offset = np.exp(0.4 * rng.normal(size=rows.shape[1])), rng.normal(size=rows.shape[1])
    return in_thirds(rows, labels, lambda rows: rows * gain + offset + 0.1 * rng.normal(size=rows.shape), rng)


def in_thirds(rows: np.ndarray, labels: np.ndarray, change: Callable, rng: np.random.Generator) -> Task:
    """A third for the source, one for the target, one to score on."""
    source, target, held_out = np.array_split(rng.permutation(len(rows)), 3)
    return Task(rows[source], labels[source], change(rows[target]), change(rows[held_out]), labels[held_out])


def cancer(rng: np.random.Generator) -> Task:
    """Tumours, and others with a gain, an offset and noise in every column."""
    return in_batches(*load_breast_cancer(return_X_y=True), rng)


def iris(rng: np.random.Generator) -> Task:
    """Irises, and others under a positive-definite map and a shift."""
    rows, labels = load_iris(return_X_y=True)
    return in_thirds(StandardScaler().fit_transform(rows), labels, positive_definite(4, rng), rng)


def bent(rng: np.random.Generator) -> Task:
    """Clusters, and others along the gradient of a convex function, which is not affine."""
    return in_thirds(*clusters(rng), lambda rows: rows + 2 * np.tanh(rows) + 1, rng)


def turned(rng: np.random.Generator) -> Task:
    """Clusters, and others turned by 20 degrees in a random plane and moved: no optimal map."""
    rows, labels = clusters(rng)
    first, second = np.linalg.qr(rng.normal(size=(6, 2)))[0].T
    plane, swap = np.outer(first, first) + np.outer(second, second), np.outer(first, second) - np.outer(second, first)
    turn = np.eye(6) + (np.cos(np.pi / 9) - 1) * plane + np.sin(np.pi / 9) * swap
    return in_thirds(rows, labels, lambda rows: rows @ turn + 1, rng)


def clusters(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Six clusters in three classes and six dimensions."""
    seed = int(rng.integers(2**31))
    return make_classification(1200, 6, n_informative=6, n_redundant=0, n_classes=3, class_sep=2.0, random_state=seed)


TASKS = {"moons": moons, "digits, affine": affine, "digits, blurred": blurred, "wine, batches": batches}
DEVELOPMENT = {"cancer, batches": cancer, "iris, affine": iris, "clusters, bent": bent, "clusters, turned": turned}


# of a task, with a seed and the steps of our fits
Score = Callable[[Task, int, int], float]


def of_source(task: Task, seed: int, max_iter: int) -> float:
    return clone(CLASSIFIER).fit(task.X, task.y).score(task.held_out, task.truth)


def of_pot(make: Callable[[], ot.da.BaseTransport], direction: str, self_training: bool = False) -> Score:
    def score(task: Task, seed: int, max_iter: int) -> float:
        if direction == "source_to_target":
            rows, labels = make().fit(Xs=task.X, Xt=task.target).transform(Xs=task.X), task.y
            if self_training:
                guessed = clone(CLASSIFIER).fit(rows, labels).predict(task.target)
                rows, labels = np.concatenate([rows, task.target]), np.concatenate([labels, guessed])
            return clone(CLASSIFIER).fit(rows, labels).score(task.held_out, task.truth)
        images = make().fit(Xs=task.target, Xt=task.X).transform(Xs=task.held_out)
        return clone(CLASSIFIER).fit(task.X, task.y).score(images, task.truth)

    return score


def of_coral(task: Task, seed: int, max_iter: int) -> float:
    from skada import CORALAdapter, make_da_pipeline

    domains = np.repeat([1, -1], [len(task.X), len(task.target)])
    rows, labels = np.vstack([task.X, task.target]), np.concatenate([task.y, np.full(len(task.target), -1)])
    pipe = make_da_pipeline(CORALAdapter(), StandardScaler(), SVC()).fit(rows, labels, sample_domain=domains)
    return pipe.score(task.held_out, task.truth)


def of_ours(make: type, direction: str, **options: float) -> Score:
    def score(task: Task, seed: int, max_iter: int) -> float:
        transport = make(max_iter=max_iter, random_state=seed)
        adapter = DomainAdapter(transport, CLASSIFIER, direction=direction, **options)
        return adapter.fit(task.X, task.y, X_target=task.target).score(task.held_out, task.truth)

    return score


def by_held_out_score(task: Task, seed: int, max_iter: int) -> float:
    """The transport whose images of held-out source rows come nearer to held-out target rows; no label is looked at."""
    folds = KFold(3, shuffle=True, random_state=seed)

    def held_out_score(transport: BaseTransport) -> float:
        return statistics.mean(
            transport.fit(task.X[x], task.target[y]).score(task.X[x_held], task.target[y_held])
            for (x, x_held), (y, y_held) in zip(folds.split(task.X), folds.split(task.target), strict=True)
        )

    transports = [make(max_iter=max_iter, random_state=seed) for make in (SNOTTransport, OTPTransport)]
    adapter = DomainAdapter(max(transports, key=held_out_score), CLASSIFIER, self_training=True)
    return adapter.fit(task.X, task.y, X_target=task.target).score(task.held_out, task.truth)


THERE, BACK = "source_to_target", "target_to_source"
# reg_e=0.1 guessed the digits by chance (accuracy .10); POT's reg of 1e-8 is not finite where a column is constant
SINKHORN, LINEAR = {"reg_e": 0.01, "norm": "max"}, {"reg": 1e-3}
METHODS = {
    "source only": of_source,
    "POT EMD": of_pot(ot.da.EMDTransport, THERE),
    "POT Sinkhorn": of_pot(lambda: ot.da.SinkhornTransport(**SINKHORN), THERE),
    "POT linear": of_pot(lambda: ot.da.LinearTransport(**LINEAR), THERE),
    "skada CORAL": of_coral,
    "POT EMD, self-training": of_pot(ot.da.EMDTransport, THERE, self_training=True),
    "POT Sinkhorn, self-training": of_pot(lambda: ot.da.SinkhornTransport(**SINKHORN), THERE, self_training=True),
    "POT linear, self-training": of_pot(lambda: ot.da.LinearTransport(**LINEAR), THERE, self_training=True),
    "neuralot OTP": of_ours(OTPTransport, THERE),
    "neuralot OTP, class_reg=1": of_ours(OTPTransport, THERE, class_reg=1.0),
    "neuralot OTP, self_training": of_ours(OTPTransport, THERE, self_training=True),
    "neuralot SNOT": of_ours(SNOTTransport, THERE),
    "neuralot SNOT, self_training": of_ours(SNOTTransport, THERE, self_training=True),
    "neuralot by held-out score, self_training": by_held_out_score,
    "POT EMD, target to source": of_pot(ot.da.EMDTransport, BACK),
    "POT Sinkhorn, target to source": of_pot(lambda: ot.da.SinkhornTransport(**SINKHORN), BACK),
    "POT linear, target to source": of_pot(lambda: ot.da.LinearTransport(**LINEAR), BACK),
    "neuralot OTP, target to source": of_ours(OTPTransport, BACK),
    "neuralot SNOT, target to source": of_ours(SNOTTransport, BACK),
}


def run(method: Score, task: Callable[[np.random.Generator], Task], seed: int, max_iter: int) -> float:
    return method(task(np.random.default_rng(seed)), seed, max_iter)


def main() -> None:
    parser = parser_of(__doc__, "one seed, without the digits")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--development", action="store_true", help="other tasks")
    options = parser.parse_args()
    tasks, max_iter = DEVELOPMENT if options.development else {name: TASKS[name] for name in options.tasks}, STEPS
    if options.quick:
        options.seeds, max_iter = 1, STEPS_WHEN_QUICK
        tasks = {name: task for name, task in tasks.items() if "digits" not in name}
    print(heading(["method", *tasks, "mean", "s a fit"]), flush=True)
    for name in options.methods:
        cells, means, seconds = [], [], []
        for task in tasks.values():
            scores = []
            for seed in range(options.seeds):
                with warnings.catch_warnings(action="ignore"):
                    score, taken = timed(partial(run, METHODS[name], task, seed, max_iter))
                scores.append(score)
                seconds.append(taken)
            error = statistics.stdev(scores) / len(scores) ** 0.5 if len(scores) > 1 else 0.0
            means.append(statistics.mean(scores))
            cells.append(f"{means[-1]:.3f} +- {error:.3f}")
        cells += [f"{statistics.mean(means):.3f}", f"{statistics.median(seconds):.1f}"]
        print(row([name, *cells]), flush=True)


if __name__ == "__main__":
    main()
