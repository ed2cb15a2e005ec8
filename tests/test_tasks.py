"""scikit-learn's callbacks are called for each fit and record, may score the transport and end the fit."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone

from neuralot import SNOTTransport
from neuralot.estimators.tasks import AVAILABLE
from neuralot.solve import Status

pytestmark = pytest.mark.skipif(not AVAILABLE, reason="scikit-learn before 1.9 has no callbacks")


class RecordingCallback:
    """Callback with scikit-learn's protocol that records its calls."""

    def __init__(self, stop_after=None, *, scores=True):
        self.events, self.scores, self.stop_after = [], [] if scores else None, stop_after

    def setup(self, estimator, context):
        self.events.append("setup")

    def teardown(self, estimator, context):
        self.events.append("teardown")

    def on_fit_task_begin(self, estimator, context):
        self.events.append(f"begin {context.task_name}")

    def on_fit_task_end(self, estimator, context, *, X=None, y=None, metadata=None, fitted_estimator=None):
        self.events.append(f"end {context.task_name}")
        if fitted_estimator is None or self.scores is None:
            return False
        self.scores.append(fitted_estimator.score(X, y, **metadata))
        return self.stop_after is not None and len(self.scores) >= self.stop_after


def test_all_tasks_begin_and_end(tiny, samples):
    callback = RecordingCallback()
    transport = tiny(max_iter=4).set_callbacks(callback).fit(*samples)
    records = ["begin record", "end record"] * (len(transport.history_) + 1)
    assert callback.events == ["setup", "begin fit", *records, "end fit", "teardown"]


@pytest.mark.parametrize("max_iter", [1, 50, 101])
def test_number_of_tasks_is_at_most_the_announced_number(tiny, samples, max_iter):
    transport = tiny(max_iter=max_iter).set_callbacks(RecordingCallback(scores=False)).fit(*samples)
    assert transport.n_iter_ == max_iter


@pytest.mark.parametrize("use_X_target", [False, True])
def test_callback_scores_current_transport(tiny, samples, use_X_target):
    X, Y = samples
    callback = RecordingCallback()
    fit = tiny(max_iter=20).set_callbacks(callback).fit
    transport = fit(X, np.zeros(len(X)), X_target=Y) if use_X_target else fit(X, Y)
    assert len(callback.scores) == len(transport.history_) + 1
    assert callback.scores[-1] == transport.score(X, Y)
    assert len(set(callback.scores)) > len(callback.scores) / 2
    # callbacks do not change the result
    assert use_X_target or np.array_equal(transport.transform(X), tiny(max_iter=20).fit(X, Y).transform(X))


def test_callback_may_end_fit(tiny, samples):
    transport = tiny(max_iter=30).set_callbacks(RecordingCallback(stop_after=3)).fit(*samples)
    assert transport.status_ is Status.STOPPED
    assert len(transport.history_) == 3


def test_failed_fit_tears_callbacks_down(tiny, samples):
    callback = RecordingCallback()
    transport = tiny().set_callbacks(callback)
    with pytest.raises(ValueError, match="features"):
        transport.fit(samples[0], samples[1][:, :1])
    assert callback.events[-1] == "teardown"
    assert not hasattr(transport, "problem_")
    transport.fit(*samples)


def test_callbacks_are_cloned_and_pickled(samples, tmp_path):
    transport = SNOTTransport(max_iter=3).set_callbacks(RecordingCallback()).fit(*samples)
    transport.save(tmp_path / "transport.safetensors")
    assert "setup" in pickle.loads(pickle.dumps(transport))._skl_callbacks[0].events
    cloned = clone(transport).fit(*samples)
    assert cloned._skl_callbacks[0].events.count("setup") == 2
