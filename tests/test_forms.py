"""Forms of the map, compared with autograd and with the formulas of the papers; rules of `make_form`."""

import pytest
import torch
from conftest import map_forms, perturbed, rows, seeded, single_rows, unchanged_generators
from torch import nn

from neuralot.costs import CallableCost, Lp, SquaredEuclidean
from neuralot.forms import make_form, resolve_map_form
from neuralot.forms.gradient import GradientForm
from neuralot.forms.losses import CriticLoss
from neuralot.forms.network import NetworkForm
from neuralot.networks import ConvexPotential, MLPMap, NoiseMap, Potential

PLAIN = CriticLoss(expectile_weight=0, gap_weight=0)
L1 = CallableCost(lambda x, y: (x - y).abs().sum(-1))


def potentials(activation):
    return [Potential(2, (6, 6), activation) for _ in range(2)]


@pytest.mark.parametrize("cost", [SquaredEuclidean(), Lp(1.5), Lp(3)], ids=["squared", "1.5", "3"])
@pytest.mark.parametrize("networks", [potentials("silu"), potentials("gelu"), [ConvexPotential(2, (6, 6))] * 2])
def test_maps_of_gradient_form_agree_with_autograd(cost, networks):
    form = perturbed(GradientForm(*networks, cost)).double()
    for potential, image in zip(networks, (form.map, form.inverse), strict=True):
        x = rows(12).requires_grad_()
        slope = torch.autograd.grad(potential(x).sum(), x)[0]
        y = image(x.detach())
        torch.testing.assert_close(y, cost.map_from_gradient(x.detach(), slope))
        # first-order condition: grad_x c(x, T(x)) = grad f(x)
        torch.testing.assert_close(torch.autograd.grad(cost(x, y).sum(), x)[0], slope)


def test_network_form_has_losses_of_paper():
    # Rout et al. 2022: T minimises E[c(x, T(x)) - V(T(x))], V minimises E[V(T(x)) - V(y)]
    T, V = MLPMap(2, (6, 6)), Potential(2, (6, 6))
    form = perturbed(NetworkForm(T, V, SquaredEuclidean(), critic_loss=PLAIN)).double()
    x, y = rows(12), rows(12, seed=1)
    expected = ((x - T(x)).square().sum(1) - V(T(x))).mean()
    torch.testing.assert_close(form.losses(["map"], x, y, seeded())["map"], expected)
    torch.testing.assert_close(form.losses(["potential"], x, y, seeded())["potential"], V(T(x)).mean() - V(y).mean())


def test_network_form_with_noise_has_losses_of_paper():
    T, V = NoiseMap(2, 3, (6, 6)), Potential(2, (6, 6))
    form = perturbed(NetworkForm(T, V, Lp(3), critic_loss=PLAIN, noise=torch.zeros(4, 3))).double()
    x, y = rows(12), rows(12, seed=1)
    z = single_rows(12, 3).double()
    expected = ((x - T(x, z)).abs().pow(3).sum(1) - V(T(x, z))).mean()
    torch.testing.assert_close(form.losses(["map"], x, y, seeded())["map"], expected)
    torch.testing.assert_close(form.losses(["potential"], x, y, seeded())["potential"], V(T(x, z)).mean() - V(y).mean())


def test_gradient_form_in_one_direction_has_losses_of_paper():
    f, g = potentials("silu")
    form = perturbed(GradientForm(f, g, SquaredEuclidean(), critic_loss=PLAIN, bidirectional=False)).double()
    x, y = rows(12).requires_grad_(), rows(12, seed=1)
    image = x - torch.autograd.grad(f(x).sum(), x, create_graph=True)[0] / 2
    map_loss = ((x - image).square().sum(1) - g(image)).mean()
    torch.testing.assert_close(form.losses(["source_potential"], x, y, seeded())["source_potential"], map_loss)
    torch.testing.assert_close(
        form.losses(["target_potential"], x, y, seeded())["target_potential"], g(image).mean() - g(y).mean()
    )


def test_losses_of_both_directions_are_sums():
    f, g = potentials("silu")
    both = perturbed(GradientForm(f, g, SquaredEuclidean(), critic_loss=PLAIN)).double()
    forward = GradientForm(f, g, SquaredEuclidean(), critic_loss=PLAIN, bidirectional=False)
    backward = GradientForm(g, f, SquaredEuclidean(), critic_loss=PLAIN, bidirectional=False)
    x, y = rows(12), rows(12, seed=1)
    expected = (
        forward.losses(["source_potential"], x, y, seeded())["source_potential"]
        + backward.losses(["target_potential"], y, x, seeded())["target_potential"]
    )
    torch.testing.assert_close(both.losses(["source_potential"], x, y, seeded())["source_potential"], expected)
    expected = (
        forward.losses(["target_potential"], x, y, seeded())["target_potential"]
        + backward.losses(["source_potential"], y, x, seeded())["source_potential"]
    )
    torch.testing.assert_close(both.losses(["target_potential"], x, y, seeded())["target_potential"], expected)


def test_gap_is_zero_for_optimal_potentials_and_penalised_otherwise():
    # f = |x|^2 - 2 u, g = |y|^2 - 2 u*, with u = |x|^2 / 4 and u* = |y|^2: the map is x / 2
    f, g = Quadratic(0.5), Quadratic(-1.0)
    x, y = rows(12), rows(12, seed=1)
    for offset, expected in ((0.0, 0.0), (3.0, 2 * 0.7 * 9.0)):
        f.offset = torch.nn.Parameter(torch.tensor(offset, dtype=torch.double))
        with_gap, without = (
            GradientForm(f, g, SquaredEuclidean(), critic_loss=CriticLoss(expectile_weight=0, gap_weight=w))
            for w in (0.7, 0)
        )
        for player, loss in with_gap.losses(list(with_gap.players), x, y, seeded()).items():
            torch.testing.assert_close(
                loss - without.losses([player], x, y, seeded())[player], torch.tensor(expected).double()
            )


