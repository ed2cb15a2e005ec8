"""Displacement interpolation: ends, straight lines, laws in closed form, types of the input, and bad input."""

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import dtypes, games, gaussian, skip_unless_takes
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression

from neuralot import DomainAdapter, OTPTransport, SNOTTransport
from neuralot.costs import Lp, SquaredEuclidean
from neuralot.datasets import make_one_to_many

TIMES = [0, 0.25, 0.5, 1]


SLOPE, SHIFT = np.array([[1.5, 0.5], [0.5, 0.6]]), np.array([3.0, 0.0])


@pytest.fixture(scope="module")
def gaussians():
    """A transport between Gaussians with the map ``SLOPE x + SHIFT``, and new source rows."""
    (X, Z), new = gaussian(2 * 4000, 2).reshape(2, -1, 2), gaussian(20_000, 2, seed=1)
    return SNOTTransport(max_iter=1000, random_state=0).fit(X, Z @ SLOPE + SHIFT), new


@dtypes
def test_ends_are_rows_and_draws(fitted, samples, dtype):
    X = samples[0].astype(dtype)
    frames = fitted.interpolate(X, TIMES, random_state=3)
    assert frames.shape == (4, *X.shape)
    assert frames.dtype == dtype
    assert np.array_equal(frames[0], X)
    assert np.array_equal(frames[-1], fitted.sample(X, random_state=3)[0])
    for t, frame in zip(TIMES, frames, strict=True):
        one = fitted.interpolate(X, t, random_state=3)
        assert one.shape == X.shape
        assert np.array_equal(one, frame)


def test_rows_move_on_straight_lines_at_constant_speed(fitted, samples):
    frames = fitted.interpolate(samples[0], np.linspace(0, 1, 11))
    steps = np.diff(frames, axis=0)
    np.testing.assert_allclose(steps, np.broadcast_to(steps.mean(axis=0), steps.shape), atol=1e-12)
    assert np.abs(steps).max() > 0.01


def test_velocity_is_that_of_the_lines(fitted, samples):
    X = samples[0]
    start, end = fitted.interpolate(X, [0, 1], random_state=3)
    assert np.array_equal(fitted.velocity(X, random_state=3), end - start)
    assert isinstance(fitted.velocity(torch.from_numpy(X.copy())), torch.Tensor)
    with pytest.raises(ValueError, match=r"X: .*features"):
        fitted.velocity(X[:, :1])


def test_times_may_be_in_any_order_and_repeated(fitted, samples):
    X = samples[0]
    forward = fitted.interpolate(X, [0, 0.3, 1])
    assert np.array_equal(fitted.interpolate(X, [1, 0.3, 0, 0.3]), forward[[2, 1, 0, 1]])


def test_blocks_have_no_influence(tiny, samples):
    transport, X = tiny().fit(*samples), gaussian(40_000, 2)
    frames = transport.interpolate(X, [0.5, 1], random_state=1)
    draws = transport.sample(X, random_state=1)[0]
    assert np.array_equal(frames[1], draws)
    assert np.array_equal(frames[0], 0.5 * X + 0.5 * draws)


def test_draws_depend_on_random_state_only(samples):
    X, Y = make_one_to_many().sample(200, random_state=0)
    transport = OTPTransport(max_iter=3, random_state=0).fit(X, Y)
    first = transport.interpolate(X, 0.5)
    assert np.array_equal(first, transport.interpolate(X, 0.5, random_state=0))
    assert not np.array_equal(first, transport.interpolate(X, 0.5, random_state=1))
    one = transport.interpolate(X, [0.5, 0.5], random_state=np.random.RandomState(7))
    assert np.array_equal(one[0], one[1])


@pytest.mark.parametrize("t", [0.25, 0.5, 0.75])
def test_law_between_gaussians_is_that_of_mccann(gaussians, t):
    transport, X = gaussians
    between = (1 - t) * np.eye(2) + t * SLOPE
    exact = between @ np.cov(X.T) @ between
    rows = transport.interpolate(X, t)
    np.testing.assert_allclose(np.cov(rows.T), exact, atol=0.1)
    np.testing.assert_allclose(rows.mean(axis=0), X.mean(axis=0) @ between + t * SHIFT, atol=0.1)
    # a mixture of source and target has the same mean and another covariance
    first = np.arange(len(X)) < (1 - t) * len(X)
    mixture = np.where(first[:, None], X, X @ SLOPE + SHIFT)
    assert np.abs(np.cov(mixture.T) - exact).max() > 1


def test_wasserstein_distance_to_source_grows_linearly(gaussians):
    transport, X = gaussians
    distances = np.sqrt(((transport.interpolate(X, TIMES) - X) ** 2).sum(axis=2).mean(axis=1))
    exact = np.sqrt(((X @ SLOPE + SHIFT - X) ** 2).sum(axis=1).mean())
    np.testing.assert_allclose(distances, np.array(TIMES) * exact, rtol=0.03)


