"""Penalties of the marginals in unbalanced transport, and their conjugates."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

# largest density of a marginal: a bound for the gradients of untrained potentials
MAX_DENSITY = 1000.0


def _kl_density(z: Tensor) -> Tensor:
    return z.clamp(max=math.log(MAX_DENSITY)).exp()


def _kl(s: Tensor) -> Tensor:
    return torch.special.xlogy(s, s) - s + 1


def _chi2_density(z: Tensor) -> Tensor:
    return (1 + z / 2).clamp(0, MAX_DENSITY)


def _chi2(s: Tensor) -> Tensor:
    return (s - 1).square()


# psi, and the derivative of its conjugate
KINDS: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "kl": (_kl, _kl_density),
    "chi2": (_chi2, _chi2_density),
}


@dataclass(frozen=True)
class Penalty:
    r"""Penalty of one marginal of a plan.

    A marginal with the density s with respect to the law of the data costs :math:`\rho \, E[\psi(s)]`. ``'kl'`` is
    :math:`\psi(s) = s \log s - s + 1`, and ``'chi2'`` is :math:`\psi(s) = (s - 1)^2`. With :math:`\rho = \infty` the
    density is 1. Densities are at most `MAX_DENSITY`.

    Attributes
    ----------
    kind : {'kl', 'chi2'}
    weight : float
        :math:`\rho`, in units of the cost.
    """

    kind: str
    weight: float

    def density(self, u: Tensor) -> Tensor:
        r"""Return the derivative of the conjugate, elementwise.

        It is the s that attains :math:`\sup_s s u - \rho \psi(s)`: :math:`e^{u / \rho}` for ``'kl'`` and
        :math:`(1 + u / (2 \rho))_+` for ``'chi2'``.
        """
        return torch.ones_like(u) if math.isinf(self.weight) else KINDS[self.kind][1](u / self.weight)

    def conjugate(self, u: Tensor) -> Tensor:
        r"""Return the conjugate :math:`(\rho \psi)^*(u)`, elementwise."""
        if math.isinf(self.weight):
            return u
        # the derivative is s, as that of the supremum with respect to s is 0
        s = self.density(u).detach()
        return s * u - self.weight * KINDS[self.kind][0](s)


@dataclass(frozen=True)
class Penalties:
    """Penalties of both marginals of a plan.

    Attributes
    ----------
    source, target : Penalty
    """

    source: Penalty
    target: Penalty

    @property
    def flipped(self) -> Penalties:
        """The penalties of the inverse plan."""
        return Penalties(self.target, self.source)

    def densities(self, u: Tensor) -> Tensor:
        """Return densities of source rows and of target rows.

        `u` has shape (2, n); the entries of the first axis belong to the source and to the target.
        """
        return torch.stack([self.source.density(u[0]), self.target.density(u[1])])

    def conjugates(self, u: Tensor) -> Tensor:
        """Return conjugates for source rows and for target rows.

        `u` has shape (2, n), as in `densities`.
        """
        return torch.stack([self.source.conjugate(u[0]), self.target.conjugate(u[1])])


def dual_loss(V_image: Tensor, V_y: Tensor, cost_image: Tensor, penalties: Penalties | None) -> Tensor:
    r"""Loss of a potential without regularisers.

    It is :math:`E[\psi_1^*(V(T(x)) - c(x, T(x)))] + E[\psi_2^*(-V(y))]`; without penalties it is
    :math:`E[V(T(x))] - E[V(y)]`, which differs by a constant. All arguments have shape (n,). With shape (2, n), the
    first entries are those of the potential of the source, whose images are those of target rows.
    """
    if penalties is None:
        return V_image.mean(-1) - V_y.mean(-1)
    u_image, u_y = V_image - cost_image, -V_y
    if V_y.ndim == 1:
        return penalties.source.conjugate(u_image).mean() + penalties.target.conjugate(u_y).mean()
    return (penalties.flipped.conjugates(u_image) + penalties.conjugates(u_y)).mean(-1)
