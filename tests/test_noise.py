"""Noise of OTP: where it is added by default, and that it does not blur the plan elsewhere."""

import numpy as np
import pytest
import torch
from conftest import gaussian, make_tiny, rotation, seeded, single_rows

from neuralot import OTPTransport
from neuralot.datasets import (
    make_circles,
    make_gaussians,
    make_multi_perpendicular,
    make_one_to_many,
    make_parallel,
    make_perpendicular,
)
from neuralot.methods import OTP
from neuralot.methods.smoothing import Smoothing, is_flat, is_thin
from neuralot.sampling import as_sampler


def spread_of_draws(X, Y, **parameters):
    """Return the share of the variance by which the draws of one row vary."""
    transport = make_tiny(OTPTransport, **parameters).fit(X, Y)
    return transport.sample(X, 16).var(axis=0).sum(axis=1).mean() / Y.var(axis=0).sum()


@pytest.mark.parametrize("scale", [0.1, 1.0, 10.0])
@pytest.mark.parametrize("d", [1, 2, 8, 20])
def test_source_with_density_gets_no_noise_whatever_its_scale(d, scale):
    X, Y = gaussian(300, d), scale * gaussian(300, d, 1)
    assert spread_of_draws(X, Y) < 1e-6
    assert spread_of_draws(X, Y, noise_shape="covariance") > 1e-3


@pytest.mark.parametrize("d", [4, 20])
def test_narrow_source_with_density_gets_no_noise_at_last_level(d):
    X, Y = gaussian(600, d) * np.linspace(0.2, 1, d), gaussian(600, d, 1)
    assert spread_of_draws(X, Y) < 1e-20  # rounding errors of equal draws
    X[:, 0] *= 1e-3  # flat
    assert spread_of_draws(X, Y) > 1e-3


def test_transform_without_noise_evaluates_the_map_once(monkeypatch):
    X, Y = gaussian(300, 2), gaussian(300, 2, 1)
    for shape, n_calls in (("thin", 1), ("covariance", 16)):
        transport, calls = make_tiny(OTPTransport, noise_shape=shape).fit(X, Y), []
        form = type(transport.problem_.form)
        image = form.map
        monkeypatch.setattr(form, "map", lambda self, x, image=image, calls=calls: calls.append(1) or image(self, x))
        transport.transform(X)
        monkeypatch.undo()
        assert len(calls) == n_calls


@pytest.mark.parametrize("d", [2, 8])
def test_noise_of_flat_source_is_normal_to_it(d):
    X, Y = make_perpendicular(d).sample(500, random_state=0)
    axes = rotation(d)
    transport = make_tiny(OTPTransport).fit(X @ axes, Y @ axes)
    problem, x = transport.problem_, torch.from_numpy(transport.units_.from_source(X @ axes)).float()
    smoothed = problem.perturb(x, seeded(), 1.0).double().numpy() @ axes.T  # back to the axes of the data
    moved = (smoothed - x.double().numpy() @ axes.T).std(axis=0)
    varies = X.std(axis=0) > 0
    assert moved[varies].max() < 1e-6 * moved[~varies].min()


@pytest.mark.parametrize(
    ("make", "shape", "level"),
    [
        (make_perpendicular, "thin", 0.1),
        (make_one_to_many, "thin", 0.1),
        (make_gaussians, "thin", None),
        (make_parallel, "thin", None),
        (make_multi_perpendicular, "covariance", None),
        (make_circles, "covariance", None),
    ],
)
def test_noise_shape_and_level_depend_on_source(make, shape, level):
    transport = make_tiny(OTPTransport).fit(*make(2).sample(1000, random_state=0))
    assert transport.problem_.noise_shape == shape
    assert (transport.eps_min_ == 0.1) == (level == 0.1)


def test_few_rows_get_noise_in_all_directions():
    for n, shape in ((199, "covariance"), (200, "thin")):
        assert make_tiny(OTPTransport).fit(gaussian(n, 2), gaussian(n, 2, 1)).problem_.noise_shape == shape


def test_noise_is_at_most_that_of_the_widest_direction_of_the_source():
    # the source is a hundredth of the target in all directions
    x, y = 0.01 * single_rows(5000, 2), single_rows(5000, 2, seed=1)
    method = OTP(2, smoothing=Smoothing(0.25, 0.25), noise_shape="covariance")
    method.prepare(as_sampler(x), as_sampler(y), seeded())
    noise = method.perturb(torch.zeros(20_000, 2), seeded(), 1.0)
    torch.testing.assert_close(torch.cov(noise.T), 0.25e-4 * torch.eye(2), atol=2e-6, rtol=0)


def test_constant_source_gets_noise_of_target():
    y = single_rows(5000, 2)
    method = OTP(2, smoothing=Smoothing(0.25, 0.25), noise_shape="thin")
    method.prepare(as_sampler(torch.zeros(100, 2)), as_sampler(y), seeded())
    noise = method.perturb(torch.zeros(20_000, 2), seeded(), 1.0)
    torch.testing.assert_close(torch.cov(noise.T), 0.125 * torch.eye(2), atol=0.01, rtol=0)


def test_flat_and_thin_sources_are_told_apart():
    x = torch.from_numpy(gaussian(500, 3))
    flat = x * torch.tensor([1.0, 1.0, 0.0])
    angle = torch.linspace(0, 6, 500, dtype=torch.double)
    circle = torch.stack([angle.cos(), angle.sin(), 0 * angle], dim=1)
    span = torch.eye(3, dtype=torch.double)
    assert [is_flat(each) for each in (x, flat, circle)] == [False, True, True]
    assert [is_thin(each, torch.cov(each.T), span) for each in (x, flat, circle)] == [False, True, True]
    # within their own span, the flat rows have a density and the circle has none
    assert [is_thin(each, torch.cov(each.T), 0 * span) for each in (x, flat, circle)] == [False, False, True]


@pytest.mark.parametrize(
    "law", [lambda rng: np.exp(rng.normal(size=(600, 8))), lambda rng: rng.standard_t(3, (600, 8))]
)
def test_heavy_tails_are_not_thin(law):
    x = torch.from_numpy(law(np.random.default_rng(0)))
    assert not is_thin(x, torch.cov(x.T), torch.cov(x.T))
