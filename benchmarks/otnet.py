"""OT-Net: masses compared with POT's semi-discrete solver, jumps, new targets, digits from noise, and memory.

python benchmarks/otnet.py            # the tables of benchmarks/README.md
python benchmarks/otnet.py --quick    # does it run? (make bench)
"""

import math
import statistics
import time
import warnings
from collections.abc import Callable, Iterable
from functools import partial

import numpy as np
import torch
from common import heading, make_parser, measure_memory, median_and_range, row, timed
from ot.da import SinkhornTransport
from ot.semidiscrete import solve_semidiscrete
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors
from sklearn.svm import SVC
from torch import Generator, Tensor

from neuralot import OTNetTransport, SNOTTransport
from neuralot.defaults import default_rate, default_sizes
from neuralot.methods import OTNet
from neuralot.methods.certificate import unbiased_square
from neuralot.methods.planes import Planes
from neuralot.networks import Potential
from neuralot.solve import solve


def mixture(n_rows: int, d: int, rng: np.random.Generator) -> np.ndarray:
    """Eight clusters with unit mean variance, on a circle if d = 2, otherwise correlated and with random centres."""
    labels = rng.integers(8, size=n_rows)
    if d == 2:
        angles = labels * np.pi / 4
        rows = 3 * np.stack([np.cos(angles), np.sin(angles)], axis=1) + 0.4 * rng.normal(size=(n_rows, 2))
    else:
        rows = rng.normal(size=(8, d))[labels] + rng.normal(size=(n_rows, d)) @ rng.normal(size=(d, d)) / math.sqrt(d)
    rows -= rows.mean(axis=0)
    return rows / np.sqrt(rows.var(axis=0).mean())


def mass_error(points: Tensor, heights: Tensor, seed: int, n_rows: int) -> float:
    """Unbiased |w - nu|_2 for uniform weights, on new rows of the Gaussian."""
    planes, generator = Planes(points, heights), Generator().manual_seed(10_000 + seed)
    rows = torch.randn(n_rows, points.shape[1], generator=generator)
    weights = torch.full((len(points),), 1 / len(points))
    return math.sqrt(max(float(unbiased_square(planes.masses(rows), weights, n_rows)), 0.0))


def otnet_solver(share: float) -> Callable[[Tensor, int, float], tuple[Tensor, Tensor]]:
    def heights(points: Tensor, seed: int, budget: float) -> tuple[Tensor, Tensor]:
        d, generator = points.shape[1], Generator().manual_seed(seed)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            potential = Potential(d, default_sizes(d))
        problem = solve(
            OTNet(d, potential, network_share=share),
            lambda n, generator: torch.randn(n, d, generator=generator),
            points,
            max_iter=10**9,
            max_time=budget,
            batch_size=1024,
            learning_rate=default_rate(d),
            generator=generator,
        ).problem
        return problem.points, problem.heights

    return heights


def pot_solver(batch_size: int) -> Callable[[Tensor, int, float], tuple[Tensor, Tensor]]:
    def heights(points: Tensor, seed: int, budget: float) -> tuple[Tensor, Tensor]:
        torch.manual_seed(seed)
        d, start = points.shape[1], time.perf_counter()
        sampler = lambda n: torch.randn(n, d)  # noqa: E731
        solve_semidiscrete(points, sampler, max_iter=20, batch_size=batch_size)
        step_seconds = (time.perf_counter() - start) / 20
        max_iter = max(1, int(budget / step_seconds))  # this solver takes a number of steps, not a time
        potential = solve_semidiscrete(points, sampler, max_iter=max_iter, batch_size=batch_size)
        return points, (potential - points.square().sum(1)) / 2

    return heights


SOLVERS = {
    "neuralot OT-Net": otnet_solver(0.4),
    "neuralot, no network": otnet_solver(0.0),
    "POT semidiscrete": pot_solver(32),
    "POT semidiscrete, batches of 256": pot_solver(256),
}


