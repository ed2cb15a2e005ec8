"""Weighted samples, in the units of the data and standardised."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from sklearn.utils import gen_batches
from torch import Generator, Tensor

from neuralot.estimators.directions import NUMBERS_PER_BLOCK
from neuralot.estimators.units import RowTransform
from neuralot.sampling import ArraySampler, canonical_order, distinct, hold_out, spaced

SUBSAMPLE_ROWS = 2_000


@dataclass(frozen=True)
class Law:
    """Weighted sample in the units of the data.

    The rows have shape (n, n_features). The weights are float64 and have shape (n,). If the rows are a sample of a
    `Stream`, `numbers` are the numbers of the rows in it, and `match`, if there are conditions, chooses rows of its
    later samples.
    """

    rows: np.ndarray
    weights: np.ndarray
    stream: Any = None
    numbers: np.ndarray | None = None
    match: RowTransform | None = None

    @cached_property
    def order(self) -> np.ndarray:
        """Indices of rows of positive weight, in canonical order."""
        return canonical_order(self.rows, self.weights)

    def subsample(self, n_rows: int = SUBSAMPLE_ROWS) -> Law:
        """Return at most `n_rows` rows, evenly spaced in canonical order."""
        indices = self.order[evenly_spaced(len(self.order), n_rows)]
        return Law(self.rows[indices], self.weights[indices])

    def reduced(self, n_rows: int = SUBSAMPLE_ROWS) -> Law:
        """Return at most `n_rows` rows that represent the law.

        If the law has more rows, the result is a sample of `n_rows` equally weighted rows.
        """
        if len(self.rows) <= n_rows:
            return self
        return Law(self.rows[spaced(self.weights, n_rows)], np.ones(n_rows))

    def repeated(self) -> Law:
        """Return the same law with nearly equal weights.

        Rows of large weight are repeated. The number of rows is approximately the same.
        """
        counts = np.rint(self.weights / self.weights.mean()).astype(int)
        counts = np.maximum(counts, self.weights > 0)
        return Law(self.rows.repeat(counts, axis=0), (self.weights / np.maximum(counts, 1)).repeat(counts))


@dataclass(frozen=True)
class Standardised:
    """Standardised weighted sample.

    The rows are float32, on the device of the fit, and in canonical order.
    """

    rows: Tensor
    weights: np.ndarray

    @classmethod
    def of(cls, law: Law, standardise: RowTransform, n_columns: int, generator: Generator) -> Standardised:
        """Standardise a law.

        The result is the only copy of the rows that a fit stores.
        """
        x = np.empty((len(law.order), n_columns), dtype=np.float32)
        for block in gen_batches(len(x), max(1, NUMBERS_PER_BLOCK // law.rows.shape[1])):
            x[block] = standardise(law.rows[law.order[block]])
        return cls(torch.from_numpy(x).to(generator.device), law.weights[law.order])

    @cached_property
    def distinct(self) -> Tensor:
        """Indices of the distinct rows."""
        return distinct(self.rows)

    def sampler(self, stratified_from: float = math.inf) -> ArraySampler:
        """Return a sampler of rows.

        The probability of a row is proportional to its weight. Batches are stratified if there are at least
        `stratified_from` distinct rows.
        """
        uniform = bool((self.weights == self.weights[0]).all())
        weights = None if uniform else torch.as_tensor(self.weights)
        return ArraySampler(self.rows, weights, stratified=len(self.distinct) >= stratified_from)

    def equally_weighted(self, n_rows: int) -> Tensor:
        """Return a sample of at most `n_rows` equally weighted rows."""
        return self.rows[torch.from_numpy(spaced(self.weights, min(int(np.count_nonzero(self.weights)), n_rows)))]

    def distinct_rows(self, n_rows: int) -> tuple[Tensor, Tensor]:
        """Return distinct rows and their shares of the weight.

        If there are more than `n_rows` distinct rows, the result is a sample of at most `n_rows` equally weighted rows.
        """
        chosen, shares = self.sampler().distinct()
        if len(chosen) <= n_rows:
            return self.rows[chosen], shares.to(self.rows)
        rows = self.equally_weighted(n_rows)
        return rows, rows.new_full((len(rows),), 1 / len(rows))

    def hold_out(self, fraction: float, generator: Generator) -> tuple[Standardised, Tensor]:
        """Hold out a fraction of the weight for validation.

        Returns the sample for training, and equally weighted rows for validation.
        """
        training, held_out = self.split(fraction, generator)
        return training, held_out.equally_weighted(SUBSAMPLE_ROWS)

    def split(self, fraction: float, generator: Generator) -> tuple[Standardised, Standardised]:
        """Split the sample by weight.

        Returns the sample for training, and the sample with the given fraction of the weight.
        """
        weights, held_out_weights = hold_out(self.weights, len(self.distinct), fraction, generator)
        if not weights.any():
            raise ValueError(
                f"validation_fraction={fraction} leaves no rows for training in a sample of {len(self.rows)} rows; "
                f"pass a smaller validation_fraction or samples of at least 2 distinct rows"
            )
        return Standardised(self.rows, weights), Standardised(self.rows, held_out_weights)


def range_of(law: Law, earlier: np.ndarray | None = None) -> np.ndarray:
    """Return the smallest and largest value of each column.

    Rows of weight 0 do not count. `earlier` is the range of earlier rows, shape (2, n_features), as is the result.
    """
    rows = law.rows if (law.weights > 0).all() else law.rows[law.weights > 0]
    low, high = rows.min(axis=0), rows.max(axis=0)
    if earlier is not None:
        low, high = np.minimum(low, earlier[0]), np.maximum(high, earlier[1])
    return np.stack([low, high])


def of_columns(laws: Laws, columns: np.ndarray) -> Laws:
    """Return the laws of some columns."""
    source, target = (Law(law.rows[:, columns], law.weights, numbers=law.numbers) for law in laws)
    return source, target


def within_conditions(rows: Tensor, n_moved: int) -> Tensor:
    """Return the residuals of moved columns, given conditions.

    They are those of a linear regression; without conditions, the rows are returned.
    """
    if n_moved == rows.shape[1]:
        return rows
    centred = rows.double() - rows.double().mean(dim=0)
    moved, conditions = centred[:, :n_moved], centred[:, n_moved:]
    products = torch.linalg.pinv(conditions.T @ conditions, rtol=1e-7, hermitian=True)
    return (moved - conditions @ (products @ (conditions.T @ moved))).to(rows)


def evenly_spaced(n_rows: int, max_rows: int) -> np.ndarray:
    """Return at most `max_rows` evenly spaced row indices."""
    return np.linspace(0, n_rows - 1, min(n_rows, max_rows)).astype(int)


Laws = tuple[Law, Law]
