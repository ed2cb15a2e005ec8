"""Units: what they standardise, and that the way there and back loses nothing."""

import numpy as np
import pytest
import torch
from conftest import dtypes

from neuralot.costs import CallableCost, Lp, SquaredEuclidean
from neuralot.estimators.units import Units

COSTS = {
    "sqeuclidean": SquaredEuclidean(),
    "lp": Lp(3),
    "callable": CallableCost(lambda x, y: (x - y).abs().pow(1.5).sum(-1)),
}
each_cost = pytest.mark.parametrize("cost", COSTS.values(), ids=COSTS)


def samples(seed=0, spread=3.0, offset=10.0):
    rng = np.random.default_rng(seed)
    return offset + spread * rng.normal(size=(50, 3)), -offset + spread * rng.normal(size=(60, 3))


def units_of(X, Y, cost=COSTS["sqeuclidean"], v=None, w=None, **options):
    return Units.of(X, Y, np.ones(len(X)) if v is None else v, np.ones(len(Y)) if w is None else w, cost, **options)


def in_a_larger_space(A, d=7, seed=0):
    """The rows of `A` in a subspace of d dimensions that is turned at random."""
    turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(d, d)))[0]
    return A @ turn[: A.shape[1]] + np.arange(d)


def test_squared_euclidean_samples_are_centred_separately_and_share_one_scale():
    X, Y = samples()
    units = units_of(X, Y)
    x, y = units.from_source(X), units.from_target(Y)
    np.testing.assert_allclose(x.mean(0), 0, atol=1e-3)
    np.testing.assert_allclose(y.mean(0), 0, atol=1e-3)
    assert (x.var(0).mean() + y.var(0).mean()) / 2 == pytest.approx(1, rel=1e-3)


@pytest.mark.parametrize("name", ["lp", "callable"])
def test_other_costs_get_one_common_centre(name):
    units = units_of(*samples(), COSTS[name])
    assert np.array_equal(units.source_centre, units.target_centre)
    np.testing.assert_allclose(units.source_centre, (samples()[0].mean(0) + samples()[1].mean(0)) / 2, atol=0.01)


@each_cost
@dtypes
def test_there_and_back(dtype, cost):
    X, Y = (A.astype(dtype) for A in samples())
    units = units_of(X, Y, cost)
    for A, there, back in ((X, units.from_source, units.to_source), (Y, units.from_target, units.to_target)):
        assert there(A).dtype == back(there(A)).dtype == dtype
        np.testing.assert_allclose(back(there(A)), A, rtol=20 * np.finfo(dtype).eps, atol=20 * np.finfo(dtype).eps)


@each_cost
def test_the_order_of_rows_changes_no_bit(cost):
    X, Y = samples()
    shuffled = np.random.default_rng(1).permutation(50)
    one, other = units_of(X, Y, cost), units_of(X[shuffled], Y[::-1], cost)
    assert one.scale == other.scale
    assert np.array_equal(one.source_centre, other.source_centre)
    assert np.array_equal(one.target_centre, other.target_centre)


def test_a_weight_of_two_is_a_row_that_stands_twice():
    X, Y = samples()
    v = np.ones(50)
    v[:10], v[10:15] = 2, 0
    weighted, repeated = units_of(X, Y, v=v), units_of(np.repeat(X, v.astype(int), axis=0), Y)
    assert weighted.scale == repeated.scale
    assert np.array_equal(weighted.source_centre, repeated.source_centre)


def test_a_row_without_weight_does_not_matter():
    X, Y = samples()
    far = np.vstack([np.full((1, 3), 1e30), X])
    v = np.r_[0.0, np.ones(50)]
    one, other = units_of(far, Y, v=v), units_of(X, Y)
    assert one.scale == other.scale
    assert np.array_equal(one.source_centre, other.source_centre)


@each_cost
@pytest.mark.parametrize("factor", [1e-8, 1.0, 1e8])
def test_the_unit_of_the_data_disappears(factor, cost):
    X, Y = samples()
    x, y = (units_of(X, Y, cost).from_source(X), units_of(X, Y, cost).from_target(Y))
    units = units_of(factor * X, factor * Y, cost)
    np.testing.assert_allclose(units.from_source(factor * X), x, atol=1e-2)
    np.testing.assert_allclose(units.from_target(factor * Y), y, atol=1e-2)


def test_a_huge_offset_costs_no_digits():
    X, Y = samples(offset=0.0)
    far = units_of(X + 2.0**40, Y - 2.0**40)
    np.testing.assert_allclose(far.from_source(X + 2.0**40), units_of(X, Y).from_source(X), atol=1e-2)
    assert far.scale == pytest.approx(units_of(X, Y).scale, rel=1e-3)


@each_cost
def test_rows_that_do_not_vary_have_scale_one(cost):
    X = np.full((4, 3), 7.0)
    units = units_of(X, X, cost)
    assert units.scale == 1
    assert units.cost_level == 1
    assert np.array_equal(units.from_source(X), np.zeros((4, 3)))
    assert np.array_equal(units.to_target(np.zeros((4, 3))), X)


