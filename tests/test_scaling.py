"""Units: standardisation of samples, and its inverse."""

import numpy as np
import pytest
import torch
from conftest import dtypes, rotation

from neuralot.costs import CallableCost, Lp, SquaredEuclidean
from neuralot.estimators.units import Units

COSTS = {
    "sqeuclidean": SquaredEuclidean(),
    "lp": Lp(3),
    "callable": CallableCost(lambda x, y: (x - y).abs().pow(1.5).sum(-1)),
}
each_cost = pytest.mark.parametrize("cost", COSTS.values(), ids=COSTS)


def shifted_samples(seed=0, deviation=3.0, offset=10.0):
    rng = np.random.default_rng(seed)
    return offset + deviation * rng.normal(size=(50, 3)), -offset + deviation * rng.normal(size=(60, 3))


def units_of(X, Y, cost=COSTS["sqeuclidean"], v=None, w=None, **options):
    return Units.of(X, Y, np.ones(len(X)) if v is None else v, np.ones(len(Y)) if w is None else w, cost, **options)


def embedded(A, d=7, seed=0):
    """Return the rows of `A` in a random subspace of a d-dimensional space."""
    return A @ rotation(d, seed)[: A.shape[1]] + np.arange(d)


def test_squared_euclidean_cost_has_separate_centres_and_common_scale():
    X, Y = shifted_samples()
    units = units_of(X, Y)
    x, y = units.from_source(X), units.from_target(Y)
    np.testing.assert_allclose(x.mean(0), 0, atol=1e-3)
    np.testing.assert_allclose(y.mean(0), 0, atol=1e-3)
    assert (x.var(0).mean() + y.var(0).mean()) / 2 == pytest.approx(1, rel=1e-3)


@pytest.mark.parametrize("name", ["lp", "callable"])
def test_other_costs_have_common_centre(name):
    X, Y = shifted_samples()
    units = units_of(X, Y, COSTS[name])
    assert np.array_equal(units.source_centre, units.target_centre)
    np.testing.assert_allclose(units.source_centre, (X.mean(0) + Y.mean(0)) / 2, atol=0.01)


@each_cost
@dtypes
def test_standardised_rows_are_restored(dtype, cost):
    X, Y = (A.astype(dtype) for A in shifted_samples())
    units = units_of(X, Y, cost)
    for A, standardise, restore in ((X, units.from_source, units.to_source), (Y, units.from_target, units.to_target)):
        assert standardise(A).dtype == restore(standardise(A)).dtype == dtype
        np.testing.assert_allclose(
            restore(standardise(A)), A, rtol=20 * np.finfo(dtype).eps, atol=20 * np.finfo(dtype).eps
        )


@each_cost
def test_order_of_rows_has_no_influence(cost):
    X, Y = shifted_samples()
    shuffled = np.random.default_rng(1).permutation(50)
    one, other = units_of(X, Y, cost), units_of(X[shuffled], Y[::-1], cost)
    assert one.scale == other.scale
    assert np.array_equal(one.source_centre, other.source_centre)
    assert np.array_equal(one.target_centre, other.target_centre)


def test_weights_are_equivalent_to_repetitions():
    X, Y = shifted_samples()
    v = np.ones(50)
    v[:10], v[10:15] = 2, 0
    weighted, repeated = units_of(X, Y, v=v), units_of(np.repeat(X, v.astype(int), axis=0), Y)
    assert weighted.scale == repeated.scale
    assert np.array_equal(weighted.source_centre, repeated.source_centre)


def test_row_of_weight_zero_has_no_influence():
    X, Y = shifted_samples()
    shifted = np.vstack([np.full((1, 3), 1e30), X])
    v = np.r_[0.0, np.ones(50)]
    one, other = units_of(shifted, Y, v=v), units_of(X, Y)
    assert one.scale == other.scale
    assert np.array_equal(one.source_centre, other.source_centre)


@each_cost
@pytest.mark.parametrize("factor", [1e-8, 1.0, 1e8])
def test_standardised_rows_do_not_depend_on_units(factor, cost):
    X, Y = shifted_samples()
    x, y = (units_of(X, Y, cost).from_source(X), units_of(X, Y, cost).from_target(Y))
    units = units_of(factor * X, factor * Y, cost)
    np.testing.assert_allclose(units.from_source(factor * X), x, atol=1e-2)
    np.testing.assert_allclose(units.from_target(factor * Y), y, atol=1e-2)


def test_large_offset_causes_no_loss_of_precision():
    X, Y = shifted_samples(offset=0.0)
    shifted = units_of(X + 2.0**40, Y - 2.0**40)
    np.testing.assert_allclose(shifted.from_source(X + 2.0**40), units_of(X, Y).from_source(X), atol=1e-2)
    assert shifted.scale == pytest.approx(units_of(X, Y).scale, rel=1e-3)


@each_cost
def test_constant_rows_have_scale_one(cost):
    X = np.full((4, 3), 7.0)
    units = units_of(X, X, cost)
    assert units.scale == 1
    assert units.cost_level == 1
    assert np.array_equal(units.from_source(X), np.zeros((4, 3)))
    assert np.array_equal(units.to_target(np.zeros((4, 3))), X)


