"""Learned potentials: dual values, error bounds and uncertainty."""

import pickle
import warnings

import numpy as np
import ot
import pytest
import torch
from conftest import TRANSPORTS, gaussian, make_tiny
from scipy.spatial.distance import cdist
from scipy.stats import spearmanr

from neuralot import OTNetTransport, OTPTransport, SNOTTransport, W2GNTransport, diagnose, load
from neuralot.costs import Lp, SquaredEuclidean, as_cost
from neuralot.datasets import make_convex_potential, make_one_to_many, make_parallel
from neuralot.diagnostics.dual import evaluate_dual
from neuralot.diagnostics.figure import plot_diagnosis
from neuralot.diagnostics.statistics import Sample
from neuralot.estimators.gap import DualGap
from neuralot.solve.callbacks import EarlierWeights
from neuralot.solve.status import Status

HAVE_GRADIENTS = [cls for cls in TRANSPORTS if cls is not OTNetTransport]


class OnGPU:
    """Tensor that must be moved to the CPU before any operation."""

    def __init__(self, tensor):
        self.tensor = tensor

    def cpu(self):
        return self.tensor


def equal(rows):
    return Sample(rows, np.full(len(rows), 1 / len(rows)))


class Quadratic:
    """Map x -> a x + b, with the potential of its law, V(y) = (1 - 1 / a) |y - b|^2 + ..., or another one."""

    def __init__(self, factor, shift, of_potential=None):
        self.factor, self.shift = factor, shift
        self.of_potential = factor if of_potential is None else of_potential

    def transform(self, X):
        return self.factor * X + self.shift

    def potential(self, Y, return_gradient=False):
        # y - gradient / 2 is the inverse map
        gradient = 2 * (Y - (Y - self.shift) / self.of_potential)
        values = (Y**2).sum(axis=1) - ((Y - self.shift) ** 2).sum(axis=1) / self.of_potential
        return (values, gradient) if return_gradient else values


@pytest.mark.parametrize("shift", [0.0, 1e4])
@pytest.mark.parametrize("d", [1, 2, 8])
def test_dual_value_of_exact_potential_is_exact_cost(d, shift):
    X = gaussian(300, d)
    dual = evaluate_dual(Quadratic(2.0, shift), equal(X), 2 * X + shift, equal(2 * X + shift), SquaredEuclidean(), 1.0)
    assert dual.value == pytest.approx(((X + shift) ** 2).sum(axis=1).mean(), rel=1e-9)
    assert dual.gap == pytest.approx(0, abs=1e-6)
    assert dual.error_bound < 1e-2


@pytest.mark.parametrize("of_potential", [1.0, 3.0])
def test_dual_value_of_other_potential_is_lower(of_potential):
    X, Y = gaussian(300, 2), 2 * gaussian(300, 2, 1)
    dual = evaluate_dual(Quadratic(2.0, 0.0, of_potential), equal(X), 2 * X, equal(Y), SquaredEuclidean(), 1.0)
    exact = ot.emd2([], [], ot.dist(X, Y))
    assert dual.value < exact - 0.1
    assert dual.gap == pytest.approx(exact - dual.value, rel=1e-9)


@pytest.mark.parametrize("factor", [2.0, 1.8, 1.0, -2.0])
@pytest.mark.parametrize("of_potential", [2.0, 1.8])
def test_bound_is_above_true_error(factor, of_potential):
    # the exact map is x -> 2 x
    X, Y = gaussian(500, 2), 2 * gaussian(500, 2, 1)
    transport = Quadratic(factor, 0.0, of_potential)
    dual = evaluate_dual(transport, equal(X), transport.transform(X), equal(Y), SquaredEuclidean(), 8.0)
    error = abs(factor - 2) * np.sqrt((X**2).sum(axis=1).mean())
    assert error <= dual.error_bound < 2 * error + 1.5


def test_potential_that_is_not_concave_enough_gives_no_bound():
    X = gaussian(200, 2)
    dual = evaluate_dual(Quadratic(2.0, 0.0, -2.0), equal(X), 2 * X, equal(2 * X), SquaredEuclidean(), 1.0)
    assert np.isnan(dual.error_bound)
    assert "not strongly convex" in dual.condition


class DoubleWell(Quadratic):
    """Images are x + e_2 or x - e_2, and |x - y|^2 - V(y) is (x_1 - y_1)^2 + (y_2^2 - 1)^2."""

    def potential(self, rows, return_gradient=False):
        y = rows[:, 1]
        value = y**2 - (y**2 - 1) ** 2
        gradient = np.column_stack([np.zeros(len(y)), 2 * y - 4 * y * (y**2 - 1)])
        return (value, gradient) if return_gradient else value


