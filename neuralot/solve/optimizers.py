"""Optimisers: Adam, or Muon for matrices and Adam otherwise.

They use torch's kernels, but not its `Optimizer` class: the first instance of that imports torch's compiler, which
takes seconds of a short fit.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from neuralot.networks import ConvexPotential

OPTIMIZERS = ("auto", "adam", "muon")

DEFAULT_RATE = 4e-3
MUON_FACTOR = 10.0
MOMENTUM = 0.9
FEWEST_INPUTS = 8
CRITIC_FACTOR = 0.25
CRITIC_DECAY = 0.1
# coefficients of the quintic polynomial of the Newton-Schulz iteration, and the number of iterations
QUINTIC = 3.4445, -4.7750, 2.0315
N_ITERATIONS = 5
FEWEST_FOR_BFLOAT16 = 128


class Optimizer(ABC):
    """Base class of optimisers, which update some weights.

    Parameters
    ----------
    weights : sequence of Tensor
    learning_rate, weight_decay : float
        Decay is decoupled, and proportional to the learning rate.
    """

    def __init__(self, weights: Sequence[Tensor], learning_rate: float, weight_decay: float = 0.0) -> None:
        self.weights = list(weights)
        self.learning_rate, self.weight_decay = learning_rate, weight_decay

    @abstractmethod
    def step(self, gradients: Sequence[Tensor | None], rate: Tensor) -> None:
        """Update the weights once.

        `rate` is the share of the learning rate to use, a tensor of shape () on the weights' device, so that a captured
        step can be replayed with another value. A weight whose gradient is None stays as it is.
        """


class Descent(Optimizer):
    """Plain gradient descent."""

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor | None], rate: Tensor) -> None:
        for weight, gradient in zip(self.weights, gradients, strict=True):
            if gradient is not None:
                weight -= rate * self.learning_rate * gradient


class AtRate(Optimizer):
    """Optimiser with its own rate, independent of the loop's.

    Parameters
    ----------
    optimizer : Optimizer
    rate : Tensor of shape ()
        Read at each step.
    """

    def __init__(self, optimizer: Optimizer, rate: Tensor) -> None:
        super().__init__(optimizer.weights, optimizer.learning_rate, optimizer.weight_decay)
        self.optimizer, self.rate = optimizer, rate

    def step(self, gradients: Sequence[Tensor | None], rate: Tensor) -> None:
        self.optimizer.step(gradients, self.rate)


class Adam(Optimizer):
    """Adam with decoupled weight decay, by torch's fused kernel.

    Parameters
    ----------
    weights : sequence of Tensor
    learning_rate, weight_decay : float
    betas : tuple of float
        Decay rates of the means of gradients and of squared gradients.

    References
    ----------
    Loshchilov and Hutter, "Decoupled weight decay regularization", ICLR 2019.
    """

    def __init__(
        self,
        weights: Sequence[Tensor],
        learning_rate: float,
        weight_decay: float = 0.0,
        betas: tuple[float, float] = (MOMENTUM, MOMENTUM),
    ) -> None:
        super().__init__(weights, learning_rate, weight_decay)
        self.betas = betas
        self.means, self.squares = ([torch.zeros_like(weight) for weight in weights] for _ in range(2))
        self.n_steps = [torch.zeros((), dtype=torch.float32, device=weight.device) for weight in weights]

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor | None], rate: Tensor) -> None:
        states = zip(self.weights, gradients, self.means, self.squares, self.n_steps, strict=True)
        moving = [state for state in states if state[1] is not None]
        if not moving:
            return
        weights, found, means, squares, n_steps = map(list, zip(*moving, strict=True))
        torch._foreach_add_(n_steps, 1)
        # the kernel ignores strides: it reads memory entry by entry
        laid_out = [_as_in(mean, weight) for mean, weight in zip(means, weights, strict=True)]
        torch._fused_adamw_(
            laid_out,
            [_as_in(mean, gradient) for mean, gradient in zip(means, found, strict=True)],
            means,
            squares,
            [],
            n_steps,
            lr=rate * self.learning_rate,
            beta1=self.betas[0],
            beta2=self.betas[1],
            weight_decay=self.weight_decay,
            eps=1e-8,
            amsgrad=False,
            maximize=False,
        )
        for weight, laid in zip(weights, laid_out, strict=True):
            if laid is not weight:
                weight.copy_(laid)


def _as_in(other: Tensor, tensor: Tensor) -> Tensor:
    """Return `tensor` in the memory layout of `other`.

    It is copied only if the layouts differ.
    """
    return tensor if tensor.stride() == other.stride() else torch.empty_like(other).copy_(tensor)


class Muon(Optimizer):
    r"""Orthogonalised momentum, for matrices of hidden layers.

    .. math:: M \leftarrow \beta M + (1 - \beta) G, \quad
              W \leftarrow (1 - \eta \lambda) W - \eta \sqrt{\max(1, n_{out} / n_{in})} \; O((1 - \beta) G + \beta M)

    O(A) has approximately the singular vectors of A, and singular values near 1, by the Newton-Schulz iteration. The
    Muon of torch works in bfloat16 only, for which most CPUs have no units, and matrix by matrix; this class processes
    all matrices of one shape together.

    Parameters
    ----------
    weights : sequence of Tensor of shape (n_out, n_in)
    learning_rate, weight_decay : float
    momentum : float

    References
    ----------
    Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024.
    """

    def __init__(
        self, weights: Sequence[Tensor], learning_rate: float, weight_decay: float = 0.0, momentum: float = MOMENTUM
    ) -> None:
        super().__init__(weights, learning_rate, weight_decay)
        self.momentum = momentum
        self.of_shape: dict[torch.Size, list[int]] = {}
        for index, weight in enumerate(self.weights):
            self.of_shape.setdefault(weight.shape, []).append(index)
        self.momenta = [torch.zeros_like(weight) for weight in self.weights]

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor | None], rate: Tensor) -> None:
        rate = rate * self.learning_rate
        for shape, indices in self.of_shape.items():
            moving = [(i, gradient) for i in indices if (gradient := gradients[i]) is not None]
            if not moving:
                continue
            weights, momenta = ([of_all[i] for i, _ in moving] for of_all in (self.weights, self.momenta))
            found = [gradient for _, gradient in moving]
            torch._foreach_lerp_(momenta, found, 1 - self.momentum)
            moves = orthogonal(torch.stack(found).lerp_(torch.stack(momenta), self.momentum))  # (k, n_out, n_in)
            moves *= rate * max(1.0, shape[0] / shape[1]) ** 0.5
            torch._foreach_mul_(weights, 1 - rate * self.weight_decay)
            torch._foreach_sub_(weights, moves.unbind())


def orthogonal(matrices: Tensor) -> Tensor:
    """Approximately orthogonalise matrices, shape (k, n, m).

    The results have nearly the same singular vectors, and singular values between about 0.7 and 1.2. By the
    Newton-Schulz iteration.
    """
    wide = matrices if matrices.shape[1] <= matrices.shape[2] else matrices.mT
    wide = wide / wide.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    wide = wide.to(_precision_of_products(wide))
    a, b, c = QUINTIC
    for _ in range(N_ITERATIONS):
        gram = torch.bmm(wide, wide.mT)
        wide = torch.baddbmm(wide, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), wide, beta=a)
    wide = wide.to(matrices.dtype)
    return wide if matrices.shape[1] <= matrices.shape[2] else wide.mT


def _precision_of_products(matrices: Tensor) -> torch.dtype:
    """Dtype of the products in the Newton-Schulz iteration.

    bfloat16 on a GPU, and for large matrices on a CPU with units for it; otherwise float32, because bfloat16 is slow
    without such units.
    """
    if matrices.device.type != "cpu":
        return torch.bfloat16
    large = matrices.shape[1] >= FEWEST_FOR_BFLOAT16
    capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    has_units = capabilities.get("amx_bf16", False)
    allowed = "AVX512" in torch.backends.cpu.get_cpu_capability()
    return torch.bfloat16 if large and has_units and allowed else torch.float32


def make_optimizers(
    networks: nn.Module | Sequence[nn.Module],
    kind: str = "auto",
    learning_rate: float | None = None,
    weight_decay: float = 0.0,
    *,
    critic: bool = False,
) -> list[Optimizer]:
    """Return the optimisers of networks that move at once.

    Together they update every weight.

    Parameters
    ----------
    networks : torch.nn.Module or sequence of them
    kind : {'auto', 'adam', 'muon'}
        ``'muon'``: `Muon` on the `hidden_matrices`, at `MUON_FACTOR` times the rate, and Adam on the rest; ``'auto'``
        is ``'muon'``.
    learning_rate : float, optional
        Learning rate of Adam; `DEFAULT_RATE` when None.
    weight_decay : float
        Decoupled decay of the `hidden_matrices`; other weights do not decay.
    critic : bool
        Whether the player is only the critic of another's map. With Muon it then has a quarter of the rate, no momentum
        and a decay of at least 0.1. A critic that is as fast as the map runs ahead of it, and with momentum the two
        circle around the saddle point at growing distance.
    """
    networks = [networks] if isinstance(networks, nn.Module) else networks
    rate, momentum = DEFAULT_RATE if learning_rate is None else learning_rate, MOMENTUM
    if critic and kind != "adam":
        rate, momentum, weight_decay = CRITIC_FACTOR * rate, 0.0, max(CRITIC_DECAY, weight_decay)
    hidden = [weight for network in networks for weight in hidden_matrices(network)]
    taken = set(map(id, hidden))
    weights = [weight for network in networks for weight in network.parameters() if weight.requires_grad]
    rest = [weight for weight in weights if id(weight) not in taken]
    # betas: the momentum of Muon, and a mean of squares over no more steps
    betas = (momentum, MOMENTUM)
    matrices = (
        Adam(hidden, rate, weight_decay, betas)
        if kind == "adam"
        else Muon(hidden, MUON_FACTOR * rate, weight_decay, momentum)
    )
    made: list[Optimizer] = [matrices, Adam(rest, rate, betas=betas)]
    return [optimizer for optimizer in made if optimizer.weights]


def hidden_matrices(network: nn.Module) -> list[Tensor]:
    """Weights of hidden layers with at least `FEWEST_INPUTS` inputs.

    These are the weights of all linear layers but the last. With fewer inputs, as in the first layer in the plane,
    orthogonal updates keep a map from being steep in one direction. An input-convex network has no such weights: its
    matrices are positive through a softplus, and its other layers all take the input.
    """
    if isinstance(network, ConvexPotential):
        return []
    weights = [module.weight for module in network.modules() if isinstance(module, nn.Linear)]
    # a parametrised layer, such as one with a spectral norm, computes its weight from others
    parameters = {id(weight) for weight in network.parameters() if weight.requires_grad}
    return [weight for weight in weights[:-1] if id(weight) in parameters and weight.shape[1] >= FEWEST_INPUTS]
