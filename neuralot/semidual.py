"""The contract between a method and the loop, and the max-min arithmetic that the semi-dual methods share.

For a source law mu, a target law nu and a cost c, semi-dual neural optimal transport plays

    sup_V inf_T  E_mu[c(x, T(x)) - V(T(x))] + E_nu[V(y)].

A method says who plays, how often, and what each player minimises; `neuralot.solve` knows nothing else.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Generator, Tensor, nn

from neuralot.costs import Cost
from neuralot.precision import products
from neuralot.sampling import Sampler

# the losses of the players, and the gradient of each in those of its weights that learn
Gradients = tuple[dict[str, Tensor], dict[str, list[Tensor | None]]]


@dataclass(frozen=True)
class Batch:
    """Rows for one update.

    Attributes
    ----------
    x, y : Tensor of shape (batch_size, n_features)
        Rows of the source and of the target.
    progress : float or Tensor of shape ()
        How much of the run is over, in [0, 1); it carries every schedule. In the loop it is a tensor on the device, so
        that a captured step can be replayed with another value.
    generator : torch.Generator
        Where a loss takes its noise from.
    """

    x: Tensor
    y: Tensor
    progress: float | Tensor
    generator: Generator


class SemiDual(nn.Module, ABC):
    """A method: its players, their losses, and the transport that they have learned.

    A subclass registers one network per player in `networks` and sets `players`, the number of updates that each
    makes in one step of the loop, in playing order.

    Attributes
    ----------
    networks : torch.nn.ModuleDict
    players : dict of str to int
    critics : frozenset of str
        Players that criticise a map and are none themselves; they learn more slowly, see
        `neuralot.optimizers.make_optimizers`.
    cost : Cost
    invertible : bool
        Whether `inverse` is available.
    together : bool
        Whether the players move at once, by `gradients`; else each in its turn, by `loss`.
    growth : int
        How many times the batch size a step takes at present.
    capturable : bool
        Whether all steps do the same, so that a GPU can replay one.
    """

    networks: nn.ModuleDict
    players: dict[str, int]
    critics: frozenset[str] = frozenset()
    cost: Cost
    invertible: bool = False
    together: bool = False
    growth: int = 1
    capturable: bool = True

    @abstractmethod
    def loss(self, player: str, batch: Batch) -> Tensor:
        """Return what `player` minimises, a scalar; only the weights of `networks[player]` will be moved."""

    def gradients(self, batch: Batch) -> Gradients:
        """Return the losses of all players on one batch and their gradients, what they have in common computed once."""
        raise NotImplementedError(f"the players of {type(self).__name__} move in turn")

    @abstractmethod
    def transport(self, x: Tensor) -> Tensor:
        """Images of the rows `x` under the learned map, shape (n, d); deterministic, row by row."""

    def draw(self, x: Tensor, generator: Generator, progress: float = 1.0) -> Tensor:
        """One draw per row from the learned plan, shape (n, d), at the smoothing of `progress`."""
        return self.transport(x)

    def inverse(self, y: Tensor) -> Tensor:
        """Images of the target rows `y` under the learned inverse map, shape (m, d)."""
        raise NotImplementedError(f"{type(self).__name__} has no inverse in this form")

    def prepare(self, source: Sampler, target: Sampler, generator: Generator) -> None:
        """Look at the laws once before the first step; most methods need nothing."""
        return None

    def compile_step(self) -> bool:
        """Let torch compile what a step computes, from the next one on; return whether there is anything to compile."""
        return False

    def affine(self, source: Sampler, target: Sampler, generator: Generator) -> dict[str, Tensor] | None:
        """Weights with which the map is the optimal one between Gaussians: no fit should be worse than that."""
        return None

    def levels(self, progress: float) -> dict[str, float]:
        """Values that follow the progress and belong into the history, such as the smoothing level."""
        return {}

    def follow(self, progress: float) -> None:
        """Change what follows the progress on the host, before each step; a captured step repeats the rest only."""
        return None

    def rate(self, progress: float) -> float:
        """Share of the first learning rates: a cosine from 1 to 0."""
        return (1 + math.cos(math.pi * progress)) / 2

    def reserve(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Make room for a state of these shapes, where they depend on the laws that were learned."""
        return None

    def settled(self, progress: float) -> bool:
        """Whether the problem is the one to solve, or still one on the way to it, as before a last smoothing level."""
        return True


def gradients_of(losses: dict[str, Tensor], networks: nn.ModuleDict) -> dict[str, list[Tensor | None]]:
    """Gradient of each loss in the weights of the network of its name, where no other loss moves these weights."""
    weights = {name: [weight for weight in networks[name].parameters() if weight.requires_grad] for name in losses}
    total = torch.stack(list(losses.values())).sum()
    found = iter(torch.autograd.grad(total, [each for some in weights.values() for each in some], allow_unused=True))
    return {name: list(islice(found, len(some))) for name, some in weights.items()}


def map_loss(cost: Cost, x: Tensor, image: Tensor, V: nn.Module) -> Tensor:
    """E[c(x, T(x)) - V(T(x))], what a map minimises."""
    return (cost(x, image) - evaluate(V, image)).mean()


