"""Transport cost and score of a fit."""

import numpy as np
import pytest
from conftest import make

from neuralot import OTPTransport
from neuralot.datasets import make_one_to_many, small_pairs
from neuralot.metrics import sinkhorn_divergence


def test_transport_cost_equals_mean_cost_of_draws(tiny, samples):
    X, Y = samples
    v = np.random.default_rng(0).random(30)
    transport = tiny(max_iter=20).fit(X, Y, sample_weight=v)
    draws = transport.sample(X, 200, random_state=0)
    expected = np.average(((draws - X) ** 2).sum(-1).mean(0), weights=v)
    assert transport.transport_cost_ == pytest.approx(expected, rel=0.1)
    assert tiny().fit(X, X + 5).transport_cost_ == pytest.approx(50, rel=0.1)


def test_score_equals_minus_sinkhorn_divergence_of_draws(fitted, samples):
    X, Y = samples
    expected = -sinkhorn_divergence(fitted.sample(X, random_state=0)[0], Y)
    assert fitted.score(X, Y) == fitted.score(X, X_target=Y) == pytest.approx(expected)
    assert fitted.score(X, Y + 10) < fitted.score(X, Y) <= 0


def test_better_fit_has_higher_score(transport_class):
    X, Y = small_pairs()[4].sample(300, random_state=0)
    Y = np.abs(Y)  # not an affine image of X
    short, long = (make(transport_class, max_iter=n, batch_size=64, random_state=0).fit(X, Y) for n in (1, 300))
    assert short.score(X, Y) < long.score(X, Y)


@pytest.mark.parametrize("side", ["source", "target"])
def test_score_treats_weights_as_repetitions(transport_class, side):
    if transport_class is OTPTransport and side == "source":
        pytest.skip("repeated rows have different noise, see the next test")
    X, Y = small_pairs()[4].sample(300, random_state=0)
    fitted = make(transport_class, max_iter=100, batch_size=64, random_state=0).fit(X, Y)
    subset, counts = [X[:40], Y[:40]], np.random.default_rng(0).integers(0, 8, size=40)
    name, k = ("sample_weight", 0) if side == "source" else ("sample_weight_target", 1)
    weighted, plain = fitted.score(*subset, **{name: counts}), fitted.score(*subset)
    subset[k] = subset[k].repeat(counts, axis=0)
    assert weighted == pytest.approx(fitted.score(*subset), rel=1e-5)
    assert abs(plain / weighted - 1) > 1e-3


def test_score_repeats_rows_of_large_weight():
    X, Y = make_one_to_many(2).sample(300, random_state=0)
    fitted = OTPTransport(max_iter=150, batch_size=64, random_state=0).fit(X, Y)
    single_row_weights = np.eye(1, 300)[0]
    assert fitted.score(X, Y, sample_weight=single_row_weights) == pytest.approx(
        fitted.score(X[:1].repeat(300, axis=0), Y)
    )
