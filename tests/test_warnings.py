"""Warnings of `fit` about the data, and their absence."""

import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from neuralot import OTNetTransport, OTPTransport, SNOTTransport, W2GNTransport, exceptions
from neuralot.datasets import (
    make_circles,
    make_convex_potential,
    make_gaussians,
    make_multi_perpendicular,
    make_one_to_many,
    make_parallel,
    make_perpendicular,
)

THIN = [make_perpendicular, make_one_to_many, make_multi_perpendicular, make_circles]
NEED_DENSITY = [SNOTTransport, OTNetTransport, W2GNTransport]
DENSE = {
    "normal": lambda rng, n, d: rng.normal(size=(n, d)),
    "uniform": lambda rng, n, d: rng.uniform(size=(n, d)),
    "lognormal": lambda rng, n, d: np.exp(rng.normal(size=(n, d))),
    "heavy tails": lambda rng, n, d: rng.standard_t(3, size=(n, d)),
    "clusters": lambda rng, n, d: rng.normal(size=(n, d)) + 10 * rng.normal(size=(5, d))[rng.integers(5, size=n)],
    "small directions": lambda rng, n, d: rng.normal(size=(n, d)) * np.logspace(0, -1, d),
}


def fit(cls, X, Y, **params):
    return cls(max_iter=1, hidden_layer_sizes=(4,), random_state=0, **params).fit(X, Y)


@pytest.fixture(autouse=True)
def only_warnings_about_data():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for category in (exceptions.SpuriousSolutionWarning, exceptions.ScaleWarning, exceptions.SmoothingWarning):
            warnings.simplefilter("error", category)
        yield


@pytest.mark.parametrize("cls", NEED_DENSITY)
@pytest.mark.parametrize("make", THIN)
@pytest.mark.parametrize("d", [2, 8])
def test_thin_source_warns_before_first_step(make, d, cls):
    X, Y = make(d).sample(600, random_state=0)
    if make is make_circles and d == 8:
        X, Y = np.pad(X[:, :2], ((0, 0), (0, 1))), np.pad(Y[:, :2], ((0, 0), (0, 1)))
    with pytest.raises(exceptions.SpuriousSolutionWarning, match="OTPTransport"):
        fit(cls, X, Y)


@pytest.mark.parametrize("make", THIN)
def test_otp_does_not_warn_of_thin_source(make):
    fit(OTPTransport, *make(2).sample(600, random_state=0))


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("d", [1, 2, 8, 32])
@pytest.mark.parametrize("law", DENSE)
def test_dense_source_does_not_warn(law, d, seed):
    rng = np.random.default_rng(seed)
    X = DENSE[law](rng, 300, d)
    fit(SNOTTransport, X, X.std() * rng.normal(size=(300, d)))


@pytest.mark.parametrize("make", [make_gaussians, make_convex_potential, make_parallel])
@pytest.mark.parametrize("d", [2, 8, 32])
@pytest.mark.parametrize("n", [30, 100, 300, 2000])
def test_pairs_with_density_in_their_span_do_not_warn(make, d, n):
    fit(SNOTTransport, *make(d).sample(n, random_state=n))


def test_directions_in_which_no_law_varies_do_not_count():
    X, Y = make_gaussians(2).sample(600, random_state=0)
    fit(SNOTTransport, np.pad(X, ((0, 0), (0, 2))), np.pad(Y, ((0, 0), (0, 2))))


def test_partial_fit_and_warm_start_warn_only_at_first():
    X, Y = make_perpendicular(2).sample(600, random_state=0)
    transport = SNOTTransport(max_iter=1, hidden_layer_sizes=(4,), random_state=0)
    with pytest.raises(exceptions.SpuriousSolutionWarning):
        transport.partial_fit(X, Y)
    warnings.simplefilter("ignore", exceptions.SpuriousSolutionWarning)
    transport.partial_fit(X, Y)
    warnings.simplefilter("error", exceptions.SpuriousSolutionWarning)
    transport.partial_fit(X, Y)
    transport.set_params(warm_start=True).fit(X, Y)


@pytest.mark.parametrize("cls", [SNOTTransport, OTPTransport, OTNetTransport])
def test_column_of_small_scale_is_named(cls):
    pd = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    scales = [1000.0, 1.0, 100.0]
    X, Y = (pd.DataFrame(rng.normal(size=(300, 3)) * scales, columns=["income", "rate", "rent"]) for _ in range(2))
    with pytest.raises(exceptions.ScaleWarning, match="in the cost: rate"):
        fit(cls, X, Y)
    with pytest.raises(exceptions.ScaleWarning, match="in the cost: 1"):
        fit(cls, X.to_numpy(), Y.to_numpy())
    fit(cls, X / scales, Y / scales)


def test_constant_and_rare_columns_do_not_warn():
    rng = np.random.default_rng(0)
    X, Y = (np.column_stack([rng.normal(size=300), np.zeros(300), rng.uniform(size=300) < 0.02]) for _ in range(2))
    fit(OTPTransport, X, Y)


@pytest.mark.parametrize(("eps_min", "effect"), [(0.9, "blurred"), (1e-5, "harder to learn"), (0.01, None)])
def test_eps_min_far_from_default_warns(eps_min, effect):
    X, Y = make_gaussians(2).sample(4000, random_state=0)
    if effect is None:
        fit(OTPTransport, X, Y, eps_max=1.0, eps_min=eps_min)
        return
    with pytest.raises(exceptions.SmoothingWarning, match=effect):
        fit(OTPTransport, X, Y, eps_max=1.0, eps_min=eps_min)


def test_short_fit_says_that_the_affine_map_replaced_its_map():
    X, Y = make_convex_potential(2).sample(500, random_state=0)
    with pytest.warns(ConvergenceWarning, match=r"The budget was too short(?s:.*)Here, the affine map replaced"):
        transport = OTPTransport(max_iter=60, random_state=0).fit(X, Y)
    coefficients = np.linalg.lstsq(np.c_[X, np.ones(500)], images := transport.transform(X), rcond=None)[0]
    np.testing.assert_allclose(np.c_[X, np.ones(500)] @ coefficients, images, atol=1e-9)


@pytest.mark.parametrize("cls", [SNOTTransport, OTPTransport, OTNetTransport])
@pytest.mark.parametrize("steps", [60, pytest.param(150, marks=pytest.mark.slow)])
def test_brief_fit_far_from_the_target_warns(cls, steps):
    X, Y = make_perpendicular(2).sample(1000, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", ConvergenceWarning)
        with pytest.raises(ConvergenceWarning, match="The budget was too short"):
            cls(max_iter=steps, random_state=0).fit(X, Y)


@pytest.mark.parametrize("cls", [SNOTTransport, OTPTransport])
def test_brief_fit_that_the_affine_map_replaces_warns(cls):
    X, Y = make_convex_potential(8).sample(1000, random_state=0)
    with pytest.warns(ConvergenceWarning, match=r"The budget was too short(?s:.*)Here, the affine map replaced"):
        cls(max_iter=60, random_state=0).fit(X, Y)
