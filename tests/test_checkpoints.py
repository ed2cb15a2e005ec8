"""A fit that was killed continues from its checkpoint, with the bits of an uninterrupted one."""

import contextlib
import os
import signal
import threading
import time
import warnings

import numpy as np
import pytest
import torch
from conftest import TRANSPORTS, flat_weights, make_tiny, takes
from sklearn.exceptions import ConvergenceWarning
from torch import nn

from neuralot import OTNetTransport, OTPTransport, SNOTTransport
from neuralot.exceptions import CheckpointWarning
from neuralot.solve import Status

N_STEPS = 60
VARIANTS = [
    *((cls, {}) for cls in TRANSPORTS),
    (SNOTTransport, {"map_form": "network"}),
    (OTPTransport, {"map_form": "network"}),
    (OTPTransport, {"noise_shape": "isotropic", "optimizer": "adam"}),
    (SNOTTransport, {"early_stopping": True, "n_iter_no_change": 10_000}),
]
variants = pytest.mark.parametrize(("cls", "options"), VARIANTS, ids=str)
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


def kill_at(last_step):
    """Return a callback that ends the process, as the out-of-memory killer does."""

    def callback(step, problem, record):
        if step >= last_step:
            os.kill(os.getpid(), signal.SIGKILL)
        return False

    return callback


@contextlib.contextmanager
def child(function):
    """Run a function in a child process, which need not end by itself."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside pytest's threads
        pid = os.fork()
    if pid == 0:
        with contextlib.suppress(BaseException):
            warnings.simplefilter("ignore")
            function()
        os._exit(0)
    yield pid
    with contextlib.suppress(ChildProcessError):  # waited for in the block
        os.waitpid(pid, 0)


def time_of(path):
    """Return the time of the last change of a file, or None if there is none."""
    with contextlib.suppress(FileNotFoundError):
        return path.stat().st_mtime_ns


def without_seconds(history):
    return [{name: value for name, value in record.items() if name != "seconds"} for record in history]


def assert_same_fit(transport, expected, X):
    assert without_seconds(transport.history_) == without_seconds(expected.history_)
    assert torch.equal(flat_weights(transport.problem_), flat_weights(expected.problem_))
    assert np.array_equal(transport.transform(X), expected.transform(X))
    assert np.array_equal(transport.uncertainty(X), expected.uncertainty(X))
    assert (transport.n_iter_, transport.status_) == (expected.n_iter_, expected.status_)


@variants
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_killed_fit_has_bits_of_uninterrupted_fit(cls, options, samples, tmp_path):
    settings = {"max_iter": N_STEPS, **options}
    expected = make_tiny(cls, **settings).fit(*samples)
    settings |= {"checkpoint": tmp_path / "fit", "checkpoint_interval": 0}
    for last_step in (7, 30, 55):
        transport = make_tiny(cls, **settings, callbacks=[kill_at(last_step)])
        with child(lambda transport=transport: transport.fit(*samples)):
            pass
        assert (tmp_path / "fit").exists()
    transport = make_tiny(cls, **settings).fit(*samples)
    assert_same_fit(transport, expected, samples[0])
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@variants
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_fit_killed_at_twenty_random_moments(cls, options, tmp_path):
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(300, 3)), rng.normal(size=(200, 3)) * [1, 2, 3] + 1
    settings = {"max_iter": 600, "random_state": 0, "hidden_layer_sizes": (16, 16), **options}
    expected = cls(**settings).fit(X, Y)
    settings |= {"checkpoint": tmp_path / "fit", "checkpoint_interval": 0.01}
    n_killed = 0
    while n_killed < 20:
        written = time_of(tmp_path / "fit")
        # a fit that ends before it is killed removes its checkpoint, and the next one starts again
        with child(lambda: cls(**settings).fit(X, Y)) as pid:
            ended = 0
            while time_of(tmp_path / "fit") == written and not ended:
                time.sleep(0.002)
                ended, _ = os.waitpid(pid, os.WNOHANG)
            if not ended:
                time.sleep(rng.uniform(0, 0.05))
                os.kill(pid, signal.SIGKILL)
                n_killed += 1
    assert_same_fit(cls(**settings).fit(X, Y), expected, X)
    assert not (tmp_path / "fit").exists()


class Dropout(nn.Sequential):
    """Network that draws from torch's global generator."""

    def __init__(self, n_features):
        super().__init__(nn.Linear(n_features, 8), nn.Dropout(0.3), nn.Tanh(), nn.Linear(8, 1))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_global_generators_and_callbacks_continue(samples, tmp_path):
    class Sum:
        total = 0.0

        def __call__(self, step, problem, record):
            self.total += record["discrepancy"]
            return False

        def state_dict(self):
            return {"total": self.total}

        def load_state_dict(self, state):
            self.total = state["total"]

    settings = {"max_iter": N_STEPS, "potential_network": Dropout, "map_form": "gradient"}
    expected, last = Sum(), Sum()
    uninterrupted = make_tiny(SNOTTransport, **settings, callbacks=[expected]).fit(*samples)
    settings |= {"checkpoint": tmp_path / "fit", "checkpoint_interval": 0}
    transport = make_tiny(SNOTTransport, **settings, callbacks=[Sum(), kill_at(30)])
    with child(lambda: transport.fit(*samples)):
        pass
    resumed = make_tiny(SNOTTransport, **settings, callbacks=[last]).fit(*samples)
    assert_same_fit(resumed, uninterrupted, samples[0])
    assert last.total == expected.total


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_fit_without_seed_continues_with_the_seed_of_the_first_part(samples, tmp_path):
    settings = {"max_iter": N_STEPS, "checkpoint": tmp_path / "fit", "checkpoint_interval": 0, "random_state": None}
    with child(lambda: make_tiny(OTPTransport, **settings, callbacks=[kill_at(30)]).fit(*samples)):
        pass
    saved = (tmp_path / "fit").read_bytes()
    first = make_tiny(OTPTransport, **settings).fit(*samples)
    (tmp_path / "fit").write_bytes(saved)
    assert_same_fit(make_tiny(OTPTransport, **settings).fit(*samples), first, samples[0])


