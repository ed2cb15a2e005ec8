"""Files, pickles, joblib and skops restore identical transports, and invalid files raise."""

import fcntl
import hashlib
import json
import os
import signal
import struct
import time
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from conftest import TRANSPORTS, games, gaussian, make_tiny, skip_unless_takes
from safetensors import safe_open
from safetensors.numpy import save_file
from sklearn.exceptions import NotFittedError
from torch import nn

import neuralot
from neuralot import CriticLoss, Optimizer, OTPTransport, SNOTTransport
from neuralot.costs import CallableCost, Lp, SquaredEuclidean
from neuralot.estimators.archive import BLANK
from neuralot.exceptions import VersionWarning
from neuralot.networks import ConvexPotential

DATA = Path(__file__).parent / "data"
# the files in the repository are older than later versions of packages
other_versions = pytest.mark.filterwarnings("ignore::neuralot.exceptions.VersionWarning")


def save_and_load(transport, folder, **functions):
    transport.save(folder / "transport.safetensors")
    return neuralot.load(folder / "transport.safetensors", **functions)


def dump_and_load_joblib(transport, folder):
    joblib.dump(transport, folder / "transport.joblib")
    return joblib.load(folder / "transport.joblib")


def dump_and_load_skops(transport, folder):
    skops = pytest.importorskip("skops.io")
    skops.dump(transport, folder / "transport.skops")
    unknown = skops.get_untrusted_types(file=folder / "transport.skops")
    values = {f"{cls.__module__}.{cls.__name__}" for cls in (Lp, SquaredEuclidean, CriticLoss, Optimizer)}
    assert set(unknown) - values == {f"{type(transport).__module__}.{type(transport).__name__}"}
    return skops.load(folder / "transport.skops", trusted=unknown)


def assert_equal_transports(loaded, transport, X):
    assert type(loaded) is type(transport)
    for dtype in (np.float64, np.float32):
        rows = X.astype(dtype)
        assert np.array_equal(loaded.transform(rows), transport.transform(rows))
        assert np.array_equal(loaded.sample(rows, 2, 0), transport.sample(rows, 2, 0))
        assert hasattr(loaded, "inverse_transform") == hasattr(transport, "inverse_transform")
        if hasattr(transport, "inverse_transform"):
            assert np.array_equal(loaded.inverse_transform(rows), transport.inverse_transform(rows))
    for name in ("n_iter_", "status_", "history_", "transport_cost_", "n_features_in_"):
        assert getattr(loaded, name) == getattr(transport, name)
    assert not any(weight.requires_grad for weight in loaded.problem_.parameters())


VARIANTS = [
    {},
    {"map_form": "network"},
    {"hidden_layer_sizes": [5, np.int64(4)], "activation": "softplus", "random_state": np.int64(3)},
    {"cost": Lp(1.5)},
    {"cost": SquaredEuclidean()},
    {"device": torch.device("cpu"), "callbacks": [lambda step, problem, record: False]},
    {"noise_dim": 3},
    {"critic_loss": CriticLoss(expectile=0.9), "optimizer": Optimizer("adam", weight_decay=0.1)},
    {"schedule": "vp", "eps_min": 0.01, "noise_shape": "thin"},
    {"output": "smooth", "n_monte_carlo": 32, "crease_distance": np.inf},
]


@pytest.mark.parametrize("restore", [save_and_load, dump_and_load_joblib, dump_and_load_skops])
@pytest.mark.parametrize("options", VARIANTS, ids=lambda options: "+".join(options) or "defaults")
def test_restored_transport_is_identical(tiny, transport_class, samples, tmp_path, options, restore):
    skip_unless_takes(transport_class, options)
    if restore is not save_and_load and "callbacks" in options:
        pytest.skip("a lambda does not pickle")
    transport = tiny(**options).fit(*samples)
    loaded = restore(transport, tmp_path)
    assert_equal_transports(loaded, transport, samples[0])
    for name, value in transport.get_params(deep=False).items():
        if name not in ("callbacks", "cost", "device"):
            assert getattr(loaded, name) == (
                tuple(value) if isinstance(value, list) and restore is save_and_load else value
            )
    if hasattr(transport, "cost"):
        assert repr(loaded.cost).split(" at ")[0] == repr(transport.cost).split(" at ")[0]
    assert loaded.fit(*samples).status_ is transport.status_


