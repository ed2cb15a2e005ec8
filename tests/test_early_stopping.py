"""Early stopping: end of the fit, and restored weights."""

import copy

import numpy as np
import pytest
import torch
from conftest import make_tiny, streams

from neuralot import OTPTransport, SNOTTransport
from neuralot.solve import Status


@streams
def test_early_stopping_ends_fit_without_improvement(tiny, samples):
    transport = tiny(max_iter=500, early_stopping=True, n_iter_no_change=20, tol=10.0).fit(*samples)
    assert transport.status_ is Status.STOPPED
    # OTP starts to count when its noise has reached the last level
    start = 350 if "eps_min" in transport.get_params() else 0
    assert start + 20 <= transport.n_iter_ < start + 60
    assert all(np.isfinite(record["validation"]) for record in transport.history_)


def test_early_stopping_restores_best_weights(samples):
    # nothing counts as an improvement after the first record, so the weights of step 1 are restored
    stopping = {"early_stopping": True, "n_iter_no_change": 20, "tol": 10.0}
    stopped = make_tiny(SNOTTransport, max_iter=500, **stopping).fit(*samples)
    once = make_tiny(SNOTTransport, max_iter=1, **stopping).fit(*samples)
    np.testing.assert_allclose(stopped.transform(samples[0]), once.transform(samples[0]), atol=1e-5)


def test_early_stopping_restores_only_weights_of_last_noise_level(samples):
    recorded = []

    def record_weights(step, problem, record):
        if problem.settled(record["progress"]):
            recorded.append((record["validation"], copy.deepcopy(problem.state_dict())))
        return False

    parameters = {"max_iter": 200, "early_stopping": True, "tol": 0.0, "callbacks": [record_weights]}
    transport = make_tiny(OTPTransport, **parameters).fit(*samples)
    assert 0 < len(recorded) < len(transport.history_) / 2
    best = min(recorded, key=lambda each: each[0])[1]
    last = transport.problem_.state_dict()
    assert last.pop("_extra_state") == best.pop("_extra_state")
    assert all(torch.equal(best[name], weight) for name, weight in last.items())


@streams
def test_early_stopping_respects_sample_weights(transport_class):
    # most of the target's weight is on the left, so most images are, with or without held-out rows
    rng = np.random.default_rng(0)
    X = rng.normal(size=(600, 2))
    Y = rng.normal(size=(600, 2)) + np.repeat([[-4, 0], [4, 0]], 300, axis=0)
    w = np.repeat([0.9, 0.1], 300)
    transport = transport_class(max_iter=300, batch_size=128, early_stopping=True, random_state=0)
    transport.fit(X, Y, sample_weight_target=w)
    assert np.mean(transport.sample(X, random_state=0)[0, :, 0] < 0) == pytest.approx(0.9, abs=0.04)


@streams
def test_early_stopping_does_not_end_improving_fit(tiny, samples):
    transport = tiny(max_iter=10, early_stopping=True, n_iter_no_change=10).fit(*samples)
    assert transport.n_iter_ == 10
