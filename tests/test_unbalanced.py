"""Transport whose masses change: against POT, Gaussians in closed form and the balanced fit."""

import warnings

import numpy as np
import ot
import pytest
import torch
from conftest import gaussian
from sklearn.svm import SVC

from neuralot import DomainAdapter, OTPTransport, SNOTTransport, Verdict, diagnose, load
from neuralot._torch import energy_distance
from neuralot.costs import Lp
from neuralot.datasets import make_unbalanced_gaussians
from neuralot.exceptions import OutlierWarning
from neuralot.forms import CriticLoss, make_form
from neuralot.forms.losses import gradients_of
from neuralot.penalties import MAX_DENSITY, Penalties, Penalty
from neuralot.solve import Status

GAMES = [SNOTTransport, OTPTransport]
each_game = pytest.mark.parametrize("cls", GAMES)
each_kind = pytest.mark.parametrize("kind", ["kl", "chi2"])
PSI = {"kl": lambda s: s * np.log(s) - s + 1, "chi2": lambda s: (s - 1) ** 2}


def gaussians(seed=0, n=200):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 2)), 0.7 * rng.normal(size=(n, 2)) + 1


def tiny(cls, **params):
    return cls(**{"hidden_layer_sizes": (8, 8), "batch_size": 32, "max_iter": 8, "random_state": 0, **params})


def two_clusters(share_of_source, share_of_target, seed=0, n=1000):
    """Rows around (-4, 0) and (4, 0), and whether they are on the left."""
    rng = np.random.default_rng(seed)
    for share in (share_of_source, share_of_target):
        is_left = np.arange(n) < round(share * n)
        yield 0.3 * rng.normal(size=(n, 2)) + np.where(is_left[:, None], [-4, 0], [4, 0]), is_left


# penalties


@each_kind
@pytest.mark.parametrize("weight", [0.3, 4.0])
def test_conjugate_is_the_supremum_and_density_attains_it(kind, weight):
    u = weight * np.linspace(-4, 3, 29)
    s = np.linspace(1e-9, 30, 300_001)
    values = u[:, None] * s - weight * PSI[kind](s)
    penalty, at = Penalty(kind, weight), torch.tensor(u, requires_grad=True)
    conjugate = penalty.conjugate(at)
    np.testing.assert_allclose(conjugate.detach(), values.max(axis=1), atol=1e-6 * weight)
    np.testing.assert_allclose(penalty.density(at).detach(), s[values.argmax(axis=1)], atol=2e-4)
    np.testing.assert_allclose(torch.autograd.grad(conjugate.sum(), at)[0], penalty.density(at).detach())


@each_kind
def test_densities_are_bounded_and_conjugates_finite(kind):
    u = torch.tensor([-1e30, -1e4, 0.0, 1e4, 1e30])
    penalty = Penalty(kind, 0.5)
    assert penalty.density(u).tolist() == pytest.approx([0.0, 0.0, 1.0, MAX_DENSITY, MAX_DENSITY])
    assert penalty.conjugate(u).isfinite().all()


def test_infinite_weight_keeps_masses():
    u = torch.linspace(-3, 3, 7)
    penalty = Penalty("kl", np.inf)
    assert torch.equal(penalty.density(u), torch.ones(7))
    assert torch.equal(penalty.conjugate(u), u)


@each_kind
@pytest.mark.parametrize("weights", [(0.7, 2.0), (np.inf, 1.0), (1.0, np.inf)])
def test_written_out_step_has_the_gradients_of_the_losses(kind, weights):
    form = make_form(3, hidden_layer_sizes=(8, 8), critic_loss=CriticLoss(gradient_penalty=0.1)).double()
    form.penalties = Penalties(*(Penalty(kind, weight) for weight in weights))
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(40, 3, generator=generator, dtype=torch.double) + shift for shift in (0, 1))
    names = list(form.networks)
    losses, gradients = form.gradients(names, x, y, generator)
    expected = form.losses(names, x, y, generator)
    of_autograd = gradients_of(expected, form.networks)
    for name in names:
        torch.testing.assert_close(losses[name], expected[name])
        torch.testing.assert_close(gradients[name], of_autograd[name])