def test_subspace_and_column_names_are_restored(tiny, samples, tmp_path):
    X, Y = (pd.DataFrame(rows @ np.eye(2, 5) + 1.0, columns=list("abcde")) for rows in samples)
    transport = tiny().fit(X, Y)
    assert transport.units_.basis is not None
    loaded = save_and_load(transport, tmp_path)
    assert np.array_equal(loaded.transform(X), transport.transform(X))
    assert loaded.feature_names_in_.tolist() == list("abcde")
    assert loaded.get_feature_names_out().tolist() == list("abcde")
    with pytest.raises(ValueError, match="feature names"):
        loaded.transform(X.rename(columns={"a": "z"}))


class Weighted:
    """Custom cost."""

    def __call__(self, x, y):
        return ((x - y) ** 2 * x.new_tensor([1.0, 2.0])).sum(-1)


def custom_map(n_features):
    return nn.Sequential(nn.Linear(n_features, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, n_features))


def custom_heights(n_features):
    return nn.Sequential(nn.Linear(n_features, 4), nn.Tanh(), nn.Linear(4, 1))


@pytest.mark.parametrize(
    "functions",
    [
        {"cost": Weighted()},
        {"cost": CallableCost(Weighted())},
        {"map_form": custom_map},
        {"potential_network": ConvexPotential},
        {"height_network": custom_heights},
        {"map_form": custom_map, "potential_network": ConvexPotential, "cost": Weighted()},
    ],
    ids=lambda functions: "+".join(functions),
)
def test_custom_functions_must_be_passed_to_load(tiny, transport_class, samples, tmp_path, functions):
    skip_unless_takes(transport_class, functions)
    transport = tiny(**functions).fit(*samples)
    assert_equal_transports(save_and_load(transport, tmp_path, **functions), transport, samples[0])
    for name in functions:
        others = {other: function for other, function in functions.items() if other != name}
        with pytest.raises(ValueError, match=f"the fit used the custom function .*; pass it as {name}"):
            save_and_load(transport, tmp_path, **others)


def test_functions_that_were_not_used_in_fit_are_rejected(fitted, tmp_path):
    for name, function in {"cost": Weighted(), "map_form": custom_map, "height_network": custom_heights}.items():
        value = repr(fitted.get_params().get(name))
        with pytest.raises(ValueError, match=f"{name} must be omitted, because the file contains {name}={value}"):
            save_and_load(fitted, tmp_path, **{name: function})


@pytest.mark.slow
def test_long_history_is_restored(samples, tmp_path):
    fitted = make_tiny(SNOTTransport).fit(*samples)
    fitted.history_ = fitted.history_ * 200_000
    assert save_and_load(fitted, tmp_path).history_ == fitted.history_


@games
def test_other_networks_are_rejected(tiny, samples, tmp_path):
    transport = tiny(map_form=custom_map).fit(*samples)
    for other in (
        lambda d: nn.Linear(d, d),
        lambda d: nn.Sequential(nn.Linear(d, 5), *custom_map(d)[2:3], nn.Linear(5, d)),
    ):
        with pytest.raises(
            ValueError, match=r"cannot be loaded: the networks must be those of the fit, but .* has shape"
        ):
            save_and_load(transport, tmp_path, map_form=other)


def test_file_contains_each_weight_once_and_versions(tiny, samples, tmp_path):
    transport = tiny(hidden_layer_sizes=(64, 64, 64)).fit(*samples)
    transport.save(tmp_path / "transport.safetensors")
    # in single precision, and the changes since two earlier steps, for `uncertainty`, in half precision
    n_bytes = (4 + 2 * 2) * sum(weight.numel() for weight in transport.problem_.parameters())
    assert (tmp_path / "transport.safetensors").stat().st_size < 1.1 * n_bytes + 10_000
    with safe_open(tmp_path / "transport.safetensors", framework="np") as file:
        metadata = file.metadata()
    assert metadata["class"] == f"{type(transport).__module__}.{type(transport).__name__}"
    assert json.loads(metadata["versions"]).keys() == {"neuralot", "numpy", "scikit-learn", "torch"}
    assert json.loads(metadata["versions"])["neuralot"] == neuralot.__version__


def test_set_params_after_fit_does_not_change_saved_weights(fitted, samples, tmp_path):
    before = fitted.transform(samples[0])
    changed = {"hidden_layer_sizes": (3,), "map_form": "network", "n_monte_carlo": 3}
    fitted.set_params(**{name: value for name, value in changed.items() if name in fitted.get_params()})
    loaded = save_and_load(fitted, tmp_path)
    assert loaded.hidden_layer_sizes == (3,)
    assert np.array_equal(loaded.transform(samples[0]), before)