def test_potential_of_a_plan_that_splits_mass_gives_no_bound():
    X = np.column_stack([gaussian(300, 1)[:, 0], np.zeros(300)])
    Y = X + np.where(np.arange(300) % 2, 1.0, -1.0)[:, None] * [0.0, 1.0]
    transport = DoubleWell(1.0, 0.0)
    dual = evaluate_dual(transport, equal(X), X + np.array([0.0, 1.0]), equal(Y), SquaredEuclidean(), 1.0)
    assert dual.gap == pytest.approx(0, abs=1e-9)
    assert np.isnan(dual.error_bound)
    assert "between them" in dual.condition


@pytest.mark.parametrize("cls", TRANSPORTS)
@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_dual_value_of_fit_is_lower_bound_in_units_of_data(cls, scale):
    X, Y = scale * gaussian(300, 3), scale * (2 * gaussian(200, 3, 1) + np.array([5.0, 0, 0]))
    transport = make_tiny(cls, max_iter=50).fit(X, Y)
    V, C = transport.potential(Y), ot.dist(X, Y)
    value, exact = (C - V).min(axis=1).mean() + V.mean(), ot.emd2([], [], C)
    assert value <= exact * (1 + 1e-9)
    # the distance of the means is part of every plan's cost, and of the dual value of every potential
    assert value > 0.8 * exact


@pytest.mark.parametrize("cost", [Lp(1.5), lambda x, y: (x - y).square().sum(-1)], ids=["Lp", "function"])
def test_dual_value_of_other_costs_is_lower_bound(cost):
    X, Y = gaussian(300, 2), 2 * gaussian(300, 2, 1) + 1
    transport = make_tiny(SNOTTransport, max_iter=200, hidden_layer_sizes=(32, 32), cost=cost).fit(X, Y)
    a, b = (torch.from_numpy(rows) for rows in (X, Y))
    C = np.stack([cost(x.expand(len(b), -1), b).numpy() for x in a])
    V = transport.potential(Y)
    value, exact = (C - V).min(axis=1).mean() + V.mean(), ot.emd2([], [], C)
    assert 0.5 * exact < value <= exact * (1 + 1e-9)


@pytest.mark.parametrize("cls", HAVE_GRADIENTS)
@pytest.mark.parametrize("flat", [False, True], ids=["dense", "constant column"])
def test_gradient_of_potential_equals_differences(cls, flat):
    X, Y = gaussian(100, 3) * [1, 2, 1 - flat], gaussian(100, 3, 1) * [3, 1, 1 - flat] + 7
    transport = make_tiny(cls).fit(X, Y)
    values, gradients = transport.potential(Y, return_gradient=True)
    assert (values == transport.potential(Y)).all()
    for k in range(3 - flat):
        step = 1e-4 * np.eye(3)[k]
        difference = (transport.potential(Y + step) - transport.potential(Y - step)) / 2e-4
        np.testing.assert_allclose(gradients[:, k], difference, rtol=1e-4, atol=1e-4)


def test_gradient_of_potential_gives_inverse_map(samples):
    X, Y = samples
    transport = make_tiny(SNOTTransport, map_form="gradient").fit(X, Y)
    _, gradients = transport.potential(Y, return_gradient=True)
    np.testing.assert_allclose(Y - gradients / 2, transport.inverse_transform(Y), atol=1e-6)


def test_potential_of_semidiscrete_transport_defines_its_map():
    X, Y = gaussian(300, 2), gaussian(20, 2, 1) + 3
    transport = OTNetTransport(max_iter=20, hidden_layer_sizes=(8,), random_state=0).fit(X, Y)
    best = (ot.dist(X, transport.target_points_) - transport.potential(transport.target_points_)).argmin(axis=1)
    assert (best == transport.assign(X)).mean() > 0.99  # up to rounding errors
    with pytest.raises(NotImplementedError, match="return_gradient must be False"):
        transport.potential(Y, return_gradient=True)


@pytest.mark.parametrize("bad", [np.ones((3, 5)), np.full((3, 2), np.nan), np.ones(3)])
def test_potential_of_bad_rows_raises_error(bad, samples):
    with pytest.raises(ValueError, match="X_target"):
        make_tiny(SNOTTransport).fit(*samples).potential(bad)


def test_report_has_dual_value_and_landscape():
    X, Y = make_convex_potential(2).sample(600, random_state=0)
    transport = SNOTTransport(max_iter=300, random_state=0).fit(X, Y)
    report = transport.report(*make_convex_potential(2).sample(400, random_state=1))
    assert report.dual.gap >= 0
    assert report.dual.relative_gap < 0.05
    assert report.landscape.values.shape == (len(report.landscape.second), len(report.landscape.first))
    assert "dual value" in str(report)
    pytest.importorskip("matplotlib").use("Agg")
    assert len(report.plot()) == 3
    assert diagnose(lambda rows: rows, X, Y).dual is None


