"""Training loop: budgets, outcomes, history, averaging and guard."""

import contextlib
import itertools
import math

import pytest
import torch
from conftest import flat_weights, map_forms, nan_layer, seeded, single_rows, unchanged_generators
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from neuralot._torch import energy_distance
from neuralot.costs import Lp
from neuralot.forms import make_form
from neuralot.methods import OTP, SNOT, OTNet
from neuralot.methods.planes import ENTRIES_PER_BLOCK
from neuralot.methods.smoothing import Smoothing
from neuralot.networks import Potential
from neuralot.sampling import as_sampler
from neuralot.solve import Status, solve
from neuralot.solve.problem import Batch, Problem
from neuralot.solve.training import Training

X = single_rows(200)
Y = single_rows(200, seed=1) + 1


def run_fit(problem=None, **options):
    problem = problem or SNOT(2, make_form(2, hidden_layer_sizes=(8, 8, 8)))
    options = {"max_iter": 20, "batch_size": 32, **options}
    return solve(problem, as_sampler(X), as_sampler(Y), **options)


class Mean(Problem):
    """Problem with one player, the map T(x) = x + b with the target's mean, and without a critic."""

    def __init__(self, size=1.0):
        super().__init__()
        self.networks = nn.ModuleDict({"shift": nn.Linear(1, 2, bias=False)})
        self.players = {"shift": 3}
        self.size = size
        self.prepared = []
        self.n_losses = 0

    def prepare(self, source, target, generator):
        self.prepared.append((source(2, generator).shape, target(2, generator).shape, self.n_losses))

    def loss(self, player, batch):
        self.n_losses += 1
        return self.size * (self.map(batch.x).mean(0) - batch.y.mean(0)).square().sum()

    def map(self, x):
        return x + self.networks["shift"](torch.ones(len(x), 1))


def test_problem_without_critic_is_solved():
    problem = Mean()
    solution = run_fit(problem, max_iter=200, learning_rate=0.05, batch_size=256, averaging=0.9)
    torch.testing.assert_close(solution.problem.map(X).mean(0), Y.mean(0), atol=0.1, rtol=0)
    assert problem.n_losses == 3 * 200
    assert problem.prepared == [((2, 2), (2, 2), 0)]


def test_callbacks_receive_buffers_of_current_step():
    class Counting(Mean):
        def __init__(self):
            super().__init__()
            self.register_buffer("count", torch.zeros(()))

        def loss(self, player, batch):
            self.count += 1
            return super().loss(player, batch)

    recorded = []
    run_fit(Counting(), callbacks=[lambda step, problem, record: recorded.append((float(problem.count), 3.0 * step))])
    assert len(recorded) == 20
    assert all(count == expected for count, expected in recorded)


# outcomes


def test_fit_makes_all_steps():
    solution = run_fit(max_iter=7)
    assert solution.status in (Status.MAX_ITER, Status.SHORT)
    assert solution.n_iter == 7
    assert Status.MAX_ITER.message == "The fit made all of its max_iter steps."


def test_fit_ends_at_time_limit(monkeypatch):
    ticks = itertools.count()
    monkeypatch.setattr("neuralot.solve.clock.time.perf_counter", lambda: next(ticks) / 1000)
    solution = run_fit(max_iter=10**9, max_time=0.3)
    assert solution.status in (Status.MAX_TIME, Status.SHORT)
    assert 0 < solution.n_iter <= 300
    assert solution.history[-1]["progress"] == 1
    assert 0.3 <= solution.history[-1]["seconds"] < 0.31


def test_large_time_limit_has_no_influence():
    timed, free = run_fit(max_time=3600.0), run_fit()
    assert timed.status in (Status.MAX_ITER, Status.SHORT)
    assert torch.equal(timed.problem.map(X), free.problem.map(X))


def test_callback_ends_fit_and_all_callbacks_are_called():
    received = []
    solution = run_fit(
        callbacks=[lambda step, problem, record: step >= 5, lambda step, problem, record: received.append(step)]
    )
    assert solution.status is Status.STOPPED
    assert solution.n_iter == received[-1] == 5


def test_callbacks_receive_averaged_problem_and_all_records():
    recorded = []
    solution = run_fit(callbacks=[lambda step, problem, record: recorded.append((step, problem, record))])
    assert [record for _, _, record in recorded] == solution.history
    assert [step for step, _, _ in recorded] == [record["step"] for record in solution.history]
    assert all(problem is solution.problem for _, problem, _ in recorded)


def test_error_in_callback_is_raised():
    def callback(step, problem, record):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        run_fit(callbacks=[callback])


