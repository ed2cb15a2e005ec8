"""OT-Net: known cells, masses, creases and new targets."""

import copy
import math

import numpy as np
import ot
import pytest
import torch
from conftest import gaussian, seeded
from scipy.stats import norm

from neuralot import OTNetTransport
from neuralot.methods import OTNet
from neuralot.methods.certificate import square_error, unbiased_square
from neuralot.methods.planes import Planes
from neuralot.networks import Potential
from neuralot.solve import Status, solve


def otnet(**parameters):
    return OTNetTransport(**{"max_iter": 300, "random_state": 0, **parameters})


def clusters(n, seed=0):
    rng = np.random.default_rng(seed)
    return 0.5 * rng.normal(size=(n, 2)) + 5 * rng.choice([-1, 1], size=(n, 1)) * [1, 0]


@pytest.fixture(scope="module")
def fitted_in_plane():
    X, Y = gaussian(4000, 2), 3 + gaussian(200, 2, seed=1) * [2, 0.5]
    return X, Y, otnet().fit(X, Y)


# cells known in closed form


@pytest.mark.parametrize("share", [0.5, 0.2])
def test_two_points_divide_gaussian_at_quantile(share):
    """Along the line between the points, the cell of b is the half-line beyond the quantile of its weight."""
    a, b = np.array([-1.0, 2.0]), np.array([2.0, 6.0])
    X, new = gaussian(20_000, 2), gaussian(50_000, 2, seed=1)
    transport = otnet().fit(X, np.stack([a, b]), sample_weight_target=[1 - share, share])
    projection = new @ (b - a) / np.linalg.norm(b - a)
    expected = projection > norm.ppf(1 - share)
    is_mapped_to_b = (transport.transform(new) == b).all(axis=1)
    assert (is_mapped_to_b != expected).mean() < 0.01


def test_three_points_divide_plane_into_equal_sectors():
    angles = np.pi / 2 + 2 * np.pi * np.arange(3) / 3
    Y = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    new = gaussian(50_000, 2, seed=1)
    transport = otnet().fit(gaussian(20_000, 2), Y)
    assert ((transport.transform(new) != Y[(new @ Y.T).argmax(axis=1)]).any(axis=1)).mean() < 0.02


@pytest.mark.parametrize("weighted", [False, True])
def test_map_in_one_dimension_is_monotone_map(weighted):
    X, Y = gaussian(20_000, 1), np.sort(np.random.default_rng(1).exponential(size=(50, 1)), axis=0)
    weights = np.random.default_rng(2).uniform(0.2, 1, size=50) if weighted else np.ones(50)
    new = np.sort(gaussian(20_000, 1, seed=3), axis=0)
    images = otnet(max_iter=600).fit(X, Y, sample_weight_target=weights).transform(new)
    assert (np.diff(images[:, 0]) >= 0).all()
    exact = Y[np.searchsorted(np.cumsum(weights) / weights.sum(), norm.cdf(new[:, 0])).clip(max=49)]
    assert np.abs(images - exact).mean() < 0.03 * Y.std()


@pytest.mark.slow
def test_map_to_2000_targets_agrees_with_exact_plan():
    """The exact plan between samples is noisy, so cost and barycentric map agree approximately."""
    Y = gaussian(2000, 2, seed=1) * [2, 0.5] + 3
    X = gaussian(8000, 2)
    transport = otnet(max_iter=1200).fit(X, Y)
    plan = ot.emd([], [], ot.dist(X, Y), numItermax=10**7)
    exact = plan @ Y / plan.sum(axis=1, keepdims=True)
    cost = (plan * ot.dist(X, Y)).sum()
    assert transport.transport_cost_ == pytest.approx(cost, rel=0.02)
    assert np.square(transport.transform(X) - exact).sum(axis=1).mean() < 0.01 * Y.var(axis=0).sum()


# error estimates


