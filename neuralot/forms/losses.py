"""Losses of the max-min problem, and gradients of potentials."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor, nn

from neuralot.costs import Cost
from neuralot.defaults import default_gap_weight
from neuralot.parameters import Settings, auto_or, number, parameter
from neuralot.penalties import Penalties, dual_loss

# the loss of each player, and its gradient with respect to the trainable weights of the player
Gradients = tuple[dict[str, Tensor], dict[str, list[Tensor | None]]]


def gradients_of(losses: dict[str, Tensor], networks: nn.ModuleDict) -> dict[str, list[Tensor | None]]:
    """Gradient of each loss with respect to its network's weights.

    Only trainable weights count. Losses and networks have the same names. The sum of the losses is differentiated once,
    so a loss must not have a gradient with respect to the weights of another network.
    """
    weights = {name: [weight for weight in networks[name].parameters() if weight.requires_grad] for name in losses}
    total = torch.stack(list(losses.values())).sum()
    all_weights = [weight for of_network in weights.values() for weight in of_network]
    gradients = iter(torch.autograd.grad(total, all_weights, allow_unused=True))
    return {name: list(islice(gradients, len(of_network))) for name, of_network in weights.items()}


def map_loss(cost: Cost, x: Tensor, image: Tensor, V: nn.Module) -> Tensor:
    """Loss of a map, E[c(x, T(x)) - V(T(x))].

    `x` and the images T(x) have shape (n, d).
    """
    return (cost(x, image) - evaluate(V, image)).mean()


@dataclass(repr=False)
class CriticLoss(Settings):
    r"""Loss of a potential, with its regularisers.

    .. math:: E[V(T(x))] - E[V(y)] + \lambda E[L_\tau(u)] + \gamma E|\nabla V(y)|^2 + \kappa E[\mathrm{gap}^2]

    The images T(x) are constants in this loss. With :math:`\lambda = \gamma = \kappa = 0` it is the loss of the papers.

    Parameters
    ----------
    expectile, expectile_weight : float
        tau and lambda of the expectile penalty ``lambda E L_tau(u)``, with ``L_tau(u) = |tau - 1[u <= 0]| u^2`` and
        u = c(x, T(x)) - V(T(x)) - c(x, y) + V(y). If u > 0, then y is a better image of x than T(x), which is
        impossible for optimal T and V. The penalty keeps V close to its c-transform; with lambda = 0 there is no
        penalty. If u <= 0, nothing is violated, and the weight 1 - tau only adds bias, so tau should be close to 1.
    gradient_penalty : float
        gamma, the weight of E|grad V(y)|^2.
    gap_weight : float or 'auto'
        kappa, the weight of the squared duality gap c(x, T(x)) - f(x) - g(T(x)) and of the squared gap of the inverse
        map. The gaps are 0 for optimal potentials f and g. The weight is only used in the gradient form when both
        directions are learned. ``'auto'`` is 2 / n_features, at most 1, below 16 features, and 0.1 otherwise.

    References
    ----------
    Buzun, Bobrin and Dylov, "Expectile regularization for fast and accurate training of neural optimal transport",
    NeurIPS 2024.

    Examples
    --------
    >>> from neuralot.forms import CriticLoss, make_form
    >>> make_form(2, critic_loss=CriticLoss(expectile_weight=0.0)).critic_loss
    CriticLoss(expectile_weight=0.0)

    The parameters of an estimator's loss have nested names, as in scikit-learn:

    >>> from neuralot import SNOTTransport
    >>> SNOTTransport().set_params(critic_loss__expectile=0.99).critic_loss.expectile
    0.99
    """

    expectile: float = parameter(number(0.5, 1.0, closed=True), default=0.9999)
    expectile_weight: float = parameter(number(0, closed=True), default=1.0)
    gradient_penalty: float = parameter(number(0, closed=True), default=0.0)
    gap_weight: float | str = parameter(auto_or(number(0, closed=True)), default="auto")

    def gap_weight_for(self, n_features: int) -> float:
        """Return the weight of the squared duality gap."""
        return default_gap_weight(n_features) if isinstance(self.gap_weight, str) else self.gap_weight

    def __call__(
        self, cost: Cost, V: nn.Module, x: Tensor, image: Tensor, y: Tensor, penalties: Penalties | None = None
    ) -> Tensor:
        """Return the loss of the potential `V`, a scalar.

        All rows have shape (n, d). `penalties` are those of unbalanced transport.
        """
        V_image, V_y = evaluate(V, torch.cat([image, y])).split([len(image), len(y)])
        gradient_y = gradient(V, y, create_graph=True)[:, : cost.n_moved] if self.gradient_penalty else None
        return self.of_values(V_image, V_y, cost(x, image), cost(x, y), gradient_y, penalties)

    def of_values(
        self,
        V_image: Tensor,
        V_y: Tensor,
        cost_image: Tensor,
        cost_y: Tensor,
        gradient_y: Tensor | None,
        penalties: Penalties | None = None,
    ) -> Tensor:
        """Return the loss from values, costs and gradients.

        The values V(T(x)) and V(y) and the costs c(x, T(x)) and c(x, y) have shape (n,), grad V(y) has shape (n, d).
        All may have an additional leading dimension; the result then has one loss for each of its entries.
        """
        loss = dual_loss(V_image, V_y, cost_image, penalties)
        if self.expectile_weight:
            # a pair of rows with different conditions has an infinite cost, and constrains nothing
            u = (cost_image - V_image - cost_y + V_y).masked_fill(cost_y.isposinf(), 0.0)  # (n,)
            loss = loss + self.expectile_weight * (expectile_weights(u, self.expectile) * u.square()).mean(-1)
        if self.gradient_penalty and gradient_y is not None:
            loss = loss + self.gradient_penalty * gradient_y.square().sum(-1).mean(-1)
        return loss


def expectile_weights(u: Tensor, expectile: float) -> Tensor:
    """Return `expectile` where `u` is positive, else its complement."""
    # not torch.where, which would round two numbers to torch's default dtype
    return torch.full_like(u, 1 - expectile).masked_fill_(u > 0, expectile)


def evaluate(potential: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Values of a potential, shape (n,).

    The network may return shape (n, 1).
    """
    return potential(x).reshape(len(x))


def gradient(potential: Callable[[Tensor], Tensor], x: Tensor, create_graph: bool = False) -> Tensor:
    """Gradient of a potential at each row, shape (n, d).

    With `create_graph`, the gradient can be differentiated again.
    """
    with torch.enable_grad():
        if not x.requires_grad:
            x = x.detach().requires_grad_()
        return torch.autograd.grad(evaluate(potential, x).sum(), x, create_graph=create_graph)[0]


def value_and_gradient(potential: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """Values and gradients of a potential at constant rows.

    They have shapes (n,) and (n, d), and are differentiable with respect to the weights.
    """
    x = x.detach().requires_grad_()
    value = evaluate(potential, x)
    return value, torch.autograd.grad(value.sum(), x, create_graph=True)[0]
