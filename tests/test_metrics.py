"""Metrics compared with closed forms and other solvers, and in extreme cases."""

import numpy as np
import ot
import pytest
import torch
from scipy.optimize import linear_sum_assignment

from neuralot import metrics


@pytest.fixture
def rng():
    return np.random.default_rng(0)


# maps


def test_l2_uvp_equals_known_values(rng):
    exact = rng.normal(size=(1000, 3))
    assert metrics.l2_uvp(exact, exact) == 0
    mean = np.broadcast_to(exact.mean(axis=0), exact.shape)
    assert metrics.l2_uvp(mean, exact) == pytest.approx(100)
    assert metrics.l2_uvp(exact + np.array([1, 2, 2]), exact, target_variance=3.0) == pytest.approx(300)
    # independent of units: error and variance both scale with the square of the data
    assert metrics.l2_uvp(1e-9 * (exact + 1), 1e-9 * exact) == pytest.approx(metrics.l2_uvp(exact + 1, exact))


@pytest.mark.parametrize("variance", [0.0, -1.0, np.nan, np.inf])
def test_l2_uvp_requires_positive_variance(variance):
    with pytest.raises(ValueError, match="target_variance"):
        metrics.l2_uvp([[0.0]], [[1.0]], target_variance=variance)
    with pytest.raises(ValueError, match="target_variance"):
        metrics.l2_uvp([[0.0], [1.0]], [[1.0], [1.0]])


@pytest.mark.parametrize("as_array", [np.asarray, torch.tensor])
def test_conditional_bures_uvp_equals_pot(rng, as_array):
    draws, means = rng.normal(size=(50, 4, 3)), rng.normal(size=(4, 3))
    roots = rng.normal(size=(4, 3, 3))
    covariances = roots @ roots.transpose(0, 2, 1)
    exact = [
        ot.gaussian.bures_wasserstein_distance(draws[:, i].mean(axis=0), means[i], np.cov(draws[:, i].T), S) ** 2
        for i, S in enumerate(covariances)
    ]
    uvp = metrics.conditional_bures_uvp(as_array(draws), as_array(means), as_array(covariances), 2.0)
    assert uvp == pytest.approx(100 * np.mean(exact) / 2)


def test_conditional_bures_uvp_of_a_map_counts_the_missing_spread():
    means, covariances = np.zeros((5, 2)), np.tile(np.diag([1.0, 3.0]), (5, 1, 1))
    assert metrics.conditional_bures_uvp(means[None], means, covariances, 8.0) == pytest.approx(50)


def test_conditional_bures_uvp_of_exact_draws_is_the_stated_floor(rng):
    n, d = 400, 8
    draws, means = rng.normal(size=(n, 50, d)), np.zeros((50, d))
    uvp = metrics.conditional_bures_uvp(draws, means, np.tile(np.eye(d), (50, 1, 1)), d)
    assert uvp == pytest.approx(100 / n * (1 + (d + 1) / 4), rel=0.1)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"draws": np.zeros((4, 2, 3))}, "shape"),
        ({"draws": np.zeros((0, 3, 2))}, "shape"),
        ({"covariances": np.eye(2)}, "shape"),
        ({"draws": np.full((4, 3, 2), np.nan)}, "finite"),
        ({"target_variance": 0.0}, "target_variance"),
    ],
)
def test_conditional_bures_uvp_rejects_bad_arguments(bad, message):
    good = {
        "draws": np.zeros((4, 3, 2)),
        "means": np.zeros((3, 2)),
        "covariances": np.zeros((3, 2, 2)),
        "target_variance": 1.0,
    }
    with pytest.raises(ValueError, match=message):
        metrics.conditional_bures_uvp(**(good | bad))


@pytest.mark.parametrize("scale", [1.0, 1e-200, 1e200])
def test_cosine_similarity_equals_cosine_between_displacements(scale):
    X = np.array([[1.0, 1.0], [2.0, 0.0]])
    exact = X + np.array([1.0, 0.0])
    for angle in (0.0, 0.3, np.pi / 2, np.pi):
        mapped = X + 7 * np.array([np.cos(angle), np.sin(angle)])
        cosine = metrics.cosine_similarity(scale * X, scale * mapped, scale * exact)
        assert cosine == pytest.approx(np.cos(angle), abs=1e-12)


