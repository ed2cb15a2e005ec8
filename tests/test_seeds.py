"""Seeds of a fit and of draws."""

import pickle

import numpy as np
import torch
from conftest import unchanged_generators

from neuralot import OTPTransport, SNOTTransport


def without_seconds(transport):
    """Return the history of a fit without its times, which vary."""
    return [record | {"seconds": 0} for record in transport.history_]


def test_fit_is_reproducible_with_seed(tiny, fitted, samples):
    X, Y = samples
    torch.manual_seed(1)
    again = tiny().fit(X, Y)
    assert np.array_equal(again.transform(X), fitted.transform(X))
    assert np.array_equal(again.sample(X, 2, random_state=0), fitted.sample(X, 2, random_state=0))
    assert without_seconds(again) == without_seconds(fitted)
    other = tiny(random_state=1).fit(X, Y)  # both fits may return the affine map
    assert without_seconds(other) != without_seconds(fitted)
    drawn = [tiny(random_state=np.random.RandomState(5)).fit(X, Y).transform(X) for _ in range(2)]
    assert np.array_equal(*drawn)


def test_fits_without_seed_differ(tiny, samples):
    X, Y = samples
    one, other = (tiny(random_state=None).fit(X, Y) for _ in range(2))
    assert np.isfinite(one.transform(X)).all()
    assert without_seconds(one) != without_seconds(other)


def test_global_generators_are_unchanged(tiny, samples):
    with unchanged_generators():
        transport = tiny().fit(*samples)
        transport.sample(samples[0], random_state=0)
        transport.score(*samples)
        pickle.loads(pickle.dumps(transport))


def test_draws_are_reproducible_with_seed(fitted, samples):
    X = samples[0]
    draws = fitted.sample(X, 4, random_state=0)
    assert np.array_equal(fitted.sample(X, 4, random_state=0), draws)
    assert np.array_equal(fitted.sample(X, 4, random_state=np.random.RandomState(0)), draws)
    assert np.array_equal(fitted.sample(X, 2, random_state=0), draws[:2])


def test_draws_differ_for_plans_and_are_equal_for_maps(samples):
    X, Y = samples
    tiny = {"max_iter": 3, "batch_size": 16, "random_state": 0}
    for transport in (OTPTransport(**tiny), SNOTTransport(**tiny, noise_dim=2)):
        draws = transport.fit(X, Y).sample(X, 3, random_state=0)
        assert not np.array_equal(draws[0], draws[1])
        assert not np.array_equal(draws, transport.sample(X, 3, random_state=1))
        assert not np.array_equal(transport.sample(X, 3), transport.sample(X, 3))
    deterministic = SNOTTransport(**tiny).fit(X, Y)
    draws = deterministic.sample(X, 3)
    assert np.array_equal(draws, np.broadcast_to(deterministic.transform(X), (3, 30, 2)))
