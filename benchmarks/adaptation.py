"""Does a transport improve a classifier on another domain? Accuracy on held-out target rows.

python benchmarks/adaptation.py                  # the table of benchmarks/results/adaptation.md
python benchmarks/adaptation.py --development    # other tasks, on which settings are chosen
python benchmarks/adaptation.py --quick          # does it run? (make bench)
"""

import statistics
import warnings
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import ot
from common import heading, make_parser, row, timed
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
    """Source rows and labels, target rows for training, and target rows and labels for scoring."""

    X: np.ndarray
    y: np.ndarray
    target: np.ndarray
    held_out: np.ndarray
    truth: np.ndarray


def moons(rng: np.random.Generator) -> Task:
    """Two moons; the target is rotated by 30 degrees."""
    (X, y), (target, _), (held_out, truth) = (
        make_moons(n, noise=0.1, random_state=int(rng.integers(2**31))) for n in (400, 400, 1000)
    )
    rotation = np.array([[np.cos(np.pi / 6), np.sin(np.pi / 6)], [-np.sin(np.pi / 6), np.cos(np.pi / 6)]])
    return Task(X, y, target @ rotation, held_out @ rotation, truth)


def affine(rng: np.random.Generator) -> Task:
    """Ten principal components of digits; the target is under a positive-definite map and a shift."""
    rows, labels = load_digits(return_X_y=True)
    rows = PCA(10, random_state=0).fit_transform(rows) / 10
    return split_in_thirds(rows, labels, positive_definite(10, rng), rng)


def positive_definite(d: int, rng: np.random.Generator) -> Callable[[np.ndarray], np.ndarray]:
    axes = np.linalg.qr(rng.normal(size=(d, d)))[0]
    matrix, offset = axes @ np.diag(np.exp(rng.uniform(-1, 1, d))) @ axes.T, 2 * rng.normal(size=d)
    return lambda rows: rows @ matrix + offset


def blurred(rng: np.random.Generator) -> Task:
    """Digits; the target is blurred, shifted by .8 of a pixel and dimmed."""

    def change(rows: np.ndarray) -> np.ndarray:
        images = [0.6 * shift(gaussian_filter(row.reshape(8, 8), 0.6), (0.8, 0), order=1) for row in rows]
        return np.stack(images).reshape(-1, 64)

    return split_in_thirds(*load_digits(return_X_y=True), change, rng)


def wine(rng: np.random.Generator) -> Task:
    """Wines; the target has a gain, an offset and noise in every column."""
    return batch_effects(*load_wine(return_X_y=True), rng)