def test_only_callable_costs_have_cost_level():
    X, Y = shifted_samples()
    assert units_of(X, Y).cost_level == units_of(X, Y, COSTS["lp"]).cost_level == 1
    level = units_of(X, Y, COSTS["callable"]).cost_level
    pairs = COSTS["callable"].pairwise(torch.from_numpy(X), torch.from_numpy(Y))
    assert level == pytest.approx(float(pairs.mean()), rel=0.1)


@each_cost
def test_cost_of_standardised_rows_is_proportional_to_cost(cost):
    X, Y = shifted_samples()
    units = units_of(X, Y, cost)
    x, y = torch.from_numpy(units.from_source(X[:50])), torch.from_numpy(units.from_target(Y[:50]))
    found = units.cost(cost, torch.device("cpu"))(x, y)
    # separate centres change the squared cost by functions of x only and of y only
    X_, Y_ = torch.from_numpy(X[:50]), torch.from_numpy(Y[:50])
    shift = torch.from_numpy(units.target_centre - units.source_centre)
    expected = cost(X_ + shift, Y_)
    torch.testing.assert_close(found / found[0], expected / expected[0], rtol=1e-4, atol=1e-6)


def test_laws_in_subspace_have_coordinates_of_subspace():
    X, Y = shifted_samples()
    flat, units = units_of(X, Y), units_of(embedded(X), embedded(Y), reduce=True)
    assert units.n_directions == 3
    assert units.scale == pytest.approx(flat.scale, rel=1e-3)
    x = units.from_source(embedded(X))
    assert x.shape == X.shape
    # the same rows up to a rotation, so inner products are equal
    np.testing.assert_allclose(x @ x.T, flat.from_source(X) @ flat.from_source(X).T, atol=0.05)
    np.testing.assert_allclose(units.to_source(x), embedded(X), atol=1e-6)
    np.testing.assert_allclose(units.to_target(units.from_target(embedded(Y))), embedded(Y), atol=1e-6)


def test_constant_columns_are_omitted_and_restored():
    X, Y = shifted_samples()
    units = units_of(np.insert(X, 1, 0.1, axis=1), np.insert(Y, 1, 7.7, axis=1), reduce=True)
    assert np.array_equal(units.basis, np.eye(4)[:, [0, 2, 3]])
    rows = np.insert(X, 1, 0.1, axis=1)
    images = units.to_target(units.from_source(rows), rows)
    assert np.array_equal(images[:, 1], np.full(50, 7.7))


def test_rounding_errors_and_few_rows_do_not_determine_directions():
    X, Y = shifted_samples()
    shifted = embedded(X) + 1e4
    assert units_of(shifted, shifted, reduce=True).n_directions == 3
    assert units_of(shifted.astype(np.float32), shifted.astype(np.float32), reduce=True).n_directions == 3
    assert units_of(embedded(X[:3]), embedded(Y[:2]), reduce=True).basis is None


def test_basis_contains_directions_of_source_and_target():
    one, other = (np.outer(np.random.default_rng(seed).normal(size=50), np.eye(5)[k]) for seed, k in ((0, 1), (1, 3)))
    units = units_of(one, other, reduce=True)
    assert np.array_equal(np.flatnonzero(units.basis.any(axis=1)), [1, 3])


@pytest.mark.parametrize("cost", ["lp", "callable"])
def test_other_costs_have_no_basis(cost):
    assert units_of(*map(embedded, shifted_samples()), COSTS[cost], reduce=True).basis is None


def test_directions_of_small_variance_are_kept():
    X, Y = shifted_samples()
    assert units_of(X * [1.0, 1e-4, 1.0], Y * [1.0, 1e-4, 1.0], reduce=True).basis is None
    same = np.full((4, 3), 7.0)
    assert units_of(same, same, reduce=True).basis is None
    # most rows are in a plane, but not all rows
    flat = X * [1.0, 1.0, 0.0]
    assert units_of(np.vstack([*[flat] * 4, X[:1]]), np.vstack([*[flat] * 4, X[:1]]), reduce=True).basis is None


@dtypes
def test_basis_does_not_depend_on_order_or_weights(dtype):
    X, Y = (embedded(A).astype(dtype) for A in shifted_samples())
    v = np.ones(50)
    v[:10], v[10:15] = 2, 0
    repeated = np.repeat(X, v.astype(int), axis=0)
    one, other = units_of(X, Y, v=v, reduce=True), units_of(repeated[::-1], Y[::-1], reduce=True)
    assert one.n_directions == 3
    np.testing.assert_allclose(one.basis, other.basis, atol=1e-6)


def test_cover_detects_rows_outside_of_subspace():
    X, Y = shifted_samples()
    units = units_of(embedded(X), embedded(Y), reduce=True)
    assert units.cover(embedded(3 * X), embedded(Y))
    assert not units.cover(embedded(X, seed=1), embedded(Y))
    assert not units.cover(embedded(X), embedded(Y, seed=1))
    assert units_of(X, Y, reduce=True).cover(X, Y)
