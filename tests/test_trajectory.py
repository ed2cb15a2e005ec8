"""Transport through several times: laws in closed form, chained plans, types of the input, and bad input."""

import pickle
import signal

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import dtypes, gaussian, make_tiny, takes
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch.utils.data import DataLoader

import neuralot
from neuralot import OTNetTransport, OTPTransport, SNOTTransport, TrajectoryTransport, Verdict, diagnose
from neuralot.metrics import exact_cost

TIMES = [0, 1, 3]
SLOPES = [np.eye(2), np.diag([1.5, 0.5]), np.array([[0.7, 0.5], [0.5, 1.3]])]
SHIFTS = [np.zeros(2), np.array([3.0, 0.0]), np.array([3.0, 4.0])]


def stacked(samples):
    return np.vstack(samples), np.repeat(TIMES, [len(rows) for rows in samples])


@pytest.fixture(scope="module")
def three():
    """Read-only samples at three times."""
    samples = [gaussian(n, 2, seed=n) + shift for n, shift in zip((30, 40, 35), (0, 2, 5), strict=True)]
    for rows in samples:
        rows.flags.writeable = False
    return samples


@pytest.fixture(scope="module")
def tiny_fit(three):
    return TrajectoryTransport(make_tiny(SNOTTransport)).fit(three, time=TIMES)


@pytest.fixture(scope="module")
def gaussians():
    """Trajectory through three Gaussians, and new rows of the first."""
    samples = [gaussian(4000, 2, seed=k) @ SLOPES[k] + SHIFTS[k] for k in range(3)]
    transport = SNOTTransport(max_iter=400, random_state=0)
    return TrajectoryTransport(transport).fit(samples, time=TIMES), gaussian(10_000, 2, seed=3)


def root(matrix):
    values, vectors = np.linalg.eigh(matrix)
    return vectors * np.sqrt(values) @ vectors.T


def exact_step(k):
    """Slope of the optimal map between the Gaussians k and k + 1 (Gelbrich)."""
    before, after = SLOPES[k], SLOPES[k + 1] @ SLOPES[k + 1]
    inverse = np.linalg.inv(before)
    return inverse @ root(before @ after @ before) @ inverse


# exact answers


@pytest.mark.slow
@pytest.mark.parametrize("t", [0.5, 1, 1.5, 2.5, 3])
def test_laws_between_gaussians_are_in_closed_form(gaussians, t):
    trajectory, X = gaussians
    k, s = (0, t) if t <= 1 else (1, (t - 1) / 2)
    between = SLOPES[k] @ ((1 - s) * np.eye(2) + s * exact_step(k))
    rows = trajectory.transform(X, t)
    np.testing.assert_allclose(np.cov(rows.T), between.T @ between, atol=0.25)
    np.testing.assert_allclose(rows.mean(axis=0), (1 - s) * SHIFTS[k] + s * SHIFTS[k + 1], atol=0.1)


@pytest.mark.slow
def test_chain_of_gaussian_maps_is_exact_and_differs_from_the_direct_map(gaussians):
    trajectory, X = gaussians
    exact = X @ exact_step(0) @ exact_step(1) + SHIFTS[2]
    direct = X @ SLOPES[2] + SHIFTS[2]  # both send the first law to the last, so only the rows tell them apart
    error, scale = (((each - exact) ** 2).sum(axis=1).mean() for each in (trajectory.transform(X), direct))
    assert scale > 0.1
    assert error < 0.1 * scale
    back = trajectory.transform(trajectory.transform(X), 0, t_start=3)
    assert ((back - X) ** 2).sum(axis=1).mean() < 0.02


def branches(t, n, seed):
    """Law of a branching process at time t, and its velocity.

    A Gaussian in the plane keeps its first coordinate and splits in two along the second at constant speed. As the
    halves of the line move apart, this is the displacement interpolation of any two of its times (the map is monotone).
    """
    rng = np.random.default_rng([7, seed])
    x, y = rng.normal(size=(2, n))
    side = np.sign(y)
    return np.stack([x, y + 2 * t * side], axis=1), np.stack([0 * x, 2 * side], axis=1)


@pytest.fixture(scope="module")
def branching():
    samples = [branches(t, 3000, seed)[0] for seed, t in enumerate((0, 1, 2))]
    return TrajectoryTransport(SNOTTransport(max_iter=600, random_state=0)).fit(samples, time=[0, 1, 2])


