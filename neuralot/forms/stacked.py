"""Step of the gradient form with explicit derivatives.

It supports the package's own potentials with the squared Euclidean cost. Both potentials have the same architecture
and are evaluated together. Autograd would process the networks one after the other, each of them twice, and would keep
more data than fits in a cache.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from neuralot.forms.activations import ACTIVATIONS
from neuralot.forms.losses import CriticLoss, expectile_weights
from neuralot.networks import BasedPotential, ConditionalPotential, Potential
from neuralot.networks.conditional import interactions
from neuralot.networks.perceptrons import ACTIVATIONS as NAMES
from neuralot.penalties import Penalties

# largest output of a layer per piece of the rows, in numbers, so that a piece fits in the cache of a CPU
PIECE = 2**17


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
    deltas : list of (delta_h, delta_a)
        Derivatives of the value with respect to h and to a, shape (k, n, n_out).
    """

    x: Tensor
    seen: Tensor
    outputs: list[tuple[Tensor, Tensor]]
    deltas: list[tuple[Tensor, Tensor]]


class StackedPotentials:
    r"""Stack of k potentials with one architecture.

    The weights are copies of the networks' current weights.

    With :math:`h_l = s(a_l)` and :math:`a_l = W_l h_{l-1} + b_l`, the value of a perceptron is :math:`v = w h_L + c`.
    Its slope :math:`\delta_0` comes from :math:`\delta_L = w`, :math:`\delta_{l-1} = W_l' (\delta_l \odot s'(a_l))`.
    For the gradient of :math:`\langle p, v \rangle + \langle q, \delta_0 \rangle` with respect to the weights, tangents
    :math:`t_l = s'(a_l) \odot W_l t_{l-1}` are propagated forward from :math:`t_0 = q`, and their errors backward.

    Parameters
    ----------
    networks : sequence of Potential, of BasedPotential, or of ConditionalPotential
        Networks for which `can_stack` is true.
    n_moved : int, optional
        Number of leading columns that are moved. The slopes in the others, which are conditions, are set to 0.
    """

    def __init__(self, networks: Sequence[nn.Module], n_moved: int | None = None) -> None:
        self.n_moved = n_moved
        parameters = [dict(net.named_parameters()) for net in networks]
        self.weights = {name: torch.stack([own[name].detach() for own in parameters]) for name in parameters[0]}
        buffers = [dict(net.named_buffers()) for net in networks]
        self.base = {name: torch.stack([own[name] for own in buffers]) for name in buffers[0]}
        residual = cast(nn.Sequential, networks[0].residual)
        self.activation = ACTIVATIONS[type(residual[1])]
        self.linear = [f"residual.{i}" for i in range(0, len(residual), 2)]

    def n_pieces(self, x: Tensor) -> int:
        """Number of pieces in which to process rows.

        The rows have shape (k, n, d). On a GPU they form one piece.
        """
        width = max(self.weights[f"{name}.weight"].shape[1] for name in self.linear)
        return math.ceil(len(x) * x.shape[1] * width / PIECE) if x.device.type == "cpu" else 1

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor, Trace]:
        """Return values and slopes at rows, and a trace.

        Rows have shape (k, n, d), one set per network, values (k, n) and slopes (k, n, d). The trace is an argument of
        `gradients`.
        """
        value, slope, trace = self._evaluate(x)
        if (matrices := self.base.get("interaction")) is not None:
            own_value, own_slope = interactions(x, matrices)
            value -= own_value
            slope[..., : matrices.shape[-1]] -= own_slope
        return value, self._of_moved(slope), trace

    def _of_moved(self, slope: Tensor) -> Tensor:
        """Set slopes in conditions to 0, in place."""
        if self.n_moved is not None:
            slope[..., self.n_moved :] = 0
        return slope

    def _evaluate(self, x: Tensor) -> tuple[Tensor, Tensor, Trace]:
        if not self.base:
            value, slope, trace = self._residual(x, x)
            quadratic = self.weights.get("quadratic")
            if quadratic is None:
                return value, slope, trace
            xB = torch.bmm(x, quadratic)  # (k, n, d)
            return value.add_((xB * x).sum(-1)), torch.baddbmm(slope.add_(xB), x, quadratic.mT), trace
        matrix, offset, preconditioner = self.base["matrix"], self.base["offset"][:, None], self.base["preconditioner"]
        value, slope, trace = self._residual(x, torch.bmm(x, preconditioner.mT))
        # |x|^2 - x' A x - 2 b' x has the slope 2 (x - A x - b)
        image = torch.baddbmm(offset, x, matrix)  # A x + b, (k, n, d)
        value.add_((x * (x - image - offset)).sum(-1))
        return value, torch.baddbmm((x - image).mul_(2), slope, preconditioner), trace

    def gradients(self, trace: Trace, grad_value: Tensor, grad_slope: Tensor | None = None) -> dict[str, Tensor]:
        """Return the gradient of weighted values and slopes.

        This is the gradient of ``<grad_value, values> + <grad_slope, slopes>`` at the rows of `trace` with respect to
        each weight, shape (k, ...). The factors have the shapes of values and slopes, (k, n) and (k, n, d).
        """
        gradients = {}
        if grad_slope is not None:
            grad_slope = self._of_moved(grad_slope)
        x, grad_v = trace.x, grad_value[..., None]  # (k, n, d), (k, n, 1)
        if "quadratic" in self.weights:
            gradients["quadratic"] = torch.bmm((x * grad_v).mT, x)  # (k, d, d)
            if grad_slope is not None:
                cross = torch.bmm(x.mT, grad_slope)
                gradients["quadratic"] += cross + cross.mT
        if grad_slope is not None and self.base:
            grad_slope = torch.bmm(grad_slope, self.base["preconditioner"].mT)
        *hidden, last = self.linear
        s, outputs = self.activation, trace.outputs
        gradients[f"{last}.bias"] = grad_value.sum(1, keepdim=True)  # (k, 1)
        gradients[f"{last}.weight"] = torch.bmm(grad_value[:, None], outputs[-1][1])  # (k, 1, n_in)
        tangents = []
        if grad_slope is not None:
            t = grad_slope
            for name, output in zip(hidden, outputs, strict=True):
                t_a = torch.bmm(t, self.weights[f"{name}.weight"].mT)  # (k, n, n_out)
                tangents.append((t, t_a))
                t = s.chain(t_a, *output)
            gradients[f"{last}.weight"] += t.sum(1, keepdim=True)
        error_h = None
        for i in reversed(range(len(hidden))):
            delta_h, delta_a = trace.deltas[i]
            h_in = outputs[i - 1][1] if i else trace.seen  # (k, n, n_in)
            grad_a = delta_a * grad_v  # (k, n, n_out)
            if grad_slope is None:
                grad_weight = torch.bmm(grad_a.mT, h_in)  # (k, n_out, n_in)
            else:
                t, t_a = tangents[i]
                error_a = s.second(*outputs[i]).mul_(t_a).mul_(delta_h)
                if error_h is not None:
                    error_a += s.chain(error_h, *outputs[i])
                grad_a += error_a
                grad_weight = torch.baddbmm(torch.bmm(grad_a.mT, h_in), delta_a.mT, t)
                error_h = torch.bmm(error_a, self.weights[f"{hidden[i]}.weight"]) if i else None
            gradients[f"{hidden[i]}.weight"], gradients[f"{hidden[i]}.bias"] = grad_weight, grad_a.sum(1)
        return gradients

    def _residual(self, x: Tensor, inputs: Tensor) -> tuple[Tensor, Tensor, Trace]:
        """Return values and slopes of the perceptrons, and a trace.

        `inputs` are the preconditioned rows.
        """
        *hidden, last = self.linear
        outputs: list[tuple[Tensor, Tensor]] = []
        h = inputs  # (k, n, d)
        for name in hidden:
            a = torch.baddbmm(self.weights[f"{name}.bias"][:, None], h, self.weights[f"{name}.weight"].mT)
            h = self.activation.value(a)  # (k, n, n_out)
            outputs.append((a, h))
        w = self.weights[f"{last}.weight"]
        value = torch.baddbmm(self.weights[f"{last}.bias"][:, None], h, w.mT).squeeze(-1)  # (k, n)
        delta_h = w.expand_as(h)
        deltas: list[tuple[Tensor, Tensor]] = []
        for name, output in zip(reversed(hidden), reversed(outputs), strict=True):
            delta_a = self.activation.chain(delta_h, *output)
            deltas.append((delta_h, delta_a))
            delta_h = torch.bmm(delta_a, self.weights[f"{name}.weight"])  # (k, n, n_in)
        return value, delta_h, Trace(x, inputs, outputs, deltas[::-1])


