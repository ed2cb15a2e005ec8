"""Base class of the forms of a map."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import cast

from torch import Generator, Tensor, nn

from neuralot.affine import Affine
from neuralot.costs import Cost
from neuralot.forms.losses import Gradients, evaluate, gradients_of
from neuralot.networks.perceptrons import AffineBase
from neuralot.penalties import Penalties


class Form(nn.Module, ABC):
    """Representation of a map, and the game that trains it.

    A form defines the losses of the max-min game on given rows. The method decides whether these rows are smoothed.

    Attributes
    ----------
    networks : torch.nn.ModuleDict
    players : dict of str to int
        Number of updates per step of each player, in the order of the updates. The first player is the map's.
    critics : frozenset of str
        Players that are not maps.
    cost : Cost
    invertible : bool
        Whether `inverse` is available.
    together : bool
        Whether all players are updated simultaneously, on the same rows; otherwise in turn.
    noise_dim : int
        Width of the noise input of the map; 0 without noise.
    affine_base : bool
        Whether the networks have an affine base, see `set_base`, and preconditioners, see `set_preconditioners`.
    penalties : Penalties, optional
        Penalties of the marginals in unbalanced transport; None in balanced transport.
    """

    networks: nn.ModuleDict
    players: dict[str, int]
    critics: frozenset[str] = frozenset()
    cost: Cost
    invertible: bool = False
    together: bool = False
    noise_dim: int = 0
    penalties: Penalties | None = None

    @property
    def affine_base(self) -> bool:
        return all(isinstance(network, AffineBase) for network in self.networks.values())

    def set_base(self, forward: Affine, backward: Affine) -> None:
        """Set the affine bases of both networks.

        `forward` is the base of the map, and its inverse `backward` that of the potential on the target side.
        """
        for network, base in zip(self.networks.values(), (forward, backward), strict=True):
            cast(AffineBase, network).set_base(*base.parts)

    def set_preconditioners(self, source: Tensor, target: Tensor) -> None:
        """Set the preconditioners of both networks.

        `source` and `target` are matrices of shape (d, d) that act on source and on target rows.
        """
        for network, preconditioner in zip(self.networks.values(), (source, target), strict=True):
            cast(AffineBase, network).set_preconditioner(preconditioner)

    @property
    def has_affine_maps(self) -> bool:
        """Whether `affine` can return weights, for some maps."""
        return False

    @property
    def has_interactions(self) -> bool:
        """Whether the matrices of affine maps can depend on conditions."""
        return False

    def affine(self, forward: Affine, backward: Affine) -> dict[str, Tensor] | None:
        """Return the state dict of an affine map, or None.

        In this state the map is `forward` and its inverse is `backward`; networks without an affine base ignore the
        offsets. The result is None if the form cannot represent the maps.
        """
        return None

    @abstractmethod
    def losses(self, names: Sequence[str], x: Tensor, y: Tensor, generator: Generator) -> dict[str, Tensor]:
        """Return the losses of some players.

        `x` and `y` are source and target rows, shape (n, d). If players are updated together, the gradient of the sum
        of the losses with respect to a player's weights must equal that of the player's own loss.
        """

    def gradients(self, names: Sequence[str], x: Tensor, y: Tensor, generator: Generator) -> Gradients:
        """Return `losses`, and the gradient of each.

        Each gradient is with respect to the weights of the loss's own player.
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

        ``compiled`` is 1 while the compiled step works and 0 after a failure; without compilation it is absent.
        """
        return {}

    @abstractmethod
    def map(self, x: Tensor) -> Tensor:
        """Return the images of rows `x`, shape (n, d).

        The map is deterministic, and differentiable with respect to the weights of the first player.
        """

    def draw(self, x: Tensor, generator: Generator) -> Tensor:
        """Return images of rows `x`, shape (n, d).

        If the form has noise, fresh noise is drawn from `generator`.
        """
        return self.map(x)

    def mass_of(self, x: Tensor, image: Tensor) -> Tensor | None:
        """Return the density of the plan's first marginal, shape (n,).

        `image` are images of the rows `x`, shape (n, d). The density is None in balanced transport.
        """
        if self.penalties is None:
            return None
        return self.penalties.source.density(self.potential(image) - self.cost(x, image))

    def source_mass(self, x: Tensor) -> Tensor | None:
        """Return `mass_of` for the images of the map."""
        return None if self.penalties is None else self.mass_of(x, self.map(x))

    def target_mass(self, y: Tensor) -> Tensor | None:
        """Return the density of the plan's second marginal, shape (m,)."""
        return None if self.penalties is None else self.penalties.target.density(-self.potential(y))

    def potential(self, y: Tensor) -> Tensor:
        """Return the values of V at target rows, shape (m,).

        V is the network of the last player.
        """
        return evaluate(list(self.networks.values())[-1], y)

    def inverse(self, y: Tensor) -> Tensor:
        """Return the images of target rows under the inverse map.

        `y` and the images have shape (m, d).
        """
        raise NotImplementedError(f"{type(self).__name__} does not define an inverse map")
