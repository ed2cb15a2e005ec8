"""The contract of `Problem` for every method, in every form of its map, on every small pair."""

import functools
import inspect
import math

import pytest
import torch
from conftest import PAIRS, seeded, unchanged_generators

from neuralot import methods
from neuralot.forms import make_form
from neuralot.methods import OTP, SNOT, W2GN
from neuralot.methods.smoothing import intrinsic_dimension
from neuralot.metrics import d_target
from neuralot.sampling import as_sampler
from neuralot.solve import Status, solve
from neuralot.solve.problem import Batch, Problem

METHODS = [getattr(methods, name) for name in methods.__all__]
FORMS = {
    "gradient": {"map_form": "gradient"},
    "network": {"map_form": "network"},
    "noise": {"map_form": "network", "noise_dim": 2},
}
MEASURED = {"margin"}  # buffers that a loss updates in addition to the weights


def forms_for(method):
    """Return the possible forms of a method's map; "own" if it does not take a form."""
    if "form" not in inspect.signature(method).parameters:
        return ["own"]
    # only SNOT has a noise input (OTM-s)
    return [form for form in FORMS if form != "noise" or method is SNOT]


CASES = [(method, form) for method in METHODS for form in forms_for(method)]

CASE_IDS = [f"{method.__name__}-{form}" for method, form in CASES]
# the critic has a quarter of the learning rate; the positive weights of W2GN change slowly too
SLOW = {"network", "noise"}
each_case = pytest.mark.parametrize(("method", "form"), CASES, ids=CASE_IDS)
each_pair = pytest.mark.parametrize("pair", PAIRS)


@functools.cache
def standardised(pair, seed=0):
    """Return 1000 rows of each law, divided by a common scale but not centred, so that a fit has a shift to learn."""
    X, Y = PAIRS[pair].sample(1000, random_state=seed)
    scale = math.sqrt((PAIRS[pair].sample(1000, random_state=0)[0].var(0).mean() + Y.var(0).mean()) / 2)
    return tuple(torch.from_numpy(rows / scale).float() for rows in (X, Y))


HARD = {"multi_perpendicular", "eight_gaussians"}  # twice the steps
QUICK = {"gaussians", "one_to_many"}
quick_pair = pytest.mark.parametrize(
    "pair", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in PAIRS]
)


@functools.cache
def is_thin(pair):
    return intrinsic_dimension(standardised(pair)[0]) < 1.5


def build(method, form, seed=0, sizes=(8, 8, 8)):
    generator = seeded(seed)
    own = {"generator": generator} if "generator" in inspect.signature(method).parameters else {}
    if form == "own":
        return method(2, **own)
    return method(2, make_form(2, **FORMS[form], hidden_layer_sizes=sizes, generator=generator), **own)


def train(problem, pair, max_iter, **options):
    source, target = (as_sampler(rows) for rows in standardised(pair))
    return solve(problem, source, target, max_iter=max_iter, **options)


def build_trained(method, form, pair, seed=0):
    """Return a problem after a few training steps."""
    problem = build(method, form, seed)
    train(problem, pair, 5, batch_size=64)
    return problem


def make_batch(pair, progress=0.5):
    x, y = standardised(pair)
    return Batch(x[:64], y[:64], progress, seeded(1))


@each_pair
@each_case
def test_losses_are_finite_scalars_at_any_progress(method, form, pair):
    for problem in (build(method, form), build_trained(method, form, pair)):
        problem.prepare(*map(as_sampler, standardised(pair)), seeded())
        assert set(problem.players) == set(problem.networks)
        for player in problem.players:
            for progress in (0.0, 0.5, 0.999):
                loss = problem.loss(player, make_batch(pair, progress))
                assert loss.shape == ()
                assert torch.isfinite(loss)


def tensors(problem):
    """Return the tensors of a state, without the values that only checkpoints need."""
    return {name: value for name, value in problem.state_dict().items() if isinstance(value, torch.Tensor)}


@quick_pair
@each_case
def test_step_of_player_changes_only_its_weights(method, form, pair):
    names = list(build(method, form).players)
    for player in names:
        problem = build_trained(method, form, pair)
        before = {name: value.clone() for name, value in tensors(problem).items()}
        problem.players = {player: 1}
        train(problem, pair, 1, batch_size=64)
        moved = {name for name, value in tensors(problem).items() if not torch.equal(value, before[name])}
        assert moved
        assert all(f"networks.{player}." in name or name in MEASURED for name in moved)


@each_pair
@each_case
def test_gradients_equal_those_of_each_players_loss(method, form, pair):
    problem = build_trained(method, form, pair)
    names = list(problem.players)
    groups = [names] if problem.together else [[name] for name in names]
    found = [problem.gradients(group, lambda times: make_batch(pair)) for group in groups]
    losses, gradients = (
        {name: each for part in parts for name, each in part.items()} for parts in zip(*found, strict=True)
    )
    assert set(losses) == set(gradients) == set(problem.players)
    for player, loss in losses.items():
        alone = problem.loss(player, make_batch(pair))
        torch.testing.assert_close(loss, alone.detach())
        weights = list(problem.networks[player].parameters())
        for got, expected in zip(
            gradients[player], torch.autograd.grad(alone, weights, allow_unused=True), strict=True
        ):
            assert (got is None) == (expected is None)
            if got is not None:
                torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)


