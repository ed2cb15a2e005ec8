"""Weighted samples, in the user's units and standardised."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from sklearn.utils import gen_batches
from torch import Generator, Tensor

from neuralot.estimators.units import NUMBERS_PER_BLOCK, Change
from neuralot.sampling import ArraySampler, canonical_order, distinct, hold_out, spaced

SOME_ROWS = 2_000


@dataclass(frozen=True)
class Law:
    """Weighted sample.

    Rows of shape (n, n_features) and their weights, float64 of shape (n,).
    """

    rows: np.ndarray
    weights: np.ndarray

    @cached_property
    def order(self) -> np.ndarray:
        """Indices of rows of positive weight, in canonical order."""
        return canonical_order(self.rows, self.weights)

    def some(self, n_rows: int = SOME_ROWS) -> Law:
        """Return at most `n_rows` rows, evenly spaced in canonical order."""
        some = self.order[evenly(len(self.order), n_rows)]
        return Law(self.rows[some], self.weights[some])

    def few(self, n_rows: int = SOME_ROWS) -> Law:
        """Return the law, or an equally weighted sample of it.

        The sample has `n_rows` rows, if the law has more.
        """
        if len(self.rows) <= n_rows:
            return self
        return Law(self.rows[spaced(self.weights, n_rows)], np.ones(n_rows))

    def repeated(self) -> Law:
        """Return the law with repeated rows of nearly equal weights.

        Heavy rows are repeated; the number of rows is about the same.
        """
        times = np.rint(self.weights / self.weights.mean()).astype(int)
        times = np.maximum(times, self.weights > 0)
        return Law(self.rows.repeat(times, axis=0), (self.weights / np.maximum(times, 1)).repeat(times))


@dataclass(frozen=True)
class Standardised:
    """Standardised law.

    It has float32 rows on the device, in canonical order, and their weights.
    """

    rows: Tensor
    weights: np.ndarray

    @classmethod
    def of(cls, law: Law, enter: Change, n_columns: int, generator: Generator) -> Standardised:
        """Standardise a law.

        The result is the only copy of the rows that a fit keeps.
        """
        x = np.empty((len(law.order), n_columns), dtype=np.float32)
        for block in gen_batches(len(x), max(1, NUMBERS_PER_BLOCK // law.rows.shape[1])):
            x[block] = enter(law.rows[law.order[block]])
        return cls(torch.from_numpy(x).to(generator.device), law.weights[law.order])

    @cached_property
    def distinct(self) -> Tensor:
        """Indices of rows without repetitions."""
        return distinct(self.rows)

    def sampler(self, stratified_from: float = math.inf) -> ArraySampler:
        """Return a sampler of rows in proportion to their weights.

        Its batches are stratified if there are at least `stratified_from` distinct rows.
        """
        uniform = bool((self.weights == self.weights[0]).all())
        weights = None if uniform else torch.as_tensor(self.weights)
        return ArraySampler(self.rows, weights, stratified=len(self.distinct) >= stratified_from)

    def alike(self, n_rows: int) -> Tensor:
        """Return a sample of at most `n_rows` equally weighted rows."""
        return self.rows[torch.from_numpy(spaced(self.weights, min(int(np.count_nonzero(self.weights)), n_rows)))]

    def distinct_rows(self, n_rows: int) -> tuple[Tensor, Tensor]:
        """Return distinct rows and their shares of the weight.

        If there are more than `n_rows` distinct rows, it returns an equally weighted sample of at most `n_rows` rows.
        """
        chosen, shares = self.sampler().distinct()
        if len(chosen) <= n_rows:
            return self.rows[chosen], shares.to(self.rows)
        rows = self.alike(n_rows)
        return rows, rows.new_full((len(rows),), 1 / len(rows))

    def hold_out(self, fraction: float, generator: Generator) -> tuple[Standardised, Tensor]:
        """Split off a fraction of the weight as rows.

        Returns the rest, and equally weighted rows of that fraction.
        """
        left, held = self.split(fraction, generator)
        return left, held.alike(SOME_ROWS)

    def split(self, fraction: float, generator: Generator) -> tuple[Standardised, Standardised]:
        """Split off a fraction of the weight as a law.

        Returns the rest, and that fraction.
        """
        weights, held = hold_out(self.weights, len(self.distinct), fraction, generator)
        if not weights.any():
            raise ValueError(
                f"early_stopping=True needs at least 2 rows in each sample and a validation_fraction that leaves "
                f"some, got {len(self.rows)} rows and {fraction}"
            )
        return Standardised(self.rows, weights), Standardised(self.rows, held)


def evenly(n_rows: int, at_most: int) -> np.ndarray:
    """Return at most `at_most` row indices at equal distances."""
    return np.linspace(0, n_rows - 1, min(n_rows, at_most)).astype(int)


Laws = tuple[Law, Law]
