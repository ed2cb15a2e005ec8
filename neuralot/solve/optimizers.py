"""Optimisers: Adam, or Muon for matrices and Adam otherwise.

They use torch's kernels, but not its `Optimizer` class, whose first instance imports torch's compiler and would delay
the first fit of a process.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from neuralot.networks import ConvexPotential

OPTIMIZERS = ("muon", "adam")

DEFAULT_RATE = 4e-3
MUON_FACTOR = 10.0
MOMENTUM = 0.9
MIN_INPUTS = 8
CRITIC_FACTOR = 0.25
CRITIC_DECAY = 0.1
# coefficients of the quintic polynomial of the Newton-Schulz iteration, and the number of iterations
QUINTIC = 3.4445, -4.7750, 2.0315
N_ITERATIONS = 5
MIN_SIZE_BFLOAT16 = 128


class UpdateRule(ABC):
    """Base class of the optimisers: an update of weights.

    Parameters
    ----------
    weights : sequence of Tensor
        The weights to update.
    learning_rate, weight_decay : float
        Decay is decoupled, and proportional to the learning rate.

    Attributes
    ----------
    state : list of Tensor
        The tensors that a step changes besides the weights. They are saved in checkpoints.
    """

    def __init__(self, weights: Sequence[Tensor], learning_rate: float, weight_decay: float = 0.0) -> None:
        self.weights = list(weights)
        self.state: list[Tensor] = []
        self.learning_rate, self.weight_decay = learning_rate, weight_decay

    @abstractmethod
    def step(self, gradients: Sequence[Tensor | None], rate: Tensor) -> None:
        """Update the weights once.

        `rate` is a factor on the learning rate, a tensor of shape () on the weights' device, so that a captured step
        can be replayed with another value. A weight whose gradient is None is not updated.
        """


class Adam(UpdateRule):
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
        self.state = [*self.means, *self.squares, *self.n_steps]

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor | None], rate: Tensor) -> None:
        states = zip(self.weights, gradients, self.means, self.squares, self.n_steps, strict=True)
        updated = [state for state in states if state[1] is not None]
        if not updated:
            return
        weights, grads, means, squares, n_steps = map(list, zip(*updated, strict=True))
        torch._foreach_add_(n_steps, 1)
        # the kernel ignores strides, so that all tensors need the same memory layout
        aligned = [_in_layout_of(mean, weight) for mean, weight in zip(means, weights, strict=True)]
        torch._fused_adamw_(
            aligned,
            [_in_layout_of(mean, gradient) for mean, gradient in zip(means, grads, strict=True)],
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
        for weight, copy in zip(weights, aligned, strict=True):
            if copy is not weight:
                weight.copy_(copy)


def _in_layout_of(other: Tensor, tensor: Tensor) -> Tensor:
    """Return `tensor` in the memory layout of `other`.

    It is copied only if the layouts differ.
    """
    return tensor if tensor.stride() == other.stride() else torch.empty_like(other).copy_(tensor)


class Muon(UpdateRule):
    r"""Orthogonalised momentum, for matrices of hidden layers.

    .. math:: M \leftarrow \beta M + (1 - \beta) G, \quad
              W \leftarrow (1 - \eta \lambda) W - \eta \sqrt{\max(1, n_{out} / n_{in})} \; O((1 - \beta) G + \beta M)

    O(A) has approximately the singular vectors of A, and singular values near 1. It is computed by the Newton-Schulz
    iteration. The Muon of torch computes in bfloat16 only, which most CPUs do not support in hardware, and processes
    matrices one by one; this class processes all matrices of one shape together.

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
        self.state = self.momenta

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor | None], rate: Tensor) -> None:
        rate = rate * self.learning_rate
        for shape, indices in self.of_shape.items():
            updated = [(i, gradient) for i in indices if (gradient := gradients[i]) is not None]
            if not updated:
                continue
            weights, momenta = ([tensors[i] for i, _ in updated] for tensors in (self.weights, self.momenta))
            grads = [gradient for _, gradient in updated]
            torch._foreach_lerp_(momenta, grads, 1 - self.momentum)
            updates = orthogonal(torch.stack(grads).lerp_(torch.stack(momenta), self.momentum))  # (k, n_out, n_in)
            updates *= rate * max(1.0, shape[0] / shape[1]) ** 0.5
            torch._foreach_mul_(weights, 1 - rate * self.weight_decay)
            torch._foreach_sub_(weights, updates.unbind())


