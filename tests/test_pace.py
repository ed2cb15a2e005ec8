"""Batch size for a time budget, compilation of the step, and budgets that are too short."""

import copy
import math
import pickle
import warnings

import numpy as np
import ot
import pytest
import torch
from conftest import gaussian, seeded, single_rows
from sklearn.exceptions import ConvergenceWarning
from torch import nn

from neuralot import Optimizer, OTNetTransport, OTPTransport, SNOTTransport
from neuralot.defaults import sizes_of_long_fits
from neuralot.estimators import fitting, snot
from neuralot.forms import compiled, make_form
from neuralot.forms.compiled import Compiled
from neuralot.methods import SNOT
from neuralot.sampling import ArraySampler, as_sampler
from neuralot.solve import Status, solve
from neuralot.solve.guard import Guard
from neuralot.solve.pace import LARGEST, SMALLEST, batch_for, n_steps_for, step_timer


def linear(constant, per_row):
    return lambda n_rows: constant + per_row * n_rows


@pytest.mark.parametrize("budget", [0.5, 5.0, 20.0, 100.0, 1000.0])
@pytest.mark.parametrize("seconds", [linear(1e-3, 1e-5), linear(1e-2, 0.0), linear(0.0, 1e-4)])
def test_batch_is_largest_that_allows_enough_steps(budget, seconds):
    batch = batch_for(budget, seconds)
    assert batch in {2**k for k in range(6, 13)}
    if batch > SMALLEST:
        assert budget / seconds(batch) >= n_steps_for(batch)
    if batch < LARGEST:
        assert budget / seconds(2 * batch) < n_steps_for(2 * batch)


def test_batch_grows_with_budget_and_is_bounded_by_sample_size():
    batches = [batch_for(budget, linear(1e-3, 1e-5)) for budget in (0.1, 1, 2, 5, 10, 30, 100)]
    assert batches == sorted(batches)
    assert batch_for(1e6, linear(1e-3, 1e-5), largest=300) == 256


def test_slow_steps_are_timed_with_smallest_batch_only():
    asked = []
    batch_for(1.0, lambda n_rows: asked.append(n_rows) or 1.0)
    assert asked == [SMALLEST]


def test_layers_are_wider_in_long_fits_with_many_rows_and_features():
    assert sizes_of_long_fits(64, 2**18, 6000 * 1024) == (256,) * 3
    for smaller in [(63, 2**18, 1e9), (64, 2**18 - 1, 1e9), (64, 2**18, 6000 * 1024 - 1)]:
        assert sizes_of_long_fits(*smaller) == (128,) * 3


@pytest.mark.parametrize(
    ("settings", "width"), [({}, 24), ({"hidden_layer_sizes": (8,)}, 8), ({"map_form": "network"}, 128)]
)
def test_hidden_layer_sizes_depend_on_budget(monkeypatch, settings, width):
    monkeypatch.setattr(fitting, "batch_for", lambda *args: 64)
    asked = []
    monkeypatch.setattr(
        snot, "sizes_of_long_fits", lambda n_features, n_rows, n_draws: asked.append((n_features, n_rows)) or (24, 24)
    )
    X = gaussian(100, 16)
    est = SNOTTransport(max_time=0.3, max_iter=20, random_state=0, **settings).fit(X, X + 1)
    assert next(weight for weight in est.problem_.parameters() if weight.ndim == 1).shape[0] == width
    assert asked in ([], [(16, 100)])


@pytest.mark.parametrize(
    ("transport_class", "expected"),
    [(SNOTTransport, (True, False)), (OTPTransport, (True, True)), (OTNetTransport, (False, False))],
)
def test_batches_are_stratified_for_some_methods(monkeypatch, transport_class, expected):
    """OT-Net estimates its mass error from the rows of a batch, which requires independent rows."""
    recorded = []

    def watched(problem, source, target, **settings):
        recorded.append((source.stratified, target.stratified))
        return solve(problem, source, target, **settings)

    monkeypatch.setattr(SNOTTransport, "_stratified_from", 50)
    monkeypatch.setattr(fitting, "solve", watched)
    rows = gaussian(100, 2)
    transport_class(max_iter=2, random_state=0).fit(rows, rows[:40])
    assert recorded == [expected]


def test_guard_draws_independent_rows():
    """The energy distance is unbiased for independent rows; stratified rows would give negative values."""
    generator, law = seeded(), ArraySampler(torch.randn(512, 2), stratified=True)
    assert len(law(512, generator).unique(dim=0)) == 512
    guard = Guard(SNOT(2, make_form(2, generator=generator)), law, law, generator)
    assert all(len(rows.unique(dim=0)) < 400 for rows in (guard.x, guard.y, guard._drawn(10**5)))


def test_timing_changes_neither_problem_nor_generators():
    generator, rows = seeded(), torch.randn(100, 3)
    problem, sampler = SNOT(3, make_form(3, generator=generator)), as_sampler(rows)
    before, state = [weight.clone() for weight in problem.parameters()], generator.get_state()
    assert 0 < step_timer(problem, sampler, sampler, "auto", generator)(32) < math.inf
    assert all(torch.equal(weight, old) for weight, old in zip(problem.parameters(), before, strict=True))
    assert torch.equal(generator.get_state(), state)


