"""Ctrl-C ends a fit, which keeps its current or best weights."""

import os
import signal
import threading

import numpy as np
import pytest
import torch
from conftest import flat_weights, make_tiny, streams
from sklearn.exceptions import ConvergenceWarning

from neuralot import SNOTTransport
from neuralot.solve import Status


def interrupt_at(last_step):
    def callback(step, problem, record):
        if step >= last_step:
            raise KeyboardInterrupt
        return False

    return callback


def test_interrupted_fit_keeps_current_weights(tiny, samples):
    X, Y = samples
    recorded = []

    def record_weights(step, problem, record):
        recorded.append(flat_weights(problem))
        return False

    with pytest.warns(ConvergenceWarning, match="interrupted"):
        transport = tiny(max_iter=20, callbacks=[record_weights, interrupt_at(10)]).fit(X, Y)
    assert transport.status_ is Status.INTERRUPTED
    assert transport.n_iter_ == 10
    assert len(transport.history_) == 10
    assert torch.equal(flat_weights(transport.problem_), recorded[-1])
    assert np.isfinite(transport.transform(X)).all()
    assert np.isfinite(transport.transport_cost_)


@streams
def test_interrupted_early_stopping_restores_best_weights(tiny, samples):
    recorded = []

    def record_weights(step, problem, record):
        if problem.settled(record["progress"]):
            recorded.append((record["validation"], flat_weights(problem)))
        return False

    settings = {"early_stopping": True, "tol": 0.0, "learning_rate_init": 0.05}
    with pytest.warns(ConvergenceWarning, match="interrupted"):
        transport = tiny(max_iter=60, callbacks=[record_weights, interrupt_at(55)], **settings).fit(*samples)
    best = min(recorded, key=lambda each: each[0])[1]
    assert torch.equal(flat_weights(transport.problem_), best)


def test_interrupted_early_stopping_evaluates_current_weights(samples):
    # the cost counts its calls and raises KeyboardInterrupt between the first and the second record
    calls = []

    def cost(x, y):
        calls.append(None)
        if len(calls) == 1500:
            raise KeyboardInterrupt
        return (x - y).square().sum(-1)

    X, Y = samples
    settings = {"map_form": "network", "batch_size": 16, "hidden_layer_sizes": (8, 8), "random_state": 0}
    settings |= {"max_iter": 10**5, "early_stopping": True, "cost": cost}
    first = SNOTTransport(**{**settings, "callbacks": [lambda step, problem, record: True]}).fit(X, Y + 5)
    calls.clear()
    transport = SNOTTransport(**settings)

    with pytest.warns(ConvergenceWarning, match="interrupted"):
        transport.fit(X, Y + 5)
    assert len(transport.history_) == 1
    assert transport.n_iter_ > 50
    assert first.n_iter_ == 1
    assert np.abs(transport.transform(X) - first.transform(X)).max() > 0.5


@pytest.fixture
def ctrl_c():
    """Install Python's handler of SIGINT, which is missing in processes started in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c")
def test_signal_ends_long_fit(samples):
    def interrupt_soon(step, problem, record):
        if step == 1:  # the loop runs, however long the preparation took
            threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
        return False

    with pytest.warns(ConvergenceWarning, match="interrupted"):
        transport = make_tiny(SNOTTransport, max_iter=10**7, max_time=60, callbacks=[interrupt_soon]).fit(*samples)
    assert transport.status_ is Status.INTERRUPTED
    assert 0 < transport.n_iter_ < 10**7
    assert np.isfinite(transport.transform(samples[0])).all()


@streams
def test_partial_fit_may_be_interrupted(tiny, samples):
    transport = tiny().partial_fit(*samples)
    with pytest.warns(ConvergenceWarning, match="interrupted"):
        transport.set_params(callbacks=[interrupt_at(0)]).partial_fit(np.tile(samples[0], (9, 1)), samples[1])
    assert transport.n_iter_ > 3
    transport.set_params(callbacks=None).partial_fit(*samples)
    assert transport.status_ is Status.PASSED