def test_map_is_argmax_of_fitted_planes(fitted_in_plane):
    X, _, transport = fitted_in_plane
    points = transport.target_points_
    values = X @ points.T + transport.heights_
    first, second = np.sort(values, axis=1)[:, [-1, -2]].T
    is_clear = first - second > 1e-6  # otherwise rounding decides
    winners = values.argmax(axis=1)
    assert is_clear.mean() > 0.999
    assert np.array_equal(transport.assign(X)[is_clear], winners[is_clear])
    assert np.array_equal(transport.transform(X), points[transport.assign(X)])


def test_map_is_optimal_for_law_of_images(fitted_in_plane):
    X, _, transport = fitted_in_plane
    subset, images = X[:500], transport.transform(X[:500])
    assert np.square(subset - images).sum(axis=1).mean() == pytest.approx(ot.emd2([], [], ot.dist(subset, images)))


def test_dual_gap_equals_cost_minus_dual_value(fitted_in_plane):
    _, Y, transport = fitted_in_plane
    units, problem = transport.units_, transport.problem_
    x = problem.held_out_rows.double()
    y, h = problem.points.double(), problem.heights.double()
    potential = 2 * h + y.square().sum(1)
    costs = torch.cdist(x, y).square()
    cost = costs.gather(1, (x @ y.T + h).argmax(1, keepdim=True)).mean()
    dual = (costs - potential).amin(1).mean() + potential.mean()
    assert transport.dual_gap_ == pytest.approx(float(cost - dual) * units.scale**2, rel=1e-3)
    # for many new rows the gap is small; the estimate from the held-out rows has a sampling error
    masses = np.bincount(transport.assign(gaussian(400_000, 2, seed=7)), minlength=len(Y)) / 400_000
    potential = 2 * transport.heights_ + np.square(transport.target_points_).sum(axis=1)
    gap = (masses - 1 / len(Y)) @ potential
    deviation = np.sqrt(masses @ np.square(potential - masses @ potential))
    assert abs(gap) < 0.05 * Y.var(axis=0).sum()
    assert abs(transport.dual_gap_ - gap) < 4 * deviation / np.sqrt(len(x))


@pytest.mark.parametrize("steps", [3, 20, 300])
def test_dual_gap_bounds_share_of_wrong_images(steps):
    """The bound P(T != T*) <= P(margin < t) + (W2^2 - D) / t holds in one dimension, where T* is known."""
    x, y = np.sort(gaussian(20_000, 1), axis=0), np.sort(gaussian(20, 1, seed=1), axis=0)
    transport = otnet(max_iter=steps).fit(x, y)
    exact = y.repeat(1000, axis=0)
    values = np.sort(2 * (x @ transport.target_points_.T + transport.heights_), axis=1)
    potential = 2 * transport.heights_ + np.square(transport.target_points_[:, 0])
    dual = (np.square(x[:, 0]) - values[:, -1]).mean() + potential.mean()
    excess = np.square(x - exact).mean() - dual
    wrong = (transport.transform(x) != exact).any(axis=1).mean()
    margins = values[:, -1] - values[:, -2]
    bounds = [(margins < t).mean() + excess / t for t in np.geomspace(1e-4, 10, 50)]
    assert wrong <= min(bounds)
    assert steps < 300 or min(bounds) < 0.3


def test_mass_error_agrees_with_new_rows(fitted_in_plane):
    _, Y, transport = fitted_in_plane
    new = gaussian(400_000, 2, seed=7)
    masses = np.bincount(transport.assign(new), minlength=len(Y)) / len(new)
    true = np.linalg.norm(masses - 1 / len(Y))
    uncertain = math.sqrt(2 / len(Y)) / len(transport.problem_.held_out_rows)
    assert 0.97 * uncertain <= transport.mass_error_**2
    assert abs(transport.mass_error_**2 - true**2) < 3 * uncertain
    assert true < 0.02  # the weights have norm 0.07, and the sampling error of the masses is 0.016


