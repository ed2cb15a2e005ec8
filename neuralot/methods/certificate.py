"""Error of the cell masses, estimated without the exact plan."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Certificate:
    r"""Error estimates of a semi-discrete map, without the exact map.

    Attributes
    ----------
    square, uncertainty : float
        Unbiased estimate of :math:`|w - \nu|^2`, and its standard error.
    gap : float
        Cost of the map minus the value of the dual, :math:`\sum_i (w_i - \nu_i) g_i`.
    """

    square: float
    uncertainty: float
    gap: float

    @property
    def mass_error(self) -> float:
        r"""Estimate of :math:`|w - \nu|`, bounded below by its resolution.

        It is the root of the larger of `square` and `uncertainty`: smaller errors cannot be distinguished from 0.
        """
        return math.sqrt(max(self.square, self.uncertainty))


def unbiased_square(masses: Tensor, weights: Tensor, n: float) -> Tensor:
    r"""Return an unbiased estimate of :math:`|w - \nu|^2`.

    `masses` :math:`\hat w` are the shares of n independent rows in the cells, `weights` are :math:`\nu`. For rows with
    weights v, n is :math:`1 / \sum_k v_k^2`. The plug-in estimate :math:`|\hat w - \nu|^2` is biased upwards by about
    1 / n, because :math:`\sum_i \hat w_i^2` pairs each row with itself. The unbiased estimate may be negative.
    """
    w, weights = masses.double(), weights.double()  # (m,), (m,)
    square_of_w = (w.square().sum() - 1 / n) / max(1 - 1 / n, 1e-12)  # over pairs of distinct rows
    return square_of_w - 2 * weights @ w + weights.square().sum()


def square_error(weights: Tensor, n: float) -> Tensor:
    r"""Return the standard error of `unbiased_square` for exact masses.

    At :math:`w = \nu` its square is :math:`2 (\sum \nu_i^2 - 2 \sum \nu_i^3 + (\sum \nu_i^2)^2) / n^2`, up to higher
    orders in 1 / n.
    """
    weights = weights.double()
    square = weights.square().sum()
    return (2 * (square - 2 * weights.pow(3).sum() + square**2)).clamp(min=0).sqrt() / n
