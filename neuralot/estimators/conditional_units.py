"""Standardised coordinates with conditions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from neuralot.costs import Conditional, Cost
from neuralot.estimators.conditions import Conditions
from neuralot.estimators.laws import Law, range_of
from neuralot.estimators.units import Units

NONE = np.zeros(0, dtype=int)


@dataclass(frozen=True)
class ConditionalUnits(Units):
    """Standardised coordinates of moved columns, and conditions.

    A standardised row has the coordinates of the moved columns first, see `Units`, and then those of its conditions:
    (s - centre) / scale for a number s, and for a category its one-hot vector, minus the shares of the categories in
    the source, times the root of the number of categories. Source and target have the same coordinates of conditions.
    Images have the conditions of their rows, without rounding errors.

    Attributes
    ----------
    columns, moved : ndarray of int
        Indices of the conditions, and of the columns that are moved.
    levels : ndarray of int
        Number of categories of each condition; 0 for numbers.
    condition_centre, condition_scale : ndarray of shape (n_coordinates,)
        Of the coordinates of the conditions.
    """

    columns: np.ndarray = field(default_factory=NONE.copy)
    moved: np.ndarray = field(default_factory=NONE.copy)
    levels: np.ndarray = field(default_factory=NONE.copy)
    condition_centre: np.ndarray = field(default_factory=NONE.copy)
    condition_scale: np.ndarray = field(default_factory=NONE.copy)

    @classmethod
    def around(cls, units: Units, conditions: Conditions, source: Law) -> ConditionalUnits:
        """Return the units of the moved columns with conditions.

        `units` are those of the moved columns, and `source` the source rows with all columns.
        """
        values = {**vars(units), "source_range": range_of(source)}
        bare = cls(**values, columns=conditions.columns, moved=conditions.moved, levels=conditions.levels)
        coordinates, weights = bare.coordinates(source.rows), source.weights
        centre = np.average(coordinates, axis=0, weights=weights)
        deviation = np.sqrt(np.average((coordinates - centre) ** 2, axis=0, weights=weights))
        of_categories = np.concatenate([np.full(max(n, 1), n) for n in conditions.levels])
        deviation = np.where(of_categories > 0, 1 / np.sqrt(np.maximum(of_categories, 1)), deviation)
        # rounded, so that the order of summation does not change them
        scale = np.array([float(f"{each:.3g}") if each > 0 else 1.0 for each in deviation])
        return replace(bare, condition_centre=np.round(centre / scale, 3) * scale, condition_scale=scale)

    @property
    def n_columns(self) -> int:
        return len(self.columns) + len(self.moved)

    @property
    def n_directions(self) -> int:
        return self.n_moved + len(self.condition_centre)

    @property
    def n_moved(self) -> int:
        return super().n_directions

    def has_conditions(self, conditions: Conditions | None) -> bool:
        return conditions is not None and np.array_equal(self.columns, conditions.columns)

    def moved_rows(self, rows: np.ndarray) -> np.ndarray:
        return rows[:, self.moved]

    def comparable(self, rows: np.ndarray) -> np.ndarray:
        return np.hstack([rows[:, self.moved], self.scale * self._standardised_conditions(rows)])

    def with_conditions(self, moved: np.ndarray, rows: Any) -> np.ndarray:
        """Return moved columns together with conditions.

        `rows` are rows with these conditions, or 0 for conditions that are 0.
        """
        result = np.zeros((len(moved), self.n_columns), dtype=moved.dtype)
        result[:, self.moved] = moved
        if np.ndim(rows):
            result[:, self.columns] = rows[:, self.columns]
        return result

    def coordinates(self, rows: np.ndarray) -> np.ndarray:
        """Return numbers and one-hot vectors of conditions."""
        parts = []
        for j, n_levels in zip(self.columns, self.levels, strict=True):
            column = rows[:, j]
            parts.append(column[:, None] == np.arange(n_levels) if n_levels else column[:, None])
        return np.hstack(parts).astype(np.float64)

    def cover(self, X: np.ndarray, Y: np.ndarray) -> bool:
        return super().cover(X[:, self.moved], Y[:, self.moved])

    def covers_target(self, Y: np.ndarray) -> bool:
        return super().covers_target(Y[:, self.moved])

    def cost(self, cost: Cost, device: torch.device) -> Cost:
        return Conditional(super().cost(cost, device), self.n_moved)

    def from_source(self, X: np.ndarray) -> np.ndarray:
        return self._standardised(super().from_source(X[:, self.moved]), X)

    def from_target(self, Y: np.ndarray) -> np.ndarray:
        return self._standardised(super().from_target(Y[:, self.moved]), Y)

    def to_source(self, X: np.ndarray, Y: np.ndarray | None = None) -> np.ndarray:
        assert Y is not None  # the conditions are those of the rows
        return self.with_conditions(super().to_source(X[:, : self.n_moved], Y[:, self.moved]), Y)

    def to_target(self, Y: np.ndarray, X: np.ndarray | None = None) -> np.ndarray:
        assert X is not None
        return self.with_conditions(super().to_target(Y[:, : self.n_moved], X[:, self.moved]), X)

    def _standardised(self, moved: np.ndarray, rows: np.ndarray) -> np.ndarray:
        return np.hstack([moved, self._standardised_conditions(rows).astype(moved.dtype, copy=False)])

    def _standardised_conditions(self, rows: np.ndarray) -> np.ndarray:
        return (self.coordinates(rows) - self.condition_centre) / self.condition_scale


def units_of(state: Mapping[str, Any]) -> Units:
    """Return the units with the given attributes."""
    return (ConditionalUnits if "columns" in state else Units)(**state)