@quick_pair
@pytest.mark.parametrize(
    ("method", "form"),
    [pytest.param(*case, marks=pytest.mark.slow if case[1] in SLOW else ()) for case in CASES],
    ids=CASE_IDS,
)
def test_short_fit_is_better_than_identity(method, form, pair):
    if method is not OTP and is_thin(pair) and pair != "parallel":
        pytest.skip("the source is thin: a map cannot split mass, and the max-min problem has spurious solutions")
    steps = 250 if is_thin(pair) else 200 if form in SLOW or method is W2GN else 100
    options = {"max_iter": 2 * steps if pair in HARD else steps, "averaging": 0.9}
    solution = train(build(method, form, sizes=(32, 32, 32)), pair, batch_size=128, generator=seeded(), **options)
    assert solution.status not in (Status.DIVERGED, Status.FAILED)
    x, y = (rows[:500] for rows in standardised(pair, seed=1))
    with torch.no_grad():
        image = solution.problem.draw(x, seeded())
    # both distances include the sampling floor, so the ratio is an upper bound; measured: at most 0.73 for two seeds
    assert d_target(image, y) < 0.75 * d_target(x, y)


@each_pair
@each_case
def test_fit_is_reproducible_with_seed(method, form, pair):
    def image(seed):
        torch.manual_seed(seed + 10)  # must have no influence
        solution = train(build(method, form, seed), pair, 3, batch_size=64, generator=seeded(seed))
        return solution.problem.map(standardised(pair)[0])

    first = image(0)
    torch.manual_seed(99)
    assert torch.equal(image(0), first)
    # without noise, the best map to a thin source's target is the initial one, which does not depend on the seed
    if not (form == "own" and is_thin(pair)):
        assert not torch.equal(image(1), first)


@each_pair
@each_case
def test_state_dict_restores_problem(method, form, pair):
    problem, other = build_trained(method, form, pair, seed=0), build(method, form, seed=1)
    x = standardised(pair)[0]
    weights, others = (list(each.networks.parameters()) for each in (problem, other))
    assert not all(map(torch.equal, weights, others))
    other.load_state_dict(problem.state_dict())
    assert torch.equal(other.map(x), problem.map(x))
    assert torch.equal(other.draw(x, seeded()), problem.draw(x, seeded()))


@each_pair
@each_case
def test_map_is_deterministic_and_applies_to_each_row(method, form, pair):
    problem, x = build_trained(method, form, pair), standardised(pair)[0][:50]
    image = problem.map(x)
    assert image.shape == x.shape
    assert torch.equal(problem.map(x), image)
    torch.testing.assert_close(problem.map(x.flip(0)).flip(0), image)
    torch.testing.assert_close(problem.map(x[7:9]), image[7:9])
    torch.testing.assert_close(torch.cat([problem.map(row[None]) for row in x]), image)


@each_pair
@each_case
def test_draws_use_only_given_generator(method, form, pair):
    problem, x = build_trained(method, form, pair), standardised(pair)[0]
    torch.manual_seed(1)
    first = problem.draw(x, seeded())
    assert first.shape == x.shape
    assert torch.isfinite(first).all()
    torch.manual_seed(2)
    with unchanged_generators():
        assert torch.equal(problem.draw(x, seeded()), first)
        problem.map(x)


@each_case
def test_inverse_is_available_or_raises(method, form):
    problem, (_, y) = build_trained(method, form, "moons"), standardised("moons")
    if problem.invertible:
        assert problem.inverse(y).shape == y.shape
        assert torch.isfinite(problem.inverse(y)).all()
    else:
        with pytest.raises(NotImplementedError):
            problem.inverse(y)


@each_case
def test_follow_returns_finite_numbers(method, form):
    problem = build(method, form)
    for progress in (0.0, 0.5, 1.0):
        assert all(math.isfinite(level) for level in problem.follow(progress).values())


@pytest.mark.parametrize("method", METHODS)
def test_method_has_only_methods_of_the_contract(method):
    assert issubclass(method, Problem)
    for name in ("solve", "fit", "step", "optimizer"):
        assert not hasattr(method, name)


def test_pairs_and_methods_are_found():
    assert len(METHODS) >= 3
    together = {(method.__name__, form) for method, form in CASES if build(method, form).together}
    assert together == {("SNOT", "gradient"), ("OTP", "gradient"), ("W2GN", "own")}
    assert len(PAIRS) >= 8
    assert {pair for pair in PAIRS if is_thin(pair)} == {
        "perpendicular", "parallel", "one_to_many", "multi_perpendicular"
    }  # fmt: skip