def test_translation_moves_all_rows_alike():
    X, shift = gaussian(500, 3), np.array([4.0, 0.0, -2.0])
    transport = SNOTTransport(max_iter=100, random_state=0).fit(X, X + shift)
    np.testing.assert_allclose(transport.interpolate(X, 0.5), X + shift / 2, atol=0.05)


@games
@pytest.mark.parametrize("cost", [SquaredEuclidean(), Lp(1.5)], ids=["squared", "Lp"])
def test_costs_with_straight_paths_are_accepted(tiny, transport_class, samples, cost):
    skip_unless_takes(transport_class, ["cost"])
    transport = tiny(cost=cost).fit(*samples)
    middle = transport.interpolate(samples[0], 0.5)
    np.testing.assert_allclose(middle, (samples[0] + transport.sample(samples[0], random_state=0)[0]) / 2, atol=1e-12)


@games
def test_other_costs_are_refused(tiny, samples):
    transport = tiny(cost=lambda x, y: ((x - y) ** 4).sum(-1)).fit(*samples)
    with pytest.raises(ValueError, match=r"cost must be 'sqeuclidean' or neuralot\.costs\.Lp for interpolate"):
        transport.interpolate(samples[0], 0.5)


def test_tensors_give_tensors(fitted, samples):
    X = torch.from_numpy(samples[0].copy())
    frames = fitted.interpolate(X, torch.tensor([0.0, 0.5]))
    assert isinstance(frames, torch.Tensor)
    assert frames.shape == (2, *X.shape)
    assert torch.equal(frames[0], X)
    assert isinstance(fitted.interpolate(X, torch.tensor(0.5)), torch.Tensor)


def test_data_frames_and_lists_give_arrays(tiny, samples):
    X, Y = (pd.DataFrame(rows, columns=["a", "b"]) for rows in samples)
    transport = tiny().fit(X, Y)
    frames = transport.interpolate(X, pd.Series([0.5, 1]))
    assert isinstance(frames, np.ndarray)
    assert np.array_equal(frames, transport.interpolate(X, (0.5, 1.0)))
    with pytest.raises(ValueError, match="X: The feature names should match"):
        transport.interpolate(X[["b", "a"]], 0.5)


def test_result_is_written_to_out(fitted, samples, tmp_path):
    X = samples[0].copy()
    for t, shape in ((0.5, X.shape), ([0.5, 1.0], (2, *X.shape))):
        out = np.lib.format.open_memmap(tmp_path / "out.npy", mode="w+", dtype=X.dtype, shape=shape)
        assert fitted.interpolate(X, t, out=out) is out
        assert np.array_equal(np.load(tmp_path / "out.npy"), fitted.interpolate(X, t))
        with pytest.raises(ValueError, match="out must be a writeable numpy array of float64 and shape"):
            fitted.interpolate(X, t, out=np.empty((1, *shape)))
    expected = fitted.interpolate(X, 0.5)
    assert np.array_equal(fitted.interpolate(X, 0.5, out=X), expected)


def test_transport_of_domain_adapter_interpolates(samples):
    X, Y = samples
    labels = np.arange(len(X)) % 2
    adapter = DomainAdapter(SNOTTransport(max_iter=3, random_state=0), LogisticRegression())
    transport = adapter.fit(X, labels, X_target=Y).transport_
    assert np.array_equal(transport.interpolate(X, 0), X)


@pytest.mark.parametrize(
    ("t", "found"),
    [
        (-0.1, "-0.1"),
        (1.5, "1.5"),
        (np.nan, "nan"),
        ([0.5, np.inf], "inf"),
        ([], "float64 of shape"),
        ([[0.5]], "shape"),
        (True, "bool"),
        (None, "object"),
        ("0.5", "<U3"),
        (["a"], "'a'"),
        ([0.1, [0.2]], "0.2"),
        (0.5j, "complex"),
    ],
    ids=repr,
)
def test_bad_times_are_named(fitted, samples, t, found):
    with pytest.raises(ValueError, match=f"t must be a number from 0 to 1.*got.*{found}"):
        fitted.interpolate(samples[0], t)


def test_bad_rows_are_named(fitted, tiny, samples):
    X = samples[0].copy()
    X[0, 0] = np.nan
    with pytest.raises(ValueError, match=r"X: .*NaN"):
        fitted.interpolate(X, 0.5)
    with pytest.raises(ValueError, match=r"X: .*features"):
        fitted.interpolate(samples[0][:, :1], 0.5)
    with pytest.raises(ValueError, match="random_state must be"):
        fitted.interpolate(samples[0], 0.5, random_state="seed")
    with pytest.raises(NotFittedError):
        tiny().interpolate(samples[0], 0.5)