class Descent(UpdateRule):
    """Plain gradient descent."""

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor | None], rate: Tensor) -> None:
        for weight, gradient in zip(self.weights, gradients, strict=True):
            if gradient is not None:
                weight -= rate * self.learning_rate * gradient


class AtRate(UpdateRule):
    """Optimiser with its own rate, independent of the loop's.

    Parameters
    ----------
    optimizer : UpdateRule
    rate : Tensor of shape ()
        Read at each step, in place of the `rate` of the loop.
    """

    def __init__(self, optimizer: UpdateRule, rate: Tensor) -> None:
        super().__init__(optimizer.weights, optimizer.learning_rate, optimizer.weight_decay)
        self.optimizer, self.rate, self.state = optimizer, rate, optimizer.state

    def step(self, gradients: Sequence[Tensor | None], rate: Tensor) -> None:
        self.optimizer.step(gradients, self.rate)


def orthogonal(matrices: Tensor) -> Tensor:
    """Approximately orthogonalise matrices, shape (k, n, m).

    The results of the Newton-Schulz iteration have nearly the same singular vectors, and singular values between about
    0.7 and 1.2.
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

    It is bfloat16 on a GPU, and for large matrices on a CPU with hardware support; otherwise float32, because bfloat16
    is slow without hardware support.
    """
    if matrices.device.type != "cpu":
        return torch.bfloat16
    is_large = matrices.shape[1] >= MIN_SIZE_BFLOAT16
    capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    is_supported = capabilities.get("amx_bf16", False)
    is_allowed = "AVX512" in torch.backends.cpu.get_cpu_capability()
    return torch.bfloat16 if is_large and is_supported and is_allowed else torch.float32


def make_optimizers(
    networks: nn.Module | Sequence[nn.Module],
    kind: str = "muon",
    learning_rate: float | None = None,
    weight_decay: float = 0.0,
    *,
    critic: bool = False,
) -> list[UpdateRule]:
    """Return the optimisers of networks that are updated together.

    Each weight is updated by one of them.

    Parameters
    ----------
    networks : torch.nn.Module or sequence of them
    kind : {'adam', 'muon'}
        ``'muon'``: `Muon` on the `hidden_matrices`, at `MUON_FACTOR` times the rate, and Adam on the rest.
    learning_rate : float, optional
        Learning rate of Adam; `DEFAULT_RATE` when None.
    weight_decay : float
        Decoupled decay of the `hidden_matrices`; other weights have no decay.
    critic : bool
        Whether the player is only the critic of another player's map. With Muon it then has a quarter of the learning
        rate, no momentum and a decay of at least 0.1. A critic with the same learning rate overtakes the map, and with
        momentum both move around the saddle point at growing distance.
    """
    networks = [networks] if isinstance(networks, nn.Module) else networks
    rate, momentum = DEFAULT_RATE if learning_rate is None else learning_rate, MOMENTUM
    if critic and kind != "adam":
        rate, momentum, weight_decay = CRITIC_FACTOR * rate, 0.0, max(CRITIC_DECAY, weight_decay)
    hidden = [weight for network in networks for weight in hidden_matrices(network)]
    hidden_ids = set(map(id, hidden))
    weights = [weight for network in networks for weight in network.parameters() if weight.requires_grad]
    rest = [weight for weight in weights if id(weight) not in hidden_ids]
    betas = (momentum, MOMENTUM)  # the mean of squared gradients decays as fast as Muon's default momentum
    matrices = (
        Adam(hidden, rate, weight_decay, betas)
        if kind == "adam"
        else Muon(hidden, MUON_FACTOR * rate, weight_decay, momentum)
    )
    optimizers: list[UpdateRule] = [matrices, Adam(rest, rate, betas=betas)]
    return [optimizer for optimizer in optimizers if optimizer.weights]


def hidden_matrices(network: nn.Module) -> list[Tensor]:
    """Weights of hidden layers with at least `MIN_INPUTS` inputs.

    These are the weights of all linear layers but the last. With fewer inputs, as in a first layer for the plane,
    orthogonal updates prevent the map from being steep in one direction. An input-convex network has no such weights:
    its matrices are made positive by a softplus, and its other layers all take the input.
    """
    if isinstance(network, ConvexPotential):
        return []
    weights = [module.weight for module in network.modules() if isinstance(module, nn.Linear)]
    # a parametrised layer, such as one with a spectral norm, computes its weight from others
    parameters = {id(weight) for weight in network.parameters() if weight.requires_grad}
    return [weight for weight in weights[:-1] if id(weight) in parameters and weight.shape[1] >= MIN_INPUTS]
