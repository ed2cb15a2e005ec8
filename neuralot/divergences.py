"""Exact cost and Sinkhorn divergence of two samples.

`score`, `diagnose` and the metrics use them.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.sparse import issparse

from neuralot._torch import as_numpy, isolated
from neuralot.costs import Cost, SquaredEuclidean
from neuralot.sampling import check_weights

Samples: TypeAlias = ArrayLike | torch.Tensor

# POT's default of 1e5 iterations stops early, with a warning; 2000 x 2000 points can need more
MAX_PIVOTS = 10**8
NEGLIGIBLE = 1e-12


def as_points(points: Samples, name: str) -> np.ndarray:
    """Return a sample as a float64 array.

    Its shape is (n, d). Raises a ValueError that names the argument.
    """
    if issparse(points):
        raise ValueError(f"{name} is sparse, but must be a dense array; pass {name}.toarray().")
    array = as_numpy(points, name)
    if array.dtype == object and all(getattr(dtype, "kind", "O") in "biuf" for dtype in getattr(points, "dtypes", "O")):
        frame: Any = points  # of numbers of several types
        array = frame.to_numpy(np.float64, na_value=np.nan)
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{name} must be an array of real numbers, got dtype {array.dtype}.")
    array = array.astype(np.float64, copy=False)
    if array.ndim != 2 or array.size == 0:
        raise ValueError(f"{name} must be a non-empty sample of shape (n, d), got shape {array.shape}.")
    if not np.isfinite(array).all():
        row, column = np.argwhere(~np.isfinite(array))[0]
        raise ValueError(f"{name} must be finite, but contains NaN or infinity, first in row {row}, column {column}.")
    return array


def as_aligned(**samples: Samples) -> list[np.ndarray]:
    """Return samples with aligned rows as arrays of one shape."""
    arrays = {name: as_points(points, name) for name, points in samples.items()}
    if len({array.shape for array in arrays.values()}) > 1:
        shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
        raise ValueError(f"Row i of each argument must belong to source row i, but the shapes differ: {shapes}.")
    return list(arrays.values())


def check_features(**arrays: np.ndarray) -> None:
    """Raise a ValueError if the numbers of features differ.

    The message names the samples.
    """
    if len({array.shape[1] for array in arrays.values()}) > 1:
        counts = ", ".join(f"{name} {array.shape[1]}" for name, array in arrays.items())
        raise ValueError(f"All samples must have the same number of features, got {counts}.")


def as_masses(weights: ArrayLike | None, name: str, n: int) -> np.ndarray:
    """Return weights as masses that sum to 1.

    None gives equal masses. Raises a ValueError that names the argument `name`.
    """
    checked = check_weights(weights, name, n)
    return checked / checked.sum()


def optimal_cost(x: np.ndarray, a: np.ndarray, y: np.ndarray, b: np.ndarray, cost: Cost | None = None) -> float:
    """Return the exact transport cost between two samples.

    The rows x, y have the masses a, b. The default cost is the squared Euclidean one.
    """
    import ot

    if cost is not None and not isinstance(cost, SquaredEuclidean):
        return optimal_cost_of(cost_matrix(cost, x, y), a, b)
    # every plan's cost contains the distance of the means; it is added separately, for accuracy with distant samples
    mean_x, mean_y = a @ x, b @ y
    between_means = float(((mean_x - mean_y) ** 2).sum())
    return between_means + optimal_cost_of(ot.dist(x - mean_x, y - mean_y), a, b)


def optimal_cost_of(costs: np.ndarray, a: ArrayLike | None = None, b: ArrayLike | None = None) -> float:
    """Return the exact transport cost of a cost matrix.

    `costs` has shape (n, m), and `a`, `b` are the masses; by default they are equal.
    """
    import ot

    a, b = ([] if masses is None else masses for masses in (a, b))
    # the solver has an absolute tolerance; a power of two changes no digits
    unit = np.exp2(np.frexp(np.abs(costs[np.isfinite(costs)]).max(initial=0.0))[1])
    return float(ot.emd2(a, b, costs / unit, numItermax=MAX_PIVOTS) * unit)


def cost_matrix(cost: Cost, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the cost matrix of two samples, shape (n, m)."""
    a, b = (torch.from_numpy(np.ascontiguousarray(rows, dtype=np.float64)) for rows in (x, y))
    return cost.pairwise(a, b).detach().numpy()


