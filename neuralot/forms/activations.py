"""Activations and their first two derivatives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

aten = torch.ops.aten


@dataclass(frozen=True)
class Activation:
    """Activation s and its derivatives.

    Derivatives are computed from the input a and the value h = s(a).

    Attributes
    ----------
    value : callable a -> s(a)
    chain : callable (x, a, h) -> x s'(a)
        A backward kernel of torch, which saves no tensors.
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