def test_estimate_of_mass_error_is_unbiased():
    masses, weights = torch.tensor([0.5, 0.3, 0.2]), torch.tensor([0.4, 0.4, 0.2])
    draws = torch.distributions.Multinomial(20, masses).sample((20_000,))
    estimates = torch.stack([unbiased_square(counts / 20, weights, 20) for counts in draws])
    assert float(estimates.mean()) == pytest.approx(0.02, abs=4 * float(estimates.std()) / math.sqrt(20_000))
    right = torch.distributions.Multinomial(1000, weights).sample((5000,))
    deviation = torch.stack([unbiased_square(counts / 1000, weights, 1000) for counts in right]).std()
    assert float(square_error(weights, 1000)) == pytest.approx(float(deviation), rel=0.05)


def test_fit_ends_at_mass_tol():
    X, Y = gaussian(20_000, 2), gaussian(10, 2, seed=1)
    early, late = otnet(mass_tol=0.1).fit(X, Y), otnet(mass_tol=0).fit(X, Y)
    assert early.n_iter_ < late.n_iter_ == 300
    assert early.history_[-1]["mass_error"] < 0.1


def test_batch_size_grows_on_plateau():
    X, Y = gaussian(4000, 2), gaussian(20, 2, seed=1)
    sizes = [
        record["n_monte_carlo"] for record in otnet(max_iter=1000, n_monte_carlo=32, mass_tol=0).fit(X, Y).history_
    ]
    assert sizes[0] == 32
    assert sizes == sorted(sizes)
    assert sizes[-1] == 8 * 32


# order, weights and separate clusters


def test_order_of_target_rows_has_no_influence(fitted_in_plane):
    X, Y, transport = fitted_in_plane
    other = otnet().fit(X, Y[::-1])
    assert np.array_equal(other.target_points_, transport.target_points_)
    assert np.array_equal(other.heights_, transport.heights_)


def test_height_does_not_depend_on_other_target_rows(fitted_in_plane):
    *_, transport = fitted_in_plane
    new = gaussian(30, 2, seed=5) + 3
    together = transport.retarget(new)
    for half in (new[:7], new[7:]):
        part = transport.retarget(half)
        shared = [np.flatnonzero((together.target_points_ == row).all(axis=1))[0] for row in part.target_points_]
        np.testing.assert_allclose(part.heights_, together.heights_[shared], rtol=1e-5)


def test_corrections_reduce_mass_error_of_network():
    generator = seeded()
    sampler = lambda n, generator: torch.randn(n, 2, generator=generator)  # noqa: E731
    y = torch.randn(500, 2, generator=generator) * torch.tensor([2.0, 0.5])
    problem = solve(OTNet(2), sampler, y, max_iter=600, batch_size=512, generator=generator).problem
    x = torch.randn(200_000, 2, generator=generator)
    corrected = unbiased_square(Planes(problem.points, problem.heights).masses(x), problem.weights, len(x))
    by_network = Planes(problem.points, problem._by(problem.points).detach()).masses(x)
    assert corrected < 0.25 * unbiased_square(by_network, problem.weights, len(x))


def test_network_is_fixed_while_corrections_are_trained():
    seen = []

    def record_weights(step, problem, record):
        weights = [weight.clone() for weight in problem.networks["heights"].potential.parameters()]
        seen.append((bool(problem.is_based), weights))
        return False

    generator = seeded()
    potential = Potential(2, (16, 16, 16))
    # without averaging, because the average continues to change
    run = {"max_iter": 60, "averaging": 0.0, "callbacks": [record_weights], "generator": generator}
    solve(OTNet(2, potential), gaussian(500, 2), gaussian(40, 2, seed=1), **run)
    fixed_weights = [weights for is_based, weights in seen if is_based][1:]
    assert len(fixed_weights) > 10
    assert all(torch.equal(*pair) for weights in fixed_weights for pair in zip(weights, fixed_weights[0], strict=True))


