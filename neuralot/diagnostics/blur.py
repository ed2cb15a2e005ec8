"""Blur of a plan, from the draws of its rows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from neuralot.costs import Cost, SquaredEuclidean
from neuralot.diagnostics.statistics import MAX_FEATURES, Estimate, Sample, jackknife
from neuralot.diagnostics.verdict import GAP_TOLERANCE

MAX_ROWS, MIN_ROWS, MAX_IMAGES = 100, 20, 25_600
MIN_DRAWS, DRAWS_PER_FEATURE = 128, 8
ROUNDING = 0.2  # of the estimated dimension


def least_blur(
    draw: Callable[[Sample, int], np.ndarray],
    source: Sample,
    dimension: float,
    thin: bool | None,
    split: float,
    cost: Cost,
    unit: float,
) -> float:
    """Return the variance of draws that no optimal plan has.

    For a strictly convex cost, a source with a density has an optimal map, and the draws of a row do not vary at all.
    Points that have a mass may be split in all directions.
    """
    has_masses = 2 * len(np.unique(source.rows, axis=0)) < len(source.rows)
    if thin is None or has_masses or not cost.has_map_from_gradient:
        return 0.0
    if thin is False:
        return split
    if split <= GAP_TOLERANCE or not isinstance(cost, SquaredEuclidean) or source.rows.shape[1] > MAX_FEATURES:
        return 0.0
    return max(evaluate_blur(draw, source, dimension, unit).low, 0.0)


def evaluate_blur(draw: Callable[[Sample, int], np.ndarray], source: Sample, dimension: float, unit: float) -> Estimate:
    r"""Estimate the variance of draws that no optimal plan has.

    For the squared Euclidean cost, the images of a row x under an optimal plan are subgradients of a convex function.
    Where these span k dimensions, x lies on a set of dimension d - k (Zajicek). So a source that charges no set of
    dimension less than m has an optimal plan whose draws do not vary in m directions, and

    .. math:: E|y - y^*|^2 \ge E \sum_{k \le m} \lambda_k(\operatorname{Cov}(y \mid x)),

    with the smallest eigenvalues, for every coupling with the optimal draws. The value is the right side as a share of
    `unit`. The directions are those of one half of the draws, and the variances those of the other half.

    Parameters
    ----------
    draw : callable
        Draws n images of each row of a sample, shape (n, n_rows, d).
    source : Sample
    dimension : float
        Intrinsic dimension m of the source; it is rounded down, but for .8 and more.
    unit : float
        The variance whose share the value is.

    References
    ----------
    Zajicek, "On the differentiation of convex functions in finite and infinite dimensional spaces", Czechoslovak
    Mathematical Journal 29 (1979).
    """
    d = source.rows.shape[1]
    n_draws = max(MIN_DRAWS, DRAWS_PER_FEATURE * d)
    rows = source.part(slice(int(np.clip(MAX_IMAGES // n_draws, MIN_ROWS, MAX_ROWS))))
    draws = draw(rows, n_draws).transpose(1, 0, 2)
    chosen, tested = (_covariances(draws[:, half::2]) for half in (0, 1))  # (n_rows, d, d)
    directions = np.linalg.eigh(chosen)[1][:, :, : int(min(dimension + ROUNDING, d))]
    variances = np.einsum("rik,rij,rjk->r", directions, tested, directions) / unit
    return jackknife(lambda sample: float(sample.mean[0]), Sample(variances[:, None], rows.masses))


def _covariances(draws: np.ndarray) -> np.ndarray:
    """Return the covariances of the draws of each row."""
    centred = draws - draws.mean(axis=1, keepdims=True)
    return centred.transpose(0, 2, 1) @ centred / (draws.shape[1] - 1)
