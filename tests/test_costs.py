"""Costs against scipy, and their maps against autograd."""

import numpy as np
import pytest
import torch
from conftest import games, rows
from scipy.spatial.distance import cdist

from neuralot.costs import CallableCost, Cost, Lp, SquaredEuclidean, as_cost

COSTS = {
    "sqeuclidean": (SquaredEuclidean(), lambda x, y: cdist(x, y, "sqeuclidean")),
    "lp1.5": (Lp(1.5), lambda x, y: cdist(x, y, "minkowski", p=1.5) ** 1.5),
    "lp2": (Lp(2), lambda x, y: cdist(x, y, "sqeuclidean")),
    "lp3": (Lp(3), lambda x, y: cdist(x, y, "minkowski", p=3) ** 3),
    "callable": (CallableCost(lambda x, y: (x - y).abs().sum(-1)), lambda x, y: cdist(x, y, "cityblock")),
}
with_map = pytest.mark.parametrize("name", [name for name, (cost, _) in COSTS.items() if cost.has_map_from_gradient])


@pytest.mark.parametrize("name", COSTS)
def test_pairwise_and_paired_costs_equal_scipy(name):
    cost, reference = COSTS[name]
    x, y = rows(5, 3), rows(4, 3, seed=1)
    expected = reference(x.numpy(), y.numpy())
    np.testing.assert_allclose(cost.pairwise(x, y), expected, rtol=1e-10)
    np.testing.assert_allclose(cost(x[:4], y), np.diag(expected), rtol=1e-10)


@with_map
def test_transport_inverts_the_gradient_of_the_cost(name):
    cost = COSTS[name][0]
    x, y = rows(50, 3).requires_grad_(), rows(50, 3, seed=1)
    gradient = torch.autograd.grad(cost(x, y).sum(), x)[0]
    torch.testing.assert_close(cost.map_from_gradient(x.detach(), gradient), y)


@with_map
def test_zero_gradient_gives_identity(name):
    x = rows(5, 3)
    assert torch.equal(COSTS[name][0].map_from_gradient(x, torch.zeros_like(x)), x)


def test_cost_without_map_raises_with_advice():
    x = rows(2, 3)
    with pytest.raises(NotImplementedError, match="map_form='network'"):
        COSTS["callable"][0].map_from_gradient(x, x)


@pytest.mark.parametrize("p", [1, 0.5, -1, float("nan")])
def test_lp_requires_exponent_above_one(p):
    with pytest.raises(ValueError, match="p must be a finite number greater than 1"):
        Lp(p)


@pytest.mark.parametrize("base", [SquaredEuclidean, Lp])
def test_classes_whose_formulas_are_used_have_no_subclasses(base):
    with pytest.raises(TypeError, match=f"Halved cannot derive from {base.__name__}; derive from neuralot.costs.Cost"):
        type("Halved", (base,), {"__call__": lambda self, x, y: (x - y).square().sum(-1) / 2})


@pytest.mark.parametrize("given", ["sqeuclidean", SquaredEuclidean(), Lp(1.5), lambda x, y: (x - y).norm(dim=-1)])
def test_as_cost_accepts_name_cost_and_function(given):
    cost = as_cost(given)
    assert isinstance(cost, Cost)
    assert as_cost(cost) is cost
    assert cost(rows(4, 3), rows(4, 3, seed=1)).shape == (4,)


@pytest.mark.parametrize("bad", ["l2", "", None, 2, (1, 2)])
def test_as_cost_rejects_other_values(bad):
    with pytest.raises(ValueError, match=r"cost must be 'sqeuclidean'.*got"):
        as_cost(bad)


@pytest.mark.parametrize("name", COSTS)
def test_in_units_is_proportional_to_cost_of_original_rows(name):
    cost = COSTS[name][0]
    x, y, centre = rows(6, 3), rows(6, 3, seed=1), torch.tensor([1.0, -2.0, 5.0])
    standardised = cost.in_units(centre, 3.0, 7.0)(x, y)
    ratio = standardised / cost(3 * x + centre, 3 * y + centre)
    torch.testing.assert_close(ratio, ratio[:1].expand(6))


def test_callable_cost_receives_rows_in_original_units():
    received = []
    cost = CallableCost(lambda x, y: received.append((x, y)) or (x - y).square().sum(-1))
    x, y, centre = rows(2, 3), rows(2, 3, seed=1), torch.tensor([1.0, 2.0, 3.0])
    level = cost.in_units(centre, 3.0, 7.0)(x, y)
    torch.testing.assert_close(received[0][0], 3 * x + centre)
    torch.testing.assert_close(received[0][1], 3 * y + centre)
    torch.testing.assert_close(level, 9 / 7 * (x - y).square().sum(-1))


class Quartic(Cost):
    """Cost |x - y|^2 + |x|^4, which is not homogeneous. Its map is that of the first term."""

    has_map_from_gradient = True

    def __call__(self, x, y):
        return (x - y).square().sum(-1) + x.square().sum(-1).square()

    def map_from_gradient(self, x, gradient):
        return x - (gradient - 4 * x * x.square().sum(-1, keepdim=True)) / 2


def test_custom_cost_receives_rows_in_original_units():
    x, y, centre = rows(6, 3).requires_grad_(), rows(6, 3, seed=1), torch.tensor([1.0, -2.0, 5.0])
    cost = Quartic().in_units(centre, 3.0, 7.0)
    torch.testing.assert_close(cost(x, y), Quartic()(3 * x + centre, 3 * y + centre) / 7)
    gradient = torch.autograd.grad(cost(x, y).sum(), x)[0]
    torch.testing.assert_close(cost.map_from_gradient(x.detach(), gradient), y)


class Wind(Cost):
    """A cost that is not symmetric: movement along the wind is cheaper."""

    has_map_from_gradient = True

    def __call__(self, x, y):
        return (x - y).square().sum(-1) + (y - x).sum(-1).relu()

    def map_from_gradient(self, x, gradient):
        return x - gradient / 2


@games
def test_gradient_form_refuses_cost_that_is_not_symmetric(tiny, samples):
    with pytest.raises(ValueError, match=r"cost must be symmetric with map_form='gradient'.*pass map_form='network'"):
        tiny(cost=Wind(), map_form="gradient").fit(*samples)
    tiny(cost=Wind(), map_form="network").fit(*samples)