def test_unfitted_transport_is_not_saved(tiny, tmp_path):
    with pytest.raises(NotFittedError):
        tiny().save(tmp_path / "transport.safetensors")
    assert not list(tmp_path.iterdir())


def test_missing_folder_raises(fitted, tmp_path):
    with pytest.raises(FileNotFoundError, match=f"got {tmp_path / 'none'}/a.safetensors; create the folder"):
        fitted.save(tmp_path / "none" / "a.safetensors")


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_crash_leaves_old_file_unchanged(fitted, samples, tmp_path, monkeypatch, failing):
    path = tmp_path / "transport.safetensors"
    fitted.save(path)
    old = path.read_bytes()

    def fail(*args):
        raise OSError("the disk is full")

    monkeypatch.setattr(os, failing, fail)
    other = fitted.fit(samples[0] + 1, samples[1])
    with pytest.raises(OSError, match="full"):
        other.save(path)
    assert path.read_bytes() == old
    assert list(tmp_path.iterdir()) == [path]


def test_truncated_file_raises(fitted, tmp_path):
    path = tmp_path / "transport.safetensors"
    fitted.save(path)
    content = path.read_bytes()
    for length in (0, 4, 7, 8, 100, len(content) - 1, *np.random.default_rng(0).integers(len(content), size=24)):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match=r"transport.safetensors is truncated or not a safetensors file"):
            neuralot.load(path)


def test_every_flipped_byte_is_detected(fitted, tmp_path):
    path = tmp_path / "transport.safetensors"
    fitted.save(path)
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    places = [0, 7, 8, content.index(b'"checksum"') + 15, *rng.integers(len(content), size=96), len(content) - 1]
    for place in places:
        damaged = bytearray(content)
        damaged[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"transport.safetensors (is|has|contains|cannot) "):
            neuralot.load(path)
    path.write_bytes(content + b"0")
    with pytest.raises(ValueError, match=r"transport.safetensors is truncated or not a safetensors file"):
        neuralot.load(path)


@pytest.mark.parametrize(
    "header",
    [
        b"[" * 100_000,
        b'{"__metadata__":' * 30_000,
        b'{"__metadata__":null}',
        b'{"__metadata__":{"neuralot":3}}',
        b"[1, 2]",
        b"\xff\xfe",
        b'{"a":{"dtype":"F64","shape":[1000000000000],"data_offsets":[0,8000000000000]},"__metadata__":{"neuralot":"3"}}',
    ],
)
def test_foreign_headers_are_rejected(tmp_path, header):
    path = tmp_path / "transport.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header)
    with pytest.raises(ValueError, match=r"transport.safetensors is (truncated or not|a) .*safetensors file"):
        neuralot.load(path)
    path.write_bytes(struct.pack("<Q", 2**62) + header)
    with pytest.raises(ValueError, match="is truncated or not a safetensors file"):
        neuralot.load(path)


def rewrite_metadata(path, **metadata):
    """Replace metadata of a file."""
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    header["__metadata__"] |= metadata | {"checksum": BLANK}
    new = json.dumps(header, separators=(",", ":")).encode()
    content = struct.pack("<Q", len(new)) + new + content[8 + length :]
    path.write_bytes(content.replace(BLANK.encode(), hashlib.sha256(content).hexdigest().encode(), 1))


def test_other_files_are_rejected(fitted, tmp_path):
    other = next(cls for cls in TRANSPORTS if not isinstance(fitted, cls))
    path = tmp_path / "transport.safetensors"
    with pytest.raises(FileNotFoundError, match=r"transport.safetensors does not exist or is not a file"):
        neuralot.load(path)
    path.write_text("{}")
    with pytest.raises(ValueError, match="not a safetensors file"):
        neuralot.load(path)
    save_file({"a": np.zeros(3)}, path)
    with pytest.raises(ValueError, match="was not saved by a transport"):
        neuralot.load(path)
    for metadata, message in (
        ({"neuralot": "99"}, "has format 99, but this version of neuralot reads formats 1"),
        ({"class": f"{other.__module__}.{other.__qualname__}"}, "cannot be loaded"),
        ({"class": "os.system"}, "contains a os.system, which is not an imported transport class"),
        ({"state": "{}"}, "cannot be loaded: missing entries _fitted_params"),
        ({"state": '"x"'}, "cannot be loaded"),
    ):
        fitted.save(path)
        rewrite_metadata(path, **metadata)
        with pytest.raises(ValueError, match=message):
            neuralot.load(path)


