"""Settings of the caller do not change fits, and fits do not change settings: threads, forks, dtypes, modes."""

import contextlib
import multiprocessing
import os
import random
import threading
import warnings
from functools import partial

import numpy as np
import pytest
import torch
from conftest import gaussian, make_tiny
from torch import nn

import neuralot
from neuralot import SNOTTransport
from neuralot.costs import Lp
from neuralot.estimators.streams import StreamTransport

fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")


def map_with_dropout(n_features):
    return nn.Sequential(nn.Linear(n_features, 8), nn.Dropout(0.5), nn.Tanh(), nn.Linear(8, n_features))


def without_seconds(history):
    return [record | {"seconds": 0} for record in history]


def results(make, X, Y):
    """Return everything that a transport computes."""
    transport = make().fit(X, Y)
    found = [
        without_seconds(transport.history_),
        transport.transform(X),
        transport.transform(X.astype(np.float32)),
        transport.sample(X, 2, random_state=0),
        transport.score(X, Y),
        transport.potential(Y),
        str(transport.report(X, Y, max_rows=20)),
    ]
    if isinstance(transport, StreamTransport):
        found += [transport.inverse_transform(Y)] if hasattr(transport, "inverse_transform") else []
        warm = make().set_params(warm_start=True).fit(X, Y).fit(X, Y)
        part = make().partial_fit(X, Y).partial_fit(X, Y)
        found += [without_seconds(each.history_) for each in (warm, part)] + [part.transform(X)]
    else:
        found += [transport.retarget(Y[:9], refine_steps=5).transform(X)]
    return found


def assert_same(found, expected):
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


@contextlib.contextmanager
def setting(get, set_, value):
    """Change a global setting, and check that it is not changed again."""
    before = get()
    set_(value)
    try:
        yield
        assert get() == (torch.device(value) if isinstance(value, str) else value)
    finally:
        set_(before)


def default_dtype(dtype):
    return setting(torch.get_default_dtype, torch.set_default_dtype, dtype)


@contextlib.contextmanager
def all_of(*contexts):
    with contextlib.ExitStack() as stack:
        for context in contexts:
            stack.enter_context(context)
        yield


ENVIRONMENTS = {
    "inference mode, autocast, default device": lambda: all_of(
        torch.inference_mode(),
        torch.autocast("cpu", dtype=torch.bfloat16),
        setting(torch.get_default_device, torch.set_default_device, "meta"),
    ),
    "no_grad, bfloat16, device context": lambda: all_of(
        torch.no_grad(), default_dtype(torch.bfloat16), torch.device("meta")
    ),
    "float64, deterministic, numpy raises": lambda: all_of(
        default_dtype(torch.float64),
        setting(torch.are_deterministic_algorithms_enabled, torch.use_deterministic_algorithms, True),
        np.errstate(all="raise", under="ignore"),
    ),
}
environments = pytest.mark.parametrize("environment", ENVIRONMENTS.values(), ids=ENVIRONMENTS)


@pytest.fixture(scope="module")
def expected():
    """Results of each class, computed once, in the environment of the tests."""
    found = {}

    def of(make, X, Y, key):
        if key not in found:
            found[key] = results(make, X, Y)
        return found[key]

    return of


@environments
def test_environment_of_the_caller_changes_nothing(tiny, transport_class, samples, expected, environment):
    alone = expected(tiny, *samples, transport_class)
    with environment():
        assert_same(results(tiny, *samples), alone)


@environments
@pytest.mark.parametrize(
    "options",
    [{"map_form": map_with_dropout}, {"cost": Lp(1.5)}, {"noise_dim": 2}, {"early_stopping": True}],
    ids=lambda options: next(iter(options)),
)
def test_environment_changes_no_form(samples, expected, environment, options):
    def make():
        return make_tiny(SNOTTransport, **options)

    def fit(*samples):
        transport = make().fit(*samples)
        return [without_seconds(transport.history_), transport.transform(samples[0])]

    alone = fit(*samples)
    with environment():
        assert_same(fit(*samples), alone)


@environments
def test_file_may_be_loaded_in_any_environment(fitted, samples, tmp_path, environment):
    path, images = tmp_path / "transport.safetensors", fitted.transform(samples[0])
    with environment():
        fitted.save(path)
        np.testing.assert_array_equal(neuralot.load(path).transform(samples[0]), images)


# threads


def global_state():
    """Return the global state of the process, and the number of threads of a thread that starts now."""
    numbers = []
    thread = threading.Thread(target=lambda: numbers.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    return [
        torch.get_num_threads(),
        *numbers,
        torch.get_rng_state().tolist(),
        np.random.get_state()[1].tolist(),  # noqa: NPY002
        random.getstate(),
        list(warnings.filters),
        np.geterr(),
        torch.get_default_dtype(),
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.are_deterministic_algorithms_enabled(),
        torch.get_float32_matmul_precision(),
        dict(os.environ),
    ]


def two_threads():
    return setting(torch.get_num_threads, torch.set_num_threads, 2)


def at_once(functions):
    """Return the results of functions that start in threads at the same time."""
    barrier, found = threading.Barrier(len(functions)), {}

    def run(index, function):
        barrier.wait()
        found[index] = function()

    threads = [threading.Thread(target=run, args=each) for each in enumerate(functions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [found[index] for index in range(len(functions))]


def assert_same_in_threads(functions):
    """Check that functions have the same results alone and at once, and leave the global state unchanged."""
    alone = [function() for function in functions]
    with two_threads():
        before = global_state()
        for found, one in zip(at_once(functions), alone, strict=True):
            assert_same(found, one)
        assert global_state() == before


def test_fit_changes_no_global_state(tiny, samples):
    with two_threads():
        before = global_state()
        transport = tiny().fit(*samples)
        transport.sample(samples[0])
        transport.report(*samples)
        assert global_state() == before


@pytest.mark.parametrize("options", [{}, {"map_form": map_with_dropout}], ids=["built in", "dropout"])
def test_fits_in_threads_are_those_of_each_alone(samples, options):
    X, Y = samples

    def fit(seed):
        transport = make_tiny(SNOTTransport, max_iter=20, random_state=seed, **options).fit(X, Y)
        return [without_seconds(transport.history_), transport.transform(X)]

    assert_same_in_threads([partial(fit, seed) for seed in range(2)])


def test_networks_of_all_methods_may_be_built_in_threads(transport_class, samples):
    def fit(seed):
        transport = make_tiny(transport_class, random_state=seed).fit(*samples)
        return [without_seconds(transport.history_)]

    assert_same_in_threads([partial(fit, seed) for seed in range(2)])


# processes


@fork
def test_fit_after_fork_is_that_of_the_parent(tiny):
    """With two threads, an operation in the child would wait for threads that only the parent has."""
    X, Y = gaussian(2000, 8), gaussian(2000, 8, seed=1)

    def fit():
        transport = tiny().fit(X, Y)
        return [without_seconds(transport.history_), transport.transform(X), transport.score(X[:500], Y[:500])]

    alone = fit()
    with two_threads():
        torch.ones(1000, 1000) @ torch.ones(1000, 1000)  # starts the threads
        context = multiprocessing.get_context("fork")
        receiver, sender = context.Pipe(duplex=False)
        child = context.Process(target=lambda: sender.send([*fit(), torch.get_num_threads()]))
        child.start()
        assert receiver.poll(300), "the child waits forever"
        assert_same(receiver.recv(), [*alone, 2])
        child.join()
