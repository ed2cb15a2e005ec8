"""Construction of forms and of their networks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast

import torch
from torch import Generator, nn

from neuralot._torch import antithetic_noise, seeded
from neuralot.affine import SEEN_SCALE
from neuralot.costs import Cost, SquaredEuclidean, is_squared_euclidean
from neuralot.defaults import default_sizes
from neuralot.forms.base import Form
from neuralot.forms.gradient import GradientForm
from neuralot.forms.losses import CriticLoss
from neuralot.forms.network import NetworkForm
from neuralot.networks import (
    BasedMap,
    BasedPotential,
    ConditionalPotential,
    MLPMap,
    NoiseMap,
    Potential,
)
from neuralot.networks.perceptrons import widen

NetworkFactory = Callable[[int], nn.Module]

# largest number of entries of the matrices that depend on conditions
MAX_INTERACTION = 2**18


def make_form(
    n_features: int,
    cost: Cost | None = None,
    *,
    map_form: str | NetworkFactory = "auto",
    hidden_layer_sizes: Sequence[int] | None = None,
    activation: str = "silu",
    n_map_steps: int | None = None,
    noise_dim: int = 0,
    n_transform_draws: int = 16,
    bidirectional: bool = True,
    critic_loss: CriticLoss | None = None,
    affine_base: bool = False,
    potential_network: NetworkFactory | None = None,
    generator: Generator | None = None,
) -> Form:
    """Build a form with default or user-defined networks.

    Parameters
    ----------
    n_features : int
    cost : Cost, optional
        Squared Euclidean when None.
    map_form : {'auto', 'gradient', 'network'} or callable n_features -> torch.nn.Module
        ``'auto'``: the gradient form for the squared Euclidean cost without noise, otherwise the network form. A
        callable: the network form, with the network that it returns.
    hidden_layer_sizes : sequence of int, optional
        None: see `neuralot.defaults.default_sizes`.
    activation : str
    n_map_steps : int, optional
        None: 1 in the gradient form, 4 in the network form.
    noise_dim : int
        Width of the noise input, network form only.
    n_transform_draws : int
        Number of noise vectors over which the map of a network with noise input averages.
    bidirectional : bool
        Gradient form only.
    critic_loss : CriticLoss, optional
    affine_base : bool
        Whether the networks have an affine base instead of a learned quadratic. Only for the squared Euclidean cost
        without noise; no effect if the user passes a network.
    potential_network : callable n_features -> torch.nn.Module, optional
    generator : torch.Generator, optional
        Seeds the weights.

    Raises
    ------
    ValueError
        If `map_form` is unknown or incompatible with the cost, the noise or the activation, or if a user's function
        does not return a network.

    Examples
    --------
    >>> from neuralot.forms import make_form
    >>> list(make_form(2).networks), list(make_form(2, map_form="network").networks)
    (['source_potential', 'target_potential'], ['map', 'potential'])
    """
    cost = SquaredEuclidean() if cost is None else cost
    generator = torch.Generator().manual_seed(0) if generator is None else generator
    form = resolve_map_form(map_form, cost, noise_dim)
    sizes = default_sizes(n_features) if hidden_layer_sizes is None else tuple(hidden_layer_sizes)

    own = isinstance(map_form, str) and potential_network is None
    squared = is_squared_euclidean(cost)
    based = affine_base and own and not noise_dim and squared
    n_moved = cost.n_moved if form == "gradient" else None  # the base of a map network depends on no condition
    potential = partial(_make_potential, potential_network, n_features, sizes, activation, based, squared, n_moved)

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
                *potentials, cost, critic_loss=critic_loss, n_map_steps=n_map_steps or 1, bidirectional=bidirectional
            )
        if not isinstance(map_form, str):
            network = make_network(map_form, n_features, "map_form")
        elif noise_dim:
            network = NoiseMap(n_features, noise_dim, sizes, activation)
        else:
            network = (BasedMap if based else MLPMap)(n_features, sizes, activation)
        noise = antithetic_noise(n_transform_draws, noise_dim, generator) if noise_dim else None
        return NetworkForm(
            network, potential(), cost, critic_loss=critic_loss, n_map_steps=n_map_steps or 4, noise=noise
        )


def _make_potential(
    factory: NetworkFactory | None,
    n_features: int,
    sizes: Sequence[int],
    activation: str,
    based: bool,
    squared: bool,
    n_moved: int | None,
) -> nn.Module:
    if factory is not None:
        return make_network(factory, n_features, "potential_network")
    if not based:
        return Potential(n_features, sizes, activation, quadratic=squared)
    if n_moved is not None and (n_features - n_moved) * n_moved**2 <= MAX_INTERACTION:
        network: BasedPotential = ConditionalPotential(n_features, sizes, activation, n_moved=n_moved)
    else:
        network = BasedPotential(n_features, sizes, activation)
    network.set_preconditioner(SEEN_SCALE * torch.eye(n_features))  # for rows of mean square 1
    return network


def make_network(factory: NetworkFactory, n_features: int, name: str) -> nn.Module:
    """Return a user's own network.

    Raises a ValueError that names the parameter if `factory` fails, or does not return a module with weights to train.
    """
    try:
        network: Any = factory(n_features)
    except Exception as error:
        raise ValueError(f"{name} must be a callable n_features -> torch.nn.Module, but raised: {error}") from error
    if not isinstance(network, nn.Module) or not any(weight.requires_grad for weight in network.parameters()):
        raise ValueError(f"{name} must return a torch.nn.Module with weights to train, got {network!r}")
    return network


def resolve_map_form(map_form: str | NetworkFactory, cost: Cost, noise_dim: int) -> str:
    """Return ``'gradient'`` or ``'network'``.

    See `make_form` for the rule and the errors.
    """
    if callable(map_form):
        return "network"
    if map_form not in ("auto", "gradient", "network"):
        raise ValueError(
            f"map_form must be 'auto', 'gradient', 'network' or a callable n_features -> torch.nn.Module, got "
            f"{map_form!r}"
        )
    if map_form == "auto":
        # Lp(3) diverges in the gradient form: its map has an infinite slope where nothing moves
        return "gradient" if is_squared_euclidean(cost) and not noise_dim else "network"
    if map_form == "gradient" and not cost.has_map_from_gradient:
        raise ValueError(f"map_form='gradient' needs a cost with a known map, got {cost!r}; pass map_form='network'")
    if map_form == "gradient" and noise_dim:
        raise ValueError("noise_dim must be 0 with map_form='gradient'; pass map_form='network'")
    return map_form
