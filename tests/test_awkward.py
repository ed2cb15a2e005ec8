"""Awkward but valid data: few rows, heavy tails, point masses, more columns than rows, extreme scales."""

import pickle
import warnings

import numpy as np
import ot
import pytest
import torch
from sklearn.covariance import LedoitWolf
from sklearn.exceptions import ConvergenceWarning

from neuralot import OTNetTransport, OTPTransport, SNOTTransport, W2GNTransport, load
from neuralot.affine import optimal_matrix as matrix_between
from neuralot.costs import Lp
from neuralot.estimators.directions import principal_directions
from neuralot.exceptions import FewRowsWarning, OutlierWarning, SpuriousSolutionWarning
from neuralot.outliers import outlier_bounds

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def normal(n, d, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d))


def warnings_of(X, Y, cls=SNOTTransport, **options):
    """Classes of the warnings of a short fit."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.simplefilter("ignore", ConvergenceWarning)
        cls(max_iter=1, random_state=0).fit(X, Y, **options)
    return {each.category for each in caught}


# heavy tails

TAILS = {
    "Cauchy": lambda rng, n: rng.standard_cauchy(size=(n, 2)),
    "lognormal": lambda rng, n: np.exp(5 * rng.normal(size=(n, 2))),
}
NO_TAILS = {
    "normal": lambda rng, n: rng.normal(size=(n, 2)),
    "exponential": lambda rng, n: rng.exponential(size=(n, 2)),
    "t(4)": lambda rng, n: rng.standard_t(4, size=(n, 2)),
    "a cluster of 4 %": lambda rng, n: rng.normal(size=(n, 2)) + 40 * (rng.uniform(size=(n, 1)) < 0.04),
    "counts": lambda rng, n: rng.poisson(0.3, size=(n, 2)).astype(float),
    "one point": lambda rng, n: np.ones((n, 2)),
}


@pytest.mark.parametrize("name", [*TAILS, *NO_TAILS])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_only_heavy_tails_are_clipped(name, seed):
    rows = (TAILS | NO_TAILS)[name](np.random.default_rng(seed), 500)
    bounds = outlier_bounds(rows, np.arange(500), float(np.sqrt(rows.var(axis=0).mean())))
    if name in NO_TAILS:
        assert bounds is None
    else:
        is_inside = ((rows >= bounds[0]) & (rows <= bounds[1])).mean(axis=0)
        assert (is_inside >= 0.9).all()
        assert (is_inside < 1).any()


@pytest.mark.parametrize("side", [0, 1])
def test_heavy_tails_cause_warning(side):
    samples = [normal(500, 2), normal(500, 2, seed=1)]
    assert OutlierWarning not in warnings_of(*samples)
    samples[side] = np.exp(2 * normal(500, 2, seed=2))
    assert OutlierWarning in warnings_of(*samples)


@pytest.mark.parametrize(
    ("cls", "name"),
    [
        (SNOTTransport, "Cauchy"),
        pytest.param(SNOTTransport, "lognormal", marks=pytest.mark.slow),
        pytest.param(OTPTransport, "lognormal", marks=pytest.mark.slow),
    ],
)
def test_bulk_is_mapped_despite_tails(cls, name):
    # the central 90 % of exact images, per column
    X, Y = (TAILS[name](np.random.default_rng(seed), 400) for seed in (0, 50))
    exact = Y[ot.emd([], [], ot.dist(X, Y), numItermax=10**6).argmax(axis=1)]
    x, y = (np.abs(rows - np.median(rows, axis=0)) for rows in (X, exact))
    is_bulk = ((x <= np.quantile(x, 0.95, axis=0)) & (y <= np.quantile(y, 0.95, axis=0))).all(axis=1)
    with pytest.warns(OutlierWarning, match="most of the variance"):
        images = cls(max_iter=200 if name == "Cauchy" else "auto", random_state=0).fit(X, Y).transform(X)
    error = ((images - exact)[is_bulk] ** 2).sum(axis=1).mean() / exact[is_bulk].var(axis=0).sum()
    assert error < 0.1


@pytest.mark.parametrize("cls", [SNOTTransport, OTPTransport])
@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("value", [pytest.param(1e3, marks=pytest.mark.slow), 1e9])
def test_one_outlier_hardly_moves_the_other_images(cls, side, value):
    samples = [normal(300, 2), normal(300, 2, seed=1) @ [[1.5, 0.3], [0.3, 0.7]] + 2]
    samples[side][7] = 1e5  # POT's plan is exact for this value, but not for squares of 1e9
    exact = samples[1][ot.emd([], [], ot.dist(*samples), numItermax=10**6).argmax(axis=1)]
    samples[side][7] = value
    with pytest.warns(OutlierWarning, match=r"\b7\b"):
        draws = cls(max_iter=300, random_state=0).fit(*samples).sample(samples[0], random_state=0)[0]
    others = (np.arange(300) != 7) & (np.abs(exact) < 100).all(axis=1)
    squares = ((draws - exact)[others] ** 2).sum(axis=1)
    squares = np.sort(squares)[:-1]  # another row may be paired with the clipped outlier
    assert np.sqrt(squares.mean() / exact[others].var(axis=0).sum()) < 0.2  # of their spread


# few rows and point masses


@pytest.mark.parametrize(
    ("n_source", "n_target", "splits"),
    [(1, 200, True), (3, 200, True), (2, 3, True), (3, 2, True), (1, 1, False), (3, 3, False), (9, 9, False)],
)
def test_method_of_maps_says_that_mass_must_split(n_source, n_target, splits):
    X, Y = normal(n_source, 2), normal(n_target, 2, seed=1)
    assert (SpuriousSolutionWarning in warnings_of(X, Y)) is splits
    assert SpuriousSolutionWarning not in warnings_of(X, Y, OTPTransport)


def test_heavy_row_and_repeated_rows_must_split():
    X = normal(100, 2)
    Y = X + 1
    weights = np.where(np.arange(100) == 3, 100.0, 1.0)
    repeated = np.vstack([X, np.repeat(X[3:4], 99, axis=0)])
    assert SpuriousSolutionWarning not in warnings_of(X, Y)
    assert SpuriousSolutionWarning in warnings_of(X, Y, sample_weight=weights)
    assert SpuriousSolutionWarning in warnings_of(repeated, Y)
    # a map exists again if the target has a row of the same weight
    assert SpuriousSolutionWarning not in warnings_of(X, Y, sample_weight=weights, sample_weight_target=weights)


@pytest.mark.parametrize("n_target", [300, 5000])
def test_otp_draws_the_target_from_a_source_of_one_row(n_target):
    X, Y = normal(300, 2), normal(n_target, 2, seed=1)
    weights = np.where(np.arange(300) == 3, 1.0, 1e-9)
    for source, options in ((X, {"sample_weight": weights}), (np.tile(X[3], (100, 1)), {}), (X[3:4], {})):
        transport = OTPTransport(max_iter=1, random_state=0).fit(source, Y, **options)
        draws = transport.sample(np.tile(X[3], (4000, 1)), random_state=0)[0]
        np.testing.assert_allclose(draws.mean(axis=0), Y.mean(axis=0), atol=0.06)
        np.testing.assert_allclose(np.cov(draws.T), np.cov(Y.T), atol=0.06)
        np.testing.assert_allclose(transport.transform(X[3:4])[0], Y.mean(axis=0), atol=0.01)


def test_plan_from_three_rows_is_exact():
    X, Y = normal(3, 2), normal(400, 2, seed=1)
    a, b = np.array([1.0, 2.0, 5.0]), np.random.default_rng(0).uniform(size=400)
    plan = ot.emd(a / a.sum(), b / b.sum(), ot.dist(X, Y)) * (a.sum() / a)[:, None]
    transport = OTPTransport(max_iter=1, random_state=0).fit(X, Y, sample_weight=a, sample_weight_target=b)
    np.testing.assert_allclose(transport.transform(X), plan @ Y, atol=1e-12)
    draws = transport.sample(np.repeat(X, 5000, axis=0), random_state=0)[0].reshape(3, 5000, 2)
    for j in range(3):
        rows, counts = np.unique(draws[j], axis=0, return_counts=True)
        found = ot.dist(rows, Y).argmin(axis=1)
        np.testing.assert_allclose(counts / 5000, plan[j][found], atol=0.01)


# exact plans between few points

POINTS = {
    "two rows": (2, 2),
    "three rows": (3, 3),
    "two to three": (2, 3),
    "five to three": (5, 3),
    "three repeated, to four": (np.repeat([0, 1, 2], 30), 4),
}


def points_of(shape, seed, d=2):
    """Rows, as many as `shape`, or with the numbers of the rows in it."""
    rows = normal(np.max(shape) + 1, d, seed)
    return rows[:shape] if np.isscalar(shape) else rows[shape]


@pytest.mark.parametrize("d", [1, 2, 5])
@pytest.mark.parametrize("name", POINTS)
def test_plan_of_few_points_is_exact(name, d):
    X, Y = (points_of(shape, seed, d) for seed, shape in enumerate(POINTS[name]))
    rows, inverse, counts = np.unique(X, axis=0, return_inverse=True, return_counts=True)
    plan = ot.emd(counts / len(X), np.full(len(Y), 1 / len(Y)), ot.dist(rows, Y)) * (len(X) / counts)[:, None]
    means = (plan @ Y)[inverse.ravel()]
    np.testing.assert_allclose(OTPTransport(max_iter=1, random_state=0).fit(X, Y).transform(X), means, atol=1e-12)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SpuriousSolutionWarning)
        maps = SNOTTransport(max_iter=1, random_state=0).fit(X, Y)
    np.testing.assert_array_equal(maps.transform(X), Y[plan.argmax(axis=1)][inverse.ravel()])
    np.testing.assert_array_equal(maps.sample(X)[0], maps.transform(X))


def test_draws_of_few_points_have_the_shares_of_the_plan():
    # a histogram with heights as weights; and five categories, one-hot encoded
    bins, far = np.arange(5.0)[:, None], np.array([1, 1, 1, 1, 6])
    transport = OTPTransport(max_iter=1, random_state=0).fit(
        bins, bins, sample_weight=far[::-1], sample_weight_target=far
    )
    rows = np.repeat(bins, far[::-1] * 400, axis=0)
    draws = transport.sample(rows, random_state=0)[0]
    np.testing.assert_allclose(np.bincount(draws[:, 0].astype(int)) / len(rows), far / 10, atol=0.03)
    assert np.mean((draws - rows) ** 2) == pytest.approx(6, rel=0.03)  # exact
    rng = np.random.default_rng(0)
    X, Y = (np.eye(5)[rng.choice(5, 2000, p=p)] for p in ([0.4, 0.3, 0.1, 0.1, 0.1], [0.1, 0.1, 0.2, 0.2, 0.4]))
    draws = OTPTransport(max_iter=1, random_state=0).fit(X, Y).sample(X.astype(np.float32), random_state=0)[0]
    np.testing.assert_allclose(draws.mean(axis=0), Y.mean(axis=0), atol=0.03)


@pytest.mark.parametrize("cls", [SNOTTransport, OTPTransport])
@pytest.mark.parametrize("cost", ["sqeuclidean", Lp(1.5)])
def test_few_target_points_have_exact_cells(cls, cost):
    # 99.9 % of the target's rows are equal
    X, Y = normal(3000, 2), np.tile([1.0, 2.0], (3000, 1))
    Y[:3] = normal(3, 2, seed=1) * 3
    transport = cls(max_iter=1, cost=cost, random_state=0).fit(X, Y)
    images = transport.transform(X)
    assert sorted(np.unique(images, axis=0, return_counts=True)[1]) == [1, 1, 1, 2997]
    if cost == "sqeuclidean":
        assert ((images - X) ** 2).sum(axis=1).mean() == pytest.approx(ot.emd2([], [], ot.dist(X, Y), numItermax=10**6))
    fresh = transport.transform(10 * normal(500, 2, seed=2))
    assert len(np.unique(np.vstack([fresh, Y]), axis=0)) == 4


def test_thin_source_has_no_cells():
    # all rows of a segment are as far from one target point as from the other
    X = np.linspace([-1, 0], [1, 0], 400)
    transport = OTPTransport(max_iter=300, random_state=0).fit(X, [[0, 1], [0, -1]])
    draws = transport.sample(X, 8, random_state=0)
    assert draws[..., 1].std(axis=0).mean() > 0.5  # 0 in cells; 1 for the plan


def test_exact_plan_is_saved_and_dropped(tmp_path):
    X, Y = normal(5, 2), normal(4, 2, seed=1)
    transport = OTPTransport(max_iter=2, random_state=0).fit(X, Y)
    transport.save(tmp_path / "transport")
    for other in (load(tmp_path / "transport"), pickle.loads(pickle.dumps(transport))):
        np.testing.assert_array_equal(other.sample(X, 3, random_state=0), transport.sample(X, 3, random_state=0))
    # a part of a stream does not have all target points
    images = transport.transform(X)
    assert not np.array_equal(transport.partial_fit(X, Y).transform(X), images)
    # nor do rows of many target points come from an earlier fit
    assert transport.fit(normal(100, 2), normal(100, 2, seed=1))._point_plan is None


@pytest.mark.parametrize("cls", [SNOTTransport, OTPTransport])
def test_repeated_target_row_attracts_all_images(cls):
    X = normal(200, 2)
    images = cls(max_iter=20, random_state=0).fit(X, np.full((50, 2), 4.0)).transform(X)
    np.testing.assert_allclose(images, np.full((200, 2), 4.0), atol=2e-3)


# fewer rows than columns


def factors(n, seed, scales=(1, 1, 1), d=100):
    rng, mixing = np.random.default_rng(seed), np.random.default_rng(99).normal(size=(3, d))
    return (rng.normal(size=(n, 3)) * scales) @ mixing + 0.3 * rng.normal(size=(n, d))


def test_fit_of_few_rows_learns_the_map_of_their_factors():
    X, Y, fresh = factors(40, 0), factors(40, 1, [1, 2, 0.5]), factors(200, 2)
    mixing = np.random.default_rng(99).normal(size=(3, 100))
    covariances = [mixing.T @ np.diag(v) @ mixing + 0.09 * np.eye(100) for v in ([1, 1, 1], [1, 4, 0.25])]
    exact = fresh @ optimal_matrix(*covariances)

    def error(images):
        return ((images - exact) ** 2).sum(axis=1).mean() / exact.var(axis=0).sum()

    with pytest.warns(FewRowsWarning, match=r"too few rows, 40 in the source and 40 in the target, for 100 columns"):
        transport = SNOTTransport(max_iter=150, random_state=0).fit(X, Y)
    # learned in all 100 directions it is above 0.5
    assert error(transport.transform(fresh)) < 0.5 * error(fresh - X.mean(axis=0) + Y.mean(axis=0))


@pytest.mark.filterwarnings("ignore::neuralot.exceptions.FewRowsWarning")
def test_fit_of_few_rows_is_better_than_shrunk_affine_map():
    # columns of decreasing variance, each multiplied by its own factor
    d = 100
    deviations, factor = 1 / np.sqrt(1 + np.arange(d) / 5), np.random.default_rng(9).uniform(0.5, 2, size=d)
    X, Y, fresh = (normal(n, d, seed) * deviations for seed, n in enumerate((40, 40, 200)))
    Y = Y * factor
    images = SNOTTransport(max_iter=150, random_state=0).fit(X, Y).transform(fresh)
    shrunk = optimal_matrix(*(LedoitWolf().fit(rows).covariance_ for rows in (X, Y)))
    affine = (fresh - X.mean(axis=0)) @ shrunk + Y.mean(axis=0)
    assert np.mean((images - fresh * factor) ** 2) < np.mean((affine - fresh * factor) ** 2)


def optimal_matrix(S, T):
    return matrix_between(torch.from_numpy(S), torch.from_numpy(T)).numpy()


@pytest.mark.filterwarnings("ignore::neuralot.exceptions.FewRowsWarning")
@pytest.mark.parametrize("cls", [SNOTTransport, OTPTransport, W2GNTransport])
def test_rows_are_shifted_and_scaled_outside_of_principal_directions(cls):
    X, Y = normal(60, 2049), 2 * normal(50, 2049, seed=1) + 3
    X[:, 0], Y[:, 0] = 40 * X[:, 0], 40 * Y[:, 0]
    transport = cls(max_iter=1, random_state=0).fit(X, Y)
    basis, scale = transport.units_.basis, transport.units_.residual_scale
    assert basis.shape == (2049, 1)  # noise has no other principal direction
    assert np.abs(basis[0]) == pytest.approx(1, abs=0.05)
    assert scale == pytest.approx(2, rel=0.03)
    np.testing.assert_allclose(basis.T @ basis, np.eye(1), atol=1e-9)
    difference = transport.transform(X) - scale * (X - X.mean(axis=0)) - Y.mean(axis=0)
    np.testing.assert_allclose(difference - difference @ basis @ basis.T, 0, atol=1e-5)
    if transport.problem_.invertible:
        np.testing.assert_allclose((transport.inverse_transform(transport.transform(X)) - X)[:, 1:], 0, atol=0.2)


@pytest.mark.filterwarnings("ignore::neuralot.exceptions.FewRowsWarning")
@pytest.mark.parametrize(("n", "d"), [(8, 20), (300, 1000), pytest.param(300, 2049, marks=pytest.mark.slow)])
def test_wide_samples_are_no_worse_than_the_shrunk_affine_map(n, d):
    X, Y, fresh = normal(n, d), 1.5 * normal(n, d, seed=1) + 2, normal(200, d, seed=2)
    transport = OTPTransport(max_iter=60, random_state=0).fit(X, Y)
    shrunk = optimal_matrix(*(LedoitWolf().fit(rows).covariance_ for rows in (X, Y)))

    def error(images):
        return np.mean((images - 1.5 * fresh - 2) ** 2) / 1.5**2

    # both have the error of the means, 1 / n for each sample
    assert error(transport.transform(fresh)) < 1.2 * error((fresh - X.mean(axis=0)) @ shrunk + Y.mean(axis=0))


@pytest.mark.filterwarnings("ignore::neuralot.exceptions.FewRowsWarning")
def test_transport_of_few_rows_continues_and_is_restored(tmp_path):
    X, Y = factors(40, 0), factors(50, 1)
    transport = SNOTTransport(max_iter=2, random_state=0, warm_start=True).fit(X, Y)
    transport.fit(factors(40, 2), factors(50, 3))  # other rows of the same laws
    transport.save(tmp_path / "transport.safetensors")
    np.testing.assert_array_equal(load(tmp_path / "transport.safetensors").transform(X), transport.transform(X))
    transport.partial_fit(factors(40, 4), factors(50, 5))


@pytest.mark.filterwarnings("ignore::neuralot.exceptions.FewRowsWarning")
def test_principal_directions_do_not_depend_on_order_and_repetition():
    X, Y = factors(30, 0), factors(25, 1)
    order = np.random.default_rng(0).permutation(30)
    fit = SNOTTransport(max_iter=5, random_state=0).fit
    images = fit(X, Y).transform(X)
    np.testing.assert_allclose(images, fit(X[order], Y).transform(X), atol=1e-9)
    weights = np.where(np.arange(30) < 7, 2, 1)
    np.testing.assert_allclose(
        fit(X, Y, sample_weight=weights).transform(X), fit(np.vstack([X, X[:7]]), Y).transform(X), atol=1e-4
    )


@pytest.mark.parametrize(("n", "m", "d"), [(100, 90, 100), (300, 8, 20), (4, 4, 20), (4, 15, 20)])
def test_no_principal_directions_with_enough_rows_or_hardly_any(n, m, d):
    samples = [(rows, np.ones(len(rows)), rows.mean(axis=0)) for rows in (normal(n, d), normal(m, d, seed=1))]
    assert principal_directions(samples, 1.0) is None


def test_few_rows_are_said_by_methods_that_use_all_directions():
    X, Y = normal(12, 20), normal(15, 20, seed=1)
    assert FewRowsWarning in warnings_of(X, Y, OTNetTransport)
    assert FewRowsWarning not in warnings_of(normal(20, 20), Y, OTNetTransport)


# extreme scales


@pytest.mark.parametrize("factor", [1e300, 1e307, 1e160, 1e-160, 1e-310])
@pytest.mark.parametrize("cls", [SNOTTransport, OTPTransport, OTNetTransport])
def test_scales_beyond_squares_are_refused(cls, factor):
    transport = cls(max_iter=1, random_state=0)
    with pytest.raises(ValueError, match=r"X and the target must have a standard deviation of at least 1e-152"):
        transport.fit(normal(50, 2) * factor, normal(50, 2, seed=1) * factor)
    assert not hasattr(transport, "units_")


@pytest.mark.parametrize("factor", [2.0**450, 2.0**-450])
def test_large_and_small_scales_give_the_same_map(factor):
    X, Y = normal(50, 2), normal(50, 2, seed=1) * 2 + 1
    plain, scaled = (SNOTTransport(max_iter=5, random_state=0).fit(c * X, c * Y) for c in (1, factor))
    np.testing.assert_array_equal(scaled.transform(factor * X), factor * plain.transform(X))
    assert scaled.transport_cost_ == pytest.approx(factor**2 * plain.transport_cost_)