def interrupted(samples, path, **options):
    """Leave the checkpoint of an interrupted fit."""

    def interrupt(step, problem, record):
        if step >= 20:
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGTERM)  # from a batch system and from torchrun
        return False

    settings = {"max_iter": N_STEPS, "checkpoint": path, "callbacks": [interrupt], **options}
    with pytest.warns(ConvergenceWarning, match="interrupted"):
        return make_tiny(SNOTTransport, **settings).fit(*samples)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_terminated_fit_keeps_weights_and_continues(samples, tmp_path):
    expected = make_tiny(SNOTTransport, max_iter=N_STEPS).fit(*samples)
    transport = interrupted(samples, tmp_path / "fit")
    assert transport.status_ is Status.INTERRUPTED
    assert np.isfinite(transport.transform(samples[0])).all()
    assert 20 <= transport.n_iter_ < N_STEPS
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    resumed = make_tiny(SNOTTransport, max_iter=N_STEPS, checkpoint=tmp_path / "fit").fit(*samples)
    assert_same_fit(resumed, expected, samples[0])
    assert vars(resumed._fitted_params) == vars(expected._fitted_params) | {"checkpoint": tmp_path / "fit"}
    assert resumed.partial_fit(*samples).status_ is Status.PASSED


def test_second_signal_leaves_at_once(samples):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    seen = []

    def twice(step, problem, record):
        seen.append(step)
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        seen.append("not reached")

    transport = make_tiny(SNOTTransport, callbacks=[twice])
    try:
        with pytest.raises(KeyboardInterrupt):
            transport.fit(*samples)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert seen == [1]
    assert not hasattr(transport, "problem_")


def test_own_handlers_are_not_replaced(samples):
    received = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: received.append(number))
    try:
        callback = lambda step, problem, record: signal.raise_signal(signal.SIGTERM)  # noqa: E731
        transport = make_tiny(SNOTTransport, callbacks=[callback]).fit(*samples)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert transport.n_iter_ == 3
    assert received == [signal.SIGTERM] * len(transport.history_)


def test_fit_in_a_thread_leaves_the_handlers(samples):
    found = []
    callback = lambda step, problem, record: found.append(signal.getsignal(signal.SIGINT))  # noqa: E731
    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=make_tiny(SNOTTransport, callbacks=[callback]).fit, args=samples)
    thread.start()
    thread.join()
    assert found
    assert set(found) == {before}


@pytest.mark.parametrize(
    ("name", "value"),
    [("max_iter", 70), ("learning_rate_init", 0.5), ("random_state", 1), ("hidden_layer_sizes", (8, 9))],
)
def test_other_parameters_are_named(name, value, samples, tmp_path):
    interrupted(samples, tmp_path / "fit")
    content = (tmp_path / "fit").read_bytes()
    transport = make_tiny(SNOTTransport, **{"max_iter": N_STEPS, "checkpoint": tmp_path / "fit", name: value})
    with pytest.raises(ValueError, match=rf"written by a fit with {name}=.*delete the file"):
        transport.fit(*samples)
    assert not hasattr(transport, "problem_")
    assert (tmp_path / "fit").read_bytes() == content