def test_only_a_callable_cost_has_a_level():
    X, Y = samples()
    assert units_of(X, Y).cost_level == units_of(X, Y, COSTS["lp"]).cost_level == 1
    level = units_of(X, Y, COSTS["callable"]).cost_level
    pairs = COSTS["callable"].pairwise(torch.from_numpy(X), torch.from_numpy(Y))
    assert level == pytest.approx(float(pairs.mean()), rel=0.1)


@each_cost
def test_the_cost_of_standardised_rows_ranks_pairs_as_the_users_cost_does(cost):
    X, Y = samples()
    units = units_of(X, Y, cost)
    x, y = torch.from_numpy(units.from_source(X[:50])), torch.from_numpy(units.from_target(Y[:50]))
    found = units.cost(cost, torch.device("cpu"))(x, y)
    # centres of their own change the squared cost by terms of x alone and y alone
    X_, Y_ = torch.from_numpy(X[:50]), torch.from_numpy(Y[:50])
    shift = torch.from_numpy(units.target_centre - units.source_centre)
    expected = cost(X_ + shift, Y_)
    torch.testing.assert_close(found / found[0], expected / expected[0], rtol=1e-4, atol=1e-6)


def test_laws_in_a_subspace_have_the_units_and_coordinates_of_that():
    X, Y = samples()
    flat, units = units_of(X, Y), units_of(in_a_larger_space(X), in_a_larger_space(Y), reduce=True)
    assert units.n_directions == 3
    assert units.scale == pytest.approx(flat.scale, rel=1e-3)
    x = units.from_source(in_a_larger_space(X))
    assert x.shape == X.shape
    # the same rows up to a turn: with the same inner products
    np.testing.assert_allclose(x @ x.T, flat.from_source(X) @ flat.from_source(X).T, atol=0.05)
    np.testing.assert_allclose(units.to_source(x), in_a_larger_space(X), atol=1e-6)
    np.testing.assert_allclose(
        units.to_target(units.from_target(in_a_larger_space(Y))), in_a_larger_space(Y), atol=1e-6
    )


def test_constant_columns_are_left_out_and_keep_their_values():
    X, Y = samples()
    units = units_of(np.insert(X, 1, 0.1, axis=1), np.insert(Y, 1, 7.7, axis=1), reduce=True)
    assert np.array_equal(units.basis, np.eye(4)[:, [0, 2, 3]])
    rows = np.insert(X, 1, 0.1, axis=1)
    images = units.to_target(units.from_source(rows), rows)
    assert np.array_equal(images[:, 1], np.full(50, 7.7))


def test_rounding_is_no_direction_and_few_rows_show_none():
    X, Y = samples()
    far = in_a_larger_space(X) + 1e4
    assert units_of(far, far, reduce=True).n_directions == 3
    assert units_of(far.astype(np.float32), far.astype(np.float32), reduce=True).n_directions == 3
    assert units_of(in_a_larger_space(X[:3]), in_a_larger_space(Y[:2]), reduce=True).basis is None


def test_the_directions_of_a_source_and_a_target_together():
    one, other = (np.outer(np.random.default_rng(seed).normal(size=50), np.eye(5)[k]) for seed, k in ((0, 1), (1, 3)))
    units = units_of(one, other, reduce=True)
    assert np.array_equal(np.flatnonzero(units.basis.any(axis=1)), [1, 3])


@pytest.mark.parametrize("cost", ["lp", "callable"])
def test_other_costs_are_not_reduced(cost):
    assert units_of(*map(in_a_larger_space, samples()), COSTS[cost], reduce=True).basis is None


def test_what_varies_little_is_not_left_out():
    X, Y = samples()
    assert units_of(X * [1.0, 1e-4, 1.0], Y * [1.0, 1e-4, 1.0], reduce=True).basis is None
    same = np.full((4, 3), 7.0)
    assert units_of(same, same, reduce=True).basis is None
    # a few rows may lie in a plane that all rows leave
    flat = X * [1.0, 1.0, 0.0]
    assert units_of(np.vstack([*[flat] * 4, X[:1]]), np.vstack([*[flat] * 4, X[:1]]), reduce=True).basis is None


@dtypes
def test_a_basis_depends_on_neither_the_order_of_rows_nor_weights(dtype):
    X, Y = (in_a_larger_space(A).astype(dtype) for A in samples())
    v = np.ones(50)
    v[:10], v[10:15] = 2, 0
    repeated = np.repeat(X, v.astype(int), axis=0)
    one, other = units_of(X, Y, v=v, reduce=True), units_of(repeated[::-1], Y[::-1], reduce=True)
    assert one.n_directions == 3
    np.testing.assert_allclose(one.basis, other.basis, atol=1e-6)


def test_units_know_which_rows_they_cover():
    X, Y = samples()
    units = units_of(in_a_larger_space(X), in_a_larger_space(Y), reduce=True)
    assert units.cover(in_a_larger_space(3 * X), in_a_larger_space(Y))
    assert not units.cover(in_a_larger_space(X, seed=1), in_a_larger_space(Y))
    assert not units.cover(in_a_larger_space(X), in_a_larger_space(Y, seed=1))
    assert units_of(X, Y, reduce=True).cover(X, Y)
