"""Optimisers of one player: Adam, or Muon on the matrices with Adam on the rest."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.optim import SGD, AdamW, Muon, Optimizer

from neuralot.networks import ConvexPotential, Heights

OPTIMIZERS = ("auto", "adam", "muon")

DEFAULT_RATE = 4e-3
MUON_FACTOR = 10.0
MOMENTUM = 0.9
FEWEST_INPUTS = 8
CRITIC_FACTOR = 0.25
CRITIC_DECAY = 0.1


def make_optimizers(
    network: nn.Module,
    kind: str = "auto",
    learning_rate: float | None = None,
    weight_decay: float = 0.0,
    *,
    critic: bool = False,
    capturable: bool = False,
) -> list[Optimizer]:
    """Return the optimisers that together move every weight of `network`.

    Parameters
    ----------
    network : torch.nn.Module
    kind : {'auto', 'adam', 'muon'}
        ``'muon'``: orthogonalised momentum on the `hidden_matrices`, at `MUON_FACTOR` times the rate, and Adam on the
        rest; ``'auto'`` is ``'muon'``.
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

    References
    ----------
    Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024.
    """
    rate, momentum = DEFAULT_RATE if learning_rate is None else learning_rate, MOMENTUM
    if critic and kind != "adam":
        rate, momentum, weight_decay = CRITIC_FACTOR * rate, 0.0, max(CRITIC_DECAY, weight_decay)
    hidden = hidden_matrices(network)
    chosen = {id(weight) for weight in hidden}
    optimizers: list[Optimizer] = []
    if isinstance(network, Heights):  # the gradient of a correction is its step
        chosen.add(id(network.corrections))
        optimizers.append(SGD([network.corrections], lr=1.0))
    rest = [p for p in network.parameters() if p.requires_grad and id(p) not in chosen]
    groups: list[dict[str, Any]] = [{"params": rest}] if rest else []
    if hidden and kind == "adam":
        groups.append({"params": hidden, "weight_decay": weight_decay})
    elif hidden:
        optimizers.append(Muon(hidden, lr=MUON_FACTOR * rate, momentum=momentum, weight_decay=weight_decay))
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
