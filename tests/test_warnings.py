"""Warnings of `fit` about the data, and their absence."""

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import ConvergenceWarning

from neuralot import OTNetTransport, OTPTransport, SNOTTransport, W2GNTransport, diagnose, exceptions
from neuralot.datasets import (
    make_circles,
    make_convex_potential,
    make_gaussians,
    make_multi_perpendicular,
    make_one_to_many,
    make_parallel,
    make_perpendicular,
)
from neuralot.outliers import codes_text, missing_codes
from neuralot.solve import Status

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


@pytest.mark.parametrize(("share_of_zeros", "wide"), [(0.8, "income"), (0.98, "income"), (0.85, "claims")])
def test_column_of_mostly_zeros_is_small_or_makes_others_small(share_of_zeros, wide):
    rng = np.random.default_rng(0)

    def table():
        values = rng.uniform(size=2000) * (rng.uniform(size=2000) > share_of_zeros)
        if wide == "claims":
            return pd.DataFrame({"claims": 1e4 * values, "rate": 0.1 * rng.normal(size=2000)})
        return pd.DataFrame({"income": 1e4 * rng.normal(size=2000), "rate": values})

    with pytest.raises(exceptions.ScaleWarning, match="in the cost: rate"):
        fit(SNOTTransport, table(), table())


@pytest.mark.parametrize(("n_rare", "value"), [(5, 1.0), (5, 0.02), (19, 0.02)])
def test_constant_and_rare_columns_do_not_warn(n_rare, value):
    # such as the pixels at the border of an image, and genes that few cells express
    rng = np.random.default_rng(0)
    X, Y = (np.column_stack([rng.normal(size=90), np.zeros(90), np.zeros(90)]) for _ in range(2))
    X[:n_rare, 2] = value
    fit(OTPTransport, X, Y)


@pytest.mark.parametrize("cls", [SNOTTransport, OTPTransport])
@pytest.mark.parametrize(("code", "n"), [(9999, 1), (9999, 40), (-999, 5), (2000, 2)])
def test_codes_for_missing_values_are_named(cls, code, n):
    # beside a column whose spread hides the code
    rng = np.random.default_rng(0)
    X, Y = (
        pd.DataFrame({"income": 5e3 * rng.normal(size=300), "rate": 10 + 60 * rng.normal(size=300)}) for _ in range(2)
    )
    Y.loc[: n - 1, "rate"] = code
    with pytest.warns(exceptions.OutlierWarning, match=f"The target has {code} in {n} rows of column rate, far from"):
        fit(cls, X, Y)
    findings = diagnose(lambda rows: rows, X, Y).findings
    assert any(f"X_target has {code} in {n} rows of column rate" in finding for finding in findings)


def test_codes_in_a_column_of_mostly_zeros_are_named():
    rng = np.random.default_rng(0)
    X, Y = (np.column_stack([9e3 * rng.normal(size=1000), rng.poisson(0.2, size=1000)]) for _ in range(2))
    X[:10, 1] = 9999
    warnings.simplefilter("ignore", exceptions.ScaleWarning)
    with pytest.warns(exceptions.OutlierWarning, match="The source has 9999 in 10 rows of column 1, far from"):
        fit(OTPTransport, X, Y)


@pytest.mark.parametrize(("n", "n_rare"), [(90, 5), (400, 21)])
def test_rare_values_beside_zeros_are_no_codes(n, n_rare):
    # the 95th percentile is interpolated between 0 and 1
    assert missing_codes(np.r_[np.ones(n_rare), np.zeros(n - n_rare)][:, None]) == []


def test_codes_that_are_many_of_the_values_unlike_0_are_named():
    values = np.r_[np.zeros(940), np.ones(40), np.full(20, 999.0)]
    assert missing_codes(np.random.default_rng(0).permutation(values)[:, None]) == [(0, 999.0, 20)]


def test_far_single_values_are_codes_only_if_all_digits_are_nines():
    X = np.random.default_rng(0).normal(size=(300, 1))
    found = []
    for value in (99.0, 98.0, 99.4, -999.0):
        X[7] = value
        found.append([code for _, code, _ in missing_codes(X)])
    assert found == [[99.0], [], [], [-999.0]]
    assert codes_text(X[:19], ["a"]) == ""


def test_rare_values_of_a_constant_column_are_no_codes():
    X = np.column_stack([np.random.default_rng(0).normal(size=300), np.zeros(300)])
    X[[3, 5], 1] = 9999.0
    assert missing_codes(X) == []


def test_codes_do_not_hide_that_a_column_is_ignored():
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"income": 1e4 * rng.normal(size=300), "rate": rng.normal(size=300)})
    X.loc[:4, "rate"] = 9999.0
    with pytest.raises(exceptions.ScaleWarning, match="in the cost: rate"):
        fit(SNOTTransport, X, X + 1)


@pytest.mark.parametrize("law", ["lognormal", "standard_cauchy", "standard_exponential", "poisson"])
def test_heavy_tails_and_counts_have_no_codes(law):
    rng = np.random.default_rng(0)
    draw = getattr(rng, law)
    rows = draw(size=(3000, 5), **{"sigma": 2} if law == "lognormal" else {})
    assert missing_codes(rows) == missing_codes(np.clip(rows, None, np.percentile(rows, 99))) == []


@pytest.mark.parametrize(
    ("eps_min", "effect"),
    [
        (0.9, "blurred"),
        (0.25, "blurred"),
        (1e-5, "harder to learn"),
        (0.001, "harder to learn"),
        (0.1, None),
        (0.01, None),
    ],
)
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


@pytest.mark.parametrize("cls", [SNOTTransport, OTPTransport, OTNetTransport, W2GNTransport])
def test_fit_of_few_steps_warns_even_if_the_discrepancy_cannot_tell(cls):
    X, Y = make_convex_potential(8).sample(300, random_state=0)
    with pytest.warns(ConvergenceWarning, match="The budget was too short"):
        transport = cls(max_iter=5, random_state=0).fit(X, Y)
    assert transport.status_ is Status.SHORT


def test_few_steps_from_the_exact_map_do_not_warn():
    X = np.random.default_rng(0).normal(size=(500, 2))
    with warnings.catch_warnings(action="error"):
        transport = SNOTTransport(max_iter=5, random_state=0).fit(X, X + 3)
    np.testing.assert_allclose(transport.transform(X), X + 3, atol=0.05)


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