def test_other_rows_weights_and_estimators_are_named(samples, tmp_path):
    X, Y = samples
    interrupted(samples, tmp_path / "fit")
    options = {"max_iter": N_STEPS, "checkpoint": tmp_path / "fit"}
    weights = {"sample_weight_target": np.arange(len(Y)) + 1.0}
    cases = [
        ((X + 1e-9, Y), {}, "source rows"),
        ((X, Y[1:]), {}, r"target rows \(40 x 2 float64, not 39 x 2 float64\), other target weights"),
        ((X, Y), weights, "target weights"),
    ]
    for rows, other, what in cases:
        with pytest.raises(ValueError, match=f"with other {what};"):
            make_tiny(SNOTTransport, **options).fit(*rows, **other)
    with pytest.raises(ValueError, match="estimator='SNOTTransport', not 'OTNetTransport'"):
        make_tiny(OTNetTransport, **options).fit(X, Y)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_verbose_callbacks_and_interval_may_change(samples, tmp_path):
    interrupted(samples, tmp_path / "fit")
    settings = {"checkpoint": str(tmp_path / "fit"), "checkpoint_interval": 1, "verbose": 1}
    assert make_tiny(SNOTTransport, max_iter=N_STEPS, **settings).fit(*samples).n_iter_ == N_STEPS


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_time_of_the_first_part_counts(samples, tmp_path):
    options = {"max_time": 299.0, "batch_size": "auto", "max_iter": N_STEPS}  # from 300 on, the step is compiled
    first = interrupted(samples, tmp_path / "fit", **options)
    transport = make_tiny(SNOTTransport, **options, checkpoint=tmp_path / "fit").fit(*samples)
    seconds = [record["seconds"] for record in transport.history_]
    n_first = len(first.history_)
    assert seconds[:n_first] == [record["seconds"] for record in first.history_]
    assert seconds == sorted(seconds)
    assert transport.n_iter_ == N_STEPS


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_lost_folder_stops_the_checkpoint_and_not_the_fit(samples, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()

    def remove(step, problem, record):
        if folder.exists() and step > 5:
            for file in folder.iterdir():
                file.unlink()
            folder.rmdir()
        return False

    settings = {"checkpoint": folder / "fit", "checkpoint_interval": 0, "callbacks": [remove]}
    with pytest.warns(CheckpointWarning, match="cannot be written.*continues without") as caught:
        transport = make_tiny(SNOTTransport, max_iter=N_STEPS, **settings).fit(*samples)
    assert transport.n_iter_ == N_STEPS
    assert sum(each.category is CheckpointWarning for each in caught) == 1


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_full_disk_stops_the_checkpoint_and_not_the_fit(samples, tmp_path, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("neuralot.estimators.checkpoints.write_archive", full)
    with pytest.warns(CheckpointWarning, match="No space left"):
        transport = make_tiny(SNOTTransport, checkpoint=tmp_path / "fit", checkpoint_interval=0).fit(*samples)
    assert transport.n_iter_ == 3


def test_missing_folder_is_named_before_the_first_step(samples, tmp_path):
    steps = []
    settings = {"checkpoint": tmp_path / "no" / "fit", "callbacks": [lambda *args: steps.append(args)]}
    with pytest.raises(FileNotFoundError, match="checkpoint must be in an existing folder"):
        make_tiny(SNOTTransport, **settings).fit(*samples)
    assert not steps


def test_damaged_and_foreign_files_are_refused(samples, tmp_path):
    interrupted(samples, tmp_path / "fit")
    transport = make_tiny(SNOTTransport, max_iter=N_STEPS, checkpoint=tmp_path / "fit")
    content = bytearray((tmp_path / "fit").read_bytes())
    content[-50] ^= 1
    (tmp_path / "fit").write_bytes(content)
    with pytest.raises(ValueError, match="is damaged"):
        transport.fit(*samples)
    make_tiny(SNOTTransport).fit(*samples).save(tmp_path / "fit")
    with pytest.raises(ValueError, match="not a checkpoint"):
        transport.fit(*samples)
    (tmp_path / "fit").write_bytes(b"text")
    with pytest.raises(ValueError, match="truncated or not a safetensors file"):
        transport.fit(*samples)


@pytest.mark.parametrize("cls", TRANSPORTS)
def test_every_transport_has_checkpoints(cls):
    assert takes(cls, ["checkpoint", "checkpoint_interval"])