@each_kind
def test_potential_of_one_direction_has_the_loss_of_both(kind):
    both, one = (make_form(2, hidden_layer_sizes=(8,), bidirectional=value) for value in (True, False))
    one.load_state_dict(both.state_dict())
    both.critic_loss = one.critic_loss = CriticLoss(gap_weight=0.0)
    both.penalties = one.penalties = Penalties(Penalty(kind, 0.5), Penalty(kind, 2.0))
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(2, 30, 2, generator=generator)
    # the loss of g with both directions also has the map loss of S, c(y, S(y)) - f(S(y))
    cost = both.cost(y, both.inverse(y)) - both.networks["source_potential"](both.inverse(y)).ravel()
    of_both = both.losses(["target_potential"], x, y, generator)["target_potential"] - cost.mean()
    of_one = one.losses(["target_potential"], x, y, generator)["target_potential"]
    torch.testing.assert_close(of_one, of_both)


def test_weighted_energy_distance():
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 30, 2, generator=generator, dtype=torch.double)
    ones = torch.ones(30, dtype=torch.double)
    torch.testing.assert_close(energy_distance(a, b, 3 * ones, ones), energy_distance(a, b))
    half = torch.where(torch.arange(30) < 15, 1.0, 0.0).double()
    torch.testing.assert_close(energy_distance(a, b, half, ones), energy_distance(a[:15], b))


def test_exact_gaussians_agree_with_pot():
    pair = make_unbalanced_gaussians(d=1, reg=2.0, shift=1.0)
    # a grid with the masses of the Gaussians, on which POT has hardly any sampling error
    grids = [
        centre + np.sqrt(covariance[0, 0]) * np.linspace(-4, 4, 161)
        for centre, covariance in zip(pair.means, pair.covariances, strict=True)
    ]
    a = np.exp(-0.5 * np.linspace(-4, 4, 161) ** 2)
    costs = (grids[0][:, None] - grids[1]) ** 2
    plan = ot.unbalanced.mm_unbalanced(a / a.sum(), a / a.sum(), costs, pair.reg, div="kl", numItermax=2000)
    assert plan.sum() == pytest.approx(pair.mass, rel=1e-3)
    assert (plan * costs).sum() == pytest.approx(pair.cost, rel=0.03)
    inner = slice(40, 121)
    density = plan.sum(axis=1) / (a / a.sum())
    np.testing.assert_allclose(density[inner], pair.source_mass(grids[0][:, None])[inner], rtol=0.03)


# estimators


@each_game
@pytest.mark.parametrize("params", [{}, {"map_form": "network"}], ids=["gradient", "network"])
def test_infinite_penalties_are_the_balanced_fit_to_the_bit(cls, params):
    X, Y = gaussians()
    balanced = tiny(cls, **params).fit(X, Y)
    infinite = {"reg_marginal_source": np.inf, "reg_marginal_target": np.inf}
    for kind in (None, "kl", "chi2"):
        transport = tiny(cls, unbalanced=kind, **infinite, **params).fit(X, Y)
        assert np.array_equal(transport.transform(X), balanced.transform(X))
        assert transport.transport_cost_ == balanced.transport_cost_
        assert transport.history_[-1]["gap"] == balanced.history_[-1]["gap"]
        assert (transport.source_mass(X) == 1).all()
        assert (transport.target_mass(Y) == 1).all()
        assert transport.reg_marginal_source_ == transport.reg_marginal_target_ == np.inf


@each_game
def test_masses_of_two_clusters_are_those_of_pot(cls):
    (X, is_left), (Y, left_of_target) = two_clusters(1 / 2, 2 / 3)
    transport = cls(unbalanced="kl", reg_marginal_source=2, reg_marginal_target=2, max_iter=400, random_state=0)
    with warnings.catch_warnings(action="ignore"):  # the fit is short
        transport.fit(X, Y)
    few = slice(None, None, 4)
    a = np.full(250, 1 / 250)
    plan = ot.unbalanced.mm_unbalanced(a, a, ot.dist(X[few], Y[few]), 2, div="kl", numItermax=1000)
    for mass, exact, left in (
        (transport.source_mass(X), 250 * plan.sum(axis=1), is_left),
        (transport.target_mass(Y), 250 * plan.sum(axis=0), left_of_target),
    ):
        for side in (left, ~left):
            assert mass[side].mean() == pytest.approx(exact[side[few]].mean(), rel=0.05)
    # no row changes sides, which a balanced plan must do for a sixth of the mass
    assert ((transport.transform(X)[:, 0] < 0) == is_left).all()
    assert transport.status_ in (Status.MAX_ITER, Status.SHORT)
    assert "affine" not in transport.history_[-1]
    # without masses it would be about -64 / 6, because a sixth of the images is on the other side
    assert transport.score(X, Y) > -2


