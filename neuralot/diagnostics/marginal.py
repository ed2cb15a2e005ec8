"""Comparison of the laws of images and target."""

from __future__ import annotations

import warnings

import numpy as np
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning

from neuralot.diagnostics.by_column import distance_by_column
from neuralot.diagnostics.optimality import MAX_ROWS
from neuralot.diagnostics.quantities import Marginal
from neuralot.diagnostics.statistics import N_CELLS, ROUNDING, Sample, energy_p_value, marginal_distance, spread
from neuralot.divergences import sinkhorn_divergence

ROWS_FOR_SINKHORN = 1000
MIN_MASS_OF_CELL = 1e-3  # relative to that of the largest cell
TINY = np.finfo(float).tiny


def evaluate_marginal(images: Sample, target: Sample, unit: float, rng: np.random.Generator) -> Marginal:
    """Compare images with the target, in shares of `unit`."""
    root = np.sqrt(unit)
    T, Y = (Sample((each.rows - target.mean) / root, each.masses) for each in (images, target))
    distance = marginal_distance(T, Y)
    n = min(ROWS_FOR_SINKHORN, len(T.rows), max(1, len(Y.rows) // 2))
    part = Y.part(slice(n))
    deviations = [np.sqrt(each.masses @ (each.rows - each.mean) ** 2) for each in (T, Y)]
    mean_deviations = [each.masses @ np.abs(each.rows - each.mean) for each in (T, Y)]
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
        _coverage(T, Y),
    )


def _ratios(of_images: np.ndarray, of_target: np.ndarray) -> np.ndarray:
    """Ratios by column; nan where the target is constant."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(of_target > ROUNDING, of_images / of_target, np.nan)


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