def batch_effects(rows: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> Task:
    rows = StandardScaler().fit_transform(rows)
    gain, offset = np.exp(0.4 * rng.normal(size=rows.shape[1])), rng.normal(size=rows.shape[1])
    return split_in_thirds(rows, labels, lambda rows: rows * gain + offset + 0.1 * rng.normal(size=rows.shape), rng)


def split_in_thirds(rows: np.ndarray, labels: np.ndarray, change: Callable, rng: np.random.Generator) -> Task:
    """Random thirds for the source, the target and the score; `change` is applied to the last two."""
    source, target, held_out = np.array_split(rng.permutation(len(rows)), 3)
    return Task(rows[source], labels[source], change(rows[target]), change(rows[held_out]), labels[held_out])


def cancer(rng: np.random.Generator) -> Task:
    """Tumours; the target has a gain, an offset and noise in every column."""
    return batch_effects(*load_breast_cancer(return_X_y=True), rng)


def iris(rng: np.random.Generator) -> Task:
    """Irises; the target is under a positive-definite map and a shift."""
    rows, labels = load_iris(return_X_y=True)
    return split_in_thirds(StandardScaler().fit_transform(rows), labels, positive_definite(4, rng), rng)


def nonlinear(rng: np.random.Generator) -> Task:
    """Clusters; the target is under the gradient of a convex function, which is not affine."""
    return split_in_thirds(*clusters(rng), lambda rows: rows + 2 * np.tanh(rows) + 1, rng)


def rotated(rng: np.random.Generator) -> Task:
    """Clusters; the target is rotated by 20 degrees in a random plane and shifted, which is not an optimal map."""
    rows, labels = clusters(rng)
    first, second = np.linalg.qr(rng.normal(size=(6, 2)))[0].T
    plane, swap = np.outer(first, first) + np.outer(second, second), np.outer(first, second) - np.outer(second, first)
    rotation = np.eye(6) + (np.cos(np.pi / 9) - 1) * plane + np.sin(np.pi / 9) * swap
    return split_in_thirds(rows, labels, lambda rows: rows @ rotation + 1, rng)


def clusters(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Six clusters in three classes and six dimensions."""
    seed = int(rng.integers(2**31))
    return make_classification(1200, 6, n_informative=6, n_redundant=0, n_classes=3, class_sep=2.0, random_state=seed)


TASKS = {"moons": moons, "digits, affine": affine, "digits, blurred": blurred, "wine, batches": wine}
DEVELOPMENT = {
    "cancer, batches": cancer,
    "iris, affine": iris,
    "clusters, bent": nonlinear,
    "clusters, turned": rotated,
}


# function of a task, a seed and the number of steps of our fits
Score = Callable[[Task, int, int], float]


def score_source_only(task: Task, seed: int, max_iter: int) -> float:
    return clone(CLASSIFIER).fit(task.X, task.y).score(task.held_out, task.truth)


def pot_score(make: Callable[[], ot.da.BaseTransport], direction: str, self_training: bool = False) -> Score:
    def score(task: Task, seed: int, max_iter: int) -> float:
        if direction == FORWARD:
            rows, labels = make().fit(Xs=task.X, Xt=task.target).transform(Xs=task.X), task.y
            if self_training:
                predicted = clone(CLASSIFIER).fit(rows, labels).predict(task.target)
                rows, labels = np.concatenate([rows, task.target]), np.concatenate([labels, predicted])
            return clone(CLASSIFIER).fit(rows, labels).score(task.held_out, task.truth)
        images = make().fit(Xs=task.target, Xt=task.X).transform(Xs=task.held_out)
        return clone(CLASSIFIER).fit(task.X, task.y).score(images, task.truth)

    return score


def score_coral(task: Task, seed: int, max_iter: int) -> float:
    from skada import CORALAdapter, make_da_pipeline

    domains = np.repeat([1, -1], [len(task.X), len(task.target)])
    rows, labels = np.vstack([task.X, task.target]), np.concatenate([task.y, np.full(len(task.target), -1)])
    pipe = make_da_pipeline(CORALAdapter(), StandardScaler(), SVC()).fit(rows, labels, sample_domain=domains)
    return pipe.score(task.held_out, task.truth)


def neuralot_score(make: type, direction: str, **options: float) -> Score:
    def score(task: Task, seed: int, max_iter: int) -> float:
        transport = make(max_iter=max_iter, random_state=seed)
        adapter = DomainAdapter(transport, CLASSIFIER, direction=direction, **options)
        return adapter.fit(task.X, task.y, X_target=task.target).score(task.held_out, task.truth)

    return score


def score_selected(task: Task, seed: int, max_iter: int) -> float:
    """Accuracy with the transport of the higher score on held-out source and target rows; labels are not used."""
    folds = KFold(3, shuffle=True, random_state=seed)

    def held_out_score(transport: BaseTransport) -> float:
        return statistics.mean(
            transport.fit(task.X[x], task.target[y]).score(task.X[x_held], task.target[y_held])
            for (x, x_held), (y, y_held) in zip(folds.split(task.X), folds.split(task.target), strict=True)
        )

    transports = [make(max_iter=max_iter, random_state=seed) for make in (SNOTTransport, OTPTransport)]
    adapter = DomainAdapter(max(transports, key=held_out_score), CLASSIFIER, self_training=True)
    return adapter.fit(task.X, task.y, X_target=task.target).score(task.held_out, task.truth)


FORWARD, BACKWARD = "source_to_target", "target_to_source"
# with reg_e=0.1 the accuracy on digits is that of chance, .10; with POT's default reg of 1e-8 images are not finite
# where a column is constant
SINKHORN, LINEAR = {"reg_e": 0.01, "norm": "max"}, {"reg": 1e-3}
METHODS = {
    "source only": score_source_only,
    "POT EMD": pot_score(ot.da.EMDTransport, FORWARD),
    "POT Sinkhorn": pot_score(lambda: ot.da.SinkhornTransport(**SINKHORN), FORWARD),
    "POT linear": pot_score(lambda: ot.da.LinearTransport(**LINEAR), FORWARD),
    "skada CORAL": score_coral,
    "POT EMD, self-training": pot_score(ot.da.EMDTransport, FORWARD, self_training=True),
    "POT Sinkhorn, self-training": pot_score(lambda: ot.da.SinkhornTransport(**SINKHORN), FORWARD, self_training=True),
    "POT linear, self-training": pot_score(lambda: ot.da.LinearTransport(**LINEAR), FORWARD, self_training=True),
    "neuralot OTP": neuralot_score(OTPTransport, FORWARD),
    "neuralot OTP, class_reg=1": neuralot_score(OTPTransport, FORWARD, class_reg=1.0),
    "neuralot OTP, self_training": neuralot_score(OTPTransport, FORWARD, self_training=True),
    "neuralot SNOT": neuralot_score(SNOTTransport, FORWARD),
    "neuralot SNOT, self_training": neuralot_score(SNOTTransport, FORWARD, self_training=True),
    "neuralot by held-out score, self_training": score_selected,
    "POT EMD, target to source": pot_score(ot.da.EMDTransport, BACKWARD),
    "POT Sinkhorn, target to source": pot_score(lambda: ot.da.SinkhornTransport(**SINKHORN), BACKWARD),
    "POT linear, target to source": pot_score(lambda: ot.da.LinearTransport(**LINEAR), BACKWARD),
    "neuralot OTP, target to source": neuralot_score(OTPTransport, BACKWARD),
    "neuralot SNOT, target to source": neuralot_score(SNOTTransport, BACKWARD),
}


def run(method: Score, task: Callable[[np.random.Generator], Task], seed: int, max_iter: int) -> float:
    return method(task(np.random.default_rng(seed)), seed, max_iter)


def main() -> None:
    parser = make_parser(__doc__, "one seed, without the digits")
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
                    score, duration = timed(partial(run, METHODS[name], task, seed, max_iter))
                scores.append(score)
                seconds.append(duration)
            error = statistics.stdev(scores) / len(scores) ** 0.5 if len(scores) > 1 else 0.0
            means.append(statistics.mean(scores))
            cells.append(f"{means[-1]:.3f} +- {error:.3f}")
        cells += [f"{statistics.mean(means):.3f}", f"{statistics.median(seconds):.1f}"]
        print(row([name, *cells]), flush=True)


if __name__ == "__main__":
    main()