@pytest.mark.slow
@pytest.mark.parametrize("t", [0.5, 1.5])
def test_law_of_a_branching_process_is_recovered_between_the_samples(branching, t):
    X, velocities = branches(0, 1500, seed=10)
    truth, other = branches(t, 1500, seed=11)[0], branches(t, 1500, seed=12)[0]
    floor, error = exact_cost(other, truth), exact_cost(branching.interpolate(X, t), truth)
    before, after = (branches(round(t + step), 1500, seed=13)[0] for step in (-0.5, 0.5))
    mixture = np.where(np.arange(1500)[:, None] < 750, before, after)
    assert error < floor + 0.03
    assert exact_cost(mixture, truth) > 0.2
    found = branching.velocity(X, t)
    is_inside = np.abs(X[:, 1]) > 0.2  # the velocity jumps between the branches
    assert ((found - velocities)[is_inside] ** 2).sum(axis=1).mean() < 0.1


# chained plans


def test_transform_chains_the_maps(tiny_fit, three):
    X, (first, second) = three[0], tiny_fit.transports_
    at_1 = first.transform(X)
    at_3 = second.transform(at_1)
    assert np.array_equal(tiny_fit.transform(X), at_3)
    assert np.array_equal(tiny_fit.transform(X, 1), at_1)
    assert np.array_equal(tiny_fit.transform(X, 0), X)
    np.testing.assert_allclose(tiny_fit.transform(X, 2), (at_1 + at_3) / 2, atol=1e-12)
    assert np.array_equal(tiny_fit.transform(three[1], 3, t_start=1), second.transform(three[1]))
    before = second.inverse_transform(three[2])
    assert np.array_equal(tiny_fit.transform(three[2], 0, t_start=3), first.inverse_transform(before))
    assert np.array_equal(tiny_fit.transform(three[2], 1, t_start=3), before)


def test_one_interval_is_the_transport_alone(three):
    transport = make_tiny(SNOTTransport)
    trajectory = TrajectoryTransport(transport).fit(three[:2], time=[0, 1])
    alone = clone(transport).fit(three[0], three[1])
    assert np.array_equal(trajectory.transform(three[0]), alone.transform(three[0]))
    np.testing.assert_array_equal(trajectory.interpolate(three[0], 0.3), alone.interpolate(three[0], 0.3))
    np.testing.assert_allclose(trajectory.velocity(three[0], 0.3), alone.velocity(three[0]), atol=1e-12)
    # the mean of the only interval
    assert trajectory.score(three[:2], time=[0, 1]) == alone.score(three[0], three[1])


def test_paths_are_continuous_with_the_given_velocities(tiny_fit, three):
    X = three[0]
    for t in (0, 0.6, 1, 2.9):
        now, soon = tiny_fit.interpolate(X, [t, t + 0.01])
        np.testing.assert_allclose((soon - now) / 0.01, tiny_fit.velocity(X, t), atol=1e-9)
    last = tiny_fit.velocity(X, 3)
    assert np.array_equal(last, tiny_fit.velocity(X, 1))
    frames = tiny_fit.interpolate(X, [3, 0, 1, 1])
    assert np.array_equal(frames[1], X)
    assert np.array_equal(frames[2], frames[3])
    back = tiny_fit.interpolate(three[2], [0, 3], t_start=3)
    assert np.array_equal(back[0], tiny_fit.transform(three[2], 0, t_start=3))
    assert np.array_equal(back[1], three[2])


@pytest.mark.filterwarnings("ignore:eps_min=1 is")
def test_draws_of_two_plans_are_independent(three):
    X = three[0]
    transport = make_tiny(OTPTransport, eps_min=1.0, eps_max=2.0)
    trajectory = TrajectoryTransport(transport).fit([X, X, X], time=[0, 1, 2])
    once, twice = trajectory.interpolate(np.zeros((500, 2)), [1, 2], random_state=0)
    assert once.std(axis=0).min() > 0.01
    noise = [each.sample(np.zeros((500, 2)), random_state=0)[0] for each in trajectory.transports_]
    assert np.corrcoef(noise[0][:, 0], noise[1][:, 0])[0, 1] > 0.9  # equal seeds give equal noise
    assert abs(np.corrcoef(once[:, 0], (twice - once)[:, 0])[0, 1]) < 0.2


