"""Networks: initial maps, shapes, and convexity of a convex potential."""

import pytest
import torch
from conftest import perturbed, single_rows

from neuralot.forms.losses import evaluate, gradient
from neuralot.networks import BasedMap, BasedPotential, ConvexPotential, MLPMap, NoiseMap, Potential
from neuralot.networks.perceptrons import ACTIVATIONS

activation = pytest.mark.parametrize("activation", ACTIVATIONS)
sizes = pytest.mark.parametrize("sizes", [(5,), (5, 7), (5, 7, 6)], ids=str)


@sizes
@activation
def test_initial_map_is_identity(activation, sizes):
    x, z = single_rows(20, 3), single_rows(20, seed=1)
    assert torch.equal(MLPMap(3, sizes, activation)(x), x)
    assert torch.equal(NoiseMap(3, 2, sizes, activation)(x, z), x)


@sizes
@activation
def test_initial_potential_gives_identity_map(activation, sizes):
    assert torch.count_nonzero(gradient(Potential(3, sizes, activation), single_rows(20, 3))) == 0


@sizes
def test_initial_convex_potential_gives_nearly_identity_map(sizes):
    x = single_rows(20, 3)
    moved = gradient(ConvexPotential(3, sizes), x) / 2
    assert moved.norm(dim=1).max() < 0.05 * x.norm(dim=1).mean()


@sizes
@activation
def test_initial_weights_have_gradients(activation, sizes):
    x = single_rows(20, 3)
    for network in (MLPMap(3, sizes, activation), Potential(3, sizes, activation)):
        loss = (network(x) - 1).square().mean()
        moved = torch.autograd.grad(loss, list(network.parameters()))
        assert any(weight.abs().max() > 0 for weight in moved)


@pytest.mark.parametrize("d", [1, 4])
@pytest.mark.parametrize("n", [0, 1, 5])
def test_networks_return_expected_shapes(n, d):
    x = single_rows(n, d)
    assert MLPMap(d, (6, 6))(x).shape == (n, d)
    assert NoiseMap(d, 2, (6, 6))(x, single_rows(n, 2)).shape == (n, d)
    assert Potential(d, (6, 6))(x).shape == (n,)
    assert ConvexPotential(d, (6, 6))(x).shape == (n,)
    assert gradient(Potential(d, (6, 6)), x).shape == (n, d)


def test_image_depends_on_noise():
    network, x = perturbed(NoiseMap(3, 2, (6, 6))), single_rows(20, 3)
    assert not torch.allclose(network(x, single_rows(20, seed=1)), network(x, single_rows(20, seed=2)))


def test_quadratic_of_potential_gives_affine_map():
    potential, x = Potential(3), single_rows(20, 3)
    B = single_rows(3, 3, seed=1)
    with torch.no_grad():
        potential.quadratic.copy_(B)
    torch.testing.assert_close(potential(x), (x * (x @ B)).sum(1))
    torch.testing.assert_close(gradient(potential, x), x @ (B + B.T))


@pytest.mark.parametrize("seed", range(5))
@sizes
def test_map_of_convex_potential_is_monotone_for_any_weights(sizes, seed):
    potential = perturbed(ConvexPotential(3, sizes), seed, size=1.0).double()
    x, y = (single_rows(200, 3, each).double() for each in (seed, seed + 100))
    images = [each - gradient(potential, each) / 2 for each in (x, y)]
    assert ((images[0] - images[1]) * (x - y)).sum(1).min() > 0


@pytest.mark.parametrize("seed", range(5))
def test_brenier_potential_is_convex_along_segments(seed):
    potential = perturbed(ConvexPotential(3, (6, 6)), seed, size=1.0).double()
    x, y = (single_rows(200, 3, each).double() for each in (seed, seed + 100))
    u = [(each.square().sum(1) - potential(each)) / 2 for each in (x, y, (x + y) / 2)]
    assert (u[0] + u[1] - 2 * u[2]).min() > 0


@pytest.mark.parametrize(
    "network", [torch.nn.Linear(3, 1), torch.nn.Sequential(torch.nn.Linear(3, 1), torch.nn.ReLU())]
)
def test_custom_potential_may_return_column(network):
    x = single_rows(20, 3)
    assert evaluate(network, x).shape == (20,)
    assert gradient(network, x).shape == (20, 3)


def test_based_networks_have_affine_base():
    matrix, offset, x = torch.tensor([[2.0, 0.5], [0.5, 1.0]]), torch.tensor([1.0, -1.0]), torch.randn(5, 2)
    potential, image = BasedPotential(2, (6, 6)), BasedMap(2, (6, 6))
    for network in (potential, image):
        network.set_base(matrix, offset)
    expected = x @ matrix + offset  # the residual part is initially zero
    torch.testing.assert_close(x - gradient(potential, x) / 2, expected)
    torch.testing.assert_close(image(x), expected)
    buffers = {id(image.matrix), id(image.offset), id(image.preconditioner)}
    assert not {id(weight) for weight in image.parameters()} & buffers


def test_based_networks_apply_preconditioner():
    preconditioner, x = torch.tensor([[0.0, 3.0], [1.0, 0.0]]), torch.randn(5, 2)
    for network, base in ((BasedPotential(2, (6, 6)), torch.zeros(5)), (BasedMap(2, (6, 6)), x)):
        torch.nn.init.ones_(network.residual[-1].weight)
        network.set_preconditioner(preconditioner)
        transformed = torch.stack([3 * x[:, 1], x[:, 0]], dim=1)
        torch.testing.assert_close(network(x), base + network.residual(transformed).squeeze(-1))
