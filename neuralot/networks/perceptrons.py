"""Perceptrons: maps, potentials, affine bases and an input-convex network."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Activation = Callable[[], nn.Module]

ACTIVATIONS: dict[str, Activation] = {
    "celu": nn.CELU,
    "gelu": nn.GELU,
    "relu": nn.ReLU,
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
    "tanh": nn.Tanh,
}


def mlp(n_inputs: int, n_outputs: int, hidden_layer_sizes: Sequence[int], activation: str) -> nn.Sequential:
    """Return a multilayer perceptron with zero output.

    Its last layer is initialised with zeros.
    """
    sizes = [n_inputs, *hidden_layer_sizes]
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(sizes):
        layers += [nn.Linear(n_in, n_out), ACTIVATIONS[activation]()]
    network = nn.Sequential(*layers, nn.Linear(sizes[-1], n_outputs))
    with torch.no_grad():
        _zero_output(network)
    return network


def widen(network: nn.Sequential, scale: float) -> None:
    """Scale a perceptron's initial first layer to its inputs.

    `scale` is the root mean square of the input columns. Products of weights and inputs then have a standard deviation
    of 1.15, and biases half of it. With torch's default initialisation, a potential is nearly linear on the data.
    """
    first = network[0]
    assert isinstance(first, nn.Linear)
    with torch.no_grad():
        first.weight.mul_(2 / scale)
        first.bias.mul_(math.sqrt(first.in_features))


def _zero_output(network: nn.Sequential) -> None:
    """Set the last layer of a perceptron to zero."""
    for weight in network[-1].parameters():
        weight.zero_()


class MLPMap(nn.Module):
    """Residual map T(x) = x + MLP(x).

    It is initially the identity.

    Parameters
    ----------
    n_features : int
    hidden_layer_sizes : sequence of int
    activation : {'celu', 'gelu', 'relu', 'silu', 'softplus', 'tanh'}

    Examples
    --------
    >>> import torch
    >>> from neuralot.networks import MLPMap
    >>> MLPMap(2)(torch.ones(1, 2)).tolist()
    [[1.0, 1.0]]
    """

    def __init__(self, n_features: int, hidden_layer_sizes: Sequence[int] = (64, 64), activation: str = "silu") -> None:
        super().__init__()
        self.residual = mlp(n_features, n_features, hidden_layer_sizes, activation)

    def forward(self, x: Tensor) -> Tensor:
        """Return the images of rows `x`, shape (n, d)."""
        return x + self.residual(x)


class NoiseMap(nn.Module):
    """Residual map T(x, z) = x + MLP([x, z]).

    The noise z is an input of the network, for plans that split mass (OTM-s).

    Parameters
    ----------
    n_features, noise_dim : int
        Widths of x and of the noise z.
    hidden_layer_sizes : sequence of int
    activation : {'celu', 'gelu', 'relu', 'silu', 'softplus', 'tanh'}

    Examples
    --------
    >>> import torch
    >>> from neuralot.networks import NoiseMap
    >>> NoiseMap(2, noise_dim=1)(torch.ones(1, 2), torch.zeros(1, 1)).shape
    torch.Size([1, 2])
    """

    def __init__(
        self,
        n_features: int,
        noise_dim: int,
        hidden_layer_sizes: Sequence[int] = (64, 64),
        activation: str = "silu",
    ) -> None:
        super().__init__()
        self.residual = mlp(n_features + noise_dim, n_features, hidden_layer_sizes, activation)

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        """Return the images of rows `x` under noise `z`.

        `x` has shape (n, d), `z` (n, noise_dim), the images (n, d).
        """
        return x + self.residual(torch.cat([x, z], dim=-1))


class Potential(nn.Module):
    """Kantorovich potential f(x) = x' B x + MLP(x).

    Its map ``x - grad f(x) / 2`` is initially the identity. For the squared Euclidean cost, f corresponds to the
    Brenier potential ``u = (|x|^2 - f) / 2``. The quadratic term represents the linear part of the map, and the network
    only learns the rest. Omit it for a cost that grows more slowly: the loss of the map would be unbounded below.

    Parameters
    ----------
    n_features : int
    hidden_layer_sizes : sequence of int
    activation : {'celu', 'gelu', 'silu', 'softplus', 'tanh'}
        Smooth, because the map is computed from the gradient.
    quadratic : bool
        Whether to include the term x' B x.

    Examples
    --------
    >>> import torch
    >>> from neuralot.networks import Potential
    >>> Potential(2)(torch.ones(3, 2)).shape
    torch.Size([3])
    """

    def __init__(
        self,
        n_features: int,
        hidden_layer_sizes: Sequence[int] = (64, 64),
        activation: str = "silu",
        *,
        quadratic: bool = True,
    ) -> None:
        super().__init__()
        self.residual = mlp(n_features, 1, hidden_layer_sizes, activation)
        self.quadratic = nn.Parameter(torch.zeros(n_features, n_features)) if quadratic else None

    def be_affine(self, matrix: Tensor, offset: Tensor) -> None:
        """Set the map to x -> `matrix` x.

        The matrix is symmetric. `offset` is ignored, because this potential has no linear term in x.
        """
        with torch.no_grad():
            _zero_output(self.residual)
            if self.quadratic is not None:
                self.quadratic.copy_(torch.eye(len(matrix)) - matrix)

    def forward(self, x: Tensor) -> Tensor:
        """Return the values at rows `x`, shape (n,)."""
        value = self.residual(x).squeeze(-1)
        return value if self.quadratic is None else ((x @ self.quadratic) * x).sum(-1) + value


class Heights(nn.Module):
    """Potential on the target side, with corrections at points.

    Each of `n_points` points has one learned correction, initially zero.

    Parameters
    ----------
    potential : torch.nn.Module
    n_points : int
    """

    def __init__(self, potential: nn.Module, n_points: int = 0) -> None:
        super().__init__()
        self.potential = potential
        self.corrections = nn.Parameter(torch.zeros(n_points))


class AffineBase(nn.Module):
    """Affine base of a network, and its preconditioner.

    The base is the map x -> A x + b, and the input of the network is L x. A, b and L are buffers that are not learned;
    initially, both maps are the identity.

    Parameters
    ----------
    n_features : int
    """

    matrix: Tensor
    offset: Tensor
    preconditioner: Tensor

    def __init__(self, n_features: int) -> None:
        super().__init__()
        self.register_buffer("matrix", torch.eye(n_features))
        self.register_buffer("offset", torch.zeros(n_features))
        self.register_buffer("preconditioner", torch.eye(n_features))

    def set_base(self, matrix: Tensor, offset: Tensor) -> None:
        """Set the base to x -> `matrix` x + `offset`.

        The matrix is symmetric.
        """
        self.matrix.copy_(matrix)
        self.offset.copy_(offset)

    def set_preconditioner(self, preconditioner: Tensor) -> None:
        """Set the preconditioner L."""
        self.preconditioner.copy_(preconditioner)

    def seen(self, x: Tensor) -> Tensor:
        """Return the preconditioned rows L x, shape (n, d)."""
        return x @ self.preconditioner.T


class BasedPotential(AffineBase):
    """Kantorovich potential with an affine base.

    ``f(x) = |x|^2 - x' A x - 2 b' x + MLP(L x)``, whose map is ``A x + b - L' grad MLP(L x) / 2``. In high dimension
    this base replaces the learned quadratic of `Potential`, whose small errors in many directions accumulate.

    Parameters
    ----------
    n_features : int
    hidden_layer_sizes : sequence of int
    activation : {'celu', 'gelu', 'silu', 'softplus', 'tanh'}

    Examples
    --------
    >>> import torch
    >>> from neuralot.networks import BasedPotential
    >>> BasedPotential(2)(torch.ones(3, 2)).tolist()
    [0.0, 0.0, 0.0]
    """

    def __init__(self, n_features: int, hidden_layer_sizes: Sequence[int] = (64, 64), activation: str = "silu") -> None:
        super().__init__(n_features)
        self.residual = mlp(n_features, 1, hidden_layer_sizes, activation)

    def be_affine(self, matrix: Tensor, offset: Tensor) -> None:
        """Set the map to x -> `matrix` x + `offset`.

        The matrix is symmetric.
        """
        with torch.no_grad():
            _zero_output(self.residual)
            self.set_base(matrix, offset)

    def forward(self, x: Tensor) -> Tensor:
        """Return the values at rows `x`, shape (n,)."""
        return (x * (x - x @ self.matrix - 2 * self.offset)).sum(-1) + self.residual(self.seen(x)).squeeze(-1)


class BasedMap(AffineBase):
    """Map T(x) = A x + b + MLP(L x).

    The affine base and the preconditioner L are those of `AffineBase`.

    Parameters
    ----------
    n_features : int
    hidden_layer_sizes : sequence of int
    activation : {'celu', 'gelu', 'relu', 'silu', 'softplus', 'tanh'}

    Examples
    --------
    >>> import torch
    >>> from neuralot.networks import BasedMap
    >>> BasedMap(2)(torch.ones(1, 2)).tolist()
    [[1.0, 1.0]]
    """

    def __init__(self, n_features: int, hidden_layer_sizes: Sequence[int] = (64, 64), activation: str = "silu") -> None:
        super().__init__(n_features)
        self.residual = mlp(n_features, n_features, hidden_layer_sizes, activation)

    def forward(self, x: Tensor) -> Tensor:
        """Return the images of rows `x`, shape (n, d)."""
        return x @ self.matrix + self.offset + self.residual(self.seen(x))


class ConvexPotential(nn.Module):
    """Kantorovich potential from an input-convex network.

    ``f = |x|^2 - 2 u`` with a convex u. The map ``x - grad f(x) / 2 = grad u(x)`` is monotone. u is the network (Amos
    et al., 2017), with non-negative weights between layers and a convex, increasing activation, plus a learned multiple
    of ``|x|^2 / 2``. The map is initially close to the identity. It is the gradient of a convex function, as an optimal
    map for the squared Euclidean cost must be, but fits are slower.

    Parameters
    ----------
    n_features : int
    hidden_layer_sizes : sequence of int
    activation : {'celu', 'softplus'}

    Examples
    --------
    >>> import torch
    >>> from neuralot.networks import ConvexPotential
    >>> ConvexPotential(2)(torch.ones(3, 2)).shape
    torch.Size([3])
    """

    def __init__(
        self, n_features: int, hidden_layer_sizes: Sequence[int] = (64, 64), activation: str = "softplus"
    ) -> None:
        super().__init__()
        sizes = list(hidden_layer_sizes)
        self.activation = ACTIVATIONS[activation]()
        self.inputs = nn.ModuleList(nn.Linear(n_features, size) for size in sizes)
        # initial weights are 1 / n_in, which preserves the scale of sums; the last are smaller, for the identity map
        self.raw = nn.ParameterList(
            torch.full((n_out, n_in), _inverse_softplus(1 / n_in)) for n_in, n_out in pairwise(sizes)
        )
        self.raw.append(torch.full((1, sizes[-1]), _inverse_softplus(0.01 / sizes[-1])))
        self.curvature = nn.Parameter(torch.tensor(_inverse_softplus(1.0)))

    def forward(self, x: Tensor) -> Tensor:
        """Return the values at rows `x`, shape (n,)."""
        hidden = self.activation(self.inputs[0](x))  # (n, size)
        *middle, last = self.raw
        for layer, raw in zip(list(self.inputs)[1:], middle, strict=True):
            hidden = self.activation(F.linear(hidden, F.softplus(raw)) + layer(x))
        convex = F.linear(hidden, F.softplus(last)).squeeze(-1)  # (n,)
        return x.square().sum(-1) * (1 - F.softplus(self.curvature)) - 2 * convex


def _inverse_softplus(value: float) -> float:
    return math.log(math.expm1(value))
