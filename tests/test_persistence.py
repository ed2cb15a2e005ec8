"""Files, pickles, joblib and skops: what comes back is what was fitted, to the bit, and what is no fit is refused."""

import json
import os
import struct
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from conftest import TINY, games, takes
from safetensors import safe_open
from safetensors.numpy import save_file
from sklearn.exceptions import NotFittedError
from torch import nn

import neuralot
from neuralot import CriticLoss, Optimizer, OTPTransport, SNOTTransport
from neuralot.costs import CallableCost, Lp, SquaredEuclidean
from neuralot.networks import ConvexPotential

DATA = Path(__file__).parent / "data"


def through_a_file(transport, folder, **functions):
    transport.save(folder / "transport.safetensors")
    return neuralot.load(folder / "transport.safetensors", **functions)


def through_joblib(transport, folder):
    joblib.dump(transport, folder / "transport.joblib")
    return joblib.load(folder / "transport.joblib")


def through_skops(transport, folder):
    skops = pytest.importorskip("skops.io")
    skops.dump(transport, folder / "transport.skops")
    unknown = skops.get_untrusted_types(file=folder / "transport.skops")
    values = {f"{cls.__module__}.{cls.__name__}" for cls in (Lp, SquaredEuclidean, CriticLoss, Optimizer)}
    assert set(unknown) - values == {f"{type(transport).__module__}.{type(transport).__name__}"}
    return skops.load(folder / "transport.skops", trusted=unknown)


def assert_same(loaded, transport, X):
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
    {"hidden_layer_sizes": [5, np.int64(4)], "activation": "tanh", "random_state": np.int64(3)},
    {"cost": Lp(1.5)},
    {"cost": SquaredEuclidean()},
    {"device": torch.device("cpu"), "callbacks": [lambda step, problem, record: False]},
    {"noise_dim": 3},
    {"critic_loss": CriticLoss(expectile=0.9), "optimizer": Optimizer("adam", weight_decay=0.1)},
    {"schedule": "vp", "eps_min": 0.01, "noise_shape": "thin"},
    {"output": "smooth", "n_monte_carlo": 32, "crease_distance": np.inf},
]


@pytest.mark.parametrize("through", [through_a_file, through_joblib, through_skops])
@pytest.mark.parametrize("options", VARIANTS, ids=lambda options: "+".join(options) or "defaults")
def test_what_comes_back_is_the_same_to_the_bit(tiny, transport_class, samples, tmp_path, options, through):
    if not takes(transport_class, options):
        pytest.skip("not a parameter of this estimator")
    if through is not through_a_file and "callbacks" in options:
        pytest.skip("a lambda does not pickle")
    transport = tiny(**options).fit(*samples)
    loaded = through(transport, tmp_path)
    assert_same(loaded, transport, samples[0])
    for name, value in transport.get_params(deep=False).items():
        if name not in ("callbacks", "cost", "device"):
            assert getattr(loaded, name) == (
                tuple(value) if isinstance(value, list) and through is through_a_file else value
            )
    if hasattr(transport, "cost"):
        assert repr(loaded.cost).split(" at ")[0] == repr(transport.cost).split(" at ")[0]
    assert loaded.fit(*samples).status_ is transport.status_


def test_laws_in_a_plane_and_column_names_come_back(tiny, samples, tmp_path):
    X, Y = (pd.DataFrame(rows @ np.eye(2, 5) + 1.0, columns=list("abcde")) for rows in samples)
    transport = tiny().fit(X, Y)
    assert transport.units_.basis is not None
    loaded = through_a_file(transport, tmp_path)
    assert np.array_equal(loaded.transform(X), transport.transform(X))
    assert loaded.feature_names_in_.tolist() == list("abcde")
    assert loaded.get_feature_names_out().tolist() == list("abcde")
    with pytest.raises(ValueError, match="feature names"):
        loaded.transform(X.rename(columns={"a": "z"}))


class Weighted:
    """A cost of the user's own."""

    def __call__(self, x, y):
        return ((x - y) ** 2 * x.new_tensor([1.0, 2.0])).sum(-1)


def own_map(n_features):
    return nn.Sequential(nn.Linear(n_features, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, n_features))


def own_heights(n_features):
    return nn.Sequential(nn.Linear(n_features, 4), nn.Tanh(), nn.Linear(4, 1))