@pytest.mark.parametrize("output", ["hard", "smooth"])
def test_no_images_are_between_two_clusters(output):
    X, Y, new = gaussian(2000, 2), clusters(400), gaussian(100_000, 2, seed=1)
    images = otnet(output=output).fit(X, Y).transform(new)
    assert (np.abs(images[:, 0]) < 2.5).mean() < (1e-3 if output == "smooth" else 1e-9)


def test_smooth_map_is_continuous_and_close_to_target(fitted_in_plane):
    X, Y, transport = fitted_in_plane
    line = np.stack([np.linspace(-1, 1, 5000), np.full(5000, 0.2)], axis=1)
    jumps = {}
    for output in ("hard", "smooth"):
        images = transport.set_params(output=output).transform(line)
        jumps[output] = np.linalg.norm(np.diff(images, axis=0), axis=1).max()
    smooth = transport.transform(X)
    transport.set_params(output="hard")
    assert jumps["smooth"] < 0.1 * jumps["hard"]
    assert np.quantile(ot.dist(smooth, Y, metric="euclidean").min(axis=1), 0.99) < 0.3
    assert not (smooth[:, None] == Y).all(axis=2).any(axis=1).all()


def test_singularity_score_is_large_at_crease():
    X, Y, new = gaussian(2000, 2), clusters(400), gaussian(5000, 2, seed=1)
    transport = otnet().fit(X, Y)
    scores = transport.singularity_score(new)
    assert (scores >= 0).all()
    assert scores.max() > 0.4
    bulk = np.linalg.norm(new, axis=1) < 2  # farther outside, target rows are isolated, and the map jumps between them
    assert np.abs(new[bulk & (scores > 0.3), 0]).max() < 0.3
    assert scores[bulk & (np.abs(new[:, 0]) > 0.5)].mean() < 0.01


def test_crease_distance_determines_blended_points():
    """Two points at a distance of 4 and a source of deviation 10, so that the units of the fit differ."""
    X, Y = 10 * gaussian(2000, 2), np.array([[-2.0, 0.0], [2.0, 0.0]])
    transport, middle = otnet(output="smooth").fit(X, Y), np.zeros((1, 2))
    between = {
        distance: abs(transport.set_params(crease_distance=distance).transform(middle)[0, 0])
        for distance in ("auto", 0.0, 3.9, 4.1, np.inf)
    }
    assert between["auto"] == between[0.0] == between[3.9] == pytest.approx(2)
    assert between[4.1] == between[np.inf] < 0.5
    assert transport.singularity_score(middle) == 0
    assert transport.set_params(crease_distance=3.9).singularity_score(middle) == pytest.approx(0.5, abs=0.1)
    with pytest.raises(ValueError, match="crease_distance must be 'auto' or a number of at least 0, or inf"):
        transport.set_params(crease_distance=-1).transform(middle)


@pytest.mark.parametrize("m", [1, 2, 7])
def test_few_target_rows_are_not_blended(m):
    X, Y = gaussian(100, 2), gaussian(m, 2, seed=1)
    images = otnet(output="smooth", max_iter=20).fit(X, Y).transform(X)
    np.testing.assert_allclose(ot.dist(images, Y).min(axis=1), 0, atol=1e-9)


# new targets


def test_retarget_to_same_rows_gives_same_map(fitted_in_plane):
    X, Y, transport = fitted_in_plane
    retargeted = transport.retarget(Y[::-1])
    assert np.array_equal(retargeted.transform(X), transport.transform(X))
    assert retargeted.mass_error_ == transport.mass_error_


def test_refine_steps_reduce_mass_error(fitted_in_plane):
    _, Y, transport = fitted_in_plane
    before = transport.heights_.copy(), transport.mass_error_
    other = 3 + gaussian(200, 2, seed=2) * [2, 0.5]
    new = gaussian(200_000, 2, seed=3)

    def error(fitted):
        masses = np.bincount(fitted.assign(new), minlength=200) / len(new)
        return np.linalg.norm(masses - 1 / 200)

    plain, refined = transport.retarget(other), transport.retarget(other, refine_steps=200)
    assert sorted(map(tuple, plain.target_points_)) == sorted(map(tuple, other))
    assert error(refined) < 0.7 * error(plain)
    assert (plain.n_iter_, refined.n_iter_) == (0, 200)
    assert np.array_equal(transport.heights_, before[0])
    assert transport.mass_error_ == before[1]
    assert sorted(map(tuple, transport.target_points_)) == sorted(map(tuple, Y))