def test_interpolate_and_sample_agree(tiny_fit, three):
    draws = tiny_fit.sample(three[0], 2, n_draws=3, random_state=5)
    assert draws.shape == (3, *three[0].shape)
    np.testing.assert_array_equal(draws[0], tiny_fit.interpolate(three[0], 2, random_state=5))  # a map has equal draws


# masses


def test_growth_of_a_population_with_a_known_rate(three):
    weights = [np.full(len(rows), np.exp(0.7 * t) / len(rows)) for rows, t in zip(three, TIMES, strict=True)]
    trajectory = TrajectoryTransport(make_tiny(SNOTTransport)).fit(three, time=TIMES, sample_weight=weights)
    np.testing.assert_allclose(trajectory.masses_, np.exp(0.7 * np.array(TIMES)))
    for t in (0, 0.4, 1, 2.2, 3):
        np.testing.assert_allclose((weights[0] * trajectory.growth(three[0], t)).sum(), np.exp(0.7 * t), rtol=1e-9)
        np.testing.assert_allclose(trajectory.growth(three[1], t, t_start=1), np.exp(0.7 * (t - 1)), rtol=1e-9)
    assert trajectory.growth(three[0]).shape == (30,)


class Growing(SNOTTransport):
    """A transport with known masses: a row keeps a half, and its image receives twice its mass."""

    def source_mass(self, X):
        return np.where(X[:, 0] > 0, 0.5, 2.0)

    def target_mass(self, X):
        return np.full(len(X), 2.0)


def test_masses_of_the_transports_multiply(three):
    X = three[0]
    trajectory = TrajectoryTransport(make_tiny(Growing)).fit([X, X, X], time=TIMES)

    def ratio(rows):
        raw = np.where(rows[:, 0] > 0, 0.25, 1.0)
        return raw / np.where(X[:, 0] > 0, 0.25, 1.0).mean()  # all samples have the same mass

    np.testing.assert_allclose(trajectory.growth(X, 1).mean(), 1)
    np.testing.assert_allclose(trajectory.growth(X, 1), ratio(X))
    second = ratio(trajectory.transform(X, 1))
    np.testing.assert_allclose(trajectory.growth(X, 2), ratio(X) * second**0.5)
    np.testing.assert_allclose(trajectory.growth(X), ratio(X) * second)
    back = trajectory.transform(X, 0, t_start=1)
    np.testing.assert_allclose(trajectory.growth(X, 0, t_start=1), 1 / ratio(back))


def clones(t, n, seed):
    """Two clones far from each other, whose masses grow as exp(t / 2) and exp(-t / 4), with their weights."""
    is_first = np.arange(n) < n // 2
    rows = gaussian(n, 2, seed=seed) + np.where(is_first, 6, -6)[:, None] + [t, 0]
    return rows, np.where(is_first, np.exp(t / 2), np.exp(-t / 4)) / n, is_first


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_masses_of_two_clones_with_known_rates(seed):
    if not takes(SNOTTransport, ["unbalanced"]):
        pytest.skip("transports have no masses")
    samples = [clones(t, 2000, 10 * seed + k) for k, t in enumerate((0, 1, 2))]
    # far below the cost of 288 between the clones, and far above that of 1 within them
    penalties = {"unbalanced": "kl", "reg_marginal_source": 30, "reg_marginal_target": 30}
    trajectory = TrajectoryTransport(SNOTTransport(**penalties, max_iter=600, random_state=seed))
    trajectory.fit([rows for rows, *_ in samples], time=[0, 1, 2], sample_weight=[each[1] for each in samples])
    for rows, total, tolerance in ((samples[0][0], 0.01, 0.05), (clones(0, 10_000, 99)[0], 0.03, 0.07)):
        is_first = rows[:, 0] > 0
        for t in (0.5, 1, 1.5, 2):
            masses = trajectory.growth(rows, t) / len(rows)
            exact = np.exp(t / 2) / 2, np.exp(-t / 4) / 2
            assert abs(masses.sum() / sum(exact) - 1) < total
            np.testing.assert_allclose((masses[is_first].sum(), masses[~is_first].sum()), exact, rtol=tolerance)


# forms of the input


