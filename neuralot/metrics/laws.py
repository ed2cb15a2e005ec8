"""Distances between the laws of two samples.

The order of the rows has no effect. All distances are squared Euclidean, in squared units of the data.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial.distance import cdist

from neuralot.divergences import Samples, as_masses, as_points, check_features, optimal_cost
from neuralot.parameters import as_generator, size
from neuralot.sampling import check_weights


class TargetFloor(NamedTuple):
    """Squared W2 distance between independent target samples.

    Parameters
    ----------
    mean : float
        Mean over pairs of samples, in squared units of the data.
    standard_error : float
        Standard error of that mean.
    """

    mean: float
    standard_error: float


def exact_cost(
    X: Samples,
    Y: Samples,
    sample_weight: ArrayLike | None = None,
    sample_weight_target: ArrayLike | None = None,
) -> float:
    r"""Exact optimal transport cost between two weighted samples.

    .. math:: \min_{P \ge 0} \sum_{ij} P_{ij} |x_i - y_j|^2 \quad
       \text{with} \quad P 1 = a, \; P^\top 1 = b

    The time grows like n^3.

    Parameters
    ----------
    X : array-like of shape (n, d)
        Source rows.
    Y : array-like of shape (m, d)
        Target rows.
    sample_weight : array-like of shape (n,) or None, default=None
        Masses a of the source rows, non-negative; rescaled to sum to 1. None gives equal masses.
    sample_weight_target : array-like of shape (m,) or None, default=None
        Masses b of the target rows, as `sample_weight`.

    Returns
    -------
    float
        In squared units of the data.

    Raises
    ------
    ValueError
        If a sample is not finite and two-dimensional, the numbers of features differ, or weights are
        negative, all zero, or not one per row.

    References
    ----------
    Bonneel, N., van de Panne, M., Paris, S., Heidrich, W. (2011). Displacement interpolation using Lagrangian
    mass transport. ACM Transactions on Graphics, 30(6). (The network simplex of POT.)

    Examples
    --------
    >>> from neuralot.metrics import exact_cost
    >>> exact_cost([[0.0]], [[1.0], [2.0]])
    2.5
    >>> exact_cost([[0.0]], [[1.0], [2.0]], sample_weight_target=[3, 1])
    1.75
    """
    x, y = as_points(X, "X"), as_points(Y, "Y")
    check_features(X=x, Y=y)
    a = as_masses(sample_weight, "sample_weight", len(x))
    b = as_masses(sample_weight_target, "sample_weight_target", len(y))
    return optimal_cost(x, a, y, b)


def d_target(
    mapped: Samples,
    target: Samples,
    sample_weight: ArrayLike | None = None,
    sample_weight_target: ArrayLike | None = None,
) -> float:
    r"""Squared W2 distance between a mapped and a target sample.

    .. math:: D_\mathrm{target} = W_2^2(\hat{T_\# \mu}, \hat \nu)

    The distance is exact for the samples and a biased estimate for the laws: two samples of the *same* law score
    `target_floor`, not 0. In high dimension a contracted sample can score below that floor, so also check `d_cost` and
    `spread_ratio`.

    Parameters
    ----------
    mapped : array-like of shape (n, d)
        Images of source rows.
    target : array-like of shape (m, d)
        Target rows that were not used in the fit.
    sample_weight : array-like of shape (n,) or None, default=None
        Masses of the images, as in `exact_cost`.
    sample_weight_target : array-like of shape (m,) or None, default=None
        Masses of the target rows, as in `exact_cost`.

    Returns
    -------
    float
        In squared units of the data.

    Raises
    ------
    ValueError
        If a sample is not finite and two-dimensional, the numbers of features differ, or weights are
        negative, all zero, or not one per row.

    References
    ----------
    Choi, Choi, Kwon (2025), arXiv:2502.04583.

    Examples
    --------
    >>> from neuralot.metrics import d_target
    >>> d_target([[0.0], [1.0]], [[3.0], [2.0]])
    4.0
    """
    T, Y = as_points(mapped, "mapped"), as_points(target, "target")
    check_features(mapped=T, target=Y)
    return exact_cost(T, Y, sample_weight, sample_weight_target)


def target_floor(
    sample_target: Callable[[int, np.random.Generator], np.ndarray | tuple[np.ndarray, np.ndarray]],
    n: int = 2000,
    n_pairs: int = 3,
    random_state: int | np.random.RandomState | np.random.Generator | None = None,
) -> TargetFloor:
    """Expected `d_target` of the exact map.

    It is estimated by the mean over pairs of independent target samples.

    Parameters
    ----------
    sample_target : callable ``(n, rng) -> ndarray of shape (n, d)``
        Independent draws of the target, such as `neuralot.datasets.TransportPair.target`. For a weighted target,
        it returns a tuple of rows and their masses, shapes (n, d) and (n,).
    n : int, default=2000
        Rows per sample. The floor decreases with n: compare it with `d_target` at the same sample size only.
    n_pairs : int, default=3
        Number of independent pairs, at least 2.
    random_state : int, RandomState, Generator or None, default=None
        An int gives the same value each time.

    Returns
    -------
    TargetFloor
        Named tuple ``(mean, standard_error)``, in squared units of the data.

    Raises
    ------
    ValueError
        If `n` is less than 1 or `n_pairs` less than 2.
    TypeError
        If `sample_target` is not callable.

    Examples
    --------
    >>> from neuralot.metrics import target_floor
    >>> floor = target_floor(lambda n, rng: rng.normal(size=(n, 2)), n=100, random_state=0)
    >>> 0 < floor.standard_error < floor.mean < 0.5
    True
    """
    size(1).check("n", n)
    size(2).check("n_pairs", n_pairs)
    if not callable(sample_target):
        raise TypeError(
            "sample_target must be a callable (n, rng) -> ndarray of shape (n, d) that draws new rows in each call, "
            f"got {type(sample_target).__name__}"
        )
    rng = as_generator(random_state)
    distances = [_distance(sample_target(n, rng), sample_target(n, rng)) for _ in range(n_pairs)]
    return TargetFloor(float(np.mean(distances)), float(np.std(distances, ddof=1) / math.sqrt(n_pairs)))


def _distance(first: Any, second: Any) -> float:
    """Return `d_target` of two samples, with their masses if given."""
    (T, a), (Y, b) = (each if isinstance(each, tuple) else (each, None) for each in (first, second))
    return d_target(T, Y, a, b)


def spread_ratio(
    mapped: Samples,
    target: Samples,
    sample_weight: ArrayLike | None = None,
    sample_weight_target: ArrayLike | None = None,
) -> np.ndarray:
    r"""Spread of a mapped sample over the target's, per coordinate.

    .. math:: r_k = \sigma_k(T(x)) \,/\, \sigma_k(y)

    1 is ideal; below 1 the image is contracted. In coordinates where the target is constant, the value is
    :math:`1 + \sigma_k(T(x)) / s`, where s is the root mean square spread of the target over all coordinates (of the
    image, if the target is one point): 1 if the image is constant too, and larger otherwise.

    Parameters
    ----------
    mapped : array-like of shape (n, d)
        Images of source rows.
    target : array-like of shape (m, d)
        Target rows.
    sample_weight : array-like of shape (n,) or None, default=None
        Masses of the images, as in `exact_cost`.
    sample_weight_target : array-like of shape (m,) or None, default=None
        Masses of the target rows, as in `exact_cost`.

    Returns
    -------
    ndarray of shape (d,)
        Finite and dimensionless.

    Raises
    ------
    ValueError
        If a sample is not finite and two-dimensional, the numbers of features differ, or weights are
        negative, all zero, or not one per row.

    Examples
    --------
    >>> from neuralot.metrics import spread_ratio
    >>> spread_ratio([[0.0, 5.0], [1.0, 5.0]], [[0.0, 7.0], [2.0, 7.0]]).tolist()
    [0.5, 1.0]
    """
    T, Y = as_points(mapped, "mapped"), as_points(target, "target")
    check_features(mapped=T, target=Y)
    a = as_masses(sample_weight, "sample_weight", len(T))
    b = as_masses(sample_weight_target, "sample_weight_target", len(Y))
    spread, spread_target = _spread(T, a), _spread(Y, b)
    scale = np.sqrt(np.mean(spread_target**2)) or np.sqrt(np.mean(spread**2)) or 1.0
    constant = spread_target <= 1e-8 * scale
    return np.where(constant, 1 + spread / scale, spread / np.where(constant, 1.0, spread_target))


def mode_coverage(points: Samples, modes: Samples, sample_weight: ArrayLike | None = None) -> np.ndarray:
    """Share of the points nearest to each mode.

    Parameters
    ----------
    points : array-like of shape (n, d)
        Mapped rows or draws from a plan.
    modes : array-like of shape (n_modes, d)
        Centres, such as `neuralot.datasets.TransportPair.modes`.
    sample_weight : array-like of shape (n,) or None, default=None
        Masses of the points, as in `exact_cost`.

    Returns
    -------
    ndarray of shape (n_modes,)
        Shares that sum to 1; 0 for a dropped mode.

    Raises
    ------
    ValueError
        If an argument is not finite and two-dimensional, the numbers of features differ, or weights are negative, all
        zero, or not one per row.

    Examples
    --------
    >>> from neuralot.metrics import mode_coverage
    >>> mode_coverage([[0.1], [0.9], [1.2], [0.8]], [[0.0], [1.0], [9.0]]).tolist()
    [0.25, 0.75, 0.0]
    """
    rows, centres = as_points(points, "points"), as_points(modes, "modes")
    check_features(points=rows, modes=centres)
    nearest = cdist(rows, centres, "sqeuclidean").argmin(axis=1)
    weights = check_weights(sample_weight, "sample_weight", len(rows))
    return np.bincount(nearest, weights, minlength=len(centres)) / weights.sum()


def _spread(points: np.ndarray, masses: np.ndarray) -> np.ndarray:
    """Return the standard deviation per coordinate, without rounding errors.

    It is 0 for a constant coordinate, whose computed deviation is about 1e-16 times its value.
    """
    spread = np.sqrt(masses @ (points - masses @ points) ** 2)
    return np.where(spread > 1e-12 * np.abs(points).max(axis=0), spread, 0.0)