def masses(seeds: Iterable[int], budgets: Iterable[float], m: int, n_rows: int) -> None:
    for d in (2, 32):
        for budget in budgets:
            for name, solver in SOLVERS.items():
                errors, seconds = [], []
                for seed in seeds:
                    points = torch.from_numpy(mixture(m, d, np.random.default_rng(seed))).float()
                    (points, heights), duration = timed(partial(solver, points, seed, budget))
                    seconds.append(duration)
                    errors.append(mass_error(points, heights, seed, n_rows))
                cells = [d, name, f"{statistics.median(seconds):.0f}", median_and_range(errors, ".5f")]
                print(row(cells), flush=True)


def two_blobs(seeds: Iterable[int], max_iter: int) -> None:
    """Share of the images between two clusters, in the middle half of the distance between their centres."""
    shares: dict[str, list[float]] = {}
    for seed in seeds:
        rng = np.random.default_rng(seed)
        X, new = rng.normal(size=(4000, 2)), rng.normal(size=(100_000, 2))
        Y = 0.5 * rng.normal(size=(1000, 2)) + 5 * rng.choice([-1, 1], size=(1000, 1)) * [1, 0]
        net = OTNetTransport(max_iter=max_iter, random_state=seed).fit(X, Y)
        snot = SNOTTransport(max_iter=max_iter, random_state=seed).fit(X, Y)
        sinkhorn = SinkhornTransport(reg_e=0.01, norm="max").fit(Xs=X[:2000], Xt=Y)
        images = {
            "neuralot OT-Net, hard": net.transform(new),
            "neuralot OT-Net, smooth": net.set_params(output="smooth").transform(new),
            "neuralot SNOT": snot.transform(new),
            "POT Sinkhorn": sinkhorn.transform(Xs=new),
        }
        for name, rows in images.items():
            shares.setdefault(name, []).append(float((np.abs(rows[:, 0]) < 2.5).mean()))
    for name, values in shares.items():
        print(row([name, median_and_range(values, ".3%")]), flush=True)


def retargets(seeds: Iterable[int], max_iter: int, m: int) -> None:
    """Mass errors on new rows of the source, and seconds."""
    results: dict[tuple[int, str], list[tuple[float, float]]] = {}
    for d in (2, 16):
        for seed in seeds:
            rng = np.random.default_rng(seed)
            X, X_new = rng.normal(size=(50_000, d)), rng.normal(size=(200_000, d))
            Y, other = np.split(mixture(2 * m, d, rng), 2)
            transport = OTNetTransport(max_iter=max_iter, random_state=seed)
            _, seconds = timed(partial(transport.fit, X, Y))
            results.setdefault((d, "first fit, its own target"), []).append((true_error(transport, X_new), seconds))
            calls = {
                "retarget": partial(transport.retarget, other),
                "50 refine steps": partial(transport.retarget, other, refine_steps=50),
                "fit": partial(transport.fit, X, other),
            }
            for name, call in calls.items():
                retargeted, seconds = timed(call)
                results.setdefault((d, name), []).append((true_error(retargeted, X_new), seconds))
    for (d, name), values in results.items():
        errors, seconds = map(list, zip(*values, strict=True))
        print(row([d, name, median_and_range(errors, ".4f"), f"{statistics.median(seconds):.2f}"]), flush=True)


def true_error(transport: OTNetTransport, rows: np.ndarray) -> float:
    masses = np.bincount(transport.assign(rows), minlength=len(transport.target_points_)) / len(rows)
    weights = torch.full((len(masses),), 1 / len(masses))
    return math.sqrt(max(float(unbiased_square(torch.from_numpy(masses), weights, len(rows))), 0.0))