def test_retarget_sets_cost_and_status(fitted_in_plane):
    X, _, transport = fitted_in_plane
    for steps in (0, 20):
        other = transport.retarget(10 + gaussian(100, 2, seed=2), refine_steps=steps)
        assert other.transport_cost_ == pytest.approx(np.square(other.transform(X) - X).sum(axis=1).mean(), rel=0.01)
        assert other.status_ is (Status.REFINED if steps else Status.RETARGETED)
    assert other.history_[-1]["mass_error"] == other.mass_error_


def test_refine_steps_respect_callbacks_and_max_time(fitted_in_plane):
    *_, transport = fitted_in_plane
    stopping = copy.copy(transport).set_params(callbacks=[lambda step, problem, record: step >= 5])
    other = stopping.retarget(gaussian(100, 2, seed=2), refine_steps=200)
    assert other.n_iter_ < 20
    assert other.status_ is Status.STOPPED
    timed = copy.copy(transport).set_params(max_time=0.1).retarget(gaussian(100, 2, seed=2), refine_steps=100_000)
    assert timed.status_ in (Status.MAX_TIME, Status.SHORT)


def test_rounded_target_rows_keep_heights(fitted_in_plane):
    X, Y, transport = fitted_in_plane
    rounded = transport.retarget(Y.astype(np.float32))
    assert (rounded.assign(X) == transport.assign(X)).mean() > 0.99


def test_target_indices_select_target_rows(fitted_in_plane):
    _, Y, transport = fitted_in_plane
    assert np.array_equal(Y[transport.target_indices_], transport.target_points_)
    other = gaussian(30, 2)
    moved = transport.retarget(other)
    assert np.array_equal(other[moved.target_indices_], moved.target_points_)


def test_weights_and_repetitions_have_equal_error_estimates():
    X, Y = gaussian(300, 2), gaussian(20, 2, seed=1)
    v, w = (np.random.default_rng(seed).integers(1, 4, size=n) for seed, n in enumerate((300, 20)))
    weighted = otnet(max_iter=20).fit(X, Y, sample_weight=v, sample_weight_target=w)
    repeated = otnet(max_iter=20).fit(np.repeat(X, v, axis=0), np.repeat(Y, w, axis=0))
    assert weighted.mass_error_ == pytest.approx(repeated.mass_error_)
    assert weighted.dual_gap_ == pytest.approx(repeated.dual_gap_)


def test_mass_error_of_few_rows_is_large():
    X, Y = gaussian(20, 2), gaussian(50, 2, seed=1)
    assert otnet(max_iter=5).fit(X[:1], Y).mass_error_ > 0.3
    assert otnet(max_iter=5).fit(np.repeat(X, 100, axis=0), Y).mass_error_ > 0.2


def test_retarget_warns_about_rows_in_other_units(fitted_in_plane):
    *_, fitted = fitted_in_plane
    with pytest.warns(
        UserWarning, match=r"The standard deviation of the rows is 1\.\d*e\+06 times .* retarget continues"
    ):
        fitted.retarget(fitted.target_points_ * 1e6)
    with pytest.warns(UserWarning, match=r"The rows are \d+ standard deviations away .* retarget continues"):
        fitted.retarget(fitted.target_points_ + 1e3)


def test_retarget_respects_weights(fitted_in_plane):
    *_, transport = fitted_in_plane
    other = 3 + gaussian(3, 2, seed=2)
    refined = transport.retarget(other, refine_steps=300, sample_weight_target=[1, 2, 5])
    counts = np.bincount(refined.assign(gaussian(50_000, 2, seed=4)), minlength=3) / 50_000
    expected = {tuple(row): weight / 8 for row, weight in zip(other, [1, 2, 5], strict=True)}
    for row, share in zip(refined.target_points_, counts, strict=True):
        assert share == pytest.approx(expected[tuple(row)], abs=0.03)


