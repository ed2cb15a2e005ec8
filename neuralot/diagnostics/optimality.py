"""Optimality of a plan, from exact transport between samples."""

from __future__ import annotations

import itertools
import math

import numpy as np

from neuralot.costs import Cost, SquaredEuclidean
from neuralot.diagnostics.quantities import Marginal, Optimality
from neuralot.diagnostics.statistics import (
    MAX_BLOCKS,
    MIN_BLOCK,
    MIN_BLOCKS,
    Sample,
    exact_cost,
    monotonicity_gap,
    paired_cost,
    power_of,
    violated_pairs,
)

MAX_ROWS = 2000

# source rows, their images, and target rows
Part = tuple[Sample, np.ndarray, Sample]


def parts_of(source: Sample, images: np.ndarray, target: Sample) -> list[Part]:
    """Return parts of samples, for exact transport.

    They have at most 2000 rows. A sample with few rows is not divided.
    """
    n_parts = math.ceil(max(len(source.rows), len(target.rows)) / MAX_ROWS)
    if n_parts == 1:
        return [(source, images, target)]
    x, y = (
        each.blocks(n_parts) if len(each.rows) >= n_parts * MIN_BLOCK else [each] * n_parts
        for each in (Sample(np.hstack([source.rows, images]), source.masses), target)
    )
    d = images.shape[1]
    return [(Sample(a.rows[:, :d], a.masses), a.rows[:, d:], b) for a, b in zip(x, y, strict=True)]


def evaluate_plan(
    source: Sample,
    images: np.ndarray,
    parts: list[Part],
    cost: Cost,
    unit: float,
    marginal: Marginal,
    rng: np.random.Generator,
) -> Optimality:
    """Return costs, gaps and errors of a plan.

    `unit` is the variance whose share a gap is.
    """
    mean_cost = float(source.masses @ paired_cost(cost, source.rows, images))
    exact = float(np.mean([exact_cost(x, y, cost) for x, _, y in parts]))
    gap = float(np.mean([_gap(x, mapped, cost) for x, mapped, _ in parts]))
    squared = isinstance(cost, SquaredEuclidean)
    power = power_of(cost)
    if squared:
        to_target, floor = marginal.w2 * unit, marginal.floor * unit
    elif np.isfinite(power):
        to_target, floor = _costs_to_target(parts[0], cost)
    else:
        to_target = floor = np.nan
    excess = max(mean_cost ** (1 / power) - exact ** (1 / power), 0.0)  # 0 without a power
    return Optimality(
        mean_cost,
        exact,
        gap,
        gap / unit if squared else gap / max(abs(exact), np.finfo(float).tiny),
        "variance" if squared else "exact cost",
        violated_pairs(source, images, cost, rng),
        float(excess + to_target ** (1 / power)),
        float(floor ** (1 / power)),
    )


def _costs_to_target(part: Part, cost: Cost) -> tuple[float, float]:
    """Return mean exact costs between blocks.

    They are those of images and target, and of the target alone.
    """
    source, images, target = part
    n_rows = min(len(images), len(target.rows))
    n_blocks = int(np.clip(n_rows // MIN_BLOCK, min(n_rows, MIN_BLOCKS), MAX_BLOCKS))
    Y = target.blocks(n_blocks)
    between = [exact_cost(t, y, cost) for t, y in zip(Sample(images, source.masses).blocks(n_blocks), Y, strict=True)]
    within = [exact_cost(a, b, cost) for a, b in itertools.pairwise(Y)]
    return float(np.mean(between)), float(np.mean(within)) if within else np.nan


def _gap(source: Sample, images: np.ndarray, cost: Cost) -> float:
    """Monotonicity gap, of centred samples where the cost permits."""
    if not isinstance(cost, SquaredEuclidean):
        return monotonicity_gap(source, images, cost)
    centred = Sample(source.rows - source.mean, source.masses)
    return monotonicity_gap(centred, images - source.masses @ images, cost)
