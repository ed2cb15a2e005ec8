"""Forms of a map: the gradient of a potential, or a free network; each brings its networks, players and losses.

A form plays the max-min game on the rows that it is given. What those rows are, plain or smoothed, is the business
of a method.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import cast

from torch import Generator, Tensor, nn

from neuralot.affine import Affine
from neuralot.costs import Cost
from neuralot.forms.losses import Gradients, gradients_of
from neuralot.networks import AffineBase


class Form(nn.Module, ABC):
    """How a map is represented and which game trains it.

    Attributes
    ----------
    networks : torch.nn.ModuleDict
    players : dict of str to int
        Updates of each player in one step, in playing order.
    critics : frozenset of str
        The players that are no map.
    cost : Cost
    invertible : bool
    together : bool
        Whether the players move at once, on the same rows; else each in its turn.
    noise_dim : int
        Width of the noise that the map takes beside x.
    affine_base : bool
        Whether the networks add to affine maps, which `set_base` sets, and see rows as `set_preconditioners` says.
    """

    networks: nn.ModuleDict
    players: dict[str, int]
    critics: frozenset[str] = frozenset()
    cost: Cost
    invertible: bool = False
    together: bool = False
    noise_dim: int = 0

    @property
    def affine_base(self) -> bool:
        return all(isinstance(network, AffineBase) for network in self.networks.values())

    def set_base(self, there: Affine, back: Affine) -> None:
        """Let the map start from `there`, and the potential on the target's side from the way `back`."""
        for network, base in zip(self.networks.values(), (there, back), strict=True):
            cast(AffineBase, network).set_base(base.matrix, base.offset)

    def set_preconditioners(self, source: Tensor, target: Tensor) -> None:
        """Let the networks see their rows through these matrices, on the source's and on the target's side."""
        for network, preconditioner in zip(self.networks.values(), (source, target), strict=True):
            cast(AffineBase, network).set_preconditioner(preconditioner)

    def affine(self, there: Affine, back: Affine) -> dict[str, Tensor] | None:
        """The state in which the map is `there` and its inverse `back`, but for offsets where there is no base."""
        return None

    @abstractmethod
    def losses(self, names: Sequence[str], x: Tensor, y: Tensor, generator: Generator) -> dict[str, Tensor]:
        """Return what some players minimise on rows of both laws, shape (n, d).

        Of players that move together, the gradient of the sum in one's weights is that of its own loss.
        """

    def gradients(self, names: Sequence[str], x: Tensor, y: Tensor, generator: Generator) -> Gradients:
        """Return `losses`, and the gradient of each in its player's weights."""
        losses = self.losses(names, x, y, generator)
        return losses, gradients_of(losses, self.networks)

    def compile_step(self) -> bool:
        """Let torch compile `gradients` from the next call on; return whether there is anything to compile."""
        return False

    def levels(self) -> dict[str, float]:
        """What belongs into the history: whether the step is ``compiled``, where that was asked for."""
        return {}

    @abstractmethod
    def map(self, x: Tensor) -> Tensor:
        """Images of the rows `x`, shape (n, d); deterministic."""

    def draw(self, x: Tensor, generator: Generator) -> Tensor:
        """Images of the rows `x`, shape (n, d), with fresh noise where the form has any."""
        return self.map(x)

    def inverse(self, y: Tensor) -> Tensor:
        """Images of the target rows `y` under the map back, shape (m, d)."""
        raise NotImplementedError(f"{type(self).__name__} has no inverse")
