"""Comparison of the laws of images and target."""

from __future__ import annotations

import warnings

import numpy as np
from scipy.stats import norm
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning

from neuralot.diagnostics.by_column import distance_by_column
from neuralot.diagnostics.optimality import MAX_ROWS
from neuralot.diagnostics.quantities import Marginal
from neuralot.diagnostics.statistics import (
    N_CELLS,
    ROUNDING,
    SIGNIFICANT,
    Sample,
    energy_p_value,
    marginal_distance,
    spread,
)
from neuralot.divergences import sinkhorn_divergence

ROWS_FOR_SINKHORN = 1000
MIN_MASS_OF_CELL = 1e-3  # relative to that of the largest cell
COLUMN_FACTOR = 2.0  # of the mean absolute deviation of one column, which may have next to no part in the variance
TINY = np.finfo(float).tiny


def evaluate_marginal(images: Sample, target: Sample, unit: float, rng: np.random.Generator) -> Marginal:
    """Compare images with the target, in shares of `unit`."""
    root = np.sqrt(unit)
    T, Y = (Sample((each.rows - target.mean) / root, each.masses) for each in (images, target))
    distance = marginal_distance(T, Y)
    n = min(ROWS_FOR_SINKHORN, len(T.rows), max(1, len(Y.rows) // 2))
    part = Y.part(slice(n))
    deviations = [np.sqrt(each.masses @ (each.rows - each.mean) ** 2) for each in (T, Y)]
    mean_deviations, errors = zip(*map(_mean_deviations, (T, Y)), strict=True)
    return Marginal(
        distance.w2,
        distance.floor,
        distance.excess,
        distance_by_column(T, Y),
        _divergence(T.part(slice(n)), part),
        _divergence(Y.part(slice(n, 2 * n)), part) if len(Y.rows) > n else np.nan,
        energy_p_value(T.part(slice(MAX_ROWS)), Y.part(slice(MAX_ROWS)), rng),
        spread(T, Y),
        _ratios(*deviations),
        _ratios(*mean_deviations),
        _differ(*mean_deviations, *errors),
        _coverage(T, Y),
    )


def _ratios(of_images: np.ndarray, of_target: np.ndarray) -> np.ndarray:
    """Ratios by column; nan where the target is constant."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(of_target > ROUNDING, of_images / of_target, np.nan)


def _mean_deviations(sample: Sample) -> tuple[np.ndarray, np.ndarray]:
    """Mean absolute deviations of columns, and their standard errors."""
    centred = sample.rows - sample.mean
    values = sample.masses @ np.abs(centred)
    # of the distance from the true mean: the mean of the sample has an error too
    influence = np.abs(centred) - (sample.masses @ np.sign(centred)) * centred - values
    return values, np.sqrt(sample.masses @ influence**2 / sample.n_effective)


def _differ(x: np.ndarray, y: np.ndarray, error_of_x: np.ndarray, error_of_y: np.ndarray) -> np.ndarray:
    """Whether positive values differ by more than `COLUMN_FACTOR`.

    They must do so beyond their standard errors. Where y is 0, they do not differ.
    """
    level = norm.isf(SIGNIFICANT / (2 * len(x)))  # of all columns together
    factor = COLUMN_FACTOR
    is_larger = x - factor * y > level * np.hypot(error_of_x, factor * error_of_y)
    is_smaller = y - factor * x > level * np.hypot(factor * error_of_x, error_of_y)
    return (y > ROUNDING) & (is_larger | is_smaller)


def _divergence(a: Sample, b: Sample) -> float:
    return sinkhorn_divergence(a.rows, b.rows, sample_weight=a.masses, sample_weight_target=b.masses)


def _coverage(images: Sample, target: Sample) -> np.ndarray:
    """Relative masses of the images in cells of the target."""
    n_cells = min(N_CELLS, len(np.unique(target.rows, axis=0)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # of rows that only differ by rounding
        cells = KMeans(n_cells, n_init=1, random_state=0).fit(target.rows, sample_weight=target.masses)
    own, reached = (np.bincount(cells.predict(each.rows), each.masses, n_cells) for each in (target, images))
    return (reached / np.maximum(own, TINY))[own > MIN_MASS_OF_CELL * own.max()]
