"""Optimisers of players: Adam, or Muon on the matrices with Adam on the rest."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer

from neuralot.networks import ConvexPotential, Heights

OPTIMIZERS = ("auto", "adam", "muon")

DEFAULT_RATE = 4e-3
MUON_FACTOR = 10.0
MOMENTUM = 0.9
FEWEST_INPUTS = 8
CRITIC_FACTOR = 0.25
CRITIC_DECAY = 0.1


# of the quintic polynomial in Newton and Schulz's iteration, and how often it is applied
QUINTIC = 3.4445, -4.7750, 2.0315
N_ITERATIONS = 5
FEWEST_FOR_BFLOAT16 = 128


class Muon(Optimizer):
    r"""Momentum that is made orthogonal, for matrices of hidden layers.

    .. math:: M \leftarrow \beta M + (1 - \beta) G, \quad
              W \leftarrow (1 - \eta \lambda) W - \eta \sqrt{\max(1, n_{out} / n_{in})} \; O((1 - \beta) G + \beta M)

    O(A) has about the singular vectors of A and singular values near 1, by Newton and Schulz's iteration. torch has this
    optimiser too, but works in bfloat16 only, for which most CPUs have no units, and matrix by matrix; this one takes
    all matrices of a shape at once.

    Parameters
    ----------
    weights : iterable of Tensor of shape (n_out, n_in)
    lr : float or Tensor of shape ()
    momentum, weight_decay : float

    References
    ----------
    Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024.
    """

    def __init__(
        self, weights: Iterable[Tensor], lr: float | Tensor, momentum: float = MOMENTUM, weight_decay: float = 0.0
    ) -> None:
        super().__init__(weights, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Make one update; a weight without a gradient counts as one with gradient zero."""
        for group in self.param_groups:
            shapes: dict[torch.Size, list[Tensor]] = {}
            for weight in group["params"]:
                shapes.setdefault(weight.shape, []).append(weight)
            for weights in shapes.values():
                self._move(weights, group["lr"], group["momentum"], group["weight_decay"])

    def _move(self, weights: list[Tensor], lr: float | Tensor, momentum: float, weight_decay: float) -> None:
        """Update matrices of one shape."""
        gradients = torch.stack([torch.zeros_like(each) if each.grad is None else each.grad for each in weights])
        state = self.state[weights[0]]
        if "momenta" not in state:
            state["momenta"] = torch.zeros_like(gradients)
        momenta = state["momenta"].lerp_(gradients, 1 - momentum)
        moves = orthogonal(gradients.lerp_(momenta, momentum))
        n_out, n_in = weights[0].shape
        moves *= lr * max(1.0, n_out / n_in) ** 0.5
        torch._foreach_mul_(weights, 1 - lr * weight_decay)
        torch._foreach_sub_(weights, moves.unbind())


def orthogonal(matrices: Tensor) -> Tensor:
    """Matrices (k, n, m) with nearly the same singular vectors, and singular values between about .7 and 1.2."""
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
    """bfloat16 on a GPU, and for large matrices where a CPU has units for it: elsewhere it is up to ten times slower."""
    if matrices.device.type != "cpu":
        return torch.bfloat16
    large = matrices.shape[1] >= FEWEST_FOR_BFLOAT16
    has_units = getattr(torch.cpu, "get_capabilities", dict)().get("amx_bf16", False)
    allowed = "AVX512" in torch.backends.cpu.get_cpu_capability()
    return torch.bfloat16 if large and has_units and allowed else torch.float32


def make_optimizers(
    networks: nn.Module | Sequence[nn.Module],
    kind: str = "auto",
    learning_rate: float | None = None,
    weight_decay: float = 0.0,
    *,
    critic: bool = False,
    capturable: bool = False,
) -> list[Optimizer]:
    """Return the optimisers that together move every weight of a network, or of several that move at once.

    Parameters
    ----------
    networks : torch.nn.Module or sequence of them
    kind : {'auto', 'adam', 'muon'}
        ``'muon'``: `Muon` on the `hidden_matrices`, at `MUON_FACTOR` times the rate, and Adam on the rest; ``'auto'``
        is ``'muon'``.
    learning_rate : float, optional
        Adam's; None: `DEFAULT_RATE`.
    weight_decay : float
        Decoupled decay of these matrices; the other weights are left alone.
    critic : bool
        Whether the player only criticises another's map. With Muon it then has a quarter of the rate, no momentum and a
        decay of at least .1: a critic as fast as its map runs ahead of it, and with momentum the two circle around the
        saddle point ever farther.
    capturable : bool
        Whether the updates will be captured as part of a CUDA graph.
    """
    networks = [networks] if isinstance(networks, nn.Module) else networks
    rate, momentum = DEFAULT_RATE if learning_rate is None else learning_rate, MOMENTUM
    if critic and kind != "adam":
        rate, momentum, weight_decay = CRITIC_FACTOR * rate, 0.0, max(CRITIC_DECAY, weight_decay)
    hidden = [weight for network in networks for weight in hidden_matrices(network)]
    chosen = {id(weight) for weight in hidden}
    optimizers: list[Optimizer] = []
    for network in networks:
        if isinstance(network, Heights):  # the gradient of a correction is its step
            chosen.add(id(network.corrections))
            optimizers.append(SGD([network.corrections], lr=1.0, fused=True))
    weights = [weight for network in networks for weight in network.parameters() if weight.requires_grad]
    rest = [weight for weight in weights if id(weight) not in chosen]
    groups: list[dict[str, Any]] = [{"params": rest}] if rest else []
    if hidden and kind == "adam":
        groups.append({"params": hidden, "weight_decay": weight_decay})
    elif hidden:
        optimizers.append(Muon(hidden, MUON_FACTOR * rate, momentum, weight_decay))
    if groups:
        # betas: momentum as short as Muon's, and a memory of sizes no longer than that
        betas = (momentum, MOMENTUM)
        optimizers.append(AdamW(groups, lr=rate, betas=betas, weight_decay=0.0, fused=True, capturable=capturable))
    return optimizers


def hidden_matrices(network: nn.Module) -> list[Tensor]:
    """Weights of the linear layers that lead into a hidden one and have at least `FEWEST_INPUTS` inputs.

    With fewer, as in the first layer in the plane, orthogonal updates keep a map from being steep in one direction:
    OTP then missed the small shares of mass that must cross in Multi-perpendicular. An input-convex network has no
    such weights: its matrices are positive through a softplus, and its other layers all take the input.
    """
    if isinstance(network, ConvexPotential):
        return []
    weights = [module.weight for module in network.modules() if isinstance(module, nn.Linear)]
    return [weight for weight in weights[:-1] if weight.requires_grad and weight.shape[1] >= FEWEST_INPUTS]
