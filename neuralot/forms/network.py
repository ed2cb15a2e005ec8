"""Maps parametrised by a network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Generator, Tensor, nn

from neuralot._torch import mean_over, normal
from neuralot.costs import Cost
from neuralot.forms.base import Form
from neuralot.forms.losses import CriticLoss, map_loss


class NetworkForm(Form):
    """Map network T(x) or T(x, z), with a potential V.

    This is the parametrisation of the papers.

    Parameters
    ----------
    map_network : torch.nn.Module
        (n, d) -> (n, d), or (n, d), (n, noise_dim) -> (n, d) when there is `noise`.
    potential : torch.nn.Module
        (n, d) -> (n,) or (n, 1).
    cost : Cost
    critic_loss : CriticLoss, optional
    n_map_steps : int
        K_T, the number of updates of the map per update of the potential.
    noise : Tensor of shape (n_draws, noise_dim), optional
        Noise vectors over which `map` averages. Training and `draw` use fresh noise.

    Examples
    --------
    >>> import torch
    >>> from neuralot.costs import SquaredEuclidean
    >>> from neuralot.forms import NetworkForm
    >>> from neuralot.networks import MLPMap, Potential
    >>> form = NetworkForm(MLPMap(2), Potential(2), SquaredEuclidean())
    >>> form.map(torch.ones(1, 2)).tolist()
    [[1.0, 1.0]]
    """

    noise: Tensor | None

    def __init__(
        self,
        map_network: nn.Module,
        potential: nn.Module,
        cost: Cost,
        *,
        critic_loss: CriticLoss | None = None,
        n_map_steps: int = 4,
        noise: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.networks = nn.ModuleDict({"map": map_network, "potential": potential})
        self.players = {"map": n_map_steps, "potential": 1}
        self.critics = frozenset({"potential"})
        self.cost = cost
        self.critic_loss = CriticLoss() if critic_loss is None else critic_loss
        self.noise_dim = 0 if noise is None else noise.shape[1]
        self.register_buffer("noise", noise)

    def losses(self, names: Sequence[str], x: Tensor, y: Tensor, generator: Generator) -> dict[str, Tensor]:
        return {name: self._loss(name, x, y, generator) for name in names}

    def _loss(self, player: str, x: Tensor, y: Tensor, generator: Generator) -> Tensor:
        V = self.networks["potential"]
        if player == "map":
            return map_loss(self.cost, x, self.draw(x, generator), V)
        with torch.no_grad():
            image = self.draw(x, generator)  # (n, d)
        return self.critic_loss(self.cost, V, x, image, y, self.penalties)

    def draw(self, x: Tensor, generator: Generator) -> Tensor:
        if self.noise is None:
            return self._image(x)  # (n, d)
        return self._image(x, normal(len(x), self.noise.shape[1], generator, like=x))  # (n, d)

    def map(self, x: Tensor) -> Tensor:
        if self.noise is None:
            return self._image(x)  # (n, d)
        return mean_over(self.noise, lambda z: self._image(x, z.expand(len(x), -1)))  # (n, d)

    def source_mass(self, x: Tensor) -> Tensor | None:
        if self.noise is None or self.penalties is None:
            return super().source_mass(x)
        return mean_over(
            self.noise, lambda z: cast(Tensor, self.mass_of(x, self._image(x, z.expand(len(x), -1))))
        )  # (n,)

    def _image(self, *inputs: Tensor) -> Tensor:
        """Images of rows, with their conditions."""
        image, n_moved = self.networks["map"](*inputs), self.cost.n_moved
        return image if n_moved is None else torch.cat([image[:, :n_moved], inputs[0][:, n_moved:]], dim=1)