@pytest.mark.parametrize(
    "functions",
    [
        {"cost": Weighted()},
        {"cost": CallableCost(Weighted())},
        {"map_form": own_map},
        {"potential_network": ConvexPotential},
        {"height_network": own_heights},
        {"map_form": own_map, "potential_network": ConvexPotential, "cost": Weighted()},
    ],
    ids=lambda functions: "+".join(functions),
)
def test_functions_of_the_users_own_are_passed_again(tiny, transport_class, samples, tmp_path, functions):
    if not takes(transport_class, functions):
        pytest.skip("not a parameter of this estimator")
    transport = tiny(**functions).fit(*samples)
    assert_same(through_a_file(transport, tmp_path, **functions), transport, samples[0])
    for name in functions:
        others = {other: function for other, function in functions.items() if other != name}
        with pytest.raises(ValueError, match=f"saved with a {name} of its own.*pass it as {name}"):
            through_a_file(transport, tmp_path, **others)


def test_functions_that_the_fit_had_not_are_refused(fitted, tmp_path):
    for name, function in {"cost": Weighted(), "map_form": own_map, "height_network": own_heights}.items():
        was = repr(fitted.get_params().get(name))
        with pytest.raises(ValueError, match=f"saved with {name}={was}, which is in the file; leave {name} out"):
            through_a_file(fitted, tmp_path, **{name: function})


def test_a_long_history_is_no_header(samples, tmp_path):
    fitted = SNOTTransport(**TINY).fit(*samples)
    fitted.history_ = fitted.history_ * 200_000
    assert through_a_file(fitted, tmp_path).history_ == fitted.history_


@games
def test_other_networks_are_refused(tiny, samples, tmp_path):
    transport = tiny(map_form=own_map).fit(*samples)
    for other in (
        lambda d: nn.Linear(d, d),
        lambda d: nn.Sequential(nn.Linear(d, 5), *own_map(d)[2:3], nn.Linear(5, d)),
    ):
        with pytest.raises(ValueError, match=r"cannot be loaded: the networks are not those of the fit: .* has shape"):
            through_a_file(transport, tmp_path, map_form=other)


def test_a_file_holds_each_weight_once_and_says_what_wrote_it(tiny, samples, tmp_path):
    transport = tiny(hidden_layer_sizes=(64, 64, 64)).fit(*samples)
    transport.save(tmp_path / "transport.safetensors")
    n_bytes = 4 * sum(weight.numel() for weight in transport.problem_.parameters())
    assert (tmp_path / "transport.safetensors").stat().st_size < 1.1 * n_bytes + 10_000
    with safe_open(tmp_path / "transport.safetensors", framework="np") as file:
        metadata = file.metadata()
    assert metadata["class"] == f"{type(transport).__module__}.{type(transport).__name__}"
    assert json.loads(metadata["versions"]).keys() == {"neuralot", "numpy", "scikit-learn", "torch"}
    assert json.loads(metadata["versions"])["neuralot"] == neuralot.__version__


def test_set_params_after_fit_does_not_reach_the_weights(fitted, samples, tmp_path):
    before = fitted.transform(samples[0])
    changed = {"hidden_layer_sizes": (3,), "map_form": "network", "n_monte_carlo": 3}
    fitted.set_params(**{name: value for name, value in changed.items() if name in fitted.get_params()})
    loaded = through_a_file(fitted, tmp_path)
    assert loaded.hidden_layer_sizes == (3,)
    assert np.array_equal(loaded.transform(samples[0]), before)


def test_an_unfitted_transport_is_not_saved(tiny, tmp_path):
    with pytest.raises(NotFittedError):
        tiny().save(tmp_path / "transport.safetensors")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there_is_named(fitted, tmp_path):
    with pytest.raises(FileNotFoundError, match=f"there is no folder {tmp_path / 'none'} to save a.safetensors in"):
        fitted.save(tmp_path / "none" / "a.safetensors")


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_crash_leaves_the_old_file(fitted, samples, tmp_path, monkeypatch, failing):
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


def test_a_file_that_was_cut_short_is_named(fitted, tmp_path):
    path = tmp_path / "transport.safetensors"
    fitted.save(path)
    content = path.read_bytes()
    for length in (0, 4, 100, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match=r"transport.safetensors is truncated or no safetensors file"):
            neuralot.load(path)