@pytest.mark.parametrize("method", [OTP, SNOT])
@map_forms
def test_diverging_fit_restores_best_weights(map_form, method):
    problem = method(2, make_form(2, map_form=map_form, hidden_layer_sizes=(8, 8, 8)))
    solution = run_fit(problem, learning_rate=1e3, max_iter=50, averaging=0.1)
    assert solution.status is Status.DIVERGED
    assert not solution.status.ok
    image = solution.problem.map(X)
    assert torch.isfinite(image).all()
    assert energy_distance(image, Y) < energy_distance(X, Y) + 0.05


def test_nan_weights_end_fit_immediately():
    solution = run_fit(Mean(size=math.nan), max_iter=1000)
    assert solution.status is Status.DIVERGED
    assert solution.n_iter == 1
    assert torch.isfinite(solution.problem.map(X)).all()


def test_network_without_finite_weights_fails():
    solution = run_fit(SNOT(2, make_form(2, map_form=lambda d: nan_layer(d, d))))
    assert solution.status is Status.FAILED
    assert not solution.status.ok
    assert solution.n_iter == 1


@pytest.mark.parametrize("status", Status)
def test_status_messages_are_sentences(status):
    assert status.message[0].isupper()
    assert status.message.endswith(".")
    assert status.ok == (status not in (Status.SHORT, Status.INTERRUPTED, Status.DIVERGED, Status.FAILED))


@pytest.mark.parametrize("point", ["source", "target", "both"])
@pytest.mark.parametrize("method", [OTP, SNOT])
@map_forms
def test_fit_of_single_points_does_not_diverge(map_form, method, point):
    problem = method(2, make_form(2, map_form=map_form, hidden_layer_sizes=(8, 8, 8)))
    x, y = (torch.zeros(1, 2) if point in (side, "both") else X for side in ("source", "target"))
    assert solve(problem, as_sampler(x), as_sampler(y), max_iter=20, batch_size=32).status is not Status.DIVERGED


# history


@pytest.mark.parametrize("method", [OTP, SNOT, OTNet])
def test_records_have_all_fields(method):
    problem = method(2) if method is OTNet else method(2, make_form(2, hidden_layer_sizes=(8, 8)))
    fields = {"step", "seconds", "progress", "discrepancy", *(f"{name}_loss" for name in problem.players)}
    fields |= set(problem.follow(0.0))
    for record in run_fit(problem).history:
        assert set(record) == fields
        assert all(isinstance(value, (int, float)) and math.isfinite(value) for value in record.values())


@pytest.mark.parametrize("max_iter", [1, 7, 50, 333])
def test_history_has_about_fifty_records(max_iter):
    history = run_fit(Mean(), max_iter=max_iter).history
    steps = [record["step"] for record in history]
    assert steps[0] == 1
    assert steps[-1] == max_iter
    assert steps == sorted(set(steps))
    assert min(max_iter, 40) <= len(steps) <= 51
    assert [record["progress"] for record in history] == [pytest.approx(step / max_iter) for step in steps]


def test_discrepancy_equals_energy_distance_of_images():
    def y(n, generator):
        return Y[:n].repeat(3, 1)[:n]

    def x(n, generator):
        return X[:n].repeat(3, 1)[:n]

    solution = solve(Mean(), x, y, max_iter=5, learning_rate=0.1)
    expected = energy_distance(solution.problem.map(x(512, None)), y(512, None))
    assert solution.history[-1]["discrepancy"] == pytest.approx(float(expected.detach()), rel=1e-4)


# weights


def test_solution_without_averaging_has_last_weights():
    problem = SNOT(2, make_form(2, hidden_layer_sizes=(8, 8)))
    assert torch.equal(flat_weights(run_fit(problem, averaging=0.0).problem), flat_weights(problem))


def test_weights_are_averaged_exponentially():
    raw, decay = [], 0.9
    problem = Mean()
    solution = run_fit(problem, max_iter=20, averaging=decay, callbacks=[lambda *_: raw.append(flat_weights(problem))])
    expected = raw[0]
    for weights in raw[1:]:
        expected = decay * expected + (1 - decay) * weights
    torch.testing.assert_close(flat_weights(solution.problem), expected)


@pytest.mark.parametrize("optimizer", ["adam", "muon"])
def test_step_size_decreases_to_zero(optimizer):
    problem = SNOT(2, make_form(2, hidden_layer_sizes=(8, 8, 8)))
    raw = []
    run_fit(problem, max_iter=40, optimizer=optimizer, callbacks=[lambda *_: raw.append(flat_weights(problem))])
    sizes = torch.stack(raw).diff(dim=0).norm(dim=1)
    assert len(raw) == 40
    assert sizes[-1] < 0.02 * sizes.max()