def test_cosine_similarity_weighs_long_displacements_more():
    X = np.zeros((2, 2))
    assert metrics.cosine_similarity(X, [[3, 0], [0, 1]], [[3, 0], [0, -1]]) == pytest.approx(0.8)


def test_cosine_similarity_of_zero_displacements_is_one_if_both_are_zero():
    X, moved = [[0.0, 1.0]], [[1.0, 1.0]]
    assert metrics.cosine_similarity(X, X, X) == 1
    assert metrics.cosine_similarity(X, X, moved) == 0
    assert metrics.cosine_similarity(X, moved, X) == 0


def test_transport_cost_and_d_cost_equal_known_values(rng):
    X = rng.normal(size=(50, 2))
    assert metrics.transport_cost(X, X + np.array([3, 4])) == pytest.approx(25)
    assert metrics.d_cost(X, X + np.array([3, 4]), exact_cost=24.0) == pytest.approx(1)
    assert metrics.d_cost(X, X + np.array([3, 4]), exact_cost=26.0) == pytest.approx(1)


# exact transport between samples


def test_exact_cost_equals_cost_of_best_assignment(rng):
    X, Y = rng.normal(size=(60, 3)), rng.normal(size=(60, 3)) + 1
    squares = ((X[:, None] - Y) ** 2).sum(axis=2)
    best = squares[linear_sum_assignment(squares)].mean()
    assert metrics.exact_cost(X, Y) == pytest.approx(best, rel=1e-10)
    assert metrics.d_target(X, Y) == pytest.approx(best, rel=1e-10)
    assert metrics.d_target(rng.permutation(X), Y) == pytest.approx(best, rel=1e-10)


def test_exact_cost_respects_sizes_and_weights(rng):
    X, Y = rng.normal(size=(20, 2)), rng.normal(size=(30, 2))
    repeated = metrics.exact_cost(np.repeat(X, 3, axis=0), np.repeat(Y, 2, axis=0))
    assert metrics.d_target(X, Y) == pytest.approx(repeated, rel=1e-10)
    counts = rng.integers(0, 4, size=20)
    weighted = metrics.exact_cost(X, Y, sample_weight=counts)
    assert weighted == pytest.approx(metrics.exact_cost(np.repeat(X, counts, axis=0), Y), rel=1e-10)
    assert metrics.exact_cost(Y, X, sample_weight_target=counts) == pytest.approx(weighted, rel=1e-10)
    assert abs(weighted - metrics.exact_cost(X, Y)) > 1e-3


def test_exact_cost_in_one_dimension_equals_cost_of_sorted_rows(rng):
    X, Y = rng.normal(size=(2000, 1)), rng.exponential(size=(2000, 1))
    sorted_cost = np.mean((np.sort(X, axis=0) - np.sort(Y, axis=0)) ** 2)
    assert metrics.exact_cost(X, Y) == pytest.approx(sorted_cost, rel=1e-9)


@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e8])
def test_exact_cost_of_distant_samples_is_accurate(rng, scale):
    X = rng.normal(size=(80, 2))
    near = metrics.exact_cost(X, 2 * X)
    moved = metrics.exact_cost(scale * X, scale * (2 * X + np.array([1e4, 0])))
    between = (2 * X + np.array([1e4, 0]) - X).mean(axis=0)
    expected = near - (X.mean(axis=0) ** 2).sum() + (between**2).sum()
    assert moved == pytest.approx(scale**2 * expected, rel=1e-12)


@pytest.mark.parametrize("metric", [metrics.exact_cost, metrics.sinkhorn_divergence])
@pytest.mark.parametrize("weights", [[1.0], [1.0, -1.0], [0.0, 0.0], [1.0, np.nan], ["a", "b"]])
def test_bad_weights_are_rejected(metric, weights):
    X = [[0.0], [1.0]]
    with pytest.raises(ValueError, match="sample_weight must"):
        metric(X, X, sample_weight=weights)
    with pytest.raises(ValueError, match="sample_weight_target must"):
        metric(X, X, sample_weight_target=weights)


def normal_law(n, rng):
    return rng.normal(size=(n, 2))