@dataclass(frozen=True)
class CriticLoss:
    """What a potential minimises: E[V(T(x))] - E[V(y)] plus regularisers, for fixed images T(x).

    Attributes
    ----------
    expectile, expectile_weight : float
        tau and lambda of ``lambda E L_tau(u)``, with ``L_tau(u) = |tau - 1[u <= 0]| u^2`` and u = c(x, T(x)) - V(T(x))
        - c(x, y) + V(y), the excess of the image over another answer y to x, which no optimal pair has. It keeps V
        near its c-transform. Weight 0 is the plain objective. For u <= 0, which is no violation, the weight is 1 - tau:
        a bias, so tau is close to 1.
    gradient_penalty : float
        Weight of E|grad V(y)|^2.

    References
    ----------
    Buzun, Bobrin and Dylov, "Expectile regularization for fast and accurate training of neural optimal transport",
    NeurIPS 2024.
    """

    expectile: float = 0.9999
    expectile_weight: float = 1.0
    gradient_penalty: float = 0.0

    def __call__(self, cost: Cost, V: nn.Module, x: Tensor, image: Tensor, y: Tensor) -> Tensor:
        """Loss of the potential `V`, a scalar; all rows have shape (n, d)."""
        V_image, V_y = evaluate(V, torch.cat([image, y])).split([len(image), len(y)])
        gradient_y = gradient(V, y, create_graph=True) if self.gradient_penalty else None
        return self.of_values(V_image, V_y, cost(x, image), cost(x, y), gradient_y)

    def of_values(
        self, V_image: Tensor, V_y: Tensor, cost_image: Tensor, cost_y: Tensor, gradient_y: Tensor | None
    ) -> Tensor:
        """Loss from the values V(T(x)), V(y), c(x, T(x)) and c(x, y), shape (n,), and grad V(y), shape (n, d).

        With another dimension in front, one loss for each of its entries.
        """
        loss = V_image.mean(-1) - V_y.mean(-1)
        if self.expectile_weight:
            u = cost_image - V_image - cost_y + V_y
            weight = torch.where(u > 0, self.expectile, 1 - self.expectile).to(u)  # not of torch's default dtype
            loss = loss + self.expectile_weight * (weight * u.square()).mean(-1)
        if self.gradient_penalty and gradient_y is not None:
            loss = loss + self.gradient_penalty * gradient_y.square().sum(-1).mean(-1)
        return loss


def evaluate(potential: nn.Module, x: Tensor) -> Tensor:
    """Values of a potential as shape (n,), also for a network that returns (n, 1)."""
    return potential(x).reshape(len(x))


def gradient(potential: nn.Module, x: Tensor, create_graph: bool = False) -> Tensor:
    """Gradient of a potential at each row, shape (n, d); with `create_graph` it can be differentiated in turn."""
    with torch.enable_grad():
        if not x.requires_grad:
            x = x.detach().requires_grad_()
        return torch.autograd.grad(evaluate(potential, x).sum(), x, create_graph=create_graph)[0]


def value_and_gradient(potential: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """Values and gradients at fixed rows, both differentiable in the weights."""
    x = x.detach().requires_grad_()
    value = evaluate(potential, x)
    return value, torch.autograd.grad(value.sum(), x, create_graph=True)[0]


def energy_distance(a: Tensor, b: Tensor) -> Tensor:
    """Energy distance 2 E|a - b| - E|a - a'| - E|b - b'| between two samples, without their zero self-distances.

    References
    ----------
    Szekely and Rizzo, "Energy statistics", J. Stat. Plan. Inference, 2013.
    """
    n, m = len(a), len(b)
    with products(a.device, "ieee"):
        within_a = torch.cdist(a, a).sum() / max(n * (n - 1), 1)
        within_b = torch.cdist(b, b).sum() / max(m * (m - 1), 1)
        return 2 * torch.cdist(a, b).mean() - within_a - within_b


def normal(n_rows: int, n_columns: int, generator: Generator, like: Tensor) -> Tensor:
    """Standard normal rows from `generator`, in the dtype and on the device of `like`."""
    z = torch.randn(n_rows, n_columns, generator=generator, device=generator.device, dtype=torch.float32)
    return z.to(like)


def mean_over(noise: Tensor, image: Callable[[Tensor], Tensor]) -> Tensor:
    """Mean of `image(z)` over the rows z of `noise`: a conditional mean that every row computes alike."""
    total = image(noise[0])
    for z in noise[1:]:
        total = total + image(z)
    return total / len(noise)


@contextmanager
def seeded(generator: Generator) -> Iterator[None]:
    """Draw float32 numbers from torch's global generator as if seeded by `generator`, and leave both as they were."""
    seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
    dtype = torch.get_default_dtype()
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # the CPU's alone: torch.manual_seed would seed GPUs too
        torch.set_default_dtype(torch.float32)
        try:
            yield
        finally:
            torch.set_default_dtype(dtype)