@pytest.mark.parametrize(
    "name", ["max_iter", "map_form", "output", "units_", "status_", "problem_", "_fitted_params", "target_points_"]
)
def test_incomplete_or_invalid_state_is_rejected(fitted, tmp_path, name):
    path = tmp_path / "transport.safetensors"
    fitted.save(path)
    with safe_open(path, framework="np") as file:
        state = json.loads(file.metadata()["state"])
    if name not in state["params"] | state:
        pytest.skip("not a parameter or fitted attribute of this estimator")
    if name in state["params"]:
        state["params"][name] = "nonsense"
    else:
        del state[name]
    rewrite_metadata(path, state=json.dumps(state))
    with pytest.raises(ValueError, match="cannot be loaded"):
        neuralot.load(path)


class CustomTransport(SNOTTransport):
    """Custom estimator."""


def test_custom_class_is_restored(samples, tmp_path):
    transport = CustomTransport(max_iter=3, random_state=0).fit(*samples)
    assert_equal_transports(save_and_load(transport, tmp_path), transport, samples[0])


def test_generator_as_random_state_is_not_saved(samples, tmp_path):
    transport = OTPTransport(max_iter=3, random_state=np.random.RandomState(0)).fit(*samples)
    assert save_and_load(transport, tmp_path).random_state is None


@other_versions
@pytest.mark.parametrize("name", ["snot", "snot_noise", "otp", "otp_wide", "otnet"])
def test_files_of_format_1_are_loaded(name):
    """The files were written at commit e1371f2, before modules were moved."""
    images = np.load(DATA / "images.npz")
    loaded = neuralot.load(DATA / f"{name}.safetensors")
    X = images["X_wide" if "wide" in name else "X"]
    np.testing.assert_allclose(loaded.transform(X), images[name], rtol=1e-4, atol=1e-5)


@other_versions
@pytest.mark.parametrize("name", ["snot", "otp", "otnet", "w2gn"])
@pytest.mark.parametrize("version", ["format2", "format3"])
def test_files_of_later_formats_are_loaded(name, version):
    images = np.load(DATA / "images.npz")
    loaded = neuralot.load(DATA / f"{name}_{version}.safetensors")
    np.testing.assert_allclose(loaded.transform(images["X"]), images[f"{name}_{version}"], rtol=1e-4, atol=1e-5)


@other_versions
def test_parameters_of_format_1_are_converted():
    """The files were written at commit f7c4c15 with 33 parameters; former parameters keep the values of the fit."""
    images = np.load(DATA / "images.npz")
    loaded = neuralot.load(DATA / "otp_options.safetensors")
    np.testing.assert_allclose(loaded.transform(images["X"]), images["otp_options"], rtol=1e-4, atol=1e-5)
    assert loaded.critic_loss == CriticLoss(expectile=0.9, gap_weight=0.2)
    assert loaded.optimizer == Optimizer("adam", weight_decay=0.1, n_map_steps=2)
    assert not hasattr(loaded, "inverse_transform")  # bidirectional=False
    assert len(loaded.problem_.noise) == 4  # n_transform_draws=4
    assert loaded.problem_.smoothing.anneal_fraction == 0.5
    with pytest.raises(ValueError, match=r"the fit used the custom function .*; pass it as map_form"):
        neuralot.load(DATA / "snot_own_map.safetensors")
    loaded = neuralot.load(DATA / "snot_own_map.safetensors", map_form=custom_map)
    np.testing.assert_allclose(loaded.transform(images["X"]), images["snot_own_map"], rtol=1e-4, atol=1e-5)
    assert loaded.map_form is custom_map
    assert (loaded.critic_loss, loaded.optimizer) == (CriticLoss(expectile_weight=0), "muon")


# processes that are killed, other processes, other versions


fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")


def in_child(function):
    """Run a function in a forked process, which ends with 0 if it returned; return the id of the process."""
    child = os.fork()
    if child == 0:
        try:
            function()
            os._exit(0)
        finally:
            os._exit(1)
    return child


@pytest.fixture
def two_fits(samples, tmp_path):
    """Two transports, and the path of a file with the first."""
    X, Y = samples
    fits = [make_tiny(SNOTTransport, random_state=seed).fit(X, Y + 5 * seed) for seed in (0, 1)]
    path = tmp_path / "transport [1].safetensors"
    fits[0].save(path)
    return fits, path


