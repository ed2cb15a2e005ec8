"""partial_fit: accuracy, drift, continuation and invalid calls."""

import copy
import pickle

import numpy as np
import pytest
from conftest import STREAMS, takes
from sklearn.exceptions import ConvergenceWarning

import neuralot
from neuralot import OTPTransport
from neuralot.costs import Lp
from neuralot.datasets import make_gaussians
from neuralot.estimators import fitting
from neuralot.metrics import l2_uvp
from neuralot.solve import Status


@pytest.fixture(params=STREAMS, ids=lambda cls: cls.__name__)
def transport_class(request):
    """Classes with `partial_fit`."""
    return request.param


def sample_parts(pair, n_parts, n_rows=512):
    return [pair.sample(n_rows, random_state=seed) for seed in range(n_parts)]


def test_partial_fit_makes_one_pass(tiny, samples):
    X, Y = samples  # 30 and 40 rows, batches of 16
    transport = tiny()
    assert transport.partial_fit(X, Y) is transport
    assert transport.n_iter_ == 3
    assert transport.status_ is Status.PASSED
    transport.partial_fit(np.repeat(X, 5, axis=0), X_target=Y[:10])
    assert transport.n_iter_ == 5
    assert [record["step"] for record in transport.history_] == sorted(record["step"] for record in transport.history_)
    assert transport.history_[-1]["step"] == 5


def test_history_of_a_long_stream_is_thinned(tiny, samples, monkeypatch):
    monkeypatch.setattr(fitting, "MAX_RECORDS", 20)
    transport = tiny()
    for _ in range(30):
        transport.partial_fit(*samples)
        assert len(transport.history_) <= 20
    steps = [record["step"] for record in transport.history_]
    assert steps == sorted(set(steps))
    assert (steps[0], steps[-1]) == (1, 90)
    assert max(np.diff(steps)) <= 12  # evenly


def test_stream_after_max_time_fit_keeps_last_level(samples):
    X, Y = samples
    transport = OTPTransport(max_time=1e-9, batch_size=16, random_state=0).fit(X, Y)
    last = transport.history_[-1]["eps"]
    for _ in range(2):
        transport.partial_fit(X, Y)
    assert transport.n_iter_ == 7
    assert {record["eps"] for record in transport.history_[1:]} == {transport.problem_.smoothing.eps_min} == {last}


@pytest.mark.parametrize("factor", [1e-3, 1e3])
@pytest.mark.parametrize("method", ["partial_fit", "warm_start"])
def test_rows_in_other_units_cause_warning(tiny, samples, method, factor):
    X, Y = samples
    transport = tiny(warm_start=True).fit(X, Y)
    resume = transport.partial_fit if method == "partial_fit" else transport.fit
    resume(3 * X + 10, 2 * Y)  # a drift causes no warning
    with pytest.warns() as caught:  # the warm start may also diverge
        resume(factor * X, factor * Y)
    assert any("times that of" in str(warning.message) for warning in caught)


@pytest.mark.slow
def test_stream_is_more_accurate_than_fit_of_first_part(transport_class):
    pair = make_gaussians(2)
    stream = sample_parts(pair, 40)  # of 8 steps
    X, _ = pair.sample(2000, 1, random_state=99)
    exact, variance = pair.exact_map(X), stream[0][1].var(axis=0).sum()
    transport = transport_class(max_iter=320, batch_size=64, random_state=0)
    for x, y in stream:
        transport.partial_fit(x, y)
    assert transport.n_iter_ == 320
    once = transport_class(max_iter=320, batch_size=64, random_state=0).fit(*stream[0])
    errors = [l2_uvp(each.transform(X), exact, variance) for each in (transport, once)]
    # measured: 0.3 and 0.5
    assert errors[0] < 0.7 * errors[1]


def test_stream_continues_with_its_optimisers(tiny, samples):
    X, Y = samples
    one = tiny(max_iter=20).partial_fit(X, Y)
    two = copy.copy(one)
    before = one.transform(X)
    first = one.problem_
    one.partial_fit(X, Y)
    assert first is not one.problem_
    two.problem_ = first
    assert np.array_equal(two.transform(X), before)
    # optimisers continue, too: a pickled transport has new optimisers and differs
    restored = pickle.loads(pickle.dumps(tiny(max_iter=20).partial_fit(X, Y))).partial_fit(X, Y)
    assert restored.n_iter_ == one.n_iter_
    assert np.isfinite(restored.transform(X)).all()
    assert not np.array_equal(restored.transform(X), one.transform(X))


def test_stream_is_reproducible(tiny, samples):
    one, other = (tiny().partial_fit(*samples).partial_fit(*samples) for _ in range(2))
    assert np.array_equal(one.transform(samples[0]), other.transform(samples[0]))


def test_smoothing_decreases_over_first_max_iter_steps(samples):
    transport = OTPTransport(max_iter=10, batch_size=40, eps_max=1.0, eps_min=0.01, random_state=0)
    levels = []
    for _ in range(14):
        transport.partial_fit(*samples)
        levels.append(transport.history_[-1]["eps"])
    assert levels[0] == pytest.approx(0.01 ** (0.1 / 0.7))
    assert all(level == pytest.approx(0.01) for level in levels[6:])
    assert levels[:7] == sorted(levels[:7], reverse=True)