def test_frozen_weights_are_unchanged():
    problem = SNOT(2, make_form(2, hidden_layer_sizes=(8, 8, 8)))
    frozen = problem.networks["source_potential"].residual[0].weight.requires_grad_(False)
    before = frozen.clone()
    run_fit(problem)
    assert torch.equal(frozen, before)


# randomness and threads


def test_fit_depends_only_on_given_generator():
    def images(seed):
        return run_fit(generator=seeded(seed)).problem.map(X)

    torch.manual_seed(1)
    first = images(0)
    torch.manual_seed(2)
    with unchanged_generators():
        assert torch.equal(images(0), first)
        assert not torch.equal(images(1), first)


def test_callbacks_do_not_change_result():
    assert torch.equal(
        run_fit(callbacks=[lambda step, problem, record: problem.draw(X, torch.Generator()) is None]).problem.map(X),
        run_fit().problem.map(X),
    )


@pytest.mark.parametrize("fails", [False, True])
def test_number_of_threads_is_restored(fails):
    def callback(step, problem, record):
        if fails:
            raise KeyError

    torch.set_num_threads(2)
    try:
        with pytest.raises(KeyError) if fails else contextlib.nullcontext():
            run_fit(callbacks=[callback])
    finally:
        after = torch.get_num_threads()
        torch.set_num_threads(1)
    assert after == 2


@pytest.mark.parametrize(
    "options", [{"max_iter": 0}, {"batch_size": 0}, {"max_time": -1.0}, {"optimizer": "sgd"}], ids=str
)
def test_bad_arguments_are_rejected(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        run_fit(**options)


class OneDevice(TorchDispatchMode):
    """Raises if tensors of different devices are used together; torch raises if values of meta tensors are read."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        values = tree_leaves((args, kwargs, result))
        devices = {value.device.type for value in values if isinstance(value, torch.Tensor)}
        assert len(devices) < 2, f"{function} needs {devices}"
        return result


@pytest.mark.parametrize(
    ("method", "form", "options"),
    [
        (SNOT, {"map_form": "gradient"}, {}),
        (SNOT, {"map_form": "gradient", "bidirectional": False}, {}),
        (SNOT, {"map_form": "gradient", "cost": Lp(1.5)}, {}),
        (SNOT, {"map_form": "network"}, {}),
        (SNOT, {"noise_dim": 2}, {}),
        (OTP, {"map_form": "gradient", "affine_base": True}, {"noise_shape": "thin"}),
        (OTP, {"map_form": "network"}, {"smoothing": Smoothing(kind="vp")}),
    ],
    ids=str,
)
def test_step_does_not_synchronise_with_host(monkeypatch, method, form, options):
    # tensors on the meta device have no values that could be read; it supports neither generators nor fused Adam
    for module in ("neuralot.forms.network", "neuralot.methods.otp"):
        monkeypatch.setattr(f"{module}.normal", lambda n, d, generator, like: torch.randn(n, d, device="meta"))
    monkeypatch.setattr("torch._fused_adamw_", lambda *_, **__: None)
    problem = method(8, make_form(8, hidden_layer_sizes=(8, 8), **form), **options).to("meta")
    training = Training(problem, "auto", None, 0.1, 0.99)
    x, y, progress, rate = (torch.zeros(shape, device="meta") for shape in ((16, 8), (16, 8), (), ()))
    with OneDevice():
        for _ in range(3):
            losses = training.step(lambda times: Batch(x, y, progress, torch.Generator()), rate)
    assert all(loss.is_meta for loss in losses.values())


def test_step_of_otnet_does_not_synchronise_with_host(monkeypatch):
    monkeypatch.setattr("torch._fused_adamw_", lambda *_, **__: None)
    monkeypatch.setitem(ENTRIES_PER_BLOCK, "meta", 2**10)
    problem = OTNet(2, Potential(2, (8, 8))).to("meta")
    problem._set_points(torch.zeros(50, 2, device="meta"), torch.zeros(50, device="meta"))
    problem._begin_window()
    training = Training(problem, "auto", None, 0.1, 0.99)
    x, progress, rate = (torch.zeros(shape, device="meta") for shape in ((16, 2), (), ()))
    for by_network in (True, False):
        problem._by_network = by_network
        with OneDevice():
            for _ in range(3):
                problem.follow(0.2)
                rate.fill_(0.2)
                losses = training.step(lambda times: Batch(x, x, progress, torch.Generator()), rate)
        assert losses["heights"].is_meta
