"""Forms of a map: the gradient of a potential, or a free network; each brings its networks, players and losses.

A form plays the max-min game on the rows that it is given. What those rows are, plain or smoothed, is the business
of a method.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Generator, Tensor, nn

from neuralot.affine import SEEN_SCALE, Affine
from neuralot.compiled import Compiled
from neuralot.costs import Cost, SquaredEuclidean
from neuralot.defaults import default_gap_weight, default_sizes
from neuralot.networks import AffineBase, BasedMap, BasedPotential, MLPMap, NoiseMap, Potential, widen
from neuralot.schedules import antithetic_noise
from neuralot.semidual import (
    CriticLoss,
    Gradients,
    gradient,
    gradients_of,
    map_loss,
    mean_over,
    normal,
    seeded,
    value_and_gradient,
)
from neuralot.stacked import StackedPotentials, can_stack, game, game_sums

NetworkFactory = Callable[[int], nn.Module]


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
        Whether the players move at once, by `losses`; else each in its turn, by `loss`.
    noise_dim : int
        Width of the noise that the map takes beside x.
    affine_base : bool
        Whether the networks add to affine maps, which `set_base` sets, and see rows as `set_lenses` says.
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

    def set_lenses(self, source: Tensor, target: Tensor) -> None:
        """Let the networks see their rows through these matrices, on the source's and on the target's side."""
        for network, lens in zip(self.networks.values(), (source, target), strict=True):
            cast(AffineBase, network).set_lens(lens)

    def affine(self, there: Affine, back: Affine) -> dict[str, Tensor] | None:
        """The state in which the map is `there` and its inverse `back`, but for offsets where there is no base."""
        return None

    @abstractmethod
    def loss(self, player: str, x: Tensor, y: Tensor, generator: Generator) -> Tensor:
        """Return what `player` minimises on rows `x` of the source and `y` of the target."""

    def losses(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        """Return what each player minimises on the same rows; the gradient of the sum in its weights is its own."""
        raise NotImplementedError(f"the players of {type(self).__name__} move in turn")

    def gradients(self, x: Tensor, y: Tensor) -> Gradients:
        """Return `losses`, and the gradient of each player's in its weights."""
        losses = self.losses(x, y)
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