def rewritten(path, **metadata):
    """The file with other metadata."""
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    header["__metadata__"] |= metadata
    new = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(new)) + new + content[8 + length :])


def test_foreign_files_are_refused(fitted, tmp_path):
    path = tmp_path / "transport.safetensors"
    with pytest.raises(FileNotFoundError, match=r"transport.safetensors is no file"):
        neuralot.load(path)
    path.write_text("{}")
    with pytest.raises(ValueError, match="no safetensors file"):
        neuralot.load(path)
    save_file({"a": np.zeros(3)}, path)
    with pytest.raises(ValueError, match="none that a transport saved"):
        neuralot.load(path)
    for metadata, words in (
        ({"neuralot": "99"}, "has format 99, this version of neuralot reads 1"),
        ({"class": "os.system"}, "holds a os.system, which is no transport"),
        ({"state": "{}"}, "cannot be loaded: it lacks _fitted_params"),
        ({"state": '"x"'}, "cannot be loaded"),
    ):
        fitted.save(path)
        rewritten(path, **metadata)
        with pytest.raises(ValueError, match=words):
            neuralot.load(path)


@pytest.mark.parametrize(
    "name", ["max_iter", "map_form", "output", "units_", "status_", "problem_", "_fitted_params", "target_points_"]
)
def test_a_state_that_lacks_something_is_refused(fitted, tmp_path, name):
    path = tmp_path / "transport.safetensors"
    fitted.save(path)
    with safe_open(path, framework="np") as file:
        state = json.loads(file.metadata()["state"])
    if name not in state["params"] | state:
        pytest.skip("neither a parameter of this estimator nor learned by it")
    if name in state["params"]:
        state["params"][name] = "nonsense"
    else:
        del state[name]
    rewritten(path, state=json.dumps(state))
    with pytest.raises(ValueError, match="cannot be loaded"):
        neuralot.load(path)


class ATransport(SNOTTransport):
    """A user's own estimator."""


def test_a_users_own_class_comes_back(samples, tmp_path):
    transport = ATransport(max_iter=3, random_state=0).fit(*samples)
    assert_same(through_a_file(transport, tmp_path), transport, samples[0])


def test_a_generator_as_random_state_is_left_out(samples, tmp_path):
    transport = OTPTransport(max_iter=3, random_state=np.random.RandomState(0)).fit(*samples)
    assert through_a_file(transport, tmp_path).random_state is None


@pytest.mark.parametrize("name", ["snot", "snot_noise", "otp", "otp_wide", "otnet"])
def test_files_of_format_1_load(name):
    """Written at commit e1371f2, before the modules moved."""
    images = np.load(DATA / "images.npz")
    loaded = neuralot.load(DATA / f"{name}.safetensors")
    X = images["X_wide" if "wide" in name else "X"]
    np.testing.assert_allclose(loaded.transform(X), images[name], rtol=1e-4, atol=1e-5)


def test_files_of_format_1_have_the_later_parameters():
    """Written at commit f7c4c15, with 33 parameters; those without a successor remain what they were in the fit."""
    images = np.load(DATA / "images.npz")
    loaded = neuralot.load(DATA / "otp_options.safetensors")
    np.testing.assert_allclose(loaded.transform(images["X"]), images["otp_options"], rtol=1e-4, atol=1e-5)
    assert loaded.critic_loss == CriticLoss(expectile=0.9, gap_weight=0.2)
    assert loaded.optimizer == Optimizer("adam", weight_decay=0.1, n_map_steps=2)
    assert not hasattr(loaded, "inverse_transform")  # bidirectional=False
    assert len(loaded.problem_.noise) == 4  # n_transform_draws=4
    assert loaded.problem_.smoothing.anneal_fraction == 0.5
    with pytest.raises(ValueError, match=r"saved with a map_form of its own.*pass it as map_form"):
        neuralot.load(DATA / "snot_own_map.safetensors")
    loaded = neuralot.load(DATA / "snot_own_map.safetensors", map_form=own_map)
    np.testing.assert_allclose(loaded.transform(images["X"]), images["snot_own_map"], rtol=1e-4, atol=1e-5)
    assert loaded.map_form is own_map
    assert (loaded.critic_loss, loaded.optimizer) == (CriticLoss(expectile_weight=0), "muon")
