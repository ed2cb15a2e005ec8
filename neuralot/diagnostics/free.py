"""Maps that need no fit, for comparison with a transport."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from neuralot.affine import optimal_matrix
from neuralot.costs import Cost, SquaredEuclidean
from neuralot.diagnostics.quantities import Baseline
from neuralot.diagnostics.statistics import (
    MAX_FEATURES,
    Sample,
    bases_of,
    cost_by_column,
    jackknife,
    marginal_distance,
    paired_cost,
)

TINY = np.finfo(float).tiny
# with fewer rows, the distance of a free map to the target is too uncertain
MIN_ROWS = 200


def evaluate_free_maps(
    source: Sample, images: np.ndarray, target: Sample, cost: Cost, unit: float
) -> dict[str, Baseline]:
    """Return identity, mean shift and affine map beside a transport.

    `images` are those of the transport, and `unit` is the variance whose share a distance is.
    """
    to_unit = lambda rows: (rows - target.mean) / np.sqrt(unit)  # noqa: E731
    goal = Sample(to_unit(target.rows), target.masses)
    baselines = {}
    for name, free in _free_maps(source, target):
        reached = Sample(to_unit(free), source.masses)
        excess = marginal_distance(reached, goal).excess
        mean_cost = float(source.masses @ paired_cost(cost, source.rows, free))
        known = isinstance(cost, SquaredEuclidean)
        shown = 0.0
        # in high dimension, `excess` is too small for maps that miss the target, and for laws on lattices
        if known and excess.low <= 0:
            distance = max(excess.high, *(cost_by_column(reached, goal, axes) for axes in bases_of(reached, goal)))
            shown = _least_error(source, images, target, name == "affine map", distance, unit)
        baselines[name] = Baseline(mean_cost, excess, shown)
    return baselines


def _free_maps(source: Sample, target: Sample) -> Iterator[tuple[str, np.ndarray]]:
    """Maps that need no fit, with their names."""
    yield "identity", source.rows
    yield "mean shift", source.rows - source.mean + target.mean
    yield "affine map", (source.rows - source.mean) @ _affine_matrix(source, target) + target.mean


def _affine_matrix(source: Sample, target: Sample) -> np.ndarray:
    a, b = (each.covariance for each in (source, target))
    ridge = 1e-9 * max(np.trace(a), np.trace(b), TINY) / len(a) * np.eye(len(a))
    return optimal_matrix(*(torch.from_numpy(each + ridge) for each in (a, b))).numpy()


def _least_error(
    source: Sample, images: np.ndarray, target: Sample, is_affine: bool, distance: float, unit: float
) -> float:
    r"""Return the error that a cheaper map proves.

    With the cost :math:`c` beyond that of the mean shift, the triangle inequality gives

    .. math:: \sqrt{E|T - T^*|^2} \ge \sqrt{c(T)} - W_2(\mu, \nu) \ge \sqrt{c(T)} - \sqrt{c(F)} - W_2(F_\# \mu, \nu)

    for a free map F. The value is the square of this, as a share of `unit`. `distance` is that of the last term, and
    the difference of the roots is at the lower end of its 90 % interval.
    """
    d = images.shape[1]
    if min(source.n_effective, target.n_effective) < MIN_ROWS or (is_affine and d > MAX_FEATURES):
        return 0.0
    pairs = Sample(np.hstack([source.rows, images]), source.masses)

    def difference(of_pairs: Sample, of_target: Sample) -> float:
        x = Sample(of_pairs.rows[:, :d], of_pairs.masses)
        moves = Sample(of_pairs.rows[:, d:] - x.rows, x.masses)
        of_free = Sample(x.rows @ (_affine_matrix(x, of_target) - np.eye(d)), x.masses).variance if is_affine else 0.0
        return float(np.sqrt(moves.variance / unit) - np.sqrt(of_free / unit))

    estimate = jackknife(difference, pairs, target)
    return float(max(estimate.low - np.sqrt(max(distance, 0.0)), 0.0)) ** 2
