"""Full fits with the defaults, compared with the exact solution of each pair; run with ``-m slow``."""

import warnings

import numpy as np
import ot
import pytest
from conftest import PAIRS, rotation

from neuralot import CriticLoss, OTPTransport, SNOTTransport
from neuralot.costs import Lp
from neuralot.datasets import (
    make_circles,
    make_convex_potential,
    make_gaussians,
    make_one_to_many,
    make_perpendicular,
)
from neuralot.metrics import cosine_similarity, d_target, l2_uvp, mode_coverage, target_floor, transport_cost
from neuralot.solve import Status

pytestmark = pytest.mark.slow

N_FIT, N_TEST, N_PAIRS = 4096, 2000, 20


def fit(cls, pair, **options):
    X, Y = pair.sample(N_FIT, random_state=0)
    weights = {}
    if pair.name == "multi_perpendicular":
        # in these samples, 2 % of the mass is in the wrong cross, and the exact plan costs 0.94 instead of 0.67
        weights = {"sample_weight": quadrant_weights(X), "sample_weight_target": quadrant_weights(Y)}
    return cls(random_state=0, **options).fit(X, Y, **weights)


def quadrant_weights(rows):
    """Return weights that give each quadrant of the plane the same mass."""
    quadrant = 2 * (rows[:, 0] > 0) + (rows[:, 1] > 0)
    return 1 / np.bincount(quadrant)[quadrant]


def assert_image_is_the_target(transport, pair):
    # means over many samples, because a single distance has an error of 0.04 on One-to-Many, where the shares vary
    X, Y = pair.sample(N_PAIRS * N_TEST, random_state=1)
    draws = transport.sample(X, random_state=0)[0]
    distance = np.mean([d_target(*rows) for rows in zip(np.split(draws, N_PAIRS), np.split(Y, N_PAIRS), strict=True)])
    floor = target_floor(pair.target, N_TEST, n_pairs=2 * N_PAIRS, random_state=2).mean
    assert distance <= pair.tolerance.target_factor * floor + pair.tolerance.target_offset


def assert_cost_is_exact(transport, pair):
    X, _ = pair.sample(10 * N_TEST, random_state=1)
    draws = transport.sample(X, random_state=0)[0]
    assert transport_cost(X, draws) == pytest.approx(pair.cost, rel=pair.tolerance.cost)


def assert_map_is_exact(transport, pair, l2_uvp_allowed, cosine_needed):
    X, _ = pair.sample(10 * N_TEST, random_state=1)
    images, exact = transport.transform(X), pair.exact_map(X)
    assert l2_uvp(images, exact, pair.target_variance) <= l2_uvp_allowed
    assert cosine_similarity(X, images, exact) >= cosine_needed


@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
def test_otp_recovers_plans(pair):
    transport = fit(OTPTransport, pair)
    assert_image_is_the_target(transport, pair)
    if pair.tolerance.otp_l2_uvp is not None:
        # due to the terminal noise, the draws cost more and the map is smoother
        assert_map_is_exact(transport, pair, pair.tolerance.otp_l2_uvp, cosine_needed=0.98)
    elif pair.cost is not None:
        assert_cost_is_exact(transport, pair)
    if pair.name == "one_to_many":
        X, _ = pair.sample(10 * N_TEST, random_state=1)
        shares = mode_coverage(transport.sample(X, random_state=0)[0], pair.modes)
        assert shares.tolist() == [pytest.approx(0.5, abs=0.05)] * 2


@pytest.mark.parametrize(
    "pair", [PAIRS[name] for name in ("parallel", "gaussians", "convex_potential")], ids=lambda pair: pair.name
)
def test_snot_recovers_existing_maps(pair):
    transport = fit(SNOTTransport, pair)
    assert_image_is_the_target(transport, pair)
    if pair.tolerance.l2_uvp is not None:
        assert_map_is_exact(transport, pair, pair.tolerance.l2_uvp, pair.tolerance.cosine)
    else:
        assert_cost_is_exact(transport, pair)


@pytest.mark.parametrize("make", [make_gaussians, make_convex_potential])
def test_snot_recovers_map_in_eight_dimensions(make):
    pair = make(8)
    # for the convex potential, the cosine 0.99 is not reached with 4096 rows (0.983), see the next test
    cosine = pair.tolerance.cosine if make is make_gaussians else 0.97
    assert_map_is_exact(fit(SNOTTransport, pair), pair, pair.tolerance.l2_uvp, cosine)