def test_steps_are_timed_in_training_context():
    recorded = []

    class Watched(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.dropout = nn.Linear(3, 1), nn.Dropout(0.5)

        def forward(self, x):
            recorded.append(torch.get_num_threads())
            return self.dropout(self.layer(x)).sigmoid()

    form = make_form(3, potential_network=lambda _: Watched())
    rows = as_sampler(torch.randn(100, 3))
    before, state = torch.get_num_threads(), torch.random.get_rng_state()
    torch.set_num_threads(2)
    try:
        step_timer(SNOT(3, form), rows, rows, "auto", seeded())(32)
        assert set(recorded) == {1}
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert torch.equal(torch.random.get_rng_state(), state)


def fit_settings(monkeypatch, samples, **parameters):
    """Return the settings of a fit in which a step is assumed to take 1 s per 100 rows."""
    monkeypatch.setattr(fitting, "step_timer", lambda *_: lambda n_rows: n_rows * 1e-2)
    passed = []
    solve = fitting.solve
    monkeypatch.setattr(fitting, "solve", lambda *args, **kwargs: passed.append(kwargs) or solve(*args, **kwargs))
    with warnings.catch_warnings(action="ignore"):
        stop = lambda *_: True  # noqa: E731
        SNOTTransport(
            hidden_layer_sizes=(4,), optimizer=Optimizer(compile=False), random_state=0, callbacks=[stop], **parameters
        ).fit(*samples)
    return passed[0]


def fit_batch_size(monkeypatch, samples, **parameters):
    return fit_settings(monkeypatch, samples, max_iter=3, **parameters)["batch_size"]


@pytest.fixture
def large_samples():
    rng = np.random.default_rng(0)
    return rng.normal(size=(5000, 2)), rng.normal(size=(3000, 2))


def test_max_time_determines_batch_size(monkeypatch, large_samples):
    assert fit_batch_size(monkeypatch, large_samples, max_time=2e3) == 128  # 1000 steps
    assert fit_batch_size(monkeypatch, large_samples, max_time=1e7) == 2048  # 3000 rows


def test_learning_rate_decreases_with_budget_in_four_dimensions(monkeypatch):
    samples = [gaussian(5000, 4, seed) for seed in range(2)]
    rates = [
        fit_settings(monkeypatch, samples, max_time=1e7, **parameters)["learning_rate"]
        for parameters in ({}, {"max_iter": 2400}, {"max_iter": 100}, {"learning_rate_init": 0.1})
    ]
    assert rates == pytest.approx([0.004, 0.008 * 0.5**0.5, 0.008, 0.1])


def test_batch_size_does_not_depend_on_budget_without_max_time_or_if_given(monkeypatch, large_samples):
    assert fit_batch_size(monkeypatch, large_samples) == 256
    assert fit_batch_size(monkeypatch, large_samples, max_time=2e3, batch_size=17) == 17


def test_max_time_removes_limit_of_steps(large_samples):
    many = SNOTTransport(hidden_layer_sizes=(4,), batch_size=1, max_time=1e-9, random_state=0)
    with warnings.catch_warnings(action="ignore"):
        many.fit(*large_samples)
    assert many._fitted_params.max_iter > 1e6
    assert many.max_iter == "auto"


def test_default_number_of_steps_is_1200():
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(30, 1)), rng.normal(size=(30, 1))
    assert SNOTTransport(hidden_layer_sizes=(4,), batch_size=2, random_state=0).fit(X, Y).n_iter_ == 1200


# the compiled step


@pytest.mark.slow
@pytest.mark.skipif(not compiled.has_compiler(), reason="no C++ compiler")
@pytest.mark.parametrize("cls", [SNOTTransport, OTPTransport])
def test_compiled_fit_equals_uncompiled_fit_up_to_rounding(large_samples, cls):
    fits = [
        cls(optimizer=Optimizer(compile=asked), max_iter=30, random_state=0).fit(*large_samples)
        for asked in (True, False)
    ]
    assert fits[0].history_[-1]["compiled"] == 1.0
    assert "compiled" not in fits[1].history_[-1]
    np.testing.assert_allclose(fits[0].transform(large_samples[0]), fits[1].transform(large_samples[0]), atol=0.02)


def test_failed_compilation_falls_back_to_uncompiled_step(monkeypatch, large_samples):
    def failing_compile(function, **_):
        def raises(*args):
            raise RuntimeError("no compiler")

        return raises

    plain = SNOTTransport(optimizer=Optimizer(compile=False), max_iter=5, random_state=0).fit(*large_samples)
    monkeypatch.setattr(torch, "compile", failing_compile)
    with warnings.catch_warnings(action="error"):
        other = SNOTTransport(optimizer=Optimizer(compile=True), max_iter=5, random_state=0).fit(*large_samples)
    assert other.history_[-1]["compiled"] == 0.0
    np.testing.assert_array_equal(plain.transform(large_samples[0]), other.transform(large_samples[0]))


