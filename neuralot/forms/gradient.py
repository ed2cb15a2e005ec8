"""Maps that are gradients of potentials."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Generator, Tensor, nn

from neuralot.affine import Affine
from neuralot.costs import Cost, is_squared_euclidean
from neuralot.forms.base import Form
from neuralot.forms.compiled import Compiled
from neuralot.forms.losses import CriticLoss, Gradients, gradient, map_loss, value_and_gradient
from neuralot.forms.stacked import StackedPotentials, can_stack, game, game_sums
from neuralot.networks import BasedPotential, Potential


class GradientForm(Form):
    """Maps that are gradients of two potentials.

    The potential f is on the source side, g on the target side. The map solves grad_x c(x, T(x)) = grad f(x), which is
    T(x) = x - grad f(x) / 2 for the squared Euclidean cost; g gives the inverse map S. Each potential defines the map
    of one direction and is the critic of the other, and minimises the sum of the two losses. With one direction only, f
    is only a map and g only a critic. With both directions and one update each, the two move together, on the same
    images.

    With both directions, each potential also minimises ``gap_weight`` of its loss times the mean squares of the *gaps*
    c(x, T(x)) - f(x) - g(T(x)) and c(y, S(y)) - g(y) - f(S(y)), which are zero for an optimal pair. The expectile term
    constrains random pairs of rows only, and in high dimension none of these is close enough for the constraint to be
    active; the gap keeps the game stable there.

    Parameters
    ----------
    source_potential, target_potential : torch.nn.Module
        (n, d) -> (n,) or (n, 1), twice differentiable.
    cost : Cost
        With a `map_from_gradient`.
    critic_loss : CriticLoss, optional
    n_map_steps : int
        Updates of f per update of g.
    bidirectional : bool
        Whether both directions are learned.

    Examples
    --------
    >>> import torch
    >>> from neuralot.costs import SquaredEuclidean
    >>> from neuralot.forms import GradientForm
    >>> from neuralot.networks import Potential
    >>> form = GradientForm(Potential(2), Potential(2), SquaredEuclidean())
    >>> form.map(torch.zeros(3, 2)).shape, form.inverse(torch.zeros(3, 2)).shape
    (torch.Size([3, 2]), torch.Size([3, 2]))
    """

    def __init__(
        self,
        source_potential: nn.Module,
        target_potential: nn.Module,
        cost: Cost,
        *,
        critic_loss: CriticLoss | None = None,
        n_map_steps: int = 1,
        bidirectional: bool = True,
    ) -> None:
        super().__init__()
        self.networks = nn.ModuleDict({"source_potential": source_potential, "target_potential": target_potential})
        self.players = {"source_potential": n_map_steps, "target_potential": 1}
        self.critics = frozenset() if bidirectional else frozenset({"target_potential"})
        self.cost = cost
        self.critic_loss = CriticLoss() if critic_loss is None else critic_loss
        self.bidirectional = bidirectional
        self.invertible = bidirectional
        self.together = bidirectional and n_map_steps == 1
        self._compiled: Compiled[..., Any] | None = None
        self._is_known = is_squared_euclidean(cost) and can_stack(self._potentials)
        self._is_written_out = self._is_known and self.together

    def losses(self, names: Sequence[str], x: Tensor, y: Tensor, generator: Generator) -> dict[str, Tensor]:
        if self.bidirectional:
            both = self._of_both(x, y)
            return {name: both[name] for name in names}
        return {name: self._of_one(name, x, y) for name in names}

    def _of_one(self, player: str, x: Tensor, y: Tensor) -> Tensor:
        """Loss of a player, with one direction only."""
        f, g = self.networks["source_potential"], self.networks["target_potential"]
        if player == "source_potential":
            return map_loss(self.cost, x, self._image(f, x, create_graph=True), g)
        return self.critic_loss(self.cost, g, x, self._image(f, x), y, self.penalties)

    def _of_both(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        """Losses of both players, with both directions."""
        # first f at x and g at y, then f at the images of y and g at those of x
        rows = torch.stack([x, y])  # (2, n, d)
        values, slopes = self._evaluate(rows)  # (2, n), (2, n, d)
        images = self._of_pairs(self.cost.map_from_gradient, rows, slopes)
        cost = self._of_pairs(self.cost, rows, images)  # (2, n)
        # the potentials at the images of the other direction
        image_values, image_slopes = self._evaluate(images.detach().flip(0))  # (2, n), (2, n, d)
        # the map is trained by the slope of the other potential at an image, the critic by its value
        losses = cost.mean(-1) - _linear(image_values.flip(0), image_slopes.flip(0), images)  # (2,)
        cost = cost.detach()
        random_cost = self._of_pairs(self.cost, rows, rows.flip(0))  # (2, n)
        moved_slopes = slopes[..., : self.cost.n_moved]
        losses = losses + self.critic_loss.of_values(
            image_values, values, cost.flip(0), random_cost, moved_slopes, self.penalties
        )
        if gap_weight := self.critic_loss.gap_weight_for(self.cost.n_moved or x.shape[1]):
            gaps = (
                cost - values - image_values.flip(0).detach(),
                cost.flip(0) - image_values - values.flip(0).detach(),
            )
            losses = losses + gap_weight * sum(gap.square().mean(-1) for gap in gaps)
        return dict(zip(self.networks, losses.unbind(), strict=True))

    def gradients(self, names: Sequence[str], x: Tensor, y: Tensor, generator: Generator) -> Gradients:
        if not self._is_written_out or len(names) < len(self.networks):
            return super().gradients(names, x, y, generator)
        potentials = StackedPotentials(self._potentials, self.cost.n_moved)
        gap_weight = self.critic_loss.gap_weight_for(self.cost.n_moved or x.shape[1])
        losses, stacked = game(potentials, x, y, self.critic_loss, gap_weight, self.penalties, self._compiled)
        gradients: dict[str, list[Tensor | None]] = {
            player: [stacked[name][i] for name, weight in network.named_parameters() if weight.requires_grad]
            for i, (player, network) in enumerate(self.networks.items())
        }
        return dict(zip(self.networks, losses.unbind(), strict=True)), gradients

    @property
    def _potentials(self) -> list[nn.Module]:
        return list(self.networks.values())

    def _evaluate(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Values and slopes of each potential at its own rows.

        By autograd. Rows have shape (2, n, d), values (2, n), slopes (2, n, d).
        """
        pairs = [value_and_gradient(net, x) for net, x in zip(self._potentials, rows, strict=True)]
        value, slope = map(torch.stack, zip(*pairs, strict=True))
        return value, slope

    @staticmethod
    def _of_pairs(function: Callable[[Tensor, Tensor], Tensor], a: Tensor, b: Tensor) -> Tensor:
        """Apply a function of paired rows to two sets.

        The function takes rows of shape (n, d); `a` and `b` have shape (2, n, d).
        """
        values = function(a.flatten(0, 1), b.flatten(0, 1))
        return values.unflatten(0, a.shape[:2])

    @property
    def has_affine_maps(self) -> bool:
        if self.penalties is not None:  # the affine map keeps all masses
            return False
        return self._is_known and not any(isinstance(p, Potential) and p.quadratic is None for p in self._potentials)

    @property
    def has_interactions(self) -> bool:
        return all(hasattr(potential, "interaction") for potential in self._potentials)

    def affine(self, forward: Affine, backward: Affine) -> dict[str, Tensor] | None:
        if not self.has_affine_maps:
            return None
        form = copy.deepcopy(self)
        for potential, base in zip(form._potentials, (forward, backward), strict=True):
            cast(Potential | BasedPotential, potential).be_affine(*base.parts)
        return form.state_dict()

    def compile_step(self) -> bool:
        if self._is_written_out:
            self._compiled = Compiled(game_sums)
        return self._is_written_out

    def levels(self) -> dict[str, float]:
        return {} if self._compiled is None else {"compiled": float(self._compiled.works)}

    def map(self, x: Tensor) -> Tensor:
        return self._image(self.networks["source_potential"], x, create_graph=torch.is_grad_enabled())

    def inverse(self, y: Tensor) -> Tensor:
        return self._image(self.networks["target_potential"], y, create_graph=torch.is_grad_enabled())

    def _image(self, potential: nn.Module, x: Tensor, create_graph: bool = False) -> Tensor:
        return self.cost.map_from_gradient(x, gradient(potential, x, create_graph))


def _linear(value: Tensor, slope: Tensor, point: Tensor) -> Tensor:
    """Means of fixed values that are linear in `point`.

    The result is the mean of `value`. Its derivative in `point` comes from the fixed `slope`.
    """
    value, slope = value.detach(), slope.detach()
    return value.mean(-1) + ((point - point.detach()) * slope).sum(-1).mean(-1)