def test_retargeted_transport_is_restored_from_file(fitted_in_plane, tmp_path):
    import neuralot

    X, _, transport = fitted_in_plane
    other = transport.retarget(3 + gaussian(50, 2, seed=2))
    other.save(tmp_path / "transport.safetensors")
    loaded = neuralot.load(tmp_path / "transport.safetensors")
    assert np.array_equal(loaded.transform(X), other.transform(X))
    assert loaded.mass_error_ == other.mass_error_
    assert np.array_equal(
        loaded.retarget(X[:20], refine_steps=5).heights_, other.retarget(X[:20], refine_steps=5).heights_
    )


# bad input


class Centred(torch.nn.Linear):
    def __init__(self, d):
        super().__init__(d, 1)

    def forward(self, x):
        return super().forward(x - x.mean(0))


BAD = {
    "output": lambda X, Y: otnet(output="soft").fit(X, Y),
    "mass_tol": lambda X, Y: otnet(mass_tol=-1).fit(X, Y),
    "n_monte_carlo": lambda X, Y: otnet(n_monte_carlo=0).fit(X, Y),
    "batch normalisation": lambda X, Y: otnet(
        height_network=lambda d: torch.nn.Sequential(torch.nn.BatchNorm1d(d), torch.nn.Linear(d, 1))
    ).fit(X, Y),
    "a value depends on other rows": lambda X, Y: otnet(height_network=Centred).fit(X, Y),
    "height_network must return a tensor": lambda X, Y: otnet(height_network=lambda d: torch.nn.Linear(d, 2)).fit(X, Y),
    "refine_steps": lambda X, Y: otnet(max_iter=2).fit(X, Y).retarget(Y, refine_steps=-1),
    "X_target has 3 features": lambda X, Y: otnet(max_iter=2).fit(X, Y).retarget(gaussian(5, 3)),
    "sample_weight_target must have shape": lambda X, Y: (
        otnet(max_iter=2).fit(X, Y).retarget(Y, sample_weight_target=[1])
    ),
    "X_target must vary only in the directions": lambda X, Y: (
        otnet(max_iter=2).fit(*(np.hstack([rows, 0 * rows[:, :1]]) for rows in (X, Y))).retarget(gaussian(5, 3))
    ),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_input_is_rejected(message):
    with pytest.raises(ValueError, match=message):
        BAD[message](gaussian(50, 2), gaussian(40, 2, seed=1))


def test_single_target_row_gets_all_mass():
    X = gaussian(50, 2)
    transport = otnet(max_iter=5).fit(X, [[3.0, 4.0]])
    assert (transport.transform(X) == [3, 4]).all()
    assert transport.mass_error_ == 0


def test_degenerate_samples_give_finite_images():
    """Duplicates, a constant column and large offsets."""
    Y = np.repeat(gaussian(5, 3, seed=1), 4, axis=0) * [1, 1, 0] + 1e6
    X = gaussian(60, 3) * [1, 1, 0] - 1e6
    for output in ("hard", "smooth"):
        transport = otnet(max_iter=20, output=output).fit(X, Y)
        assert np.isfinite(transport.transform(X)).all()
        assert len(transport.target_points_) == 5
    assert np.isfinite([transport.mass_error_, transport.dual_gap_]).all()


def test_custom_network_is_trained(fitted_in_plane):
    X, Y, _ = fitted_in_plane
    network = lambda d: torch.nn.Sequential(torch.nn.Linear(d, 16), torch.nn.SiLU(), torch.nn.Linear(16, 1))  # noqa: E731
    untrained, trained = (otnet(height_network=network, max_iter=n).fit(X, Y) for n in (1, 300))
    assert trained.mass_error_ < 0.3 * untrained.mass_error_
