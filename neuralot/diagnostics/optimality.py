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
    matched,
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

    `unit` is what a gap is a share of: the variance, for the squared Euclidean cost.
    """
    mean_cost = float(source.masses @ paired_cost(cost, source.rows, images))
    exact = float(np.mean([exact_cost(x, y, cost) for x, _, y in parts]))
    gap = float(np.mean([monotonicity_gap(*_centred(x, mapped, cost), cost) for x, mapped, _ in parts]))
    squared = isinstance(cost, SquaredEuclidean)
    power = power_of(cost)
    if squared:
        to_target, floor = marginal.w2 * unit, marginal.floor * unit
    elif np.isfinite(power):
        to_target, floor = _costs_to_target(parts[0], cost)
    else:
        to_target = floor = np.nan
    excess = max(mean_cost ** (1 / power) - exact ** (1 / power), 0.0)
    return Optimality(
        mean_cost,
        exact,
        gap,
        gap / unit,
        "variance" if squared else "spread of costs",
        violated_pairs(*_centred(source, images, cost), cost, rng),
        float(excess + to_target ** (1 / power)),
        float(floor ** (1 / power)),
    )


def _costs_to_target(part: Part, cost: Cost) -> tuple[float, float]:
    """Return mean exact costs between blocks.

    They are those of images and target, and of the target alone.
    """
    source, images, target = part
    reached, target = matched(Sample(images, source.masses), target)
    n_rows = min(len(reached.rows), len(target.rows))
    n_blocks = int(np.clip(n_rows // MIN_BLOCK, min(n_rows, MIN_BLOCKS), MAX_BLOCKS))
    Y = target.blocks(n_blocks)
    between = [exact_cost(t, y, cost) for t, y in zip(reached.blocks(n_blocks), Y, strict=True)]
    within = [exact_cost(a, b, cost) for a, b in itertools.pairwise(Y)]
    return float(np.mean(between)), float(np.mean(within)) if within else np.nan


def _centred(source: Sample, images: np.ndarray, cost: Cost) -> tuple[Sample, np.ndarray]:
    """Return centred rows and images.

    Only for the squared distance, whose best pairings do not depend on shifts.
    """
    if not isinstance(cost, SquaredEuclidean):
        return source, images
    return Sample(source.rows - source.mean, source.masses), images - source.masses @ images