@isolated
def sinkhorn_divergence(
    A: Samples,
    B: Samples,
    reg: float | None = None,
    *,
    sample_weight: ArrayLike | None = None,
    sample_weight_target: ArrayLike | None = None,
) -> float:
    r"""Debiased Sinkhorn divergence between two samples.

    It is a smooth approximation of the squared W2 distance:

    .. math:: S(\alpha, \beta) = \mathrm{OT}_\varepsilon(\alpha, \beta)
       - \tfrac{1}{2} \mathrm{OT}_\varepsilon(\alpha, \alpha)
       - \tfrac{1}{2} \mathrm{OT}_\varepsilon(\beta, \beta),
       \quad \mathrm{OT}_\varepsilon(\alpha, \beta) = \min_\pi E_\pi|x - y|^2
       + \varepsilon \, \mathrm{KL}(\pi \,|\, \alpha \otimes \beta)

    It is non-negative, 0 only for equal samples, and closer to 0 than W2 for two samples of one law. It is computed
    by POT, with at most 1000 iterations, which may be too few for a `reg` far below the default.

    Parameters
    ----------
    A : array-like of shape (n, d)
    B : array-like of shape (m, d)
    reg : float or None, default=None
        The regularisation :math:`\varepsilon`, in squared units of the data. None means 0.05 times the mean squared
        distance between the two centred samples. S then scales with the square of the data, and a difference t of the
        means adds exactly :math:`|t|^2`.
    sample_weight : array-like of shape (n,) or None, default=None
        Masses of the rows of `A`, non-negative; rescaled to sum to 1. None gives equal masses.
    sample_weight_target : array-like of shape (m,) or None, default=None
        Masses of the rows of `B`, as `sample_weight`.

    Returns
    -------
    float
        In squared units of the data.

    Raises
    ------
    ValueError
        If a sample is not finite and two-dimensional, the numbers of features differ, `reg` is not positive, or
        weights are negative, all zero, or not one per row.

    References
    ----------
    Feydy, J., Séjourné, T., Vialard, F.-X., Amari, S., Trouvé, A., Peyré, G. (2019). Interpolating between
    optimal transport and MMD using Sinkhorn divergences. AISTATS. arXiv:1810.08278.

    Examples
    --------
    >>> from neuralot.metrics import sinkhorn_divergence
    >>> A = [[0.0, 0.0], [1.0, 0.0], [0.0, 2.0]]
    >>> B = [[3.0, 0.0], [4.0, 0.0], [3.0, 2.0]]
    >>> round(sinkhorn_divergence(A, B), 6), round(sinkhorn_divergence(A, A), 6)
    (9.0, 0.0)
    """
    a, b = as_points(A, "A"), as_points(B, "B")
    check_features(A=a, B=b)
    if reg is not None and not 0 < reg < math.inf:
        raise ValueError(f"reg must be positive and finite, got {reg}.")
    v, w = (
        as_masses(sample_weight, "sample_weight", len(a)),
        as_masses(sample_weight_target, "sample_weight_target", len(b)),
    )
    (a, v), (b, w) = _heavy(a, v), _heavy(b, w)
    # centred as in optimal_cost; the default level then does not depend on the distance of the means
    mean_a, mean_b = v @ a, w @ b
    between_means = float(((mean_a - mean_b) ** 2).sum())
    a, b = a - mean_a, b - mean_b
    variance = float(v @ (a**2).sum(axis=1) + w @ (b**2).sum(axis=1))
    if variance == 0:
        return between_means
    a, b = a / math.sqrt(variance), b / math.sqrt(variance)
    level = 0.05 if reg is None else reg / variance
    within = (_entropic_cost(a, v, a, v, level) + _entropic_cost(b, w, b, w, level)) / 2
    # the divergence is non-negative; a negative value is an error of the iterations
    return between_means + variance * max(_entropic_cost(a, v, b, w, level) - within, 0.0)


def _heavy(rows: np.ndarray, masses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows whose masses are not negligible.

    The exact solver ignores smaller masses, so that the scaling iterations would overflow at them.
    """
    kept = masses > NEGLIGIBLE * masses.max()
    return rows[kept], masses[kept] / masses[kept].sum()


def _entropic_cost(a: np.ndarray, v: np.ndarray, b: np.ndarray, w: np.ndarray, level: float) -> float:
    """Return the entropic cost of two samples by its dual.

    The samples have the masses v and w. The error of the dual value is of second order. The kernel uses the cost
    reduced by the exact potentials f, g (0 for a sample with itself): c - f - g has a 0 in every row and column, so the
    kernel does not underflow at any level. POT's plain scaling iterations are then stable, and faster than those in the
    log domain.
    """
    import ot

    cost = ot.dist(a, b)  # (n, m)
    f, g = np.zeros(len(a)), np.zeros(len(b))  # (n,), (m,)
    if a is not b:
        _, exact = ot.emd2(v, w, cost, numItermax=MAX_PIVOTS, log=True)
        f, g = exact["u"], exact["v"]
    reduced = np.maximum(cost - f[:, None] - g, 0.0)
    _, log = ot.bregman.sinkhorn_knopp(v, w, reduced, level, numItermax=1000, stopThr=1e-7, warn=False, log=True)
    f, g = f + level * np.log(log["u"] / v), g + level * np.log(log["v"] / w)
    return float(v @ f + w @ g)
