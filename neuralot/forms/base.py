"""Base class of the forms of a map."""

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
    """Representation of a map, and the game that trains it.

    A form plays the max-min game on given rows. The method decides whether these rows are plain or smoothed.

    Attributes
    ----------
    networks : torch.nn.ModuleDict
    players : dict of str to int
        Updates of each player in one step, in playing order.
    critics : frozenset of str
        Players that are not maps.
    cost : Cost
    invertible : bool
        Whether `inverse` is available.
    together : bool
        Whether the players move at once, on the same rows; otherwise they move in turn.
    noise_dim : int
        Width of the noise input of the map; 0 without noise.
    affine_base : bool
        Whether the networks have an affine base, see `set_base`, and preconditioners, see `set_preconditioners`.
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
        """Set the affine bases of both networks.

        The map starts from `there`, the potential on the target's side from the inverse map `back`.
        """
        for network, base in zip(self.networks.values(), (there, back), strict=True):
            cast(AffineBase, network).set_base(base.matrix, base.offset)

    def set_preconditioners(self, source: Tensor, target: Tensor) -> None:
        """Set the preconditioners of both networks.

        `source` and `target` are matrices of shape (d, d), for rows on the source's and on the target's side.
        """
        for network, preconditioner in zip(self.networks.values(), (source, target), strict=True):
            cast(AffineBase, network).set_preconditioner(preconditioner)

    def affine(self, there: Affine, back: Affine) -> dict[str, Tensor] | None:
        """Return the state dict of an affine map, or None.

        In this state the map is `there` and its inverse is `back`; networks without an affine base ignore the offsets.
        None if the form cannot represent the maps.
        """
        return None

    @abstractmethod
    def losses(self, names: Sequence[str], x: Tensor, y: Tensor, generator: Generator) -> dict[str, Tensor]:
        """Return the losses of some players.

        `x` and `y` are rows of source and target, shape (n, d). If players move together, the gradient of the sum in
        the weights of one player must be that of its own loss.
        """

    def gradients(self, names: Sequence[str], x: Tensor, y: Tensor, generator: Generator) -> Gradients:
        """Return `losses`, and the gradient of each.

        The gradient of a loss is taken in its player's weights.
        """
        losses = self.losses(names, x, y, generator)
        return losses, gradients_of(losses, self.networks)

    def compile_step(self) -> bool:
        """Compile `gradients` with torch, from the next call on.

        Returns whether there is anything to compile.
        """
        return False

    def levels(self) -> dict[str, float]:
        """Return values for the history.

        ``compiled`` tells whether the compiled step works; it is absent if compilation was not requested.
        """
        return {}

    @abstractmethod
    def map(self, x: Tensor) -> Tensor:
        """Return the images of rows `x`, shape (n, d).

        The map is deterministic.
        """

    def draw(self, x: Tensor, generator: Generator) -> Tensor:
        """Return images of rows `x`, shape (n, d).

        If the form has noise, fresh noise is drawn from `generator`.
        """
        return self.map(x)

    def inverse(self, y: Tensor) -> Tensor:
        """Return the images of target rows under the inverse map.

        `y` and the images have shape (m, d).
        """
        raise NotImplementedError(f"{type(self).__name__} has no inverse")
