"""Shared fixtures and helpers: one thread per process, small samples and fast estimators."""

import contextlib
import functools
import inspect
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import neuralot
from neuralot.datasets import small_pairs
from neuralot.estimators.base import BaseTransport
from neuralot.estimators.game import GameTransport
from neuralot.estimators.streams import StreamTransport

ROOT = Path(__file__).parents[1]
TRANSPORTS = [cls for cls in vars(neuralot).values() if inspect.isclass(cls) and issubclass(cls, BaseTransport)]
STREAMS = [cls for cls in TRANSPORTS if issubclass(cls, StreamTransport)]
GAMES = [cls for cls in TRANSPORTS if issubclass(cls, GameTransport)]
PAIRS = {pair.name: pair for pair in small_pairs()}
SHARED = {
    f"test_{name}"
    for name in ("awkward", "bad_input", "common", "directions", "environment", "persistence", "properties", "tasks")
}
TINY = {"max_iter": 3, "batch_size": 16, "hidden_layer_sizes": (8, 8, 8), "random_state": 0}
# for tests of features that only some transports have: streams, warm starts and inverse maps; costs and forms of a map
streams = pytest.mark.parametrize("transport_class", STREAMS, indirect=True, ids=lambda cls: cls.__name__)
games = pytest.mark.parametrize("transport_class", GAMES, indirect=True, ids=lambda cls: cls.__name__)
# W2GN converges more slowly
slow_w2gn = pytest.mark.parametrize(
    "transport_class",
    [pytest.param(cls, marks=pytest.mark.slow if cls is neuralot.W2GNTransport else ()) for cls in TRANSPORTS],
    indirect=True,
    ids=lambda cls: cls.__name__,
)
dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])
each_transport = pytest.mark.parametrize("cls", TRANSPORTS, ids=lambda cls: cls.__name__)
map_forms = pytest.mark.parametrize("map_form", ["gradient", "network"])


def pytest_configure(config):
    """Hide GPUs from all tests that are not marked as GPU tests."""
    if config.option.markexpr != "gpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Make the tests of shared code slow for W2GN, which has the same code as the other classes."""
    for item in items:
        if item.path.stem in SHARED and "W2GNTransport" in item.name:
            item.add_marker(pytest.mark.slow)


def takes(cls, options):
    """Return whether the class has all of these parameters."""
    return set(options) <= set(inspect.signature(cls).parameters)


def make(cls, *, batch_size, **parameters):
    """Return an estimator with a given batch size, whatever the name of that parameter."""
    name = "batch_size" if takes(cls, ["batch_size"]) else "n_monte_carlo"
    return cls(**{name: batch_size, **parameters})


def make_tiny(cls, **parameters):
    """Return a small and fast estimator."""
    return make(cls, **{**TINY, **parameters})


def skip_unless_takes(cls, options):
    if not takes(cls, options):
        pytest.skip("not a parameter of this estimator")


def map_both_directions(transport, X, Y):
    """Return the images of `X` and, if the inverse map is learned, those of `Y`."""
    inverse = [transport.inverse_transform(Y)] if isinstance(transport, StreamTransport) else []
    return [transport.transform(X), *inverse]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def rows(n, d=2, seed=0):
    """Return normal rows as a tensor in double precision."""
    return torch.randn(n, d, dtype=torch.double, generator=seeded(seed))


def single_rows(n, d=2, seed=0):
    """Return normal rows as a tensor in single precision, with other values than those of `rows`."""
    return torch.randn(n, d, dtype=torch.float, generator=seeded(seed))


def gaussian(n, d, seed=0):
    """Return normal rows as an array."""
    return np.random.default_rng(seed).normal(size=(n, d))


def rotation(d, seed=0):
    """Return a random orthogonal matrix as an array."""
    return np.linalg.qr(gaussian(d, d, seed))[0]


def perturbed(module, seed=0, size=0.3):
    """Return the module with random changes of its weights."""
    generator = seeded(seed)
    with torch.no_grad():
        for weight in module.parameters():
            weight += size * torch.randn(weight.shape, generator=generator)
    return module


def flat_weights(module):
    """Return a copy of all weights in one row."""
    return torch.cat([weight.detach().ravel() for weight in module.parameters()])


def nan_layer(n_features, n_outputs):
    """Return a linear layer without finite weights."""
    layer = nn.Linear(n_features, n_outputs)
    nn.init.constant_(layer.weight, float("nan"))
    return layer


@contextlib.contextmanager
def unchanged_generators():
    """Check that the global generators of torch and numpy are as before."""

    def states():
        _, keys, *position = np.random.get_state()  # noqa: NPY002
        return torch.get_rng_state().tolist(), keys.tolist(), position

    before = states()
    yield
    assert states() == before


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def seeded_globally():
    """Seed the initial weights of networks that a test builds itself."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def samples():
    """Read-only source and target rows with different centres."""
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(30, 2)), 2 + rng.normal(size=(40, 2))
    X.flags.writeable = Y.flags.writeable = False
    return X, Y


@pytest.fixture(params=TRANSPORTS, ids=lambda cls: cls.__name__)
def transport_class(request):
    return request.param


@pytest.fixture
def tiny(transport_class):
    """Factory of a small and fast estimator of each class: ``tiny(**parameters)``."""
    return functools.partial(make_tiny, transport_class)


@pytest.fixture
def fitted(tiny, samples):
    return tiny().fit(*samples)