def test_stacked_rows_and_lists_of_samples_agree(tiny_fit, three):
    X, time = stacked(three)
    order = np.random.default_rng(0).permutation(len(X))
    # the order within a sample decides which rows are held out or drawn first
    for rows, times in ((X, time), (pd.DataFrame(X), pd.Series(time)), (torch.from_numpy(X), torch.from_numpy(time))):
        again = clone(tiny_fit).fit(rows, time=times)
        assert np.array_equal(np.asarray(again.transform(rows))[:30], tiny_fit.transform(three[0]))
    assert np.array_equal(clone(tiny_fit).fit(X, time).transform(three[0]), tiny_fit.transform(three[0]))
    shuffled = clone(tiny_fit).fit(X[order], time[order])
    assert shuffled.times_.tolist() == TIMES
    assert shuffled.masses_.tolist() == [30, 40, 35]
    assert not hasattr(tiny_fit, "feature_names_in_")


@dtypes
def test_rows_keep_their_dtype(tiny_fit, three, dtype):
    X = three[0].astype(dtype)
    for moved in (tiny_fit.transform(X, 2), tiny_fit.interpolate(X, [0, 2]), tiny_fit.velocity(X, 2)):
        assert moved.dtype == dtype
    tensor = torch.from_numpy(X)
    for moved in (tiny_fit.transform(tensor, 2), tiny_fit.sample(tensor, 2), tiny_fit.velocity(tensor, 2)):
        assert isinstance(moved, torch.Tensor)


def test_weights_are_those_of_repeated_rows_in_law(three):
    X, time = stacked([gaussian(500, 1, seed=k) for k in range(3)])
    weights = 1.0 + (X[:, 0] > 0) * (time == 3)
    transport = SNOTTransport(max_iter=60, hidden_layer_sizes=(16, 16), random_state=0)
    trajectory = TrajectoryTransport(transport).fit(X, time=time, sample_weight=weights)
    exact = np.average(X[time == 3][:, 0], weights=weights[time == 3])
    assert abs(trajectory.transform(X[time == 0]).mean() - exact) < 0.1
    assert trajectory.masses_.tolist() == [weights[time == t].sum() for t in TIMES]
    split = [weights[time == t] for t in TIMES]
    again = clone(trajectory).fit([X[time == t] for t in TIMES], time=TIMES, sample_weight=split)
    assert np.array_equal(again.transform(X), trajectory.transform(X))


def test_pipeline_and_search(three):
    X, time = stacked(three)
    pipeline = make_pipeline(StandardScaler(), TrajectoryTransport(make_tiny(SNOTTransport)))
    images = pipeline.fit(X, time).transform(X)
    assert images.shape == X.shape
    named = pd.DataFrame(X, columns=["a", "b"])
    frame = pipeline.set_output(transform="pandas").fit(named, time).transform(named)
    assert list(frame.columns) == ["a", "b"]
    pipeline.set_output(transform="default")
    grid = {"trajectorytransport__transport__max_iter": [1, 2]}
    search = GridSearchCV(pipeline, grid, cv=KFold(2, shuffle=True, random_state=0)).fit(X, time)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_trajectory_is_saved_and_loaded(three, tmp_path):
    X, time = stacked(three)
    frame = pd.DataFrame(X, columns=["a", "b"]).assign(day=time)
    weights = 1.0 + np.arange(len(X))
    trajectory = TrajectoryTransport(make_tiny(OTPTransport, unbalanced="kl", reg_marginal_source=2.0))
    trajectory.fit(frame, time="day", sample_weight=weights).save(tmp_path / "trajectory")
    loaded = neuralot.load(tmp_path / "trajectory")
    rows = frame[["a", "b"]]
    assert loaded.feature_names_in_.tolist() == ["a", "b"]
    assert loaded.transport.get_params()["reg_marginal_source"] == 2.0
    assert np.array_equal(loaded.transform(rows, 2), trajectory.transform(rows, 2))
    assert np.array_equal(loaded.growth(rows[:30], 3), trajectory.growth(rows[:30], 3))
    first, second = (frame[frame["day"] == t] for t in TIMES[:2])
    assert np.array_equal(loaded.transform(first, 2), loaded.transform(rows[:30], 2))
    assert np.array_equal(loaded.growth(second, 3, t_start=1), loaded.growth(second[["a", "b"]], 3, t_start=1))
    for bad in (frame, second):
        with pytest.raises(ValueError, match=r"X must have rows of one time, t_start=0, but its column 'day'"):
            loaded.interpolate(bad, 2)
    assert [each.status_ for each in loaded.transports_] == [each.status_ for each in trajectory.transports_]
    with pytest.raises(NotFittedError):
        clone(trajectory).save(tmp_path / "other")
    assert np.array_equal(
        clone(trajectory).fit(rows, time, sample_weight=weights).transform(rows), loaded.transform(rows)
    )
    for bad in ("hour", "time"):
        with pytest.raises(ValueError, match=f"time must be times, or the name of a column .* got '{bad}'"):
            clone(trajectory).fit(frame, time=bad)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_interrupted_trajectory_continues(tiny_fit, three, tmp_path):
    steps = []

    def interrupt(step, problem, record):
        steps.append(step)
        if len(steps) == 3:
            signal.raise_signal(signal.SIGTERM)
        return False

    def trajectory(**options):
        return TrajectoryTransport(make_tiny(SNOTTransport, max_iter=10, **options))

    expected = trajectory().fit(three, time=TIMES).transform(three[0])
    interrupted = trajectory(checkpoint=tmp_path / "fit", callbacks=[interrupt])
    with pytest.raises(KeyboardInterrupt, match="interrupted in interval 0"):
        interrupted.fit(three, time=TIMES)
    assert not hasattr(interrupted, "times_")
    assert [path.name for path in tmp_path.iterdir()] == ["fit.0"]
    resumed = trajectory(checkpoint=tmp_path / "fit").fit(three, time=TIMES)
    assert np.array_equal(resumed.transform(three[0]), expected)