@pytest.mark.xfail(
    reason="the cosine is 0.983 with 4096 rows and 0.996 with 32 768 rows (benchmarks/README.md)", strict=True
)
def test_snot_reaches_cosine_tolerance_in_eight_dimensions():
    pair = make_convex_potential(8)
    assert_map_is_exact(fit(SNOTTransport, pair), pair, pair.tolerance.l2_uvp, pair.tolerance.cosine)


@pytest.mark.parametrize("make", [make_gaussians, make_convex_potential])
def test_otp_recovers_map_in_eight_dimensions(make):
    pair = make(8)
    assert_map_is_exact(fit(OTPTransport, pair), pair, pair.tolerance.otp_l2_uvp, cosine_needed=0.95)


def test_otp_recovers_map_of_dense_laws_in_sixteen_dimensions():
    pair = make_gaussians(16)
    assert_map_is_exact(fit(OTPTransport, pair), pair, pair.tolerance.otp_l2_uvp, cosine_needed=0.95)


def test_otp_finds_single_thin_direction():
    # without preconditioners, the share of draws near a branch is that of a normal law, 0.3
    pair, Q = make_one_to_many(64), rotation(64)
    X, Y = pair.sample(16_384, random_state=0)
    transport = OTPTransport(max_iter=800, random_state=0).fit(X @ Q, Y @ Q)
    X, _ = pair.sample(10 * N_TEST, random_state=1)
    draws = transport.sample(X @ Q, random_state=0)[0] @ Q.T
    assert np.mean(np.abs(np.abs(draws[:, -1]) - 1) < 0.3) > 0.9
    assert mode_coverage(draws, pair.modes)[0] == pytest.approx(0.5, abs=0.05)
    assert transport_cost(X, draws) == pytest.approx(pair.cost, rel=0.1)


@pytest.mark.parametrize("n_features", [2, 64])
def test_otp_splits_circle_in_larger_space(n_features):
    pair, Q = make_circles(n_features), rotation(n_features)
    X, Y = pair.sample(N_FIT, random_state=0)
    transport = OTPTransport(random_state=0).fit(X @ Q, Y @ Q)
    X, _ = pair.sample(10 * N_TEST, random_state=1)
    draws = transport.sample(X @ Q, random_state=0)[0] @ Q.T
    radius = np.linalg.norm(draws, axis=1)
    assert np.mean(np.abs(np.abs(radius - 2) - 1) < 0.3) > 0.8
    assert np.mean(radius < 2) == pytest.approx(0.5, abs=0.05)
    assert transport_cost(X, draws) == pytest.approx(pair.cost, rel=0.1)
    np.testing.assert_allclose(draws[:, 2:], 0, atol=1e-6)


def test_column_of_small_variance_is_recovered_despite_noise():
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(N_TEST, 2)) * [1, 0.05], rng.normal(size=(N_TEST, 2)) * [1, 0.1]
    images = OTPTransport(max_iter=400, random_state=0).fit(X, Y).transform(X)
    # with isotropic noise, the error is 0.5 of the variance, and the slope is 0.6 instead of 2
    assert np.mean((images[:, 1] - 2 * X[:, 1]) ** 2) < 0.05 * Y[:, 1].var()


def power_cost(A, B, p):
    """Return |a - b|^p for all pairs, as a matrix for POT."""
    return (np.abs(A[:, None] - B[None]) ** p).sum(axis=-1)


@pytest.mark.parametrize("p", [1.5, 3.0])
@pytest.mark.parametrize("name", ["perpendicular", "one_to_many"])
def test_otp_recovers_plans_of_other_costs(name, p):
    transport = fit(OTPTransport, PAIRS[name], cost=Lp(p))
    assert_image_is_the_target(transport, PAIRS[name])
    X, Y = PAIRS[name].sample(N_TEST, random_state=1)
    draws = transport.sample(X, random_state=0)[0]
    exact = ot.emd2([], [], power_cost(X, Y, p), numItermax=10**8)
    assert (np.abs(X - draws) ** p).sum(axis=1).mean() == pytest.approx(exact, rel=0.05)


@pytest.mark.parametrize("p", [1.5, 3.0])
@pytest.mark.parametrize("name", ["gaussians", "eight_gaussians"])
def test_snot_map_is_optimal_for_other_costs(name, p):
    # the exact plan is computed between the rows and their images, which avoids the sampling error
    transport = fit(SNOTTransport, PAIRS[name], cost=Lp(p))
    X, Y = PAIRS[name].sample(N_TEST, random_state=1)
    images = transport.transform(X)
    exact = ot.emd2([], [], power_cost(X, images, p), numItermax=10**8)
    assert exact > 0.99 * (np.abs(X - images) ** p).sum(axis=1).mean()
    floor = target_floor(PAIRS[name].target, N_TEST, n_pairs=4, random_state=2).mean
    assert d_target(images, Y) < 2 * floor


