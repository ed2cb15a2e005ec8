"""The loop: budgets, outcomes, history, averaging, and the guard."""

import math

import numpy as np
import pytest
import torch
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

X = torch.randn(200, 2, generator=torch.Generator().manual_seed(0))
Y = torch.randn(200, 2, generator=torch.Generator().manual_seed(1)) + 1


def run(problem=None, **options):
    problem = problem or SNOT(2, make_form(2, hidden_layer_sizes=(8, 8, 8)))
    options = {"max_iter": 20, "batch_size": 32, **options}
    return solve(problem, as_sampler(X), as_sampler(Y), **options)


class Mean(Problem):
    """One player without a critic: T(x) = x + b with the target's mean; knows the laws before the start."""

    def __init__(self, size=1.0):
        super().__init__()
        self.networks = nn.ModuleDict({"shift": nn.Linear(1, 2, bias=False)})
        self.players = {"shift": 3}
        self.size = size
        self.prepared = []
        self.played = 0

    def prepare(self, source, target, generator):
        self.prepared.append((source(2, generator).shape, target(2, generator).shape, self.played))

    def loss(self, player, batch):
        self.played += 1
        return self.size * (self.map(batch.x).mean(0) - batch.y.mean(0)).square().sum()

    def map(self, x):
        return x + self.networks["shift"](torch.ones(len(x), 1))


def test_a_method_is_any_players_with_losses():
    problem = Mean()
    solution = run(problem, max_iter=200, learning_rate=0.05, batch_size=256, averaging=0.9)
    torch.testing.assert_close(solution.problem.map(X).mean(0), Y.mean(0), atol=0.1, rtol=0)
    assert problem.played == 3 * 200
    assert problem.prepared == [((2, 2), (2, 2), 0)]


def test_callbacks_see_the_buffers_of_their_step():
    class Counting(Mean):
        def __init__(self):
            super().__init__()
            self.register_buffer("count", torch.zeros(()))

        def loss(self, player, batch):
            self.count += 1
            return super().loss(player, batch)

    seen = []
    run(Counting(), callbacks=[lambda step, problem, record: seen.append((float(problem.count), 3.0 * step))])
    assert len(seen) == 20
    assert all(count == expected for count, expected in seen)


# outcomes


def test_all_steps_made():
    solution = run(max_iter=7)
    assert solution.status is Status.MAX_ITER
    assert solution.n_iter == 7
    assert solution.status.message == "The fit made all of its max_iter steps."


def test_the_time_is_up():
    solution = run(max_iter=10**9, max_time=0.3)
    assert solution.status in (Status.MAX_TIME, Status.SHORT)
    assert 0 < solution.n_iter < 10**9
    assert solution.history[-1]["progress"] == 1
    assert 0.3 <= solution.history[-1]["seconds"] < 5


def test_a_generous_time_changes_nothing():
    timed, free = run(max_time=3600.0), run()
    assert timed.status is Status.MAX_ITER
    assert torch.equal(timed.problem.map(X), free.problem.map(X))


def test_a_callback_ends_the_fit_and_all_hear_of_it():
    heard = []
    solution = run(
        callbacks=[lambda step, problem, record: step >= 5, lambda step, problem, record: heard.append(step)]
    )
    assert solution.status is Status.STOPPED
    assert solution.n_iter == heard[-1] == 5


def test_callbacks_see_the_averaged_problem_and_every_record():
    seen = []
    solution = run(callbacks=[lambda step, problem, record: seen.append((step, problem, record))])
    assert [record for _, _, record in seen] == solution.history
    assert [step for step, _, _ in seen] == [record["step"] for record in solution.history]
    assert all(problem is solution.problem for _, problem, _ in seen)


def test_an_error_in_a_callback_is_the_users_to_see():
    def callback(step, problem, record):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        run(callbacks=[callback])


@pytest.mark.parametrize("method", [OTP, SNOT])
@pytest.mark.parametrize("map_form", ["gradient", "network"])
def test_an_absurd_learning_rate_diverges_and_the_best_weights_come_back(map_form, method):
    problem = method(2, make_form(2, map_form=map_form, hidden_layer_sizes=(8, 8, 8)))
    solution = run(problem, learning_rate=1e3, max_iter=50, averaging=0.1)
    assert solution.status is Status.DIVERGED
    assert not solution.status.ok
    image = solution.problem.map(X)
    assert torch.isfinite(image).all()
    assert energy_distance(image, Y) < energy_distance(X, Y) + 0.05


def test_weights_that_become_nan_end_the_fit_at_once():
    solution = run(Mean(size=math.nan), max_iter=1000)
    assert solution.status is Status.DIVERGED
    assert solution.n_iter == 1
    assert torch.isfinite(solution.problem.map(X)).all()


class NaN(nn.Module):
    def __init__(self, n_features):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(math.nan))

    def forward(self, x):
        return x * self.weight


def test_a_network_that_never_was_finite_fails():
    solution = run(SNOT(2, make_form(2, map_form=NaN)))
    assert solution.status is Status.FAILED
    assert not solution.status.ok
    assert solution.n_iter == 1


@pytest.mark.parametrize("status", Status)
def test_every_outcome_is_a_sentence(status):
    assert status.message[0].isupper()
    assert status.message.endswith(".")
    assert status.ok == (status not in (Status.SHORT, Status.INTERRUPTED, Status.DIVERGED, Status.FAILED))


