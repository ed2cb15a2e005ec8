"""Wasserstein-2 generative networks (W2GN)."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from neuralot._torch import seeded
from neuralot.affine import Moments, affine_transport
from neuralot.costs import SquaredEuclidean
from neuralot.defaults import default_sizes
from neuralot.forms import GradientForm
from neuralot.forms.losses import Gradients, evaluate
from neuralot.networks import ConvexPotential
from neuralot.semidual import SemiDual
from neuralot.solve.optimizers import DEFAULT_RATE, Adam, UpdateRule
from neuralot.solve.problem import Batch, Batches

# a positive weight w = softplus(r) of about 1 / n_in changes by the step of r times w only, as do the functions of the
# inputs, whose weights are large
RATE_FACTOR = 5.0
# initial weight of the network, and curvature of the quadratic outside of its matrix
INITIAL_WEIGHT, INITIAL_CURVATURE = 0.05, 0.5
NEGLIGIBLE = 1e-9


def default_cycle_weight(n_features: int) -> float:
    """Default weight of the cycle terms.

    2 up to 50 features, and then 100 / n_features: the authors weight the mean square per coordinate of a cycle by the
    number of features, but by at most 50.
    """
    return 2.0 * min(1.0, 50 / n_features)


class QuadraticConvexPotential(ConvexPotential):
    """Input-convex potential with a learned quadratic function.

    ``f(x) = |x|^2 - 2 u(x)``, where u is that of `ConvexPotential` plus ``|B x|^2 / 2 + b' x``. All affine maps with a
    positive definite matrix are then exact, and the network only learns the rest. u is strongly convex. Initially, the
    image of 0 is 0, and the map is close to the identity.

    Parameters
    ----------
    n_features : int
    hidden_layer_sizes : sequence of int
    activation : {'celu', 'softplus'}

    Examples
    --------
    >>> import torch
    >>> from neuralot.methods.w2gn import QuadraticConvexPotential
    >>> QuadraticConvexPotential(2)(torch.ones(3, 2)).shape
    torch.Size([3])
    """

    def __init__(
        self, n_features: int, hidden_layer_sizes: Sequence[int] = (64, 64), activation: str = "softplus"
    ) -> None:
        super().__init__(n_features, hidden_layer_sizes, activation)
        self.root = nn.Parameter(math.sqrt(1 - INITIAL_CURVATURE) * torch.eye(n_features))
        self.linear = nn.Parameter(torch.zeros(n_features))
        with torch.no_grad():
            self._set_positive(INITIAL_WEIGHT, INITIAL_CURVATURE)
            for layer in cast(
                Sequence[nn.Linear], self.inputs
            ):  # as in `neuralot.networks.widen`, for rows of unit variance
                layer.weight.mul_(2)
                layer.bias.mul_(math.sqrt(n_features))
        origin = torch.zeros(1, n_features, requires_grad=True)
        slope = torch.autograd.grad(self(origin).sum(), origin)[0]
        with torch.no_grad():
            self.linear.copy_(slope[0] / 2)

    def be_affine(self, matrix: Tensor, offset: Tensor) -> None:
        """Set the map to x -> `matrix` x + `offset`.

        The matrix is symmetric and positive definite.
        """
        values, vectors = torch.linalg.eigh(matrix)
        with torch.no_grad():
            self._set_positive(NEGLIGIBLE, NEGLIGIBLE)
            self.root.copy_((vectors * values.clamp(min=0).sqrt()) @ vectors.T)
            self.linear.copy_(offset)

    def forward(self, x: Tensor) -> Tensor:
        """Return the values at rows `x`, shape (n,)."""
        return super().forward(x) - F.linear(x, self.root).square().sum(-1) - 2 * (x @ self.linear)

    def _set_positive(self, weight: float, curvature: float) -> None:
        """Set the sum of the last weights, and the curvature."""
        last = self.raw[-1]
        last.fill_(math.log(math.expm1(weight / last.numel())))
        self.curvature.fill_(math.log(math.expm1(curvature)))


class W2GN(SemiDual):
    r"""Two input-convex potentials, trained by one minimisation.

    .. math:: \min_{\psi, \bar\psi} \; E_\mu[\psi(x)] + E_\nu[\langle S(y), y \rangle - \psi(S(y))]
              + \frac{\lambda}{2} \big( E_\nu |T(S(y)) - y|^2 + E_\mu |S(T(x)) - x|^2 \big),
              \quad T = \nabla \psi, \; S = \nabla \bar\psi

    The first two terms are an estimate of the dual of optimal transport for the squared Euclidean cost, with S(y) as
    the maximiser of :math:`\langle x, y \rangle - \psi(x)`. The cycle terms make S the inverse of T. They replace the
    inner maximisation of the semi-dual game, so both potentials minimise the same loss. In the first two terms, S(y)
    counts as a constant: the derivative with respect to it is y - T(S(y)), which the cycle terms already make small,
    and its sign is that of a maximisation.

    The Kantorovich potentials are :math:`f = |x|^2 - 2 \psi` and :math:`g = |y|^2 - 2 \bar\psi`. As for `SNOT`, the
    source needs a density: a map cannot split mass.

    Parameters
    ----------
    n_features : int
    potentials : tuple of two torch.nn.Module, optional
        The networks of f and g, (n, d) to (n,) or (n, 1), with convex :math:`\psi` and :math:`\bar\psi`. None: two
        `QuadraticConvexPotential`.
    cycle_weight : float, optional
        :math:`\lambda`; None: see `default_cycle_weight`.
    generator : torch.Generator, optional
        Seeds the weights of the default networks; seeded with 0 when None.

    References
    ----------
    Korotin, Egiazarian, Asadulaev, Safin and Burnaev, "Wasserstein-2 generative networks", ICLR 2021.

    Examples
    --------
    >>> import torch
    >>> from neuralot.methods import W2GN
    >>> from neuralot.solve import solve
    >>> x = torch.randn(100, 2, generator=torch.Generator().manual_seed(0))
    >>> method = solve(W2GN(n_features=2), x, x + 1, max_iter=10).problem
    >>> method.map(x).shape, method.inverse(x).shape
    (torch.Size([100, 2]), torch.Size([100, 2]))
    """

    form: GradientForm

    def __init__(
        self,
        n_features: int,
        potentials: tuple[nn.Module, nn.Module] | None = None,
        *,
        cycle_weight: float | None = None,
        generator: Generator | None = None,
    ) -> None:
        if potentials is None:
            sizes = default_sizes(n_features)
            with seeded(torch.Generator().manual_seed(0) if generator is None else generator):
                potentials = QuadraticConvexPotential(n_features, sizes), QuadraticConvexPotential(n_features, sizes)
        super().__init__(n_features, GradientForm(*potentials, SquaredEuclidean()))
        self.cycle_weight = default_cycle_weight(n_features) if cycle_weight is None else cycle_weight

    def loss(self, player: str, batch: Batch) -> Tensor:
        f, g = self.networks.values()
        x = self.perturb(batch.x, batch.generator, batch.progress).detach().requires_grad_()  # (n, d)
        y = batch.y.detach().requires_grad_()  # (n, d)
        psi_x, image = _value_and_slope(f, x)
        _, inverse = _value_and_slope(g, y)
        psi_inverse, returned_y = _value_and_slope(f, inverse)
        _, returned_x = _value_and_slope(g, image)
        # S(y) is constant in this term: its derivative with respect to S(y) is subtracted
        psi_inverse = psi_inverse - (returned_y.detach() * (inverse - inverse.detach())).sum(-1)
        dual = psi_x + (inverse.detach() * y).sum(-1) - psi_inverse  # (n,)
        cycles = (returned_y - y).square().sum(-1) + (returned_x - x).square().sum(-1)  # (n,)
        return (dual + self.cycle_weight / 2 * cycles).mean()

    def gradients(self, names: Sequence[str], batches: Batches) -> Gradients:
        loss = self.loss(names[0], batches(1))  # the same for both players
        weights = [[weight for weight in self.networks[name].parameters() if weight.requires_grad] for name in names]
        gradients = iter(torch.autograd.grad(loss, [weight for each in weights for weight in each], allow_unused=True))
        found: dict[str, list[Tensor | None]] = {
            name: [next(gradients) for _ in each] for name, each in zip(names, weights, strict=True)
        }
        return dict.fromkeys(names, loss.detach()), found

    def optimizers(
        self, names: Sequence[str], kind: str, learning_rate: float | None, weight_decay: float
    ) -> list[UpdateRule]:
        """Return Adam, with `RATE_FACTOR` times the learning rate.

        The quadratic functions have the learning rate itself, as in other potentials. That of the linear functions is
        smaller, so that the image of 0 moves by a length that does not depend on the dimension. Muon and weight decay
        are for matrices without constraints.
        """
        rate = DEFAULT_RATE if learning_rate is None else learning_rate
        weights = [weight for name in names for weight in self.networks[name].parameters() if weight.requires_grad]
        own = [net for name in names if isinstance(net := self.networks[name], QuadraticConvexPotential)]
        roots, linear = [net.root for net in own], [net.linear for net in own]
        slow = {id(weight) for weight in [*roots, *linear]}
        optimizers = [Adam([weight for weight in weights if id(weight) not in slow], RATE_FACTOR * rate)]
        if own:
            optimizers += [Adam(roots, rate), Adam(linear, rate / math.sqrt(len(linear[0])))]
        return list(optimizers)

    def affine_state(self, source: Moments, target: Moments) -> dict[str, Tensor] | None:
        problem = copy.deepcopy(self)
        for potential, base in zip(problem.networks.values(), affine_transport(source, target), strict=True):
            if not isinstance(potential, QuadraticConvexPotential):
                return None
            potential.be_affine(base.matrix, base.offset)
        return problem.state_dict()


def _value_and_slope(potential: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """Values and slopes of the convex function of a potential.

    It is psi = (|x|^2 - f) / 2. The shapes are (n,) and (n, d). Both are differentiable in the weights and in `x`,
    which requires gradients.
    """
    psi = (x.square().sum(-1) - evaluate(potential, x)) / 2  # (n,)
    return psi, torch.autograd.grad(psi.sum(), x, create_graph=True)[0]
