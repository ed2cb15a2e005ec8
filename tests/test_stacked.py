"""Explicit gradients of the gradient form, compared with autograd, and the conditions for their use."""

import pytest
import torch
from conftest import perturbed, rows, seeded
from torch import nn

from neuralot.affine import Affine
from neuralot.costs import Lp, SquaredEuclidean
from neuralot.forms import make_form, stacked
from neuralot.forms.gradient import GradientForm
from neuralot.forms.losses import CriticLoss
from neuralot.forms.stacked import StackedPotentials, can_stack
from neuralot.networks import BasedPotential, ConvexPotential, Potential
from neuralot.networks.perceptrons import ACTIVATIONS

SMOOTH = sorted(set(ACTIVATIONS) - {"relu"})


def perturbed_buffers_too(module):
    """Return the module in double precision with random changes of its weights and buffers."""
    generator = seeded(1)
    with torch.no_grad():
        for buffer in module.buffers():
            noise = 0.3 * torch.randn(buffer.shape, generator=generator)
            buffer += noise if buffer.ndim < 2 else noise + noise.T  # bases are symmetric
    return perturbed(module).double()


def autograd_losses_and_gradients(form, x, y):
    losses = form.losses(list(form.players), x, y, seeded())
    weights = [weight for network in form.networks.values() for weight in network.parameters()]
    return losses, torch.autograd.grad(torch.stack(list(losses.values())).sum(), weights, materialize_grads=True)


LOSSES = [
    ({}, 0.1),
    ({"expectile_weight": 0.0}, 0.0),
    ({"expectile": 0.99, "expectile_weight": 0.7, "gradient_penalty": 0.3}, 2.0),
]


@pytest.mark.parametrize(("critic", "gap"), LOSSES, ids=str)
@pytest.mark.parametrize("affine_base", [False, True])
@pytest.mark.parametrize("activation", SMOOTH)
@pytest.mark.parametrize("sizes", [(7,), (16, 9, 12)], ids=str)
def test_explicit_gradients_equal_autograd(activation, sizes, affine_base, critic, gap):
    form = make_form(
        5,
        hidden_layer_sizes=sizes,
        activation=activation,
        affine_base=affine_base,
        critic_loss=CriticLoss(**critic, gap_weight=gap),
    )
    x, y = rows(40, 5), 2 * rows(40, 5, seed=1)
    losses, gradients = perturbed_buffers_too(form).gradients(list(form.players), x, y, seeded())
    expected, found = autograd_losses_and_gradients(form, x, y)
    torch.testing.assert_close(losses, {name: loss.detach() for name, loss in expected.items()})
    flat = [gradient for each in gradients.values() for gradient in each]
    for got, want in zip(flat, found, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5)


def test_gradients_in_pieces_equal_gradients_of_whole_batch(monkeypatch):
    form = perturbed_buffers_too(make_form(5, hidden_layer_sizes=(16, 9)))
    x, y = rows(37, 5), rows(37, 5, seed=1)
    whole = form.gradients(list(form.players), x, y, seeded())
    monkeypatch.setattr(stacked, "PIECE", 2 * 16 * 10)
    pieces = form.gradients(list(form.players), x, y, seeded())
    torch.testing.assert_close(pieces, whole)
    assert StackedPotentials(list(form.networks.values())).n_pieces(torch.stack([x, y])) == 4


def test_potentials_without_quadratic_equal_autograd():
    networks = [perturbed_buffers_too(Potential(5, (8, 8), quadratic=False)) for _ in range(2)]
    x = torch.stack([rows(40, 5), rows(40, 5, seed=1)])
    value, slope, _ = StackedPotentials(networks)(x)
    for i, network in enumerate(networks):
        x_i = x[i].requires_grad_()
        torch.testing.assert_close(value[i], network(x_i).detach())
        torch.testing.assert_close(slope[i], torch.autograd.grad(network(x_i).sum(), x_i)[0])