def test_failed_compilation_is_not_repeated(monkeypatch):
    calls = []

    def failing_compile(function, **_):
        return lambda *args: calls.append(args) or 1 / 0

    monkeypatch.setattr(torch, "compile", failing_compile)
    function = Compiled(lambda x: x + 1)
    assert [function(1), function(2)] == [2, 3]
    assert len(calls) == 1


def test_copies_share_compiled_function_and_pickles_omit_it(monkeypatch):
    calls = []
    monkeypatch.setattr(torch, "compile", lambda function, **_: calls.append(function) or function)
    function = Compiled(math.sqrt)
    assert copy.deepcopy(function)(4.0) == function(4.0) == 2.0
    assert calls == [math.sqrt]
    assert pickle.loads(pickle.dumps(function))(4.0) == 2.0


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"compile": True, "max_time": None}, True),
        ({"compile": False, "max_time": 1e4}, False),
        ({"compile": "auto", "max_time": None}, False),
        ({"compile": "auto", "max_time": 10.0}, False),
        ({"compile": "auto", "max_time": 1e4}, True),
        ({"max_time": 1e4}, False),
    ],
    ids=str,
)
def test_compile_auto_requires_long_budget_and_compiler(monkeypatch, params, expected):
    monkeypatch.setattr(fitting, "has_compiler", lambda: True)
    assert fitting._compiles(fitting.FitParams(**params), torch.Generator()) is expected
    monkeypatch.setattr(fitting, "has_compiler", lambda: False)
    assert fitting._compiles(fitting.FitParams(**params), torch.Generator()) is (params.get("compile") is True)


# a budget that is too short


def test_short_fit_warns_and_returns_affine_map(large_samples):
    X, Y = large_samples[0], np.abs(large_samples[1]) * [1, 3]
    with pytest.warns(ConvergenceWarning, match="too short"):
        transport = SNOTTransport(max_iter=2, random_state=0).fit(X, Y)
    assert transport.status_ is Status.SHORT
    linear = ot.da.LinearTransport().fit(Xs=X, Xt=Y)
    # up to the rounding of the centres, and to eigenvalues that are set to 1 within their sampling error
    np.testing.assert_allclose(transport.transform(X), linear.transform(Xs=X), atol=0.1)
    np.testing.assert_allclose(transport.inverse_transform(transport.transform(X)), X, atol=1e-3)


def test_fit_with_enough_steps_does_not_warn(large_samples):
    with warnings.catch_warnings(action="error"):
        transport = SNOTTransport(max_iter=400, random_state=0).fit(*large_samples)
    assert transport.status_ is Status.MAX_ITER


@pytest.mark.parametrize("n_rows", [20, 100, 20_000])
def test_guard_ignores_sampling_error_of_distance(n_rows):
    problem = SNOT(8).eval()  # the map is the identity
    off, far_off = [], []
    for seed in range(20):
        generator = seeded(seed)
        x, y = (torch.randn(n_rows, 8, generator=generator) for _ in range(2))
        off.append(Guard(problem, as_sampler(x), as_sampler(y), generator).is_off)
        far_off.append(Guard(problem, as_sampler(x), as_sampler(2 * y + 1), generator).is_off)
    assert sum(off) <= 5
    assert all(far_off)


def test_guard_has_no_sampling_error_for_single_point():
    x, point = single_rows(50, 3), torch.ones(1, 3)
    guard = Guard(SNOT(3), as_sampler(x), as_sampler(point), seeded())
    assert guard.chance == 0
    assert guard.is_off


def test_warm_start_is_not_replaced_by_affine_map(large_samples):
    X, Y = large_samples[0], np.abs(large_samples[1]) * [1, 3]
    with warnings.catch_warnings(action="ignore"):
        transport = SNOTTransport(max_iter=30, warm_start=True, random_state=0).fit(X, Y)
        affine = transport.history_[-1]["affine"]
        for _ in range(6):
            assert "affine" not in transport.fit(X, Y).history_[-1]
    assert transport.history_[-1]["discrepancy"] < affine


def test_early_stopping_may_return_affine_map(large_samples):
    X, Y = large_samples[0], np.abs(large_samples[1]) * [1, 3]
    with warnings.catch_warnings(action="ignore"):
        fits = [SNOTTransport(max_iter=2, early_stopping=stops, random_state=0).fit(X, Y) for stops in (True, False)]
    assert all("affine" in transport.history_[-1] for transport in fits)
    np.testing.assert_allclose(fits[0].transform(X), fits[1].transform(X), atol=0.2)


def test_optimisers_are_discarded_after_affine_map():
    x = single_rows(400)
    problems = SNOT(2), SNOT(2)
    fits = [
        solve(problem, x, 3 * x.abs(), max_iter=2, fallback=fallback)
        for problem, fallback in zip(problems, (problems[0].affine, None), strict=True)
    ]
    assert fits[0].training is None
    assert fits[1].training is not None
    assert fits[0].history[-1]["affine"] < fits[1].history[-1]["discrepancy"]
