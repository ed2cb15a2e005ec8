"""Directions in which two samples vary."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy.linalg
from sklearn.utils import gen_batches

from neuralot.sampling import canonical_order, projection, spaced

# rows of a sample, their weights, and its centre
Sample = tuple[np.ndarray, np.ndarray, np.ndarray]

# a direction varies if its variance is above this share of the largest one and above the rounding errors
MIN_VARIANCE = 1e-12
ROUNDING = 4.0
MAX_FEATURES = 2048
# with fewer rows than columns, one principal direction is kept per ROWS_PER_DIRECTION rows of the smaller sample
ROWS_PER_DIRECTION, MIN_ROWS_OF_PRINCIPAL, ROWS_OF_PRINCIPAL = 10, 5, 1000
# sums are computed in blocks, because a float64 copy of a large sample needs much memory and does not fit in the cache
NUMBERS_PER_BLOCK = 2**16


def blocks(X: np.ndarray, weights: np.ndarray, centre: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield blocks of centred rows with their weights.

    The rows are float64; rows of weight 0 are omitted.
    """
    for block in gen_batches(len(X), max(1, NUMBERS_PER_BLOCK // X.shape[1])):
        rows, w = X[block], weights[block]
        is_positive = w > 0
        if not is_positive.all():
            rows, w = rows[is_positive], w[is_positive]
        yield rows - centre, w


def varying_directions(samples: list[Sample], scale: float) -> np.ndarray | None:
    """Return an orthonormal basis of the directions of variation.

    These are the directions in which any of the samples varies. The result is None if the samples vary in all
    directions or in none, if there are too few rows to decide, or if there are more than `MAX_FEATURES` features. The
    basis depends on the directions only, not on their variances. A column that is orthogonal to all others is a basis
    vector.
    """
    n_features = samples[0][0].shape[1]
    if n_features > MAX_FEATURES:
        return None
    rounding = ROUNDING * max(float(np.abs(centre).max() * np.finfo(X.dtype).eps) for X, _, centre in samples) / scale
    n_rows = 4 * n_features
    subsamples = [(X[i], w[i], centre) for X, w, centre in samples for i in [spaced(w, min(n_rows, len(w)))]]
    for each in (subsamples, samples):  # if the subsamples vary in all directions, so do the samples
        variances, vectors = np.linalg.eigh(_covariance(each, scale))
        varying = variances > max(MIN_VARIANCE * variances[-1], rounding**2)
        if varying.all() or not varying.any():
            return None
    if 2 * varying.sum() > min(len(np.unique(projection(X)[w > 0])) for X, w, _ in samples):
        return None  # too few rows: other rows of the same law may vary in other directions
    projector = (vectors[:, varying] @ vectors[:, varying].T).round(9) + 0.0
    basis, triangle, _ = scipy.linalg.qr(projector, pivoting=True)
    basis = (basis * np.sign(np.diag(triangle)))[:, : varying.sum()]
    return np.where(np.abs(basis) < 1e-8, 0.0, basis)


def _covariance(samples: list[Sample], scale: float) -> np.ndarray:
    """Return the sum of the samples' covariances, divided by `scale^2`."""
    covariance = np.zeros((samples[0][0].shape[1],) * 2)
    for sample in samples:
        for rows, w in blocks(*sample):
            rows = rows / scale
            covariance += rows.T @ (rows * (w / sample[1].sum())[:, None])
    return covariance


def n_distinct(X: np.ndarray, weights: np.ndarray) -> int:
    """Return the number of distinct rows of positive weight."""
    return len(np.unique(projection(X)[weights > 0]))


@dataclass(frozen=True)
class Principal:
    """Principal directions of two samples.

    Attributes
    ----------
    basis : ndarray of shape (n_features, n_directions)
        Orthonormal directions.
    share : float
        Their share of the variance.
    residual_scale : float
        Ratio of the target's deviation outside of the basis to that of the source.
    """

    basis: np.ndarray
    share: float
    residual_scale: float


def principal_directions(samples: list[Sample], scale: float) -> Principal | None:
    """Return the principal directions of samples with too few rows.

    There are too few if both samples have fewer distinct rows than columns: a map that is learned in all directions
    then follows the noise of the rows. The directions are those of largest variance: those with singular values above
    the noise of either sample, at least one, and at most one per ten rows of the smaller sample. The result is None if
    there are enough rows, and below five rows, which are transported as they are.

    References
    ----------
    Gavish and Donoho, "The optimal hard threshold for singular values is 4 / sqrt(3)", IEEE Transactions on Information
    Theory 60, 2014.
    """
    X, Y = samples[0][0], samples[1][0]
    if max(len(X), len(Y)) >= X.shape[1] or min(len(X), len(Y)) < MIN_ROWS_OF_PRINCIPAL:
        return None
    fewest = min(n_distinct(rows, w) for rows, w, _ in samples)
    if fewest < MIN_ROWS_OF_PRINCIPAL:
        return None
    # of weight 1 per sample; the products of rows are fewer than those of columns
    parts = [np.vstack(list(_weighted(*sample, scale))) for sample in samples]
    rows = np.vstack(parts)
    values, vectors = np.linalg.eigh(rows @ rows.T)
    n_above = int((values > max(_noise(part) for part in parts) ** 2).sum())
    n_chosen = max(1, min(fewest // ROWS_PER_DIRECTION, n_above))
    chosen = slice(-n_chosen, None)
    basis = (vectors[:, chosen].T @ rows).T[:, ::-1] / np.sqrt(values[chosen][::-1])
    basis *= np.sign(basis[np.abs(basis).argmax(axis=0), np.arange(basis.shape[1])])
    # rounded, so that the order of the rows does not change the basis
    basis = np.round(basis, 9) + 0.0
    x, y = (max(0.0, (part**2).sum() - ((part @ basis) ** 2).sum()) for part in parts)
    # rounded for the same reason; a law that does not vary outside of the basis is shifted only
    ratio = float(f"{np.sqrt(y / x):.3g}") if min(x, y) > MIN_VARIANCE * values.sum() else 1.0
    return Principal(basis, float(values[chosen].sum() / values.sum()), ratio)


def _noise(rows: np.ndarray) -> float:
    """Return the largest singular value of noise, about."""
    ratio = min(rows.shape) / max(rows.shape)
    factor = 0.56 * ratio**3 - 0.95 * ratio**2 + 1.82 * ratio + 1.43
    return float(factor * np.median(np.linalg.svd(rows, compute_uv=False)))


def _weighted(X: np.ndarray, weights: np.ndarray, centre: np.ndarray, scale: float) -> Iterator[np.ndarray]:
    """Yield centred rows times the roots of their weights.

    At most `ROWS_OF_PRINCIPAL` of them, in canonical order.
    """
    order = canonical_order(X, weights)
    w = weights[order]
    if len(order) > ROWS_OF_PRINCIPAL:
        order, w = order[spaced(w, ROWS_OF_PRINCIPAL)], np.ones(ROWS_OF_PRINCIPAL)
    yield (X[order] - centre) / scale * np.sqrt(w / w.sum())[:, None]
