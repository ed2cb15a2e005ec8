"""Curl of a map, from its mean Jacobian."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
from sklearn.cluster import KMeans

from neuralot.costs import Cost, SquaredEuclidean
from neuralot.diagnostics.statistics import MAX_BLOCKS, MAX_FEATURES, N_CELLS, Estimate, Sample, over_pairs

STEP = 0.1  # of the differences, in standard deviations within cells
MIN_ROWS = 200
MAX_IMAGES = 12_800  # of each sign
ROWS_FOR_WIDTHS, SEED = 400, 982_451_653
ROWS_ALONE, MAX_DIFFERENCE = 50, 0.02
TINY = np.finfo(float).tiny
FLAT = 1e-6  # smallest variance of a direction, relative to the largest


def curl_if_known(
    draw: Callable[[Sample, int], np.ndarray], source: Sample, images: np.ndarray, cost: Cost, unit: float
) -> Estimate | None:
    """Return the curl for the squared distance.

    None if the images of other rows are not known, or depend on the rows beside them.
    """
    if not isinstance(cost, SquaredEuclidean):
        return None
    image_of = lambda rows: draw(Sample(rows, np.full(len(rows), 1 / len(rows))), 1)[0]  # noqa: E731
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            alone = image_of(source.rows[:ROWS_ALONE])
            if ((alone - images[:ROWS_ALONE]) ** 2).sum(axis=1).mean() > MAX_DIFFERENCE * unit:
                return None
            return evaluate_curl(image_of, source, unit)
        except Exception:  # any error of a function that knows these very rows only, or those of a domain
            return None


def evaluate_curl(draw: Callable[[np.ndarray], np.ndarray], source: Sample, unit: float) -> Estimate | None:
    r"""Estimate how far a map is from a gradient.

    An optimal map for the squared Euclidean cost is the gradient of a convex function, so its mean Jacobian is
    symmetric, whatever the law of the source. The value is the smallest distance of the mean Jacobian J to a symmetric
    matrix M,

    .. math:: \min_M \operatorname{tr}((J - M) S (J - M)^\top)
              = \sum_{i < j} (J_{ij} - J_{ji})^2 \frac{s_i s_j}{s_i + s_j}

    as a share of `unit`, in the axes of the covariance S, with variances s. For a normal source of covariance S it is a
    lower bound of the mean squared distance to the optimal map, by Stein's identity and the inequality of Cauchy and
    Schwarz. In general, the inverse of the source's Fisher information takes the place of S. It is less for clusters:
    a rotation within each of them counts with their width. So S is the covariance within cells (k-means), and a column
    or principal axis whose own Fisher information is larger than that of a normal law counts for less.

    Central differences of the same rows give J. The product of independent blocks of rows has no bias, and its standard
    error is that of the jackknife over pairs of blocks.

    Parameters
    ----------
    draw : callable
        Returns images of rows, (n, d) to (n, d). Noise must depend on n only.
    source : Sample
        Rows of a law with a density.
    unit : float
        The variance whose share a distance is.

    Returns
    -------
    Estimate or None
        None if there are fewer than 200 rows, one feature, or more than 256.
    """
    d = source.rows.shape[1]
    if source.n_effective < MIN_ROWS or not 2 <= d <= MAX_FEATURES:
        return None
    variances, axes = norm_of(source)
    kept = variances > FLAT * variances.max()
    variances, steps = variances[kept], axes[:, kept] * STEP * np.sqrt(variances[kept])  # (p,), (d, p)
    x = source.rows[: MAX_IMAGES // d]
    after, before = (draw((x[:, None] + sign * steps.T).reshape(-1, d)) for sign in (1, -1))
    # [r, j, i]: derivative of part i of the image of row r in direction j, times both standard deviations
    scaled = (after - before).reshape(len(x), -1, d) @ steps / (2 * STEP**2)
    asymmetry = (scaled - scaled.transpose(0, 2, 1)) / np.sqrt(variances[:, None] + variances)
    rows = Sample(asymmetry.reshape(len(x), -1), source.masses[: len(x)])
    means = np.stack([block.mean for block in rows.blocks(MAX_BLOCKS)])
    products = means @ means.T / (2 * unit)
    return over_pairs(lambda every, different: float(products[different].mean()), MAX_BLOCKS)


def norm_of(source: Sample) -> tuple[np.ndarray, np.ndarray]:
    """Return variances and axes of the norm of Jacobians."""
    widths = np.sqrt(relative_widths(source))
    variances, axes = np.linalg.eigh(_covariance_within_cells(source) * widths[:, None] * widths)
    return variances * relative_widths(Sample(source.rows @ axes, source.masses)), axes


def _covariance_within_cells(source: Sample) -> np.ndarray:
    """Return the mean covariance of cells of a sample."""
    cells = KMeans(N_CELLS, n_init=1, random_state=0).fit_predict(source.rows, sample_weight=source.masses)
    total = np.zeros((source.rows.shape[1],) * 2)
    for k in np.unique(cells):
        total += source.masses[cells == k].sum() * source.part(cells == k).covariance
    return total


def relative_widths(sample: Sample) -> np.ndarray:
    """Return the inverse Fisher information of columns over their variances.

    It is at most 1, the value of a normal law, and small for a column with narrow modes. It is that of the law smoothed
    by a normal one, without the variance of the latter: 0 for modes that are narrower than Silverman's bandwidth.
    """
    rows = sample.part(slice(ROWS_FOR_WIDTHS))
    deviations = np.sqrt(rows.masses @ (rows.rows - rows.mean) ** 2)
    standard = (rows.rows - rows.mean) / np.maximum(deviations, TINY)
    bandwidth = 0.9 * rows.n_effective ** (-1 / 5)
    widths = []
    # a seed that no one draws data with
    for column, noise in zip(standard.T, np.random.default_rng(SEED).normal(size=standard.T.shape), strict=True):
        smoothed = column + bandwidth * noise
        weights = rows.masses * np.exp(-(((smoothed[:, None] - column) / bandwidth) ** 2) / 2)
        scores = (weights @ column / weights.sum(axis=1) - smoothed) / bandwidth**2
        widths.append(1 / (rows.masses @ scores**2) - bandwidth**2)
    return np.clip(widths, 0.0, 1.0)