@pytest.mark.parametrize("cls", TRANSPORTS)
def test_uncertainty_is_positive_and_scales_with_data(cls):
    X, Y = gaussian(300, 2), gaussian(300, 2, 1)
    near = make_tiny(cls).fit(X, Y).uncertainty(X)
    assert near.shape == (300,)
    assert (near > 0).all()
    np.testing.assert_allclose(make_tiny(cls).fit(64 * X, 64 * Y).uncertainty(64 * X), 64 * near, rtol=1e-2)


@pytest.mark.parametrize(
    "cls", [SNOTTransport, OTNetTransport, OTPTransport, pytest.param(W2GNTransport, marks=pytest.mark.slow)]
)
def test_uncertainty_ranks_rows_by_their_error(cls):
    pair = make_convex_potential(2)
    transport = cls(max_iter=300, random_state=0).fit(*pair.sample(2000, random_state=0))
    X = pair.source(1000, np.random.default_rng(1))
    error = np.linalg.norm(transport.transform(X) - pair.exact_map(X), axis=1)
    assert spearmanr(transport.uncertainty(X), error)[0] > 0.25


@pytest.mark.parametrize("cls", [SNOTTransport, OTPTransport])
def test_uncertainty_is_the_formula_of_its_docstring(cls):
    pair = make_parallel(2)
    X_fit, Y_fit = pair.sample(1000, random_state=0)
    transport = cls(max_iter=200, random_state=0).fit(X_fit, Y_fit)
    X = pair.source(300, np.random.default_rng(1))
    draws = transport.sample(X, 16, random_state=0)
    radii = np.sqrt(np.mean([np.sort(cdist(y, Y_fit))[:, :10].mean(axis=1) ** 2 for y in draws[:4]], axis=0))
    earlier = [each.sample(X, 16, random_state=0).mean(axis=0) for each in transport._earlier()]
    changes = [np.linalg.norm(each - draws.mean(axis=0), axis=1) for each in earlier]
    assert len(changes) == 2
    assert np.median(changes[0]) > np.median(changes[1]) > 0  # the later step is nearer
    errors = radii**2 * (np.sqrt(np.mean(np.square(changes), axis=0)) + 0.03 * radii)
    expected = np.sqrt(draws.var(axis=0, ddof=1).sum(axis=1) + errors ** (2 / 3))
    np.testing.assert_allclose(transport.uncertainty(X), expected, rtol=1e-4)
    transport.partial_fit(*pair.sample(100, random_state=1))
    assert list(transport._earlier()) == []


def test_earlier_weights_are_those_of_a_shorter_fit_with_the_same_schedule():
    """The weights at 40 % of 100 steps are those after 40 of 100."""
    X, Y = gaussian(200, 2), gaussian(200, 2, 1)
    transport = make_tiny(SNOTTransport, max_iter=100, batch_size=32).fit(X, Y)
    seen = {}

    def keep(step, problem, record):
        seen[record["progress"]] = {name: each.clone() for name, each in problem.named_parameters()}
        return False

    make_tiny(SNOTTransport, max_iter=100, batch_size=32, callbacks=[keep]).fit(X, Y)
    for earlier, share in zip(transport._earlier(), (0.4, 0.7), strict=True):
        expected = seen[min(progress for progress in seen if progress >= share)]
        for name, weight in earlier.problem_.named_parameters():
            change = (expected[name] - dict(transport.problem_.named_parameters())[name]).abs().max().item()
            torch.testing.assert_close(weight, expected[name], rtol=0, atol=1e-3 * change + 1e-7)


@pytest.mark.parametrize("cls", TRANSPORTS)
def test_uncertainty_survives_saving_and_pickling(cls, tmp_path):
    X, Y = gaussian(200, 2), gaussian(200, 2, 1)
    transport = make_tiny(cls).fit(X, Y)
    transport.save(tmp_path / "transport.safetensors")
    for copied in (load(tmp_path / "transport.safetensors"), pickle.loads(pickle.dumps(transport))):
        np.testing.assert_array_equal(copied.uncertainty(X), transport.uncertainty(X))


def test_uncertainty_of_a_new_target_does_not_use_weights_of_the_old_one():
    X, Y = gaussian(200, 2), gaussian(200, 2, 1)
    transport = make_tiny(OTNetTransport).fit(X, Y)
    assert len(list(transport._earlier())) == 2
    other = transport.retarget(Y[:100] + 1)
    assert list(other._earlier()) == []
    assert (other.uncertainty(X) > 0).all()