@pytest.mark.parametrize("point", ["source", "target", "both"])
@pytest.mark.parametrize("method", [OTP, SNOT])
@pytest.mark.parametrize("map_form", ["gradient", "network"])
def test_laws_without_spread_do_not_diverge(map_form, method, point):
    problem = method(2, make_form(2, map_form=map_form, hidden_layer_sizes=(8, 8, 8)))
    x, y = (torch.zeros(1, 2) if point in (side, "both") else X for side in ("source", "target"))
    assert solve(problem, as_sampler(x), as_sampler(y), max_iter=20, batch_size=32).status is Status.MAX_ITER


# history


@pytest.mark.parametrize("method", [OTP, SNOT, OTNet])
def test_every_record_has_its_fields(method):
    problem = method(2) if method is OTNet else method(2, make_form(2, hidden_layer_sizes=(8, 8)))
    fields = {"step", "seconds", "progress", "discrepancy", *(f"{name}_loss" for name in problem.players)}
    fields |= set(problem.follow(0.0))
    for record in run(problem).history:
        assert set(record) == fields
        assert all(isinstance(value, (int, float)) and math.isfinite(value) for value in record.values())


@pytest.mark.parametrize("max_iter", [1, 7, 50, 333])
def test_about_fifty_records_however_long_the_run(max_iter):
    history = run(Mean(), max_iter=max_iter).history
    steps = [record["step"] for record in history]
    assert steps[0] == 1
    assert steps[-1] == max_iter
    assert steps == sorted(set(steps))
    assert min(max_iter, 40) <= len(steps) <= 51
    assert [record["progress"] for record in history] == [pytest.approx(step / max_iter) for step in steps]


def test_the_discrepancy_is_the_energy_distance_of_the_images():
    def y(n, generator):
        return Y[:n].repeat(3, 1)[:n]

    def x(n, generator):
        return X[:n].repeat(3, 1)[:n]

    solution = solve(Mean(), x, y, max_iter=5, learning_rate=0.1)
    expected = energy_distance(solution.problem.map(x(512, None)), y(512, None))
    assert solution.history[-1]["discrepancy"] == pytest.approx(float(expected.detach()), rel=1e-4)


# weights


def flat(problem):
    return torch.cat([weight.detach().ravel() for weight in problem.parameters()])


def test_without_averaging_the_solution_has_the_last_weights():
    problem = SNOT(2, make_form(2, hidden_layer_sizes=(8, 8)))
    assert torch.equal(flat(run(problem, averaging=0.0).problem), flat(problem))


def test_weights_are_averaged_exponentially():
    raw, decay = [], 0.9
    problem = Mean()
    solution = run(problem, max_iter=20, averaging=decay, callbacks=[lambda *_: raw.append(flat(problem))])
    expected = raw[0]
    for weights in raw[1:]:
        expected = decay * expected + (1 - decay) * weights
    torch.testing.assert_close(flat(solution.problem), expected)


@pytest.mark.parametrize("optimizer", ["adam", "muon"])
def test_steps_shrink_to_nothing_at_the_end(optimizer):
    problem = SNOT(2, make_form(2, hidden_layer_sizes=(8, 8, 8)))
    raw = []
    run(problem, max_iter=40, optimizer=optimizer, callbacks=[lambda *_: raw.append(flat(problem))])
    sizes = torch.stack(raw).diff(dim=0).norm(dim=1)
    assert len(raw) == 40
    assert sizes[-1] < 0.02 * sizes.max()


def test_frozen_weights_stay():
    problem = SNOT(2, make_form(2, hidden_layer_sizes=(8, 8, 8)))
    frozen = problem.networks["source_potential"].residual[0].weight.requires_grad_(False)
    before = frozen.clone()
    run(problem)
    assert torch.equal(frozen, before)


# randomness and threads


def test_the_generator_is_all_the_randomness_there_is():
    def images(seed):
        return run(generator=torch.Generator().manual_seed(seed)).problem.map(X)

    torch.manual_seed(1)
    first = images(0)
    torch.manual_seed(2)
    before, before_numpy = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    assert torch.equal(images(0), first)
    assert not torch.equal(images(1), first)
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(np.random.get_state()[1], before_numpy)  # noqa: NPY002


def test_watching_does_not_change_what_is_learned():
    assert torch.equal(
        run(callbacks=[lambda step, problem, record: problem.draw(X, torch.Generator()) is None]).problem.map(X),
        run().problem.map(X),
    )


@pytest.mark.parametrize("fails", [False, True])
def test_the_number_of_threads_is_given_back(fails):
    def callback(step, problem, record):
        if fails:
            raise KeyError

    torch.set_num_threads(2)
    try:
        run(callbacks=[callback])
    except KeyError:
        assert fails
    finally:
        after = torch.get_num_threads()
        torch.set_num_threads(1)
    assert after == 2


@pytest.mark.parametrize(
    "options", [{"max_iter": 0}, {"batch_size": 0}, {"max_time": -1.0}, {"optimizer": "sgd"}], ids=str
)
def test_bad_arguments(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        run(**options)


class OneDevice(TorchDispatchMode):
    """Refuses what makes a host wait for its device: rows moved between them, and (torch itself does) values read."""

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
def test_a_step_on_a_device_never_waits_for_the_host(monkeypatch, method, form, options):
    # rows on the meta device have no values: no one can read them. It has no generator, and no fused Adam
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


def test_a_step_of_heights_on_a_device_never_waits_for_the_host(monkeypatch):
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