def test_target_floor_equals_distance_of_exact_map():
    floor = metrics.target_floor(normal_law, n=300, n_pairs=5, random_state=0)
    scores = []
    for seed in range(10, 18):
        fresh = np.random.default_rng(seed)
        scores.append(metrics.d_target(normal_law(300, fresh), normal_law(300, fresh)))
    error = np.hypot(floor.standard_error, np.std(scores, ddof=1) / np.sqrt(len(scores)))
    assert abs(floor.mean - np.mean(scores)) < 4 * error
    assert 0 < floor.standard_error < floor.mean / 3
    assert floor.mean > 2 * metrics.target_floor(normal_law, n=1000, random_state=0).mean


def test_target_floor_is_reproducible_with_standard_error_of_mean():
    kwargs = {"n": 50, "n_pairs": 4}
    floor = metrics.target_floor(normal_law, **kwargs, random_state=2)
    assert floor == metrics.target_floor(normal_law, **kwargs, random_state=np.random.default_rng(2))
    assert floor != metrics.target_floor(normal_law, **kwargs, random_state=3)
    assert metrics.target_floor(normal_law, **kwargs, random_state=np.random.RandomState(0)).mean > 0
    fresh = np.random.default_rng(2)
    scores = [metrics.d_target(normal_law(50, fresh), normal_law(50, fresh)) for _ in range(4)]
    assert floor.mean == pytest.approx(np.mean(scores))
    assert floor.standard_error == pytest.approx(np.std(scores, ddof=1) / 2)


@pytest.mark.parametrize(("n", "n_pairs"), [(0, 3), (10, 1)])
def test_target_floor_rejects_bad_counts(n, n_pairs):
    with pytest.raises(ValueError, match=r"n(_pairs)? must be an integer of at least"):
        metrics.target_floor(normal_law, n=n, n_pairs=n_pairs)


def test_target_floor_rejects_rows():
    with pytest.raises(TypeError, match="sample_target must be a callable"):
        metrics.target_floor(np.zeros((10, 2)))


# spread and coverage


def test_spread_ratio_is_computed_by_coordinate(rng):
    Y = rng.normal(size=(500, 3)) + 100
    np.testing.assert_allclose(metrics.spread_ratio(Y * [0.5, 1, 2], Y), [0.5, 1, 2])


def test_spread_ratio_is_finite_for_constant_target_coordinates(rng):
    Y = np.column_stack([rng.normal(size=400), np.full(400, 0.1)])
    spread = Y[:, 0].std()
    moved = Y + np.outer(Y[:, 0], [0, 1])
    np.testing.assert_allclose(metrics.spread_ratio(Y, Y), [1, 1])
    np.testing.assert_allclose(metrics.spread_ratio(moved, Y), [1, 1 + np.sqrt(2)], rtol=1e-9)
    nearly = Y + np.outer(Y[:, 0], [0, 1e-10])
    np.testing.assert_allclose(metrics.spread_ratio(moved, nearly), [1, 1 + np.sqrt(2)], rtol=1e-6)
    point = np.full((10, 2), 0.1)
    np.testing.assert_allclose(metrics.spread_ratio(point, point), [1, 1])
    np.testing.assert_allclose(metrics.spread_ratio(Y / spread, point), [1 + np.sqrt(2), 1])


