"""Step of the gradient form with explicit derivatives.

For the package's own potentials and the squared Euclidean cost. Both potentials have the same architecture and are
evaluated together. Autograd would process the networks one after the other, each of them twice, and would keep more
data than fits in a cache.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from neuralot.forms.losses import CriticLoss
from neuralot.networks import ACTIVATIONS as NAMES
from neuralot.networks import BasedPotential, Potential

# numbers in the output of a layer for one piece of the rows: on a CPU, a piece then fits in the cache
PIECE = 2**17

aten = torch.ops.aten


@dataclass(frozen=True)
class Activation:
    """Activation s and its derivatives.

    Derivatives are computed from the input a and the value h = s(a).

    Attributes
    ----------
    value : callable a -> s(a)
    chain : callable (x, a, h) -> x s'(a)
        One of torch's own kernels, which keeps no tensors.
    second : callable (a, h) -> s''(a)
        Returns a new tensor, which may be overwritten.
    """

    value: Callable[[Tensor], Tensor]
    chain: Callable[[Tensor, Tensor, Tensor], Tensor]
    second: Callable[[Tensor, Tensor], Tensor]


def _silu_second(a: Tensor, h: Tensor) -> Tensor:
    s = torch.sigmoid(a)
    return s.addcmul_(s, s, value=-1).mul_(torch.sub(a, h, alpha=2).add_(2))


def _softplus_second(a: Tensor, h: Tensor) -> Tensor:
    s = torch.sigmoid(a)
    return s.addcmul_(s, s, value=-1)


def _gelu_second(a: Tensor, h: Tensor) -> Tensor:
    square = a.square()
    return (square / -2).exp_().mul_((2 - square).mul_((2 * torch.pi) ** -0.5))


ACTIVATIONS: dict[type[nn.Module], Activation] = {
    nn.SiLU: Activation(F.silu, lambda x, a, h: aten.silu_backward(x, a), _silu_second),
    nn.Tanh: Activation(
        torch.tanh, lambda x, a, h: aten.tanh_backward(x, h), lambda a, h: h.square().sub_(1).mul_(h).mul_(2)
    ),
    nn.Softplus: Activation(F.softplus, lambda x, a, h: aten.softplus_backward(x, a, 1, 20), _softplus_second),
    nn.CELU: Activation(
        F.celu,
        lambda x, a, h: aten.elu_backward(x, 1, 1, 1, False, a),
        lambda a, h: torch.where(a < 0, a, -torch.inf).exp_(),
    ),
    nn.GELU: Activation(F.gelu, lambda x, a, h: aten.gelu_backward(x, a), _gelu_second),
}


@dataclass(frozen=True)
class Trace:
    """Intermediate results of an evaluation, for its gradient.

    The lists have one entry per hidden layer.

    Attributes
    ----------
    x, seen : Tensor of shape (k, n, d)
        The rows, and the preconditioned rows; both are the same without a preconditioner.
    outputs : list of (a, h)
        Input and output of the activation.
    deltas : list of (delta, moved)
        Derivatives of the value in h and in a.
    """

    x: Tensor
    seen: Tensor
    outputs: list[tuple[Tensor, Tensor]]
    deltas: list[tuple[Tensor, Tensor]]


class StackedPotentials:
    r"""Stack of k potentials with one architecture.

    The weights are copies of the networks' present weights.

    With :math:`h_l = s(a_l)` and :math:`a_l = W_l h_{l-1} + b_l`, the value of a perceptron is :math:`v = w h_L + c`.
    Its slope :math:`\delta_0` comes from :math:`\delta_L = w`, :math:`\delta_{l-1} = W_l' (\delta_l \odot s'(a_l))`.
    For the gradient of :math:`\langle p, v \rangle + \langle q, \delta_0 \rangle` in the weights, tangents
    :math:`t_l = s'(a_l) \odot W_l t_{l-1}` are propagated forward from :math:`t_0 = q`, and one more error backward.

    Parameters
    ----------
    networks : sequence of Potential, or of BasedPotential
        Networks for which `can_stack` is true.
    """

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        each = [dict(net.named_parameters()) for net in networks]
        self.weights = {name: torch.stack([weights[name].detach() for weights in each]) for name in each[0]}
        base = [dict(net.named_buffers()) for net in networks]
        self.base = {name: torch.stack([buffers[name] for buffers in base]) for name in base[0]}
        residual = cast(nn.Sequential, networks[0].residual)
        self.activation = ACTIVATIONS[type(residual[1])]
        self.linear = [f"residual.{i}" for i in range(0, len(residual), 2)]

    def n_pieces(self, x: Tensor) -> int:
        """Number of pieces in which to process rows.

        The rows have shape (k, n, d). They are cut on a CPU only.
        """
        width = max(self.weights[f"{name}.weight"].shape[1] for name in self.linear)
        return math.ceil(len(x) * x.shape[1] * width / PIECE) if x.device.type == "cpu" else 1

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor, Trace]:
        """Return values and slopes at rows, and a trace.

        Rows have shape (k, n, d), one set per network, values (k, n) and slopes (k, n, d). The trace is for
        `gradients`.
        """
        if not self.base:
            value, slope, trace = self._residual(x, x)
            quadratic = self.weights.get("quadratic")
            if quadratic is None:
                return value, slope, trace
            bent = torch.bmm(x, quadratic)
            return value.add_((bent * x).sum(-1)), torch.baddbmm(slope.add_(bent), x, quadratic.mT), trace
        matrix, offset, preconditioner = self.base["matrix"], self.base["offset"][:, None], self.base["preconditioner"]
        value, slope, trace = self._residual(x, torch.bmm(x, preconditioner.mT))
        # |x|^2 - x' A x - 2 b' x has the slope 2 (x - A x - b)
        moved = torch.baddbmm(offset, x, matrix)
        value.add_((x * (x - moved - offset)).sum(-1))
        return value, torch.baddbmm((x - moved).mul_(2), slope, preconditioner), trace

    def gradients(self, trace: Trace, of_value: Tensor, of_slope: Tensor | None = None) -> dict[str, Tensor]:
        """Return the gradient of weighted values and slopes.

        This is the gradient of ``<of_value, values> + <of_slope, slopes>`` at the rows of `trace` in each weight, shape
        (k, ...).
        """
        found = {}
        x, along = trace.x, of_value[..., None]  # (k, n, d), (k, n, 1)
        if "quadratic" in self.weights:
            found["quadratic"] = torch.bmm((x * along).mT, x)
            if of_slope is not None:
                cross = torch.bmm(x.mT, of_slope)
                found["quadratic"] += cross + cross.mT
        if of_slope is not None and self.base:
            of_slope = torch.bmm(of_slope, self.base["preconditioner"].mT)
        *hidden, last = self.linear
        s, outputs = self.activation, trace.outputs
        found[f"{last}.bias"] = of_value.sum(1, keepdim=True)
        found[f"{last}.weight"] = torch.bmm(of_value[:, None], outputs[-1][1])
        tangents = []
        if of_slope is not None:
            t = of_slope
            for name, output in zip(hidden, outputs, strict=True):
                t_a = torch.bmm(t, self.weights[f"{name}.weight"].mT)  # (k, n, n_out)
                tangents.append((t, t_a))
                t = s.chain(t_a, *output)
            found[f"{last}.weight"] += t.sum(1, keepdim=True)
        error = None
        for i in reversed(range(len(hidden))):
            delta, moved = trace.deltas[i]
            before = outputs[i - 1][1] if i else trace.seen
            of_a = moved * along  # (k, n, n_out)
            if of_slope is None:
                gradient = torch.bmm(of_a.mT, before)
            else:
                t, t_a = tangents[i]
                bent = s.second(*outputs[i]).mul_(t_a).mul_(delta)
                if error is not None:
                    bent += s.chain(error, *outputs[i])
                of_a += bent
                gradient = torch.baddbmm(torch.bmm(of_a.mT, before), moved.mT, t)
                error = torch.bmm(bent, self.weights[f"{hidden[i]}.weight"]) if i else None
            found[f"{hidden[i]}.weight"], found[f"{hidden[i]}.bias"] = gradient, of_a.sum(1)
        return found

    def _residual(self, x: Tensor, seen: Tensor) -> tuple[Tensor, Tensor, Trace]:
        """Return values and slopes of the perceptrons, and a trace."""
        *hidden, last = self.linear
        outputs: list[tuple[Tensor, Tensor]] = []
        h = seen
        for name in hidden:
            a = torch.baddbmm(self.weights[f"{name}.bias"][:, None], h, self.weights[f"{name}.weight"].mT)
            h = self.activation.value(a)
            outputs.append((a, h))
        w = self.weights[f"{last}.weight"]
        value = torch.baddbmm(self.weights[f"{last}.bias"][:, None], h, w.mT).squeeze(-1)
        delta = w.expand_as(h)
        deltas: list[tuple[Tensor, Tensor]] = []
        for name, output in zip(reversed(hidden), reversed(outputs), strict=True):
            moved = self.activation.chain(delta, *output)
            deltas.append((delta, moved))
            delta = torch.bmm(moved, self.weights[f"{name}.weight"])
        return value, delta, Trace(x, seen, outputs, deltas[::-1])


def can_stack(networks: Sequence[nn.Module]) -> bool:
    """Return whether `StackedPotentials` supports the networks.

    They must be this package's potentials, as it builds them, with the same architecture and a known activation.
    """
    first = networks[0]
    if type(first) not in (Potential, BasedPotential):
        return False
    linear = [layer for layer in first.modules() if isinstance(layer, nn.Linear)]
    names = [name for name, kind in NAMES.items() if kind in ACTIVATIONS and kind in map(type, first.modules())]
    if len(linear) < 2 or len(names) != 1:
        return False
    options = {"quadratic": first.quadratic is not None} if isinstance(first, Potential) else {}
    with torch.device("meta"):
        built = type(first)(linear[0].in_features, [layer.out_features for layer in linear[:-1]], *names, **options)
    return all(_anatomy(network) == _anatomy(built) for network in networks)


def _anatomy(network: nn.Module) -> tuple[object, ...]:
    """Description of a network, without the values of its weights."""
    tensors = [*network.named_parameters(), *network.named_buffers()]
    hooks = [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in network.modules()]
    return type(network), str(network), [(name, tensor.shape) for name, tensor in tensors], sum(hooks)


Stacked = dict[str, Tensor]
Sums = Callable[[StackedPotentials, Tensor, CriticLoss, float], tuple[Tensor, Stacked]]


@torch.no_grad()
def game(
    potentials: StackedPotentials,
    x: Tensor,
    y: Tensor,
    critic_loss: CriticLoss,
    gap_weight: float,
    sums: Sums | None = None,
) -> tuple[Tensor, Stacked]:
    """Losses and gradients of both potentials.

    Returns the losses of f and g on rows of both laws, shape (2,), and the gradient of each in its weights, by name.
    The results are those of `neuralot.forms.gradient.GradientForm.losses` and autograd. `sums` is `game_sums` or its
    compiled version.
    """
    sums = game_sums if sums is None else sums
    rows = torch.stack([x, y])
    losses = rows.new_zeros(2)
    total: Stacked = {}
    for piece in rows.chunk(potentials.n_pieces(rows), dim=1):
        loss, gradients = sums(potentials, piece, critic_loss, gap_weight)
        losses += loss
        for name, gradient in gradients.items():
            total[name] = total[name].add_(gradient) if name in total else gradient
    for gradient in total.values():
        gradient /= len(x)
    return losses / len(x), total


def game_sums(
    potentials: StackedPotentials, rows: Tensor, critic_loss: CriticLoss, gap_weight: float
) -> tuple[Tensor, Stacked]:
    """Sums of losses and gradients over rows.

    `rows` has shape (2, n, d), with n rows of each law. `game` divides the sums by the number of rows.
    """
    own, slopes, trace = potentials(rows)  # f at x and g at y
    images = torch.sub(rows, slopes, alpha=0.5)  # (2, n, d)
    at_images, felt, trace_of_images = potentials(images.flip(0))  # f at S(y) and g at T(x)
    cost = slopes.square().sum(-1) / 4  # (2, n)
    cost_back, critics, felt = cost.flip(0), at_images.flip(0), felt.flip(0)
    # the map's part: c(x, T) - g(T)
    losses = (cost - critics + at_images - own).sum(-1)  # (2,)
    of_slopes = (slopes + felt).div_(2)
    of_images = torch.ones_like(own)
    of_own = -of_images
    if critic_loss.expectile_weight:
        u = cost_back - at_images - (rows[0] - rows[1]).square().sum(-1) + own
        weighted = (
            critic_loss.expectile_weight * u * torch.where(u > 0, critic_loss.expectile, 1 - critic_loss.expectile)
        )
        losses += (weighted * u).sum(-1)
        of_own.add_(weighted, alpha=2)
        of_images.sub_(weighted, alpha=2)
    if gap_weight:
        gap = cost - own - critics
        squares = gap_weight * gap.square().sum(-1)
        losses += squares + squares.flip(0)
        of_own.sub_(gap, alpha=2 * gap_weight)
        of_images.sub_(gap.flip(0), alpha=2 * gap_weight)
    if critic_loss.gradient_penalty:
        losses += critic_loss.gradient_penalty * slopes.square().sum((1, 2))
        of_slopes.add_(slopes, alpha=2 * critic_loss.gradient_penalty)
    gradients = potentials.gradients(trace, of_own, of_slopes)
    for name, gradient in potentials.gradients(trace_of_images, of_images).items():
        gradients[name] += gradient
    return losses, gradients
