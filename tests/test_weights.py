"""Weights of source and target rows."""

import numpy as np
import ot
import pytest
from conftest import make, slow_w2gn

from neuralot import W2GNTransport
from neuralot.datasets import make_convex_potential
from neuralot.metrics import mode_coverage


@pytest.mark.parametrize("seed", range(3))
def test_order_of_rows_has_no_influence(tiny, samples, seed):
    (X, Y), rng = samples, np.random.default_rng(seed)
    v, w = rng.random(30), rng.random(40)
    i, j = rng.permutation(30), rng.permutation(40)
    one = tiny().fit(X, Y, sample_weight=v, sample_weight_target=w)
    other = tiny().fit(X[i], Y[j], sample_weight=v[i], sample_weight_target=w[j])
    assert np.array_equal(one.transform(X), other.transform(X))
    assert one.transport_cost_ == pytest.approx(other.transport_cost_, rel=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_weights_are_equivalent_to_repetitions(tiny, samples, seed):
    (X, Y), rng = samples, np.random.default_rng(seed)
    v, w = rng.integers(0, 4, size=30), rng.integers(0, 4, size=40)
    weighted = tiny().fit(X, Y, sample_weight=v, sample_weight_target=w)
    repeated = tiny().fit(np.repeat(X, v, axis=0), np.repeat(Y, w, axis=0))
    assert np.array_equal(weighted.transform(X), repeated.transform(X))
    assert np.array_equal(weighted.sample(X, 2, 0), repeated.sample(X, 2, 0))


@pytest.mark.parametrize("factor", [2.0**-20, 1.0, 3.0, 1e6])
def test_weights_need_not_sum_to_one(tiny, fitted, samples, factor):
    X, Y = samples
    transport = tiny().fit(X, Y, sample_weight=np.full(30, factor), sample_weight_target=[factor] * 40)
    assert np.array_equal(transport.transform(X), fitted.transform(X))


@pytest.mark.parametrize("scale", [5e-324, 1e-310, 1e-200, 1e300])
def test_weights_may_be_tiny_or_huge(tiny, fitted, samples, scale):
    (X, Y), steps = samples, np.arange(1.0, 31)
    transport = tiny().fit(X, Y, sample_weight=np.full(30, scale), sample_weight_target=[scale] * 40)
    assert np.array_equal(transport.transform(X), fitted.transform(X))
    exact = 2.0 ** np.floor(np.log2(scale))
    one, other = (tiny().fit(X, Y, sample_weight=weights) for weights in (exact * steps, steps))
    assert np.array_equal(one.transform(X), other.transform(X))
    assert one.transport_cost_ == pytest.approx(other.transport_cost_)


def test_ratios_of_weights_may_be_extreme(tiny, samples):
    X, Y = samples
    weights = np.full(30, 1e-308)
    weights[7] = 1e308
    transport = tiny().fit(X, Y, sample_weight=weights)
    assert np.isfinite(transport.transform(X)).all()
    assert np.isfinite(transport.transport_cost_)


def test_target_weights_determine_mass_of_images(transport_class):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 2))
    Y = np.concatenate([rng.normal(size=(150, 2)) - 8, rng.normal(size=(150, 2)) + 8])
    for side, weights in ((0, np.repeat([1.0, 0.0], 150)), (1, np.repeat([0.0, 1.0], 150))):
        transport = transport_class(max_iter=30, random_state=0).fit(X, Y, sample_weight_target=weights)
        shares = mode_coverage(transport.sample(X)[0], [[-8, -8], [8, 8]])
        assert shares[side] == 1


def test_source_weights_determine_source_law(transport_class):
    rng = np.random.default_rng(0)
    X = np.concatenate([rng.normal(size=(150, 2)) - 8, rng.normal(size=(150, 2)) + 8])
    Y = rng.normal(size=(300, 2))
    transport = transport_class(max_iter=30, random_state=0).fit(X, Y, sample_weight=np.repeat([1.0, 0.0], 150))
    np.testing.assert_allclose(transport.transform(X[:150]).mean(0), Y.mean(0), atol=0.3)


@slow_w2gn
def test_weighted_fit_agrees_with_exact_plan(transport_class):
    X, Y = make_convex_potential(2).sample(800, random_state=0)
    v, w = np.exp(X[:, 0]), np.exp(-Y[:, 0])
    steps = 1200 if transport_class is W2GNTransport else 600  # W2GN converges more slowly
    transport = make(transport_class, max_iter=steps, batch_size=128, random_state=0)
    images = transport.fit(X, Y, sample_weight=v, sample_weight_target=w).transform(X)

    def error(a, b):
        """Return the error in %, with respect to the barycentres of the exact plan with these weights."""
        plan = ot.emd(a / a.sum(), b / b.sum(), ot.dist(X, Y), numItermax=10**6)
        barycentres = plan @ Y / plan.sum(axis=1, keepdims=True)
        deviation = np.average(((images - barycentres) ** 2).sum(axis=1), weights=v)
        return 100 * deviation / np.cov(Y.T, aweights=w).trace()

    assert error(v, w) < 2
    assert error(np.ones(800), np.ones(800)) > 20
