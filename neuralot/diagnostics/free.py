"""Maps that need no fit, for comparison with a transport."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from neuralot.affine import optimal_matrix
from neuralot.costs import Cost, SquaredEuclidean
from neuralot.diagnostics.by_column import bases_of, cost_by_column, independent_axes
from neuralot.diagnostics.quantities import Baseline
from neuralot.diagnostics.statistics import (
    MAX_FEATURES,
    Estimate,
    Sample,
    jackknife,
    marginal_distance,
    paired_cost,
    power_of,
)

TINY = np.finfo(float).tiny
# with fewer rows, the distance of a free map to the target is too uncertain
MIN_ROWS = 200

# returns the images of the source
FreeMap = Callable[[Sample, Sample], np.ndarray]


def evaluate_free_maps(
    source: Sample, images: np.ndarray, target: Sample, cost: Cost, unit: float
) -> dict[str, Baseline]:
    """Return identity, mean shift and affine map beside a transport.

    `images` are those of the transport, and `unit` is the variance whose share a distance is.
    """
    to_unit = lambda rows: (rows - target.mean) / np.sqrt(unit)  # noqa: E731
    start, goal = (Sample(to_unit(each.rows), each.masses) for each in (source, target))
    squared = isinstance(cost, SquaredEuclidean)
    # the error of a constant target is the distance to it
    known = np.isfinite(power_of(cost)) and goal.variance > 0.5
    baselines = {}
    for name, free_map in FREE_MAPS.items():
        free = free_map(source, target)
        excess = marginal_distance(Sample(to_unit(free), source.masses), goal).excess
        shown = 0.0
        if known and excess.low <= 0 and (name != "affine map" or free.shape[1] <= MAX_FEATURES):
            shown = _least_error(start, to_unit(images), goal, free_map, cost, excess if squared else None)
        mean_cost = float(source.masses @ paired_cost(cost, source.rows, free))
        baselines[name] = Baseline(mean_cost, excess, shown, "variance" if squared else "squared spread")
    return baselines


def _affine_map(source: Sample, target: Sample) -> np.ndarray:
    a, b = (each.covariance for each in (source, target))
    ridge = 1e-9 * max(np.trace(a), np.trace(b), TINY) / len(a) * np.eye(len(a))
    matrix = optimal_matrix(*(torch.from_numpy(each + ridge) for each in (a, b))).numpy()
    return (source.rows - source.mean) @ matrix + target.mean


FREE_MAPS: dict[str, FreeMap] = {
    "identity": lambda source, target: source.rows,
    "mean shift": lambda source, target: source.rows - source.mean + target.mean,
    "affine map": _affine_map,
}


def _least_error(
    source: Sample, images: np.ndarray, target: Sample, free_map: FreeMap, cost: Cost, distance: Estimate | None
) -> float:
    r"""Return the error that a cheaper map proves.

    For the p-th power of a distance, the triangle inequality gives

    .. math:: \lVert T - T^* \rVert_p \ge E[c(x, T)]^{1/p} - W_p(\mu, \nu)
              \ge E[c(x, T)]^{1/p} - E[c(x, F)]^{1/p} - W_p(F_\# \mu, \nu)

    for a free map F. With the squared distance, rows and images are centred. The value is the square of the bound, as a
    share of that of the target's spread :math:`E[c(y, E y)]^{1/p}`. The difference of the roots is at the lower end of
    its 90 % interval, and the distance at the upper end. `distance` is that, if known already.
    """
    d, power = images.shape[1], power_of(cost)
    if min(source.n_effective, target.n_effective) < MIN_ROWS:
        return 0.0

    def difference(of_pairs: Sample, of_target: Sample) -> float:
        x = Sample(of_pairs.rows[:, :d], of_pairs.masses)
        return _root_cost(x, of_pairs.rows[:, d:], cost) - _root_cost(x, free_map(x, of_target), cost)

    estimate = jackknife(difference, Sample(np.hstack([source.rows, images]), source.masses), target)
    if estimate.low <= 0:
        return 0.0
    reached = Sample(free_map(source, target), source.masses)
    if distance is None:
        distance = marginal_distance(reached, target, cost).excess
    # in high dimension, it is too small for maps that miss the target, and for laws on lattices
    bases = [*bases_of(reached, target), *independent_axes(reached.rows), *independent_axes(target.rows)]
    by_basis = [cost_by_column(reached, target, axes, power) for axes in bases]
    spread = _root_cost(target, np.broadcast_to(target.mean, target.rows.shape), cost)
    return max((estimate.low - max(distance.high, *by_basis, 0.0) ** (1 / power)) / spread, 0.0) ** 2


def _root_cost(x: Sample, images: np.ndarray, cost: Cost) -> float:
    """Return the p-th root of the mean cost.

    With the squared distance it is that of centred samples, as its optimal plan does not depend on shifts.
    """
    rows = x.rows
    if isinstance(cost, SquaredEuclidean):
        rows, images = rows - x.mean, images - x.masses @ images
    return float(x.masses @ paired_cost(cost, rows, images)) ** (1 / power_of(cost))
