"""Warm starts continue from the previous fit."""

import numpy as np
from conftest import games, streams

from neuralot import SNOTTransport


@games
def test_warm_start_continues_from_last_weights_and_units(tiny, samples):
    X, Y = samples
    short = {"map_form": "network"}  # the network form does not fall back to the affine map
    transport = tiny(max_iter=200, learning_rate_init=0.01, warm_start=True, **short).fit(X, Y)
    units, before = transport.units_, transport.transform(X)
    transport.set_params(max_iter=1, learning_rate_init=1e-7).fit(X + 1, Y)
    assert (transport.units_.source_centre == units.source_centre).all()
    assert transport.units_.scale == units.scale
    assert (transport.units_.source_range == [X.min(axis=0), X.max(axis=0) + 1]).all()
    np.testing.assert_allclose(transport.transform(X), before, atol=1e-4)
    cold = tiny(max_iter=1, learning_rate_init=1e-7, **short).fit(X, Y)
    assert np.abs(cold.transform(X) - before).max() > 1e-2


def test_warm_start_keeps_automatic_networks():
    rng = np.random.default_rng(0)
    transport = SNOTTransport(max_iter=2, warm_start=True).fit(rng.normal(size=(100, 2)), rng.normal(size=(100, 2)))
    transport.fit(rng.normal(size=(40_000, 2)), rng.normal(size=(40_000, 2)))
    assert transport._fitted_params.activation == "silu"
    assert transport._fitted_params.batch_size == 1024
    assert (
        transport.set_params(warm_start=False).fit(*rng.normal(size=(2, 40_000, 2)))._fitted_params.activation == "tanh"
    )


@streams
def test_warm_start_of_unfitted_estimator_equals_fit(tiny, fitted, samples):
    transport = tiny(warm_start=True).fit(*samples)
    assert np.array_equal(transport.transform(samples[0]), fitted.transform(samples[0]))