def index_of(path, fits):
    """Return the index of the transport in a file."""
    rows, loaded = gaussian(9, 2), neuralot.load(path)
    [index] = [i for i, fit in enumerate(fits) if np.array_equal(fit.transform(rows), loaded.transform(rows))]
    return index


@fork
@pytest.mark.parametrize("call", ["fsync", "flock", "replace"])
def test_file_of_killed_process_is_cleared(two_fits, monkeypatch, call):
    fits, path = two_fits

    def kill(*args):
        os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(fcntl if call == "flock" else os, call, kill)
    assert os.waitpid(in_child(lambda: fits[1].save(path)), 0)[1] == signal.SIGKILL
    monkeypatch.undo()
    assert index_of(path, fits) == 0
    kept = [path.with_name(name) for name in (".transport [1].safetensors.txt", f".other.{'0' * 32}")]
    for file in kept:
        file.touch()
    assert len(list(path.parent.iterdir())) == 4  # with a temporary file
    fits[1].save(path)
    assert index_of(path, fits) == 1
    assert sorted(path.parent.iterdir()) == sorted([path, *kept])


@fork
def test_save_killed_at_any_moment_leaves_old_or_new_file(two_fits):
    fits, path = two_fits
    rng = np.random.default_rng(0)

    def save_forever():
        while True:
            for fit in fits:
                fit.save(path)

    for _ in range(20):
        child = in_child(save_forever)
        time.sleep(rng.uniform(0, 0.05))
        os.kill(child, signal.SIGKILL)
        assert os.waitpid(child, 0)[1] == signal.SIGKILL
        assert index_of(path, fits) in (0, 1)
    fits[0].save(path)
    assert list(path.parent.iterdir()) == [path]


@fork
def test_two_processes_may_save_to_same_path(two_fits):
    fits, path = two_fits

    def save_often(fit):
        for _ in range(50):
            fit.save(path)

    children = [in_child(lambda fit=fit: save_often(fit)) for fit in fits]
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
    assert index_of(path, fits) in (0, 1)
    assert list(path.parent.iterdir()) == [path]


def test_temporary_file_is_kept_where_locks_are_not_available(two_fits, monkeypatch):
    fits, path = two_fits
    other = path.with_name(f".{path.name}.{'0' * 32}")
    other.touch()

    def fail(*args):
        raise OSError("no locks")

    monkeypatch.setattr(fcntl, "flock", fail)
    fits[1].save(path)
    assert index_of(path, fits) == 1
    assert sorted(path.parent.iterdir()) == [other, path]


def test_large_file_is_refused_before_it_is_read(fitted, tmp_path):
    path = tmp_path / "transport.safetensors"
    fitted.save(path)
    for name in ("foreign", "too long"):
        with path.open("r+b" if name == "too long" else "wb") as file:
            file.truncate(2**40)  # sparse: takes no space on the disk
        with pytest.raises(ValueError, match=r"transport.safetensors is truncated or not a safetensors file"):
            neuralot.load(path)
        fitted.save(path)


@pytest.mark.parametrize("name", ["neuralot", "numpy", "scikit-learn", "torch"])
def test_other_versions_are_said(samples, tmp_path, name):
    path = tmp_path / "transport.safetensors"
    fitted = make_tiny(SNOTTransport).fit(*samples)
    fitted.save(path)
    with safe_open(path, framework="np") as file:
        versions = json.loads(file.metadata()["versions"])
    major, minor = versions[name].split(".")[:2]
    rewrite_metadata(path, versions=json.dumps(versions | {name: f"{major}.{minor}.99"}))
    neuralot.load(path)
    for other in (f"{major}.{int(minor) + 1}.0", f"{int(major) + 1}.0"):
        rewrite_metadata(path, versions=json.dumps(versions | {name: other}))
        with pytest.warns(
            VersionWarning, match=rf"was saved with {name} {other} \(installed: {major}.{minor}"
        ) as caught:
            loaded = neuralot.load(path)
        assert caught[0].filename == __file__
        assert np.array_equal(loaded.transform(samples[0]), fitted.transform(samples[0]))


def test_newer_format_names_the_version_that_saved_it(samples, tmp_path):
    path = tmp_path / "transport.safetensors"
    make_tiny(SNOTTransport).fit(*samples).save(path)
    for versions, name in (('{"neuralot": "9.1.0"}', "9.1.0"), ("[", "unknown")):
        rewrite_metadata(path, neuralot="99", versions=versions)
        with pytest.raises(ValueError, match=rf"has format 99, .*the version that saved it, which is {name}"):
            neuralot.load(path)