def can_stack(networks: Sequence[nn.Module]) -> bool:
    """Return whether `StackedPotentials` supports the networks.

    They must be unmodified potentials of this package, with the same architecture and an activation in `ACTIVATIONS`.
    """
    first = networks[0]
    if type(first) not in (Potential, BasedPotential, ConditionalPotential):
        return False
    linear = [layer for layer in first.modules() if isinstance(layer, nn.Linear)]
    used = [name for name, kind in NAMES.items() if kind in ACTIVATIONS and kind in map(type, first.modules())]
    if len(linear) < 2 or len(used) != 1:
        return False
    options: dict[str, int] = {}
    if isinstance(first, ConditionalPotential):
        options = {"n_moved": first.n_moved}
    elif isinstance(first, Potential):
        options = {"quadratic": first.quadratic is not None}
    with torch.device("meta"):
        reference = type(first)(linear[0].in_features, [layer.out_features for layer in linear[:-1]], *used, **options)
    return all(_architecture(network) == _architecture(reference) for network in networks)


def _architecture(network: nn.Module) -> tuple[object, ...]:
    """Description of a network, without the values of its weights."""
    tensors = [*network.named_parameters(), *network.named_buffers()]
    hooks = [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in network.modules()]
    return type(network), str(network), [(name, tensor.shape) for name, tensor in tensors], sum(hooks)


