"""Potential whose affine base depends on conditions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from neuralot.networks.perceptrons import BasedPotential


class ConditionalPotential(BasedPotential):
    """Kantorovich potential with an affine base that depends on conditions.

    It is ``f(x) = |x|^2 - x' A x - 2 b' x - sum_k s_k m' A_k m + MLP(L x)`` for rows x = (m, s), of which the columns m
    are moved and s are conditions. The matrix of its map in the moved columns is that of `BasedPotential` plus
    sum_k s_k A_k. The matrices A_k are a buffer, which is not learned.

    Parameters
    ----------
    n_features : int
        Number of all columns.
    hidden_layer_sizes : sequence of int
    activation : {'celu', 'gelu', 'silu', 'softplus', 'tanh'}
    n_moved : int
        Number of leading columns that are moved.

    Examples
    --------
    >>> import torch
    >>> from neuralot.networks import ConditionalPotential
    >>> potential = ConditionalPotential(5, n_moved=2)
    >>> potential.interaction.shape
    torch.Size([3, 2, 2])
    >>> potential(torch.ones(4, 5)).shape
    torch.Size([4])
    """

    interaction: Tensor

    def __init__(
        self, n_features: int, hidden_layer_sizes: Sequence[int] = (64, 64), activation: str = "silu", *, n_moved: int
    ) -> None:
        super().__init__(n_features, hidden_layer_sizes, activation)
        self.n_moved = n_moved
        self.register_buffer("interaction", torch.zeros(n_features - n_moved, n_moved, n_moved))

    def set_base(self, matrix: Tensor, offset: Tensor, interaction: Tensor | None = None) -> None:
        """Set the base, an affine map under each condition.

        See `neuralot.affine.Affine` for the parameters; all matrices are symmetric.
        """
        super().set_base(matrix, offset)
        self.interaction.zero_() if interaction is None else self.interaction.copy_(interaction)

    def be_affine(self, matrix: Tensor, offset: Tensor, interaction: Tensor | None = None) -> None:
        """Set the map to an affine one under each condition.

        See `set_base` for the parameters.
        """
        super().be_affine(matrix, offset)
        self.set_base(matrix, offset, interaction)

    def forward(self, x: Tensor) -> Tensor:
        """Return the values at rows `x`, shape (n,)."""
        value, _ = interactions(x, self.interaction)
        return super().forward(x) - value


def interactions(x: Tensor, matrices: Tensor) -> tuple[Tensor, Tensor]:
    """Values and slopes of sum_k s_k m' A_k m.

    The slopes are those in m at rows (m, s). The rows have shape (..., n, d), the symmetric matrices
    (..., n_conditions, n_moved, n_moved), the values (..., n) and the slopes (..., n, n_moved).
    """
    n = matrices.shape[-1]
    m, s = x[..., :n], x[..., n:]
    side_by_side = matrices.transpose(-3, -2).flatten(-2)  # (..., n_moved, n_conditions * n_moved)
    products = (m @ side_by_side).unflatten(-1, (-1, n))  # m' A_k, (..., n, n_conditions, n_moved)
    half = (products * s[..., None]).sum(-2)
    return (half * m).sum(-1), 2 * half