def test_uncertainty_of_a_fit_that_diverges_or_ends_early_is_finite():
    X, Y = gaussian(200, 2), gaussian(200, 2, 1)
    options = {"learning_rate_init": 1e6, "optimizer": "adam", "hidden_layer_sizes": (8, 8)}
    with warnings.catch_warnings(action="ignore"):
        diverged = SNOTTransport(max_iter=2, random_state=0, **options).fit(X, Y)
    assert diverged.status_ is Status.DIVERGED
    for share, n_earlier in ((0.2, 0), (0.5, 1)):
        stop = lambda step, problem, record, share=share: record["progress"] >= share  # noqa: E731
        stopped = make_tiny(SNOTTransport, max_iter=100, callbacks=[stop]).fit(X, Y)
        assert len(list(stopped._earlier())) == n_earlier
        assert np.isfinite(stopped.uncertainty(X)).all()
    early = make_tiny(SNOTTransport, max_iter=100, early_stopping=True).fit(X, Y)
    for transport in (diverged, early):
        assert np.isfinite(transport.uncertainty(X)).all()


def test_weights_of_a_checkpoint_return_to_the_cpu():
    """The state of a checkpoint is read to the device of the fit."""
    problem = make_tiny(SNOTTransport).fit(gaussian(50, 2), gaussian(50, 2, 1)).problem_
    earlier = EarlierWeights()
    for progress in (0.4, 0.7):
        earlier(1, problem, {"progress": progress})
    assert earlier.weights.keys() == {"0", "1"}
    continued = EarlierWeights()
    moved = {key: {name: OnGPU(each) for name, each in kept.items()} for key, kept in earlier.state_dict().items()}
    continued.load_state_dict(moved)
    changes = continued.changes(problem)
    assert all((change == 0).all() for weights in changes.values() for change in weights.values())


def test_uncertainty_does_not_depend_on_the_offset():
    X, Y = gaussian(200, 20), gaussian(200, 20, 1)
    near = make_tiny(SNOTTransport).fit(X, Y).uncertainty(X)
    far = make_tiny(SNOTTransport).fit(X + 1e6, Y + 1e6).uncertainty(X + 1e6)
    np.testing.assert_allclose(far, near, rtol=1e-2)


def test_uncertainty_includes_variance_of_draws():
    pair = make_one_to_many()
    transport = OTPTransport(max_iter=300, random_state=0).fit(*pair.sample(1000, random_state=0))
    X = pair.source(200, np.random.default_rng(1))
    spread = np.sqrt(transport.sample(X, 64, random_state=1).var(axis=0).sum(axis=1))
    assert np.median(transport.uncertainty(X, n_draws=64) / spread) == pytest.approx(1, abs=0.1)


# along the fit


class Potential:
    """Problem with a given potential, or without one."""

    def __init__(self, function=None):
        self.function = function

    def potential(self, y):
        if self.function is None:
            raise NotImplementedError
        return self.function(y)


def gap_of(problem, x, y, cost=None):
    record = {}
    assert DualGap(cost or SquaredEuclidean(), x, y)(1, problem, record) is False
    return record


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_gap_is_zero_for_exact_potential_only(factor):
    x = torch.from_numpy(gaussian(200, 3))
    problem = Potential(lambda y: torch.from_numpy(Quadratic(factor, 0.0).potential(y.numpy())))
    assert gap_of(problem, x, factor * x)["gap"] == pytest.approx(0, abs=1e-8)
    wrong = Potential(lambda y: 5 * y[:, 0])
    expected = ot.emd2([], [], ot.dist(x.numpy(), factor * x.numpy()))
    values = ot.dist(x.numpy(), factor * x.numpy()) - 5 * factor * x[:, 0].numpy()
    dual = values.min(axis=1).mean() + 5 * factor * x[:, 0].mean().item()
    assert gap_of(wrong, x, factor * x)["gap"] == pytest.approx(expected - dual)


def test_gap_is_absent_without_potential_or_finite_cost():
    x = torch.from_numpy(gaussian(20, 2))
    assert gap_of(Potential(), x, x) == {}
    infinite = as_cost(lambda a, b: (a - b).square().sum(-1) / 0)
    assert gap_of(Potential(lambda y: y[:, 0]), x, x, infinite) == {}


def test_gap_along_fit_decreases(transport_class):
    X, Y = gaussian(600, 2), 2 * gaussian(600, 2, 1) ** 3
    transport = make_tiny(transport_class, max_iter=200).fit(X, Y)
    gaps = [record["gap"] for record in transport.history_]
    assert min(gaps) > -1e-5
    assert np.mean(gaps[-3:]) < np.mean(gaps[:3])


@pytest.mark.parametrize("history", [[], [{"step": 1, "discrepancy": -0.1}, {"step": 2, "discrepancy": 0.1}]])
def test_figure_accepts_histories_without_gap(history):
    pytest.importorskip("matplotlib").use("Agg")
    X = gaussian(60, 2)
    samples = {"source": X, "images": X, "target": X}
    assert len(plot_diagnosis("title", samples, None, history)) == 1 + bool(history)