@pytest.mark.slow
def test_stream_follows_drift(transport_class):
    rng = np.random.default_rng(0)
    transport = transport_class(max_iter=100, batch_size=64, random_state=0)
    images = []
    for shift, n_parts in ((3.0, 10), (4.0, 70)):
        for _ in range(n_parts):  # of 10 steps
            transport.partial_fit(rng.normal(size=(640, 2)), rng.normal(size=(640, 2)) + shift)
        images.append(transport.transform(np.zeros((1, 2))))
    np.testing.assert_allclose(images[0], 3.0, atol=0.15)
    np.testing.assert_allclose(images[1], 4.0, atol=0.15)


def test_partial_fit_continues_from_fit(tiny, samples):
    X, Y = samples
    transport = tiny(max_iter=40).fit(X, Y)
    before, units = transport.transform(X), transport.units_
    transport.partial_fit(X, Y)
    assert (transport.units_.source_centre == units.source_centre).all()
    assert transport.units_.scale == units.scale
    assert transport.n_iter_ == 43
    assert 0 < np.abs(transport.transform(X) - before).max() < 0.5
    assert np.array_equal(transport.fit(X, Y).transform(X), before)


@pytest.mark.parametrize("changed", [{"hidden_layer_sizes": (3,)}, {"cost": Lp(1.5)}, {"map_form": "network"}], ids=str)
def test_parameters_of_networks_must_not_change(tiny, transport_class, samples, changed):
    if not takes(transport_class, changed):
        pytest.skip("not a parameter of this estimator")
    transport = tiny().partial_fit(*samples)
    (name,) = changed
    before = getattr(transport, name)
    with pytest.raises(ValueError, match=f"{name} must remain .*, its value in the first call of partial_fit"):
        transport.set_params(**changed).partial_fit(*samples)
    assert transport.n_iter_ == 3
    transport.set_params(**{name: before}).partial_fit(*samples)


def test_batch_size_may_change(tiny, transport_class, samples, tmp_path):
    options = {"cost": Lp(1.5)} if takes(transport_class, ["cost"]) else {}
    transport = tiny(**options).partial_fit(*samples).set_params(batch_size=4, verbose=False, random_state=3)
    transport.save(tmp_path / "transport")
    transport = neuralot.load(tmp_path / "transport").partial_fit(*samples)
    assert transport.n_iter_ == 3 + 10
    loaded = pickle.loads(pickle.dumps(transport))
    assert np.array_equal(loaded.transform(samples[0]), transport.transform(samples[0]))


def test_partial_fit_respects_weights(transport_class):
    rng = np.random.default_rng(0)
    transport = transport_class(max_iter=60, batch_size=64, random_state=0)
    for _ in range(30):
        X, Y = rng.normal(size=(2, 256, 2))
        Y[:128] += 4
        transport.partial_fit(X, Y, sample_weight_target=np.repeat([1.0, 0.0], 128))
    np.testing.assert_allclose(transport.transform(np.zeros((1, 2))), 4.0, atol=0.3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"early_stopping": True}, "early_stopping must be False for partial_fit"),
        ({"max_iter": 0}, "max_iter must be"),
    ],
)
def test_bad_parameters_are_rejected(tiny, samples, options, message):
    transport = tiny().partial_fit(*samples).set_params(**options)
    before = dict(vars(transport))
    with pytest.raises(ValueError, match=message):
        transport.partial_fit(*samples)
    assert vars(transport) == before


def test_other_columns_are_rejected(tiny, samples):
    transport = tiny().partial_fit(*samples)
    before = dict(vars(transport))
    for X, Y in ((np.ones((5, 3)), np.ones((5, 3))), (samples[0], np.ones((5, 3)))):
        with pytest.raises(ValueError, match="features"):
            transport.partial_fit(X, Y)
    assert vars(transport) == before


def test_failing_callback_leaves_transport_unchanged(tiny, samples):
    transport = tiny().partial_fit(*samples)
    before = transport.transform(samples[0])

    def fail(step, problem, record):
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        transport.set_params(callbacks=[fail]).partial_fit(*samples)
    assert np.array_equal(transport.transform(samples[0]), before)
    assert transport.n_iter_ == 3
    transport.set_params(callbacks=None).partial_fit(*samples)
    assert transport.n_iter_ == 6


def test_diverged_stream_continues_from_best_weights(tiny, samples):
    transport = tiny(max_iter=400, learning_rate_init=1e4)
    with pytest.warns(ConvergenceWarning, match="diverged"):
        transport.partial_fit(np.repeat(samples[0], 100, axis=0) + np.arange(3000)[:, None] * 1e-3, samples[1])
    assert transport._solution is None
    assert np.isfinite(transport.transform(samples[0])).all()
    transport.set_params(learning_rate_init=1e-3).partial_fit(*samples)