def test_two_to_one_is_found_with_a_fixed_target():
    (X, is_left), (Y, _) = two_clusters(1 / 2, 2 / 3)
    params = {"unbalanced": "chi2", "reg_marginal_source": 5, "reg_marginal_target": np.inf}
    transport = SNOTTransport(max_iter=400, random_state=0, **params).fit(X, Y)
    mass = transport.source_mass(X)
    # mass of the left over that of the right, as in the target
    assert mass[is_left].sum() / mass[~is_left].sum() == pytest.approx(2, rel=0.05)
    assert (transport.target_mass(Y) == 1).all()


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("params", [{}, {"map_form": "network"}], ids=["gradient", "network"])
@each_game
def test_gaussians_have_the_exact_masses_and_cost(cls, params, seed):
    pair = make_unbalanced_gaussians(reg=2.0)
    X, Y = pair.sample(4096, random_state=seed)
    regs = {"reg_marginal_source": pair.reg, "reg_marginal_target": pair.reg}
    transport = cls(unbalanced="kl", random_state=seed, **regs, **params).fit(X, Y)
    X, Y = pair.sample(10_000, random_state=seed + 10)
    for mass, exact in (
        (transport.source_mass(X), pair.source_mass(X)),
        (transport.target_mass(Y), pair.target_mass(Y)),
    ):
        assert np.abs(mass - exact).mean() < 0.05 * exact.mean()
    assert transport.transport_cost_ == pytest.approx(pair.cost, rel=0.05)
    weights = pair.source_mass(X)
    errors = ((transport.transform(X) - pair.exact_map(X)) ** 2).sum(axis=1)
    assert np.average(errors, weights=weights) < 0.01 * np.trace(pair.covariances[1])


@each_game
def test_masses_scale_with_the_units(cls):
    X, Y = gaussians()
    for params, scaled in (({}, {}), ({"reg_marginal_source": 0.5}, {"reg_marginal_source": 8.0})):
        one = tiny(cls, unbalanced="kl", **params).fit(X, Y)
        four = tiny(cls, unbalanced="kl", **scaled).fit(4 * X, 4 * Y)
        np.testing.assert_allclose(four.source_mass(4 * X), one.source_mass(X), rtol=1e-5)
        assert four.reg_marginal_target_ == pytest.approx(16 * one.reg_marginal_target_)
        assert four.transport_cost_ == pytest.approx(16 * one.transport_cost_)


def test_automatic_penalty_is_the_total_variance():
    X, Y = gaussians()
    transport = tiny(SNOTTransport, unbalanced="kl").fit(X, Y)
    centre = (X.mean(axis=0) + Y.mean(axis=0)) / 2
    variance = np.mean([((rows - centre) ** 2).sum(axis=1).mean() for rows in (X, Y)])
    assert transport.reg_marginal_source_ == pytest.approx(variance, rel=1e-3)
    doses = np.arange(len(X)) % 3
    conditional = tiny(SNOTTransport, unbalanced="kl", condition=2).fit(np.c_[X, doses], np.c_[Y, doses])
    assert conditional.reg_marginal_source_ == pytest.approx(variance, rel=1e-3)
    custom = tiny(SNOTTransport, unbalanced="kl", cost=lambda x, y: ((x - y) ** 2).sum(-1)).fit(X, Y)
    assert custom.reg_marginal_source_ == pytest.approx(((X[:, None] - Y) ** 2).sum(-1).mean(), rel=0.1)


@each_game
@pytest.mark.parametrize("params", [{}, {"map_form": "network"}, {"cost": Lp(1.5)}], ids=["gradient", "network", "lp"])
def test_masses_survive_files(cls, params, tmp_path):
    X, Y = gaussians()
    transport = tiny(cls, unbalanced="chi2", reg_marginal_target=np.inf, **params).fit(X, Y)
    transport.save(tmp_path / "transport.safetensors")
    loaded = load(tmp_path / "transport.safetensors")
    assert np.array_equal(loaded.source_mass(X), transport.source_mass(X))
    assert not (transport.source_mass(X) == 1).all()
    assert loaded.reg_marginal_source_ == transport.reg_marginal_source_
    assert loaded.get_params()["reg_marginal_target"] == np.inf