def digits(seeds: Iterable[int], max_iter: int) -> None:
    """Images generated from noise: classes, distance to the nearest real image, and ghosts.

    A ghost is an image whose class has a probability below one half, according to a classifier of other digits.
    """
    rows, labels = load_digits(return_X_y=True)
    results: dict[str, list[tuple[float, ...]]] = {}
    for seed in seeds:
        rng = np.random.default_rng(seed)
        order = rng.permutation(len(rows))
        train, test = order[:1200], order[1200:]
        pca = PCA(10, random_state=0).fit(rows[train])
        codes = pca.transform(rows[train])
        classifier = CalibratedClassifierCV(SVC(C=10), ensemble=False).fit(pca.transform(rows[test]), labels[test])
        neighbours = NearestNeighbors().fit(codes)
        spread = np.sqrt(codes.var(axis=0).mean())
        noise, new = (spread * rng.normal(size=(n, codes.shape[1])) for n in (20_000, 5000))
        net = OTNetTransport(max_iter=max_iter, random_state=seed).fit(noise, codes)
        images = {"hard": net.transform(new), "smooth": net.set_params(output="smooth").transform(new)}
        images["smooth, no crease test"] = net.set_params(crease_distance=np.inf).transform(new)
        images["real digits, held out"] = pca.transform(rows[test])
        for name, generated in images.items():
            probabilities = classifier.predict_proba(generated)
            shares = np.bincount(probabilities.argmax(axis=1), minlength=10) / len(generated)
            nearest = neighbours.kneighbors(generated, 1)[0].mean()
            ghosts = (probabilities.max(axis=1) < 0.5).mean()
            results.setdefault(name, []).append(((shares > 0.01).sum(), shares.min(), nearest, ghosts))
    for name, values in results.items():
        classes, min_share, nearest, ghosts = map(list, zip(*values, strict=True))
        cells = [f"{min(classes):.0f}", f"{statistics.median(min_share):.1%}", f"{statistics.median(nearest):.2f}"]
        print(row([name, *cells, median_and_range(ghosts, ".2%")]), flush=True)


def memory(m: int, max_iter: int) -> None:
    rng = np.random.default_rng(0)
    X, Y = (rng.standard_normal((m, 16), dtype=np.float32) for _ in range(2))
    transport = OTNetTransport(max_iter=max_iter, random_state=0)
    seconds, peak = measure_memory(lambda: transport.fit(X, Y))
    print(f"fit, {m} targets, d = 16, {max_iter} steps: {seconds:.0f} s, {peak:.3f} GiB beyond the data")
    for output in ("hard", "smooth"):
        seconds, peak = measure_memory(lambda: transport.transform(X[:20_000]))
        print(f"transform 20 000 rows, {output}: {seconds:.1f} s, {peak:.3f} GiB")
        transport.set_params(output="smooth")


def main() -> None:
    parser = make_parser(__doc__, "one seed, small samples")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    otnet_solver(0.4)(torch.randn(100, 2), 0, 0.1)  # warm-up: torch imports some modules in the first fit
    for part in options.parts:
        columns, full, quick = PARTS[part]
        print(f"\n{part}\n" + (f"\n{heading(columns)}" if columns else ""), flush=True)
        (quick if options.quick else full)()


SEEDS = (0, 1, 2)
TEST_SEEDS = (20, 21, 22)  # steps and batch sizes were chosen on other seeds
PARTS: dict[str, tuple[tuple[str, ...], Callable[[], None], Callable[[], None]]] = {
    "masses": (
        ("d", "solver", "s", "mass error"),
        lambda: masses(TEST_SEEDS, (3, 10, 30), 10_000, 1_000_000),
        lambda: masses((0,), (2,), 1000, 100_000),
    ),
    "blobs": (
        ("map", "images between the blobs"),
        lambda: two_blobs(SEEDS, 1200),
        lambda: two_blobs((0,), 100),
    ),
    "retarget": (
        ("d", "", "mass error", "s"),
        lambda: retargets(SEEDS, 1200, 2000),
        lambda: retargets((0,), 60, 200),
    ),
    "digits": (
        ("images", "classes", "least class", "to the nearest real one", "ghosts"),
        lambda: digits(SEEDS, 1200),
        lambda: digits((0,), 100),
    ),
    "memory": ((), lambda: memory(100_000, 200), lambda: memory(10_000, 20)),
}


if __name__ == "__main__":
    main()