def test_frozen_weights_have_no_gradient():
    form = make_form(5, hidden_layer_sizes=(8, 8))
    frozen = form.networks["target_potential"].residual[0].weight.requires_grad_(False)
    _, gradients = form.gradients(list(form.players), rows(40, 5).float(), rows(40, 5, seed=1).float(), seeded())
    learning = [weight for weight in form.networks["target_potential"].parameters() if weight.requires_grad]
    assert [each.shape for each in gradients["target_potential"]] == [weight.shape for weight in learning]
    assert not any(weight is frozen for weight in learning)


def modified_potentials(change):
    """Return two potentials that are modified by the function `change`."""
    networks = [Potential(3, (8, 8), "softplus") for _ in range(2)]
    for network in networks:
        change(network)
    return networks


def potentials_with_layer(index, module):
    return modified_potentials(lambda network: network.residual.__setitem__(index, module))


class CustomPotential(Potential):
    def forward(self, x):
        return 2 * super().forward(x)


@pytest.mark.parametrize(
    "networks",
    [
        [ConvexPotential(3, (8, 8))] * 2,
        [CustomPotential(3, (8, 8))] * 2,
        [Potential(3, (8, 8)), Potential(3, (8, 9))],
        [Potential(3, (8, 8), "tanh"), Potential(3, (8, 8), "silu")],
        [Potential(3, (8, 8)), BasedPotential(3, (8, 8))],
        [Potential(3, (8, 8), quadratic=False), Potential(3, (8, 8))],
        [Potential(3, (8, 8), "relu")] * 2,
        [nn.Linear(3, 1)] * 2,
        [Potential(3, ())] * 2,
        potentials_with_layer(1, nn.Softplus(beta=5)),
        potentials_with_layer(3, nn.Tanh()),
        potentials_with_layer(2, nn.Linear(8, 8, bias=False)),
        potentials_with_layer(1, nn.Sequential(nn.Softplus(), nn.Dropout(0.5))),
        modified_potentials(lambda network: network.residual.append(nn.Identity())),
        modified_potentials(lambda network: network.residual[0].register_forward_hook(lambda *_: None)),
        modified_potentials(lambda network: network.register_buffer("scale", torch.ones(()))),
        modified_potentials(lambda network: nn.utils.parametrizations.weight_norm(network.residual[2])),
    ],
    ids=lambda networks: " and ".join(type(network).__name__ for network in networks),
)
def test_other_networks_are_not_stacked(networks):
    assert not can_stack(networks)


def test_only_explicit_step_is_compiled():
    networks = [Potential(3, (8, 8)) for _ in range(2)]
    assert GradientForm(*networks, SquaredEuclidean()).compile_step()
    assert not GradientForm(*networks, SquaredEuclidean(), n_map_steps=2).compile_step()
    assert not GradientForm(*networks, SquaredEuclidean(), bidirectional=False).compile_step()
    assert not GradientForm(*modified_potentials(lambda network: None), Lp(1.5)).compile_step()


def test_affine_map_requires_quadratic():
    forward, backward = (Affine(factor * torch.eye(3), torch.zeros(3)) for factor in (2.0, 0.5))
    with_quadratic, without = (
        GradientForm(*(Potential(3, (8,), quadratic=quadratic) for _ in range(2)), SquaredEuclidean())
        for quadratic in (True, False)
    )
    with_quadratic.load_state_dict(with_quadratic.affine(forward, backward))
    x = rows(40, 3).float()
    torch.testing.assert_close(with_quadratic.map(x), 2 * x)
    torch.testing.assert_close(with_quadratic.inverse(x), x / 2)
    assert without.affine(forward, backward) is None


def test_other_costs_use_autograd(monkeypatch):
    monkeypatch.delattr("neuralot.forms.gradient.game")
    form = GradientForm(Potential(3, (8, 8), quadratic=False), Potential(3, (8, 8), quadratic=False), Lp(1.5))
    losses, gradients = form.gradients(list(form.players), rows(40, 3).float(), rows(40, 3, seed=1).float(), seeded())
    assert set(losses) == set(gradients)
    with pytest.raises(NameError):
        make_form(3).gradients(
            ("source_potential", "target_potential"), rows(40, 3).float(), rows(40, 3, seed=1).float(), seeded()
        )