@each_game
def test_weights_are_those_of_repeated_rows(cls):
    X, Y = gaussians()
    counts = np.arange(len(X)) % 3
    weighted = tiny(cls, unbalanced="kl").fit(X, Y, sample_weight=counts)
    repeated = tiny(cls, unbalanced="kl").fit(X.repeat(counts, axis=0), Y)
    np.testing.assert_allclose(weighted.source_mass(X), repeated.source_mass(X), rtol=1e-6)


def test_cost_of_the_plan_counts_masses():
    X, Y = gaussians()
    transport = tiny(SNOTTransport, unbalanced="kl", reg_marginal_source=0.5, max_iter=60).fit(X, Y)
    costs = ((X - transport.transform(X)) ** 2).sum(axis=1)
    assert transport.transport_cost_ == pytest.approx((costs * transport.source_mass(X)).mean(), rel=1e-5)
    assert transport.transport_cost_ < 0.9 * costs.mean()


def test_noise_input_has_masses():
    X, Y = gaussians()
    transport = tiny(SNOTTransport, unbalanced="kl", noise_dim=2).fit(X, Y)
    assert transport.source_mass(X).shape == (len(X),)
    assert np.isfinite(transport.source_mass(X)).all()
    assert transport.source_mass(X[:3]) == pytest.approx(transport.source_mass(X)[:3], rel=1e-5)


@each_game
def test_streams_and_early_stopping_have_masses(cls):
    X, Y = gaussians()
    transport = tiny(cls, unbalanced="kl").partial_fit(X, Y).partial_fit(X, Y)
    assert not (transport.source_mass(X) == 1).all()
    stopped = tiny(cls, unbalanced="kl", early_stopping=True).fit(X, Y)
    assert np.isfinite(stopped.history_[-1]["validation"])
    assert "gap" not in stopped.history_[-1]


def test_penalties_without_divergence_are_rejected():
    X, Y = gaussians()
    for name in ("reg_marginal_source", "reg_marginal_target"):
        with pytest.raises(ValueError, match=f"{name} must be 'auto' or inf with unbalanced=None, got 3; pass"):
            tiny(SNOTTransport, **{name: 3}).fit(X, Y)


def test_warm_start_does_not_change_between_balanced_and_unbalanced():
    X, Y = gaussians()
    transport = tiny(SNOTTransport, warm_start=True).fit(X, Y)
    with pytest.raises(ValueError, match="unbalanced must not change"):
        transport.set_params(unbalanced="kl").fit(X, Y)
    transport.set_params(warm_start=False).fit(X, Y)
    mass = transport.source_mass(X)
    assert not np.array_equal(
        transport.set_params(warm_start=True, reg_marginal_source=0.1).fit(X, Y).source_mass(X), mass
    )


@each_game
def test_outlier_loses_its_mass(cls):
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(2, 500, 2))
    X[0] = 9999
    with pytest.warns(OutlierWarning, match="outliers"):
        transport = cls(unbalanced="kl", max_iter=200, random_state=0).fit(X, Y)
    mass = transport.source_mass(X)
    assert mass[0] < 0.05
    assert mass[1:].mean() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize(("penalty", "agree"), [(1e-6, False), (30.0, True)])