def test_pickles_and_clones(tiny_fit, three):
    copied = pickle.loads(pickle.dumps(tiny_fit))
    assert np.array_equal(copied.transform(three[0], 2), tiny_fit.transform(three[0], 2))
    assert not hasattr(clone(tiny_fit), "times_")
    assert not hasattr(tiny_fit.transport, "problem_")


# bad input


def rejects(message, *args, method="fit", estimator=None, **kwargs):
    estimator = TrajectoryTransport(make_tiny(SNOTTransport)) if estimator is None else estimator
    before = dict(vars(estimator))
    with pytest.raises((TypeError, ValueError), match=message):
        getattr(estimator, method)(*args, **kwargs)
    assert vars(estimator) == before


@pytest.mark.parametrize("fitted_before", [False, True])
def test_bad_samples_and_times_are_named(tiny_fit, three, fitted_before):
    X, time = stacked(three)
    nan = X.copy()
    nan[50, 0] = np.nan
    estimator = tiny_fit if fitted_before else clone(tiny_fit)

    def refuse(message, *args, **kwargs):
        rejects(message, *args, estimator=estimator, **kwargs)

    refuse("time is missing: pass one time per row", X)
    refuse("y and time are both times", X, time, time=time)
    refuse("time must have at least two different values, got only 0", X, time=0 * time)
    refuse("time must contain one number per row of X, got int64 of shape .3.", X, time=TIMES)
    refuse("time must contain one number per row of X, got <U", X, time=time.astype(str))
    refuse("got datetime64.*pass numbers, for example days instead of dates", X, time=time.astype("datetime64[D]"))
    refuse("time must be finite", X, time=np.where(time == 1, np.nan, time))
    refuse("time 0 has 1 row, but each time needs at least 2; .* round", X, time=np.arange(len(X)))
    refuse("X: .*NaN", nan, time=time)
    refuse(r"X\[1\]: .*NaN", [three[0], nan, three[2]], time=TIMES)
    refuse(r"X\[2\] has 1 features", [*three[:2], three[2][:, :1]], time=TIMES)
    refuse(r"X\[1\]: ", [three[0], three[1][0], three[2]], time=TIMES)
    refuse(r"time must contain at least two increasing times, got \[0.0, 3.0, 1.0\]", three, time=[0, 3, 1])
    refuse("time must contain at least two increasing times", three, time=[0, 1, 1])
    refuse("time must contain at least two increasing times", three[:1], time=[0])
    refuse("time must contain one number per sample in X", three, time=time)
    refuse("sample_weight must be a list of 3 arrays", three, time=TIMES, sample_weight=np.ones(len(X)))
    refuse("sample_weight must have shape", X, time=time, sample_weight=np.ones(3))
    refuse(
        "sample_weight at time 1 must be finite, non-negative and not all zero", X, time=time, sample_weight=time != 1
    )


@pytest.mark.parametrize("transport", [None, StandardScaler(), SNOTTransport])
def test_other_estimators_are_refused(three, transport):
    rejects("transport must be a transport estimator", three, time=TIMES, estimator=TrajectoryTransport(transport))