class GradientForm(Form):
    """Maps that are gradients of potentials: f on the source side, g on the target side.

    The map solves grad_x c(x, T(x)) = grad f(x), which is T(x) = x - grad f(x) / 2 for the squared Euclidean cost; g
    gives the map back. Each potential is the map of one direction and the critic of the other, and minimises the
    sum of its two parts; with one direction only, f is just a map and g just a critic. With both, and one update
    each, the two move together, on the same images.

    With both directions, each also minimises ``gap_weight`` times the mean squares of the *gaps* c(x, T(x)) - f(x) -
    g(T(x)) and c(y, S(y)) - g(y) - f(S(y)), which are zero for an optimal pair. The expectile term watches random
    pairs of rows, and in high dimension none of these is near enough to bind; the gap keeps the game stable there.

    Parameters
    ----------
    source_potential, target_potential : torch.nn.Module
        (n, d) -> (n,) or (n, 1), twice differentiable.
    cost : Cost
        With a `transport`.
    critic_loss : CriticLoss
    n_map_steps : int
        Updates of f for one of g.
    bidirectional : bool
    gap_weight : float
        Without effect when there is one direction only.
    """

    def __init__(
        self,
        source_potential: nn.Module,
        target_potential: nn.Module,
        cost: Cost,
        *,
        critic_loss: CriticLoss = CriticLoss(),  # noqa: B008 (frozen)
        n_map_steps: int = 1,
        bidirectional: bool = True,
        gap_weight: float = 0.1,
    ) -> None:
        super().__init__()
        self.networks = nn.ModuleDict({"source_potential": source_potential, "target_potential": target_potential})
        self.players = {"source_potential": n_map_steps, "target_potential": 1}
        self.critics = frozenset() if bidirectional else frozenset({"target_potential"})
        self.cost = cost
        self.critic_loss = critic_loss
        self.bidirectional = bidirectional
        self.gap_weight = gap_weight
        self.invertible = bidirectional
        self.together = bidirectional and n_map_steps == 1
        self._compiled: Compiled[..., Any] | None = None
        self._is_known = isinstance(cost, SquaredEuclidean) and can_stack(self._potentials)
        self._is_written_out = self._is_known and self.together

    def loss(self, player: str, x: Tensor, y: Tensor, generator: Generator) -> Tensor:
        if self.bidirectional:
            return self.losses(x, y)[player]
        f, g = self.networks["source_potential"], self.networks["target_potential"]
        if player == "source_potential":
            return map_loss(self.cost, x, self._image(f, x, create_graph=True), g)
        return self.critic_loss(self.cost, g, x, self._image(f, x), y)

    def losses(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        # first f at x and g at y, then f at the images of y and g at those of x
        rows = torch.stack([x, y])
        own, slopes = self._evaluate(rows)
        images = self._of_pairs(self.cost.transport, rows, slopes)
        cost = self._of_pairs(self.cost, rows, images)
        at_images, felt = self._evaluate(images.detach().flip(0))
        # of the other's value at an image, the map feels the slope and the critic the value
        losses = cost.mean(-1) - _linear(at_images.flip(0), felt.flip(0), images)
        cost = cost.detach()
        of_random = self._of_pairs(self.cost, rows, rows.flip(0))
        losses = losses + self.critic_loss.of_values(at_images, own, cost.flip(0), of_random, slopes)
        if self.gap_weight:
            gaps = cost - own - at_images.flip(0).detach(), cost.flip(0) - at_images - own.flip(0).detach()
            losses = losses + self.gap_weight * sum(gap.square().mean(-1) for gap in gaps)
        return dict(zip(self.networks, losses.unbind(), strict=True))

    def gradients(self, x: Tensor, y: Tensor) -> Gradients:
        if not self._is_written_out:
            return super().gradients(x, y)
        potentials = StackedPotentials(self._potentials)
        losses, stacked = game(potentials, x, y, self.critic_loss, self.gap_weight, self._compiled)
        gradients: dict[str, list[Tensor | None]] = {
            player: [stacked[name][i] for name, weight in network.named_parameters() if weight.requires_grad]
            for i, (player, network) in enumerate(self.networks.items())
        }
        return dict(zip(self.networks, losses.unbind(), strict=True)), gradients

    @property
    def _potentials(self) -> list[nn.Module]:
        return list(self.networks.values())

    def _evaluate(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Values and slopes of each potential at its own rows, by autograd."""
        pairs = [value_and_gradient(net, x) for net, x in zip(self._potentials, rows, strict=True)]
        value, slope = map(torch.stack, zip(*pairs, strict=True))
        return value, slope

    @staticmethod
    def _of_pairs(function: Callable[[Tensor, Tensor], Tensor], a: Tensor, b: Tensor) -> Tensor:
        """A function of paired rows (n, d) at two sets of them, (2, n, d)."""
        values = function(a.flatten(0, 1), b.flatten(0, 1))
        return values.unflatten(0, a.shape[:2])

    def affine(self, there: Affine, back: Affine) -> dict[str, Tensor] | None:
        if not self._is_known or any(isinstance(p, Potential) and p.quadratic is None for p in self._potentials):
            return None
        form = copy.deepcopy(self)
        for potential, base in zip(form._potentials, (there, back), strict=True):
            cast(Potential | BasedPotential, potential).be_affine(base.matrix, base.offset)
        return form.state_dict()

    def compile_step(self) -> bool:
        if self._is_written_out:
            self._compiled = Compiled(game_sums)
        return self._is_written_out

    def levels(self) -> dict[str, float]:
        return {} if self._compiled is None else {"compiled": float(self._compiled.works)}

    def map(self, x: Tensor) -> Tensor:
        return self._image(self.networks["source_potential"], x)

    def inverse(self, y: Tensor) -> Tensor:
        return self._image(self.networks["target_potential"], y)

    def _image(self, potential: nn.Module, x: Tensor, create_graph: bool = False) -> Tensor:
        return self.cost.transport(x, gradient(potential, x, create_graph))


def _linear(value: Tensor, slope: Tensor, point: Tensor) -> Tensor:
    """Means of fixed values that vary with `point` along their fixed slopes."""
    value, slope = value.detach(), slope.detach()
    return value.mean(-1) + ((point - point.detach()) * slope).sum(-1).mean(-1)


class NetworkForm(Form):
    """A free network T(x) or T(x, z) against one potential V, the form of the papers.

    Parameters
    ----------
    map_network : torch.nn.Module
        (n, d) -> (n, d), or (n, d), (n, noise_dim) -> (n, d) when there is `noise`.
    potential : torch.nn.Module
        (n, d) -> (n,) or (n, 1).
    cost : Cost
    critic_loss : CriticLoss
    n_map_steps : int
        K_T, updates of the map for one of the potential.
    noise : Tensor of shape (n_draws, noise_dim), optional
        The draws that `map` averages over; training and `draw` take fresh ones.
    """

    noise: Tensor | None

    def __init__(
        self,
        map_network: nn.Module,
        potential: nn.Module,
        cost: Cost,
        *,
        critic_loss: CriticLoss = CriticLoss(),  # noqa: B008 (frozen)
        n_map_steps: int = 4,
        noise: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.networks = nn.ModuleDict({"map": map_network, "potential": potential})
        self.players = {"map": n_map_steps, "potential": 1}
        self.critics = frozenset({"potential"})
        self.cost = cost
        self.critic_loss = critic_loss
        self.noise_dim = 0 if noise is None else noise.shape[1]
        self.register_buffer("noise", noise)

    def loss(self, player: str, x: Tensor, y: Tensor, generator: Generator) -> Tensor:
        V = self.networks["potential"]
        if player == "map":
            return map_loss(self.cost, x, self.draw(x, generator), V)
        with torch.no_grad():
            image = self.draw(x, generator)
        return self.critic_loss(self.cost, V, x, image, y)

    def draw(self, x: Tensor, generator: Generator) -> Tensor:
        T = self.networks["map"]
        if self.noise is None:
            return T(x)
        return T(x, normal(len(x), self.noise.shape[1], generator, like=x))

    def map(self, x: Tensor) -> Tensor:
        T = self.networks["map"]
        if self.noise is None:
            return T(x)
        return mean_over(self.noise, lambda z: T(x, z.expand(len(x), -1)))


def make_form(
    n_features: int,
    cost: Cost | None = None,
    *,
    map_form: str = "auto",
    hidden_layer_sizes: Sequence[int] | None = None,
    activation: str = "silu",
    n_map_steps: int | None = None,
    noise_dim: int = 0,
    n_transform_draws: int = 16,
    bidirectional: bool = True,
    critic_loss: CriticLoss = CriticLoss(),  # noqa: B008 (frozen)
    gap_weight: float | None = None,
    affine_base: bool = False,
    map_network: NetworkFactory | None = None,
    potential_network: NetworkFactory | None = None,
    generator: Generator | None = None,
) -> Form:
    """Build a form with its default networks, or with a user's own.

    Parameters
    ----------
    n_features : int
    cost : Cost, optional
        Squared Euclidean when None.
    map_form : {'auto', 'gradient', 'network'}
        ``'auto'``: the gradient form where the cost allows it and neither noise nor a map network asks for the other.
    hidden_layer_sizes : sequence of int, optional
        None: see `neuralot.defaults.default_sizes`.
    activation : str
    n_map_steps : int, optional
        None: 1 in the gradient form, 4 in the network form.
    noise_dim : int
        Width of the noise input, network form only.
    n_transform_draws : int
        Noise vectors that the map of a network with noise input averages over.
    bidirectional : bool
        Gradient form only.
    critic_loss : CriticLoss
    gap_weight : float, optional
        Gradient form with both directions only. None: see `neuralot.defaults.default_gap_weight`.
    affine_base : bool
        Networks that add to an affine base instead of learning a quadratic; only for the squared Euclidean cost and
        without noise, and a user's own networks have none.
    map_network, potential_network : callable n_features -> torch.nn.Module, optional
    generator : torch.Generator, optional
        Seeds the weights.

    Raises
    ------
    ValueError
        If `map_form` is unknown, or does not go with the cost, the noise or the map network.
    """
    cost = SquaredEuclidean() if cost is None else cost
    generator = torch.Generator().manual_seed(0) if generator is None else generator
    form = resolve_map_form(map_form, cost, noise_dim, map_network)
    sizes = default_sizes(n_features) if hidden_layer_sizes is None else tuple(hidden_layer_sizes)

    own = map_network is None and potential_network is None
    squared = isinstance(cost, SquaredEuclidean)
    based = affine_base and own and not noise_dim and squared

    def potential() -> nn.Module:
        if potential_network is not None:
            return make_network(potential_network, n_features, "potential_network")
        if based:
            return BasedPotential(n_features, sizes, activation)
        return Potential(n_features, sizes, activation, quadratic=squared)

    if form == "gradient" and activation == "relu" and potential_network is None:
        raise ValueError(
            "activation='relu' has no second derivative, which the gradient form needs; pass a smooth one, or "
            "map_form='network'"
        )
    with seeded(generator):
        if form == "gradient":
            potentials = potential(), potential()
            for each in potentials if potential_network is None else ():
                widen(cast(nn.Sequential, each.residual), SEEN_SCALE if based else 1.0)
            return GradientForm(
                *potentials,
                cost,
                critic_loss=critic_loss,
                n_map_steps=n_map_steps or 1,
                bidirectional=bidirectional,
                gap_weight=default_gap_weight(n_features) if gap_weight is None else gap_weight,
            )
        if map_network is not None:
            network = make_network(map_network, n_features, "map_network")
        elif noise_dim:
            network = NoiseMap(n_features, noise_dim, sizes, activation)
        else:
            network = (BasedMap if based else MLPMap)(n_features, sizes, activation)
        noise = antithetic_noise(n_transform_draws, noise_dim, generator) if noise_dim else None
        return NetworkForm(
            network, potential(), cost, critic_loss=critic_loss, n_map_steps=n_map_steps or 4, noise=noise
        )


def make_network(factory: NetworkFactory, n_features: int, name: str) -> nn.Module:
    """A user's own network; a ValueError that names the parameter if it is none."""
    try:
        network: Any = factory(n_features)
    except Exception as error:
        raise ValueError(f"{name} must be a callable n_features -> torch.nn.Module, but raised: {error}") from error
    if not isinstance(network, nn.Module) or not any(weight.requires_grad for weight in network.parameters()):
        raise ValueError(f"{name} must return a torch.nn.Module with weights to train, got {network!r}")
    return network


def resolve_map_form(map_form: str, cost: Cost, noise_dim: int, map_network: NetworkFactory | None) -> str:
    """Return ``'gradient'`` or ``'network'``; see `make_form` for the rule and the errors."""
    if map_form not in ("auto", "gradient", "network"):
        raise ValueError(f"map_form must be 'auto', 'gradient' or 'network', got {map_form!r}")
    if map_form == "auto":
        # Lp(3) diverges in the gradient form: its map has an infinite slope where nothing moves
        gradient_fits = isinstance(cost, SquaredEuclidean) and not noise_dim and map_network is None
        return "gradient" if gradient_fits else "network"
    if map_form == "gradient" and not cost.has_transport:
        raise ValueError(f"map_form='gradient' needs a cost with a known map, got {cost!r}; pass map_form='network'")
    if map_form == "gradient" and noise_dim:
        raise ValueError("noise_dim must be 0 with map_form='gradient'; pass map_form='network'")
    if map_form == "gradient" and map_network is not None:
        raise ValueError("map_network must be None with map_form='gradient'; pass potential_network instead")
    return map_form