class Quadratic(nn.Module):
    def __init__(self, factor):
        super().__init__()
        self.factor, self.offset = nn.Parameter(torch.tensor(factor, dtype=torch.double)), 0.0

    def forward(self, x):
        return self.factor * x.square().sum(-1) + self.offset


def test_map_of_network_with_noise_is_mean_over_stored_noise():
    T, noise = NoiseMap(2, 3, (6, 6)), single_rows(5, 3).double()
    form = perturbed(NetworkForm(T, Potential(2, (6, 6)), SquaredEuclidean(), noise=noise)).double()
    x = rows(12)
    expected = torch.stack([T(x, z.expand(12, 3)) for z in noise]).mean(0)
    torch.testing.assert_close(form.map(x), expected)
    assert not torch.equal(form.draw(x, seeded(0)), form.draw(x, seeded(1)))


def test_inverse_requires_two_directions():
    one_direction = make_form(2, map_form="gradient", bidirectional=False)
    assert not one_direction.invertible
    network = make_form(2, map_form="network")
    assert not network.invertible
    with pytest.raises(NotImplementedError):
        network.inverse(rows(12))


@pytest.mark.parametrize(
    ("cost", "noise_dim", "map_form", "expected"),
    [
        (SquaredEuclidean(), 0, "auto", "gradient"),
        (SquaredEuclidean(), 1, "auto", "network"),
        (SquaredEuclidean(), 0, lambda d: nn.Linear(d, d), "network"),
        (Lp(1.5), 0, "auto", "network"),
        (L1, 0, "auto", "network"),
    ],
)
def test_map_form_is_resolved_from_cost(cost, noise_dim, map_form, expected):
    assert resolve_map_form(map_form, cost, noise_dim) == expected


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"map_form": "convex"}, "map_form must be"),
        ({"map_form": "gradient", "cost": L1}, "map_form='gradient' needs a cost with a known map"),
        ({"map_form": "gradient", "noise_dim": 1}, "noise_dim must be 0"),
    ],
)
def test_incompatible_options_are_rejected(options, name):
    with pytest.raises(ValueError, match=name):
        make_form(2, **options)


@map_forms
@pytest.mark.parametrize(("cost", "growth"), [(SquaredEuclidean(), 100), (Lp(1.5), 10)], ids=["squared", "1.5"])
def test_potentials_grow_no_faster_than_cost(cost, growth, map_form):
    # with a quadratic potential and the cost |x - y|^1.5, the loss of the map would be unbounded below
    form = perturbed(make_form(2, cost, map_form=map_form, hidden_layer_sizes=(6, 6))).double()
    for name, network in form.networks.items():
        if name != "map":
            near, far = network(torch.tensor([[1e3, 2e3], [1e4, 2e4]], dtype=torch.double)).detach()
            assert float(far / near) == pytest.approx(growth, rel=0.2)


def test_custom_networks_are_used():
    form = make_form(3, map_form=lambda d: nn.Linear(d, d), potential_network=lambda d: nn.Linear(d, 1))
    assert isinstance(form, NetworkForm)
    assert form.networks["map"].in_features == 3
    x = single_rows(4, 3)
    assert torch.isfinite(form.losses(["potential"], x, x, seeded())["potential"])
    form = make_form(3, map_form="gradient", potential_network=ConvexPotential)
    assert isinstance(form.networks["source_potential"], ConvexPotential)
    assert form.networks["source_potential"] is not form.networks["target_potential"]


@pytest.mark.parametrize(("form", "expected"), [("gradient", [1, 1]), ("network", [4, 1])])
def test_number_of_updates_depends_on_form_and_n_map_steps(form, expected):
    assert list(make_form(2, map_form=form).players.values()) == expected
    assert list(make_form(2, map_form=form, n_map_steps=10).players.values()) == [10, 1]


def test_hidden_layer_sizes_are_used():
    for sizes, width in ((None, 64), ((5,), 5)):
        form = make_form(2, map_form="network", hidden_layer_sizes=sizes)
        assert form.networks["map"].residual[0].out_features == width


@pytest.mark.parametrize("options", [{"map_form": "gradient"}, {"map_form": "network"}, {"noise_dim": 2}])
def test_weights_depend_only_on_generator(options):
    def weights(seed):
        return torch.cat(
            [each.ravel() for each in make_form(2, **options, generator=seeded(seed)).state_dict().values()]
        )

    with unchanged_generators():
        assert torch.equal(weights(0), weights(0))
        assert not torch.equal(weights(0), weights(1))


@pytest.mark.parametrize("n_features", [2, 16, 64])
@pytest.mark.parametrize("affine_base", [False, True])
def test_first_layer_is_initialised_for_scale_of_its_input(n_features, affine_base):
    form = make_form(n_features, affine_base=affine_base, hidden_layer_sizes=(512, 8))
    rows_seen = (2.0 if affine_base else 1.0) * torch.randn(2000, n_features, generator=seeded())
    for potential in form.networks.values():
        first = potential.residual[0]
        assert float((rows_seen @ first.weight.detach().T).std()) == pytest.approx(2 / 3**0.5, rel=0.1)
        assert float(first.bias.detach().std()) == pytest.approx(1 / 3**0.5, rel=0.1)
