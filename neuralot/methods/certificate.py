"""What is known of the masses of cells without knowing the truth."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Certificate:
    r"""What is known of the error without knowing the truth.

    Attributes
    ----------
    square, uncertainty : float
        :math:`|w - \nu|^2` without bias, and its standard error.
    gap : float
        Cost of the map minus value of the dual, :math:`\sum_i (w_i - \nu_i) g_i`.
    """

    square: float
    uncertainty: float
    gap: float

    @property
    def mass_error(self) -> float:
        r"""About :math:`|w - \nu|`: never less than what can be told from 0."""
        return math.sqrt(max(self.square, self.uncertainty))


def unbiased_square(masses: Tensor, weights: Tensor, n: float) -> Tensor:
    r"""Unbiased estimate of :math:`|w - \nu|^2` from the masses in which n independent rows fell into the cells.

    Of the rows' weights v, n is :math:`1 / \sum_k v_k^2`. The plain :math:`|\hat w - \nu|^2` would be too large by
    about 1 / n: :math:`\sum_i \hat w_i^2` counts each row with itself. The estimate may be negative.
    """
    w, weights = masses.double(), weights.double()
    among_pairs = (w.square().sum() - 1 / n) / max(1 - 1 / n, 1e-12)
    return among_pairs - 2 * weights @ w + weights.square().sum()


def square_error(weights: Tensor, n: float) -> Tensor:
    r"""Standard error of `unbiased_square` where the masses are right.

    Its square is :math:`2 (\sum \nu_i^2 - 2 \sum \nu_i^3 + (\sum \nu_i^2)^2) / n^2`, up to higher orders in 1 / n.
    """
    weights = weights.double()
    square = weights.square().sum()
    return (2 * (square - 2 * weights.pow(3).sum() + square**2)).clamp(min=0).sqrt() / n