def test_mode_coverage_assigns_points_to_nearest_mode(rng):
    modes = np.array([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    points = modes[[0] * 6 + [1] * 2] + rng.normal(size=(8, 2))
    np.testing.assert_allclose(metrics.mode_coverage(points, modes), [0.75, 0.25, 0])


# Sinkhorn divergence


def entropic_cost(A, B, reg):
    """Return the entropic cost by its definition, with the plan of POT's log-domain iterations."""
    cost = ((A[:, None] - B) ** 2).sum(axis=2)
    plan = ot.bregman.sinkhorn_log([], [], cost, reg, numItermax=3000, stopThr=1e-10, warn=False)
    return (plan * cost).sum() + reg * (plan * np.log(plan * len(A) * len(B))).sum()


def test_sinkhorn_divergence_equals_definition(rng):
    A, B = rng.normal(size=(25, 2)), 1 + 2 * rng.normal(size=(40, 2))
    for reg in (0.5, 2.0, 10.0):
        terms = [entropic_cost(*pair, reg) for pair in ((A, B), (A, A), (B, B))]
        expected = terms[0] - (terms[1] + terms[2]) / 2
        assert metrics.sinkhorn_divergence(A, B, reg=reg) == pytest.approx(expected, rel=1e-6)


def test_default_reg_of_sinkhorn_divergence_is_relative(rng):
    A, B = rng.normal(size=(50, 3)), rng.exponential(size=(60, 3))
    reg = 0.05 * (A.var(axis=0) + B.var(axis=0)).sum()
    value = metrics.sinkhorn_divergence(A, B)
    assert value == pytest.approx(metrics.sinkhorn_divergence(A, B, reg=reg), rel=1e-9)
    assert metrics.sinkhorn_divergence(B, A) == pytest.approx(value, rel=1e-5)
    for scale in (1e-100, 1e-6, 1e6, 1e100):
        scaled = metrics.sinkhorn_divergence(scale * A, scale * B)
        assert scaled == pytest.approx(scale**2 * value, rel=1e-6)


def test_sinkhorn_divergence_is_between_its_limits(rng):
    A, B = rng.normal(size=(100, 2)), 1 + rng.exponential(size=(100, 2))
    between_means = ((A.mean(axis=0) - B.mean(axis=0)) ** 2).sum()
    exact = metrics.exact_cost(A, B)
    assert metrics.sinkhorn_divergence(A, B, reg=1e-3) == pytest.approx(exact, rel=0.01)
    assert metrics.sinkhorn_divergence(A, B, reg=1e4) == pytest.approx(between_means, rel=0.01)
    assert between_means < metrics.sinkhorn_divergence(A, B) < exact


def test_sinkhorn_divergence_of_shift_equals_squared_shift(rng):
    A = rng.normal(size=(200, 2))
    assert metrics.sinkhorn_divergence(A, A) == pytest.approx(0, abs=1e-12)
    for shift in (1e-3, 1.0, 1e6):
        assert metrics.sinkhorn_divergence(A, A + np.array([shift, 0])) == pytest.approx(shift**2, rel=1e-6)


def test_sinkhorn_divergence_treats_weights_as_repetitions(rng):
    A, B = rng.normal(size=(60, 2)), rng.exponential(size=(50, 2))
    counts = rng.integers(0, 4, size=60)
    repeated = metrics.sinkhorn_divergence(np.repeat(A, counts, axis=0), B)
    assert metrics.sinkhorn_divergence(A, B, sample_weight=counts) == pytest.approx(repeated, rel=1e-6)
    assert metrics.sinkhorn_divergence(B, A, sample_weight_target=counts) == pytest.approx(repeated, rel=1e-6)
    assert abs(metrics.sinkhorn_divergence(A, B) - repeated) > 1e-3


def test_negligible_weights_have_no_effect(rng):
    A, B = rng.normal(size=(60, 2)), rng.normal(size=(60, 2))
    weights = np.exp(-300 * np.abs(A).sum(axis=1))
    kept = weights > 1e-12 * weights.max()
    expected = metrics.sinkhorn_divergence(A[kept], B, sample_weight=weights[kept])
    assert metrics.sinkhorn_divergence(A, B, sample_weight=weights) == pytest.approx(expected, rel=1e-9)


def test_sinkhorn_divergence_is_smaller_for_samples_of_same_law(rng):
    A, B = rng.normal(size=(400, 2)), rng.normal(size=(400, 2))
    same = metrics.sinkhorn_divergence(A, B)
    assert 0 < same < metrics.exact_cost(A, B)
    assert metrics.sinkhorn_divergence(A, 0.7 * B) > 3 * same
    assert metrics.sinkhorn_divergence(A, B + 0.3) > 3 * same


def with_outlier(rng):
    A = rng.normal(size=(200, 2))
    A[0] = [1e5, 0]
    return A, rng.normal(size=(200, 2))


HARD_CASES = {
    "far apart": lambda rng: (rng.normal(size=(200, 2)), rng.normal(size=(150, 2)) + 1e7),
    "tiny": lambda rng: (1e-150 * rng.normal(size=(200, 2)), 1e-150 * rng.normal(size=(150, 2))),
    "huge": lambda rng: (1e150 * rng.normal(size=(200, 2)), 1e150 * rng.normal(size=(150, 2))),
    "outlier": with_outlier,
    "one point": lambda rng: (np.zeros((200, 2)), rng.normal(size=(200, 2))),
    "one row": lambda rng: (np.zeros((1, 2)), np.ones((1, 2))),
    "two points": lambda rng: (np.zeros((3, 2)), np.ones((5, 2))),
    "ties": lambda rng: (rng.integers(0, 3, (200, 2)), rng.integers(0, 3, (200, 2))),
    "clusters": lambda rng: tuple(rng.choice([-1, 1], (2, 200, 1)) + 1e-3 * rng.normal(size=(2, 200, 2))),
    "perpendicular": lambda rng: (rng.random((200, 1)) * [1, 0], rng.random((200, 1)) * [0, 1]),
    "many features": lambda rng: (rng.normal(size=(50, 500)), rng.normal(size=(60, 500))),
    "very different spread": lambda rng: (1e-6 * rng.normal(size=(200, 2)), rng.normal(size=(200, 2))),
}


@pytest.mark.parametrize("case", HARD_CASES)
@pytest.mark.parametrize("relative_reg", [None, 1e-3, 1.0])
def test_sinkhorn_divergence_is_finite_and_non_negative(rng, case, relative_reg):
    A, B = HARD_CASES[case](rng)
    scale = max(np.abs(A - A.mean(axis=0)).max(), np.abs(B - B.mean(axis=0)).max()) ** 2
    reg = None if relative_reg is None else relative_reg * (scale or 1.0)
    value = metrics.sinkhorn_divergence(A, B, reg=reg)  # warnings are errors in the tests
    assert np.isfinite(value)
    assert value >= ((A.mean(axis=0) - B.mean(axis=0)) ** 2).sum() * (1 - 1e-9)
    assert value <= 1.01 * metrics.exact_cost(A, B) + 1e-6 * scale


@pytest.mark.parametrize("reg", [0.0, -1.0, np.nan, np.inf])
def test_sinkhorn_divergence_rejects_bad_reg(reg):
    with pytest.raises(ValueError, match="reg must be positive"):
        metrics.sinkhorn_divergence([[0.0]], [[1.0]], reg=reg)


# input of all metrics

ALIGNED = {
    "l2_uvp": (metrics.l2_uvp, ("mapped", "exact")),
    "cosine_similarity": (metrics.cosine_similarity, ("X", "mapped", "exact")),
    "transport_cost": (metrics.transport_cost, ("X", "mapped")),
    "d_cost": (lambda **arguments: metrics.d_cost(**arguments, exact_cost=1.0), ("X", "mapped")),
}
UNPAIRED = {
    "d_target": (metrics.d_target, ("mapped", "target")),
    "exact_cost": (metrics.exact_cost, ("X", "Y")),
    "spread_ratio": (metrics.spread_ratio, ("mapped", "target")),
    "sinkhorn_divergence": (metrics.sinkhorn_divergence, ("A", "B")),
    "mode_coverage": (metrics.mode_coverage, ("points", "modes")),
}
EVERY = {**ALIGNED, **UNPAIRED}
BAD_SAMPLES = [
    [[np.nan, 0.0]],
    [[np.inf, 0.0]],
    [["a", "b"]],
    [[1j, 0.0]],
    [1.0, 2.0],
    np.zeros((0, 2)),
    3.0,
    np.zeros((2, 2, 2)),
]


def test_all_metrics_are_listed():
    functions = {name for name in metrics.__all__ if name[0].islower()}
    assert functions == set(EVERY) | {"target_floor", "conditional_bures_uvp"}


@pytest.mark.parametrize("name", EVERY)
def test_bad_samples_are_rejected(name):
    function, arguments = EVERY[name]
    for argument in arguments:
        for bad in BAD_SAMPLES:
            samples = {other: [[0.0, 1.0], [2.0, 2.0]] for other in arguments} | {argument: bad}
            with pytest.raises(ValueError, match=rf"^{argument} must be"):
                function(**samples)


@pytest.mark.parametrize("name", EVERY)
def test_different_numbers_of_features_are_rejected(name):
    function, arguments = EVERY[name]
    samples = {argument: np.eye(2) for argument in arguments} | {arguments[-1]: np.eye(2, 3)}
    with pytest.raises(ValueError, match=arguments[-1]):
        function(**samples)


@pytest.mark.parametrize("name", ALIGNED)
def test_different_numbers_of_paired_rows_are_rejected(name):
    function, arguments = ALIGNED[name]
    samples = {argument: np.eye(2) for argument in arguments} | {arguments[-1]: np.eye(3, 2)}
    with pytest.raises(ValueError, match="belong to source row i"):
        function(**samples)


@pytest.mark.parametrize("name", EVERY)
def test_tensors_lists_and_arrays_give_same_numbers(rng, name):
    function, arguments = EVERY[name]
    arrays = {argument: rng.normal(size=(12, 2)).astype(np.float32) for argument in arguments}
    copies = {argument: array.copy() for argument, array in arrays.items()}
    value = function(**arrays)
    tensors = {argument: torch.tensor(array, requires_grad=True) for argument, array in arrays.items()}
    lists = {argument: array.tolist() for argument, array in arrays.items()}
    np.testing.assert_array_equal(function(**tensors), value)
    np.testing.assert_array_equal(function(**lists), value)
    assert type(value) in (float, np.ndarray)
    assert all(np.array_equal(arrays[argument], copies[argument]) for argument in arguments)


COUNTS = np.array([1, 2, 0, 3, 1, 1, 2, 4])


@pytest.mark.parametrize("metric", [metrics.d_target, metrics.spread_ratio])
def test_integer_weights_equal_repeated_rows(rng, metric):
    T, Y = rng.normal(size=(8, 3)), rng.exponential(size=(8, 3))
    repeated = metric(np.repeat(T, COUNTS, axis=0), Y)
    np.testing.assert_allclose(metric(T, Y, sample_weight=COUNTS), repeated, rtol=1e-10)
    repeated = metric(T, np.repeat(Y, COUNTS, axis=0))
    np.testing.assert_allclose(metric(T, Y, sample_weight_target=COUNTS), repeated, rtol=1e-10)


@pytest.mark.parametrize("name", ALIGNED)
def test_integer_weights_equal_repeated_paired_rows(rng, name):
    function, arguments = ALIGNED[name]
    samples = {argument: rng.normal(size=(8, 3)) for argument in arguments}
    repeated = function(**{argument: np.repeat(rows, COUNTS, axis=0) for argument, rows in samples.items()})
    assert function(**samples, sample_weight=COUNTS) == pytest.approx(repeated, rel=1e-10)
    with pytest.raises(ValueError, match="sample_weight must"):
        function(**samples, sample_weight=[1.0])


def test_weights_of_conditional_moments_equal_repeated_rows(rng):
    draws, means = rng.normal(size=(5, 8, 2)), rng.normal(size=(8, 2))
    covariances = np.einsum("nij,nkj->nik", *2 * [rng.normal(size=(8, 2, 2))])
    repeated = [np.repeat(each, COUNTS, axis=axis) for each, axis in ((draws, 1), (means, 0), (covariances, 0))]
    found = metrics.conditional_bures_uvp(draws, means, covariances, 2.0, sample_weight=COUNTS)
    assert found == pytest.approx(metrics.conditional_bures_uvp(*repeated, 2.0), rel=1e-10)


def test_weighted_mode_coverage_equals_that_of_repeated_rows(rng):
    points, modes = rng.normal(size=(8, 2)), rng.normal(size=(3, 2))
    repeated = metrics.mode_coverage(np.repeat(points, COUNTS, axis=0), modes)
    np.testing.assert_allclose(metrics.mode_coverage(points, modes, sample_weight=COUNTS), repeated, rtol=1e-12)


def test_floor_of_weighted_target_equals_that_of_repeated_rows():
    def weighted(n, rng):
        rows = rng.normal(size=(n, 2))
        return rows, np.arange(n) % 3

    def repeated(n, rng):
        return np.repeat(*weighted(n, rng), axis=0)

    floors = [metrics.target_floor(draw, n=60, random_state=0).mean for draw in (weighted, repeated)]
    assert floors[0] == pytest.approx(floors[1], rel=1e-10)


@pytest.mark.parametrize("metric", [metrics.d_target, metrics.spread_ratio])
def test_metrics_of_laws_reject_bad_weights(metric):
    with pytest.raises(ValueError, match="sample_weight_target must"):
        metric([[0.0], [1.0]], [[0.0], [1.0]], sample_weight_target=[-1.0, 2.0])
