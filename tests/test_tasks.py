"""scikit-learn's own callbacks hear of a fit, of each of its records, and of its end; they may score it and end it."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone

from neuralot import SNOTTransport
from neuralot.estimators.tasks import AVAILABLE
from neuralot.solve import Status

pytestmark = pytest.mark.skipif(not AVAILABLE, reason="scikit-learn before 1.9 has no callbacks")


class Listener:
    """Follows scikit-learn's protocol of callbacks, and notes what it hears."""

    def __init__(self, stop_after=None, *, scores=True):
        self.heard, self.scores, self.stop_after = [], [] if scores else None, stop_after

    def setup(self, estimator, context):
        self.heard.append("setup")

    def teardown(self, estimator, context):
        self.heard.append("teardown")

    def on_fit_task_begin(self, estimator, context):
        self.heard.append(f"begin {context.task_name}")

    def on_fit_task_end(self, estimator, context, *, X=None, y=None, metadata=None, fitted_estimator=None):
        self.heard.append(f"end {context.task_name}")
        if fitted_estimator is None or self.scores is None:
            return False
        self.scores.append(fitted_estimator.score(X, y, **metadata))
        return self.stop_after is not None and len(self.scores) >= self.stop_after


def test_every_task_that_begins_ends(tiny, samples):
    listener = Listener()
    transport = tiny(max_iter=4).set_callbacks(listener).fit(*samples)
    records = ["begin record", "end record"] * (len(transport.history_) + 1)
    assert listener.heard == ["setup", "begin fit", *records, "end fit", "teardown"]


@pytest.mark.parametrize("max_iter", [1, 49, 50, 51, 101])
def test_no_fit_has_more_tasks_than_it_said(tiny, samples, max_iter):
    transport = tiny(max_iter=max_iter).set_callbacks(Listener(scores=False)).fit(*samples)
    assert transport.n_iter_ == max_iter


@pytest.mark.parametrize("named", [False, True])
def test_what_a_callback_scores_is_the_transport_of_that_moment(tiny, samples, named):
    X, Y = samples
    listener = Listener()
    fit = tiny(max_iter=20).set_callbacks(listener).fit
    transport = fit(X, np.zeros(len(X)), X_target=Y) if named else fit(X, Y)
    assert len(listener.scores) == len(transport.history_) + 1
    assert listener.scores[-1] == transport.score(X, Y)
    assert len(set(listener.scores)) > len(listener.scores) / 2
    # they change nothing
    assert np.array_equal(transport.transform(X), tiny(max_iter=20).fit(X, Y).transform(X))


def test_a_callback_may_end_a_fit(tiny, samples):
    transport = tiny(max_iter=30).set_callbacks(Listener(stop_after=3)).fit(*samples)
    assert transport.status_ is Status.STOPPED
    assert len(transport.history_) == 3


def test_a_fit_that_fails_tears_down(tiny, samples):
    listener = Listener()
    transport = tiny().set_callbacks(listener)
    with pytest.raises(ValueError, match="features"):
        transport.fit(samples[0], samples[1][:, :1])
    assert listener.heard[-1] == "teardown"
    assert not hasattr(transport, "problem_")
    transport.fit(*samples)


def test_callbacks_come_through_clones_and_stay_out_of_files(samples, tmp_path):
    transport = SNOTTransport(max_iter=3).set_callbacks(Listener()).fit(*samples)
    transport.save(tmp_path / "transport.safetensors")
    assert "setup" in pickle.loads(pickle.dumps(transport))._skl_callbacks[0].heard
    again = clone(transport).fit(*samples)
    assert again._skl_callbacks[0].heard.count("setup") == 2
