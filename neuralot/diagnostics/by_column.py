"""Distances of laws along columns and other axes."""

from __future__ import annotations

import warnings
from functools import partial

import numpy as np
from sklearn.decomposition import FastICA
from sklearn.exceptions import ConvergenceWarning

from neuralot.diagnostics.statistics import MAX_FEATURES, MIN_BLOCKS, Estimate, Sample, excess_of

MAX_COMPONENTS, MAX_ITER = 64, 200
FLAT = 1e-6  # smallest variance of an axis, relative to the largest


def distance_by_column(images: Sample, target: Sample) -> Estimate:
    """Estimate the sum of the squared W2 distances of columns.

    Or of principal axes or independent components, if that is larger. Like the excess of `marginal_distance`, it has no
    bias for equal laws. It is a lower bound of the distance, and shows narrow modes, which samples hide in high
    dimension.
    """
    if min(len(images.rows), len(target.rows)) < MIN_BLOCKS:
        return Estimate(0.0, np.inf, 1)
    T, Y = (each.blocks(MIN_BLOCKS) for each in (images, target))
    by_basis = [excess_of(T, Y, partial(cost_by_column, axes=axes))[2] for axes in bases_of(images, target)]
    return max(by_basis, key=lambda estimate: estimate.low)


def bases_of(images: Sample, target: Sample) -> list[np.ndarray | None]:
    """Return bases for `cost_by_column`.

    They are columns (None), principal axes and independent components. The axes are those of both samples: a sample
    varies more than its law along its own axes. More than 256 features have none, and more than 64 no components.
    """
    d = target.rows.shape[1]
    if d > MAX_FEATURES:
        return [None]
    axes = np.linalg.eigh(images.covariance + target.covariance)[1]
    return [None, axes, *independent_axes(np.concatenate([images.rows, target.rows]))]


def independent_axes(rows: np.ndarray) -> list[np.ndarray]:
    """Return orthogonal axes near independent components.

    They are the columns of a matrix in a list, which is empty for one feature or more than 64.
    """
    centred = rows - rows.mean(axis=0)
    variances, axes = np.linalg.eigh(centred.T @ centred / len(rows))
    kept = variances > FLAT * variances.max()
    if not 2 <= kept.sum() <= MAX_COMPONENTS:
        return []
    deviations, axes = np.sqrt(variances[kept]), axes[:, kept]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # any axes will do
        found = FastICA(whiten=False, max_iter=MAX_ITER, tol=1e-3, random_state=0)
        components = found.fit(centred @ axes / deviations).components_
    left, _, right = np.linalg.svd(deviations[:, None] * components.T)
    return [axes @ (left @ right)]


def costs_by_column(a: Sample, b: Sample, axes: np.ndarray | None = None, power: float = 2.0) -> np.ndarray:
    """Wp^p of each column or axis, shape (d,)."""
    import ot

    x, y = (each.rows if axes is None else each.rows @ axes for each in (a, b))
    return np.asarray(ot.wasserstein_1d(x, y, a.masses, b.masses, p=power))


def cost_by_column(a: Sample, b: Sample, axes: np.ndarray | None, power: float = 2.0) -> float:
    """Sum of Wp^p along columns or axes.

    It is a lower bound of the exact cost with ``Lp(power)``. If the power is not 2, the sum along axes is divided by
    the bound of Riesz and Thorin for the change of axes, and is that of the axes for which the quotient is largest.
    """
    costs = costs_by_column(a, b, axes, power)
    if axes is None or power == 2:
        return float(costs.sum())
    order = np.argsort(-costs)
    parts = np.abs(axes[:, order])
    # induced 1-norms, or maximum norms, of the first axes
    norms = parts.cumsum(axis=1).max(axis=0) if power < 2 else np.maximum.accumulate(parts.sum(axis=0))
    return float((costs[order].cumsum() / norms ** abs(power - 2)).max())
