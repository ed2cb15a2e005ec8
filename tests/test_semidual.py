"""Losses and helpers of the methods, compared with their formulas."""

import pytest
import torch
from conftest import rows, unchanged_generators
from scipy.spatial.distance import cdist

from neuralot._torch import energy_distance, mean_over, normal, seeded
from neuralot.costs import Lp, SquaredEuclidean
from neuralot.forms.losses import CriticLoss, evaluate, gradient, map_loss
from neuralot.networks import ConvexPotential, Potential


def quadratic(x):
    """Return V(x) = |x|^2 + 3 x_1, with the gradient 2 x + 3 e_1."""
    return x.square().sum(-1) + 3 * x[:, 0]


def test_map_loss_equals_mean_cost_minus_potential_of_images():
    x, image = rows(5), rows(5, seed=1)
    expected = ((x - image).abs() ** 3).sum(1).mean() - quadratic(image).mean()
    torch.testing.assert_close(map_loss(Lp(3), x, image, quadratic), expected)


def test_critic_loss_without_regularisation_is_difference_of_means():
    x, image, y = rows(5), rows(5, seed=1), rows(5, seed=2)
    plain = CriticLoss(expectile_weight=0)
    expected = quadratic(image).mean() - quadratic(y).mean()
    torch.testing.assert_close(plain(SquaredEuclidean(), quadratic, x, image, y), expected)


@pytest.mark.parametrize("tau", [0.5, 0.99])
@pytest.mark.parametrize("weight", [0.3, 1.0])
def test_expectile_term_equals_formula(tau, weight):
    x, image, y = rows(50), rows(50, seed=1), rows(50, seed=2)
    plain = CriticLoss(expectile_weight=0)(SquaredEuclidean(), quadratic, x, image, y)
    term = 0.0
    for i in range(50):
        u = (x[i] - image[i]).square().sum() - quadratic(image[i : i + 1])[0]
        u = u - (x[i] - y[i]).square().sum() + quadratic(y[i : i + 1])[0]
        term += abs(tau - float(u <= 0)) * float(u) ** 2 / 50
    found = CriticLoss(tau, weight)(SquaredEuclidean(), quadratic, x, image, y)
    torch.testing.assert_close(found, plain + weight * term)


def test_optimal_pair_has_only_bias_in_expectile_term():
    # V = 0 is optimal for the plan y = x, so u <= 0 for all pairs
    x = rows(50)
    loss = CriticLoss(0.99, 1.0)(SquaredEuclidean(), lambda y: torch.zeros(len(y)), x, x, rows(50, seed=1))
    u = -(x - rows(50, seed=1)).square().sum(1)
    torch.testing.assert_close(loss, 0.01 * u.square().mean())


def test_gradient_penalty_equals_formula():
    x, image, y = rows(5), rows(5, seed=1), rows(5, seed=2)
    plain = CriticLoss(expectile_weight=0)(SquaredEuclidean(), quadratic, x, image, y)
    penalised = CriticLoss(expectile_weight=0, gradient_penalty=0.7)(SquaredEuclidean(), quadratic, x, image, y)
    slope = 2 * y + torch.tensor([3.0, 0.0])
    torch.testing.assert_close(penalised, plain + 0.7 * slope.square().sum(1).mean())


def test_evaluate_flattens_column():
    assert evaluate(lambda x: x[:, :1], rows(5)).shape == (5,)


def test_gradient_equals_known_gradient():
    x = rows(5)
    torch.testing.assert_close(gradient(quadratic, x), 2 * x + torch.tensor([3.0, 0.0]))
    assert not x.requires_grad
    assert not gradient(quadratic, x).requires_grad


@pytest.mark.parametrize("potential", [Potential(2, (4, 4)), Potential(2, (4, 4), "gelu"), ConvexPotential(2, (4, 4))])
def test_gradient_works_in_no_grad_mode_and_can_be_differentiated(potential):
    x = rows(5).float()
    with torch.no_grad():
        detached = gradient(potential, x)
    assert not detached.requires_grad
    differentiable = gradient(potential, x, create_graph=True)
    assert torch.equal(detached, differentiable)
    assert differentiable.requires_grad


def test_energy_distance_equals_definition():
    a, b = rows(30), 1 + rows(20, seed=1)
    between, first, second = (cdist(*pair) for pair in ((a, b), (a, a), (b, b)))
    expected = 2 * between.mean() - first.sum() / (30 * 29) - second.sum() / (20 * 19)
    assert energy_distance(a, b).item() == pytest.approx(expected)


def test_energy_distance_is_small_only_for_equal_laws():
    a, b = rows(2000), rows(2000, seed=1)
    assert abs(energy_distance(a, b)) < 0.01
    assert energy_distance(a, b + 1) > 0.3


def test_energy_distance_of_single_rows_is_twice_their_distance():
    assert energy_distance(torch.zeros(1, 2), torch.tensor([[3.0, 4.0]])).item() == pytest.approx(10)


def test_normal_uses_generator_and_dtype_of_rows():
    generator = torch.Generator().manual_seed(0)
    z = normal(10_000, 3, generator, like=rows(1))
    assert z.dtype == torch.double
    assert z.shape == (10_000, 3)
    torch.testing.assert_close(z.mean(), torch.tensor(0.0).double(), atol=0.03, rtol=0)
    torch.testing.assert_close(z.std(), torch.tensor(1.0).double(), atol=0.03, rtol=0)


def test_mean_over_equals_mean():
    noise, x = rows(7), rows(5, seed=1)
    torch.testing.assert_close(mean_over(noise, lambda z: (x + z).square()), (x + noise[:, None]).square().mean(0))


def test_seeded_is_reproducible_and_restores_global_generator():
    def draw(seed):
        with seeded(torch.Generator().manual_seed(seed)):
            return torch.randn(3)

    with unchanged_generators():
        assert torch.equal(draw(0), draw(0))
        assert not torch.equal(draw(0), draw(1))
