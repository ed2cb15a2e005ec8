"""Shared by all tests: one thread per process, small samples, and estimators that fit in a moment."""

import inspect
import os

import numpy as np
import pytest
import torch

import neuralot
from neuralot.datasets import small_pairs
from neuralot.estimators.base import BaseTransport
from neuralot.estimators.game import GameTransport

TRANSPORTS = [cls for cls in vars(neuralot).values() if inspect.isclass(cls) and issubclass(cls, BaseTransport)]
GAMES = [cls for cls in TRANSPORTS if issubclass(cls, GameTransport)]
PAIRS = {pair.name: pair for pair in small_pairs()}
TINY = {"max_iter": 3, "batch_size": 16, "hidden_layer_sizes": (8, 8, 8), "random_state": 0}
# for tests of what a map and a potential have that learn in a game: costs, networks, a way back, streams
games = pytest.mark.parametrize("transport_class", GAMES, indirect=True, ids=lambda cls: cls.__name__)
dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def pytest_configure(config):
    """Let all tests but those of a GPU be tests of the CPU, also where there is one."""
    if config.option.markexpr != "gpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


def takes(cls, options):
    """Whether all of these are parameters of the class."""
    return set(options) <= set(inspect.signature(cls).parameters)


def make(cls, *, batch_size, **parameters):
    """An estimator that sees so many rows per step, whatever it calls that."""
    name = "batch_size" if takes(cls, ["batch_size"]) else "n_monte_carlo"
    return cls(**{name: batch_size, **parameters})


def there_and_back(transport, X, Y):
    """Images of both laws, where the way back is learned."""
    return [transport.transform(X), *([transport.inverse_transform(Y)] if isinstance(transport, GameTransport) else [])]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def rows(n, d=2, seed=0):
    """Normal rows as a tensor in double precision."""
    return torch.randn(n, d, dtype=torch.double, generator=seeded(seed))


def single_rows(n, d=2, seed=0):
    """Normal rows as a tensor in single precision: other numbers than those of `rows`, not the same rounded."""
    return torch.randn(n, d, dtype=torch.float, generator=seeded(seed))


def gaussian(n, d, seed=0):
    """Normal rows as an array."""
    return np.random.default_rng(seed).normal(size=(n, d))


def trained(form):
    """A form whose weights have left their start."""
    with torch.no_grad():
        for weight in form.parameters():
            weight += 0.3 * torch.randn(weight.shape, generator=seeded())
    return form


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def seeded_globally():
    """Networks that a test builds itself start from the same weights every time."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def samples():
    """Source and target rows around different centres; not to be written to."""
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(30, 2)), 2 + rng.normal(size=(40, 2))
    X.flags.writeable = Y.flags.writeable = False
    return X, Y


@pytest.fixture(params=TRANSPORTS, ids=lambda cls: cls.__name__)
def transport_class(request):
    return request.param


@pytest.fixture
def tiny(transport_class):
    """An estimator of each class, small and quick: ``tiny(**parameters)``."""
    return lambda **parameters: make(transport_class, **{**TINY, **parameters})


@pytest.fixture
def fitted(tiny, samples):
    return tiny().fit(*samples)