Stacked = dict[str, Tensor]
Sums = Callable[[StackedPotentials, Tensor, CriticLoss, float, Penalties | None], tuple[Tensor, Stacked]]


@torch.no_grad()
def game(
    potentials: StackedPotentials,
    x: Tensor,
    y: Tensor,
    critic_loss: CriticLoss,
    gap_weight: float,
    penalties: Penalties | None = None,
    sums: Sums | None = None,
) -> tuple[Tensor, Stacked]:
    """Losses and gradients of both potentials.

    Returns the losses of f and g on source rows `x` and target rows `y`, shape (2,), and the gradient of each loss with
    respect to the weights of its potential, by name. They equal those of
    `neuralot.forms.gradient.GradientForm.losses` with autograd. `sums` is `game_sums` or its compiled version.
    """
    sums = game_sums if sums is None else sums
    rows = torch.stack([x, y])  # (2, n, d)
    losses = rows.new_zeros(2)
    total: Stacked = {}
    for piece in rows.chunk(potentials.n_pieces(rows), dim=1):
        piece_losses, gradients = sums(potentials, piece, critic_loss, gap_weight, penalties)
        losses += piece_losses
        for name, gradient in gradients.items():
            total[name] = total[name].add_(gradient) if name in total else gradient
    for gradient in total.values():
        gradient /= len(x)
    return losses / len(x), total


def game_sums(
    potentials: StackedPotentials,
    rows: Tensor,
    critic_loss: CriticLoss,
    gap_weight: float,
    penalties: Penalties | None = None,
) -> tuple[Tensor, Stacked]:
    """Sums of losses and gradients over rows.

    `rows` has shape (2, n, d), with n rows of each law. `game` divides the sums by the number of rows.
    """
    values, slopes, trace = potentials(rows)  # f at x, g at y: (2, n), (2, n, d)
    images = torch.sub(rows, slopes, alpha=0.5)  # T(x), S(y): (2, n, d)
    image_values, image_slopes, image_trace = potentials(images.flip(0))  # f at S(y), g at T(x)
    cost = slopes.square().sum(-1) / 4  # c(x, T(x)), c(y, S(y)): (2, n)
    cost_flipped, critic_values, critic_slopes = cost.flip(0), image_values.flip(0), image_slopes.flip(0)
    # map loss c(x, T(x)) - g(T(x)), and critic loss f(S(y)) - f(x)
    if penalties is None:
        losses = (cost - critic_values + image_values - values).sum(-1)  # (2,)
        grad_image_values = torch.ones_like(values)  # (2, n)
        grad_values = -grad_image_values
    else:
        losses = (cost - critic_values).sum(-1)
        losses += (penalties.flipped.conjugates(image_values - cost_flipped) + penalties.conjugates(-values)).sum(-1)
        grad_image_values = penalties.flipped.densities(image_values - cost_flipped)
        grad_values = -penalties.densities(-values)
    grad_slopes = (slopes + critic_slopes).div_(2)  # (2, n, d)
    if critic_loss.expectile_weight:
        n = potentials.n_moved
        u = cost_flipped - image_values - (rows[0] - rows[1])[:, :n].square().sum(-1) + values  # (2, n)
        if n is not None:  # a pair of rows with different conditions constrains nothing
            u = u * (rows[0] == rows[1])[:, n:].all(-1)
        weighted = critic_loss.expectile_weight * u * expectile_weights(u, critic_loss.expectile)
        losses += (weighted * u).sum(-1)
        grad_values.add_(weighted, alpha=2)
        grad_image_values.sub_(weighted, alpha=2)
    if gap_weight:
        gap = cost - values - critic_values  # (2, n)
        squares = gap_weight * gap.square().sum(-1)
        losses += squares + squares.flip(0)
        grad_values.sub_(gap, alpha=2 * gap_weight)
        grad_image_values.sub_(gap.flip(0), alpha=2 * gap_weight)
    if critic_loss.gradient_penalty:
        losses += critic_loss.gradient_penalty * slopes.square().sum((1, 2))
        grad_slopes.add_(slopes, alpha=2 * critic_loss.gradient_penalty)
    gradients = potentials.gradients(trace, grad_values, grad_slopes)
    for name, gradient in potentials.gradients(image_trace, grad_image_values).items():
        gradients[name] += gradient
    return losses, gradients