def test_network_form_without_expectile_recovers_map_in_sixty_four_dimensions():
    pair = make_gaussians(64)
    X, Y = pair.sample(2**14, random_state=0)
    transport = SNOTTransport(map_form="network", critic_loss=CriticLoss(expectile_weight=0), random_state=0).fit(X, Y)
    assert transport.status_.ok
    assert_map_is_exact(transport, pair, 1.0, cosine_needed=0.99)


@pytest.mark.parametrize("is_rotated", [False, True])
@pytest.mark.parametrize("make", [make_perpendicular, make_one_to_many])
def test_otp_recovers_plans_in_sixty_four_dimensions(make, is_rotated):
    pair = make(64)
    Q = rotation(64) if is_rotated else np.eye(64)
    X, Y = pair.sample(2**15, random_state=0)
    transport = OTPTransport(random_state=0).fit(X @ Q, Y @ Q)
    X, Y = pair.sample(2 * N_TEST, random_state=1)
    draws = transport.sample(X @ Q, random_state=0)[0] @ Q.T
    distance = np.mean([d_target(*rows) for rows in zip(np.split(draws, 2), np.split(Y, 2), strict=True)])
    assert distance < 1.05 * target_floor(pair.target, N_TEST, n_pairs=2, random_state=2).mean
    assert transport_cost(X, draws) == pytest.approx(pair.cost, rel=0.05 if make is make_perpendicular else 0.1)
    varying = Y.std(axis=0) > 0
    assert np.abs(draws[:, varying].std(axis=0) / Y[:, varying].std(axis=0) - 1).max() < 0.1


@pytest.mark.parametrize("cls", [SNOTTransport, OTPTransport])
@pytest.mark.parametrize("share", [0.5, 0.7])
def test_images_are_at_two_target_points_except_near_jump(cls, share):
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(500, 2)), np.array([[1.0, 0.0], [-1.0, 0.0]])
    transport = cls(random_state=0).fit(X, Y, sample_weight_target=[share, 1 - share])
    draws = transport.sample(X, n_draws=4, random_state=0).reshape(-1, 2)
    assert np.isfinite(draws).all()
    # with the usual weight decay of SNOT, a share of 0.11 is between the points
    assert np.mean(ot.dist(draws, Y).min(axis=1) > 0.2**2) < 0.08
    assert np.mean(draws[:, 0] > 0) == pytest.approx(share, abs=0.03)


def test_inverse_transform_inverts_map_between_densities():
    pair = PAIRS["convex_potential"]
    transport = fit(SNOTTransport, pair)
    X, _ = pair.sample(N_TEST, random_state=1)
    assert l2_uvp(transport.inverse_transform(transport.transform(X)), X) < 2


def test_default_snot_does_not_split_mass():
    # the documentation states this and must be changed if the test fails
    with warnings.catch_warnings(action="ignore"):  # the fit may warn
        transport = fit(SNOTTransport, PAIRS["one_to_many"])
    with pytest.raises(AssertionError):
        assert_image_is_the_target(transport, PAIRS["one_to_many"])


@pytest.mark.parametrize("cls", [OTPTransport, SNOTTransport])
def test_few_rows_in_sixteen_dimensions_are_not_overfitted(cls):
    # with the weight decay for 4096 rows, the error is 30 %
    pair = make_gaussians(16)
    X, Y = pair.sample(600, random_state=0)
    transport = cls(max_iter=600, random_state=0).fit(X, Y)
    X, _ = pair.sample(N_TEST, random_state=1)
    assert l2_uvp(transport.transform(X), pair.exact_map(X), pair.target_variance) < 4


@pytest.mark.parametrize("seed", [0, 1])
def test_snot_recovers_map_of_other_cost_in_sixteen_dimensions(seed):
    # with a quadratic potential, which grows faster than the cost, errors were 4 to 87 %, or the fit diverged
    rng, scale = np.random.default_rng(seed), np.linspace(0.5, 2, 16)
    X, Y = rng.normal(size=(N_TEST, 16)), rng.normal(size=(N_TEST, 16)) * scale + 1
    transport = SNOTTransport(cost=Lp(1.5), random_state=seed).fit(X, Y)
    assert transport.status_ is not Status.DIVERGED
    # between product laws, the optimal map acts on each coordinate separately
    exact = X * scale + 1
    assert l2_uvp(transport.transform(X), exact, Y.var(axis=0).sum()) < 4