@pytest.mark.parametrize("method", ["transform", "sample", "interpolate", "velocity", "growth"])
def test_bad_moves_are_named(tiny_fit, three, method):
    X = three[0]

    def refuse(message, *args, **kwargs):
        rejects(message, *args, estimator=tiny_fit, method=method, **kwargs)

    for t, found in ((-0.1, "-0.1"), (3.5, "3.5"), (np.nan, "nan"), ("2", "<U1"), (True, "bool"), ([], "shape")):
        refuse(f"t must be a number from 0 to 3.*got.*{found}", X, t)
    for t_start in (0.5, 7, "first", True, [0]):
        refuse(r"t_start must be one of the times of the fit, \[0.0, 1.0, 3.0\], got", X, 1, t_start=t_start)
    refuse("X: .*features", X[:, :1], 1)
    if method != "interpolate":
        refuse("t must be a number from 0 to 3, got an array; see interpolate", X, [1, 2])
    with pytest.raises(NotFittedError):
        getattr(clone(tiny_fit), method)(X, 1)


def test_inverse_and_cost_are_required_where_they_are_used(three):
    semidiscrete = TrajectoryTransport(make_tiny(OTNetTransport)).fit(three, time=TIMES)
    rejects("t must be at least t_start=1, because this OTNetTransport has no inverse", three[1], 0, t_start=1,
            method="transform", estimator=semidiscrete)  # fmt: skip
    assert semidiscrete.transform(three[1], 2, t_start=1).shape == three[1].shape
    other = make_tiny(SNOTTransport, cost=lambda x, y: ((x - y) ** 4).sum(-1))
    curved = TrajectoryTransport(other).fit(three, time=TIMES)
    assert curved.transform(three[0], 1).shape == three[0].shape
    rejects("cost must be 'sqeuclidean'", three[0], 2, method="transform", estimator=curved)
    rejects("cost must be 'sqeuclidean'", three[0], 1, method="velocity", estimator=curved)


def test_score_needs_all_times(tiny_fit, three):
    assert tiny_fit.score(three, time=TIMES) < 0
    rejects("time must have all times of the fit", three[:2], time=[0, 1], method="score", estimator=tiny_fit)
    assert neuralot.TrajectoryTransport is TrajectoryTransport


# reports


def test_report_has_a_verdict_for_each_interval(gaussians):
    trajectory, _ = gaussians
    held_out = [gaussian(500, 2, seed=10 + k) @ SLOPES[k] + SHIFTS[k] for k in range(3)]
    report = trajectory.report(held_out, time=TIMES)
    legs = zip(trajectory.transports_, held_out[:2], held_out[1:], strict=True)
    assert list(report.reports) == ["0 to 1", "1 to 3"]
    assert [str(each) for each in report.reports.values()] == [str(each.report(*rows)) for each, *rows in legs]
    moved = trajectory.report(np.vstack([*held_out[:2], held_out[2] + 2]), time=np.repeat(TIMES, 500))
    assert moved.reports["0 to 1"].verdict is report.reports["0 to 1"].verdict
    assert report.reports["1 to 3"].verdict is Verdict.OPTIMAL
    assert moved.reports["1 to 3"].verdict is Verdict.MARGINAL_NOT_MET
    with pytest.raises(ValueError, match=r"call transport\.report"):
        diagnose(trajectory, *held_out[:2])
    with pytest.raises(ValueError, match="all times of the fit"):
        trajectory.report(held_out[:2], time=TIMES[:2])


def test_report_of_conditions_names_them():
    samples = [np.c_[gaussian(200, 2, seed=k) + k, np.repeat([0.0, 1.0], 100)] for k in range(2)]
    transport = make_tiny(SNOTTransport, condition=2)
    report = TrajectoryTransport(transport).fit(samples, time=[0, 1]).report(samples, time=[0, 1])
    assert list(report.reports) == ["0 to 1, 2=0", "0 to 1, 2=1"]


@pytest.mark.parametrize("make", [iter, lambda rows: DataLoader(torch.tensor(rows))])
def test_streams_are_refused(make, three):
    with pytest.raises(TypeError, match="X must have arrays or data frames, got a stream"):
        TrajectoryTransport(make_tiny(SNOTTransport)).fit([make(rows) for rows in three], time=TIMES)