def test_report_compares_the_masses_of_both_marginals(penalty, agree):
    X, Y = gaussian(400, 2), gaussian(400, 2, 1) + 1
    options = {"reg_marginal_source": penalty, "reg_marginal_target": penalty}
    with warnings.catch_warnings(action="ignore"):
        transport = SNOTTransport(unbalanced="kl", max_iter=150, random_state=0, **options).fit(X, Y)
    totals = transport.source_mass(X).mean(), transport.target_mass(Y).mean()
    found = [each for each in transport.report(X, Y).findings if each.startswith("The plan takes a mass")]
    assert (np.abs(np.log(totals[0] / totals[1])) < 0.3) == agree == (not found)
    assert agree or f"{totals[0]:.2g} from the source but brings {totals[1]:.2g} to the target" in found[0]


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_report_of_an_unbalanced_plan_is_between_its_marginals(seed):
    samples = [rows for rows, _ in two_clusters(1 / 2, 0.9, seed)]
    held_out = [rows for rows, _ in two_clusters(1 / 2, 0.9, seed + 10)]
    transport = SNOTTransport(unbalanced="kl", max_iter=600, random_state=seed).fit(*samples)
    assert transport.report(*held_out).verdict is not Verdict.SPURIOUS
    # the same map between the whole laws misses the target
    as_a_map, as_a_plan = (diagnose(each, *held_out).marginal.excess for each in (transport.transform, transport))
    assert as_a_map.value > 0.1 > as_a_plan.value


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_other_frequencies_of_classes_do_not_move_rows_to_other_classes(seed):
    rng = np.random.default_rng(seed)
    root = np.linalg.cholesky([[1, 0.95], [0.95, 1]])

    def draw(share, shift):
        y = (rng.random(600) > share).astype(int)
        return rng.normal(size=(600, 2)) @ root.T + np.outer(y, [5, 0]) + [0, shift], y

    (X, y), (Y, _), (X_new, y_new) = draw(0.5, 0), draw(0.9, -3), draw(0.9, -3)
    params = {"max_iter": 600, "random_state": seed}
    balanced = DomainAdapter(SNOTTransport(**params), SVC()).fit(X, y, X_target=Y)
    adapter = DomainAdapter(SNOTTransport(unbalanced="kl", **params), SVC()).fit(X, y, X_target=Y)
    assert adapter.score(X_new, y_new) > 0.95 > balanced.score(X_new, y_new) + 0.1


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_type_that_dies_out_loses_its_mass(seed):
    rng = np.random.default_rng(seed)
    centres, drift = 4 * np.eye(5)[:3], np.array([0, 0, 0, 1, 1])
    types, after = rng.choice(3, 1000, p=[0.4, 0.4, 0.2]), rng.choice(2, 1000)
    X, Y = (centres[of] + 0.5 * rng.normal(size=(1000, 5)) for of in (types, after))

    def share_of_own_type(transport):
        distances = np.linalg.norm((centres + drift)[:, None] - transport.transform(X), axis=2)
        return np.average(distances.argmin(axis=0) == types, weights=transport.source_mass(X))

    params = {"max_iter": 400, "random_state": seed}
    balanced = SNOTTransport(**params).fit(X, Y + drift)
    transport = SNOTTransport(unbalanced="kl", **params).fit(X, Y + drift)
    assert share_of_own_type(transport) > 0.93 > 0.85 > share_of_own_type(balanced)
    dying = np.average(types == 2, weights=transport.source_mass(X))
    assert dying < 0.3 * np.mean(types == 2)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("unbalanced", [None, "kl"])
def test_one_outlier_hardly_moves_the_other_images(unbalanced, seed):
    rng = np.random.default_rng(seed)
    X, Y = rng.normal(size=(1000, 2)), rng.normal(size=(1000, 2)) + 0.5
    X[0] = 9999
    options = {"reg_marginal_source": 20.0, "reg_marginal_target": 20.0} if unbalanced else {}
    with pytest.warns(OutlierWarning):
        transport = SNOTTransport(unbalanced=unbalanced, max_iter=400, random_state=seed, **options).fit(X, Y)
    moved = (transport.transform(X) - (X + 0.5))[1:]
    assert np.sqrt((moved**2).mean()) < 0.2


@each_game
def test_adapter_weights_rows_with_their_masses(cls):
    X, Y = gaussians()

    class Recorder(SVC):
        def fit(self, X, y, sample_weight=None):
            self.weights_ = sample_weight
            return super().fit(X, y, sample_weight)

    y = (X[:, 0] > 0).astype(int)
    for direction, mass in (("source_to_target", "source_mass"), ("target_to_source", "target_mass")):
        adapter = DomainAdapter(tiny(cls, unbalanced="kl"), Recorder(), direction=direction).fit(X, y, X_target=Y)
        assert np.array_equal(adapter.estimator_.weights_, getattr(adapter.transport_, mass)(X))
        balanced = DomainAdapter(tiny(cls), Recorder(), direction=direction).fit(X, y, X_target=Y)
        assert balanced.estimator_.weights_ is None


@each_game
def test_masses_of_equal_conditions_are_one(cls):
    X, Y = (np.c_[rows, np.repeat([0.0, 1.0], 100)] for rows in (gaussians()[0], gaussians(seed=1)[0]))
    transport = tiny(cls, unbalanced="kl", condition=2, max_iter=100).fit(X, Y)
    masses = transport.source_mass(X)
    assert masses.mean() == pytest.approx(1, abs=0.05)
    assert masses.std() < 0.1
