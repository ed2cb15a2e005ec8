"""Methods compared with their forms: SNOT uses plain rows, OTP smoothed rows."""

import doctest
import math

import numpy as np
import pytest
import scipy.linalg
import torch
from conftest import ROOT, map_forms, perturbed, rotation, seeded, single_rows

from neuralot.costs import Lp
from neuralot.forms import make_form
from neuralot.forms.losses import CriticLoss
from neuralot.methods import OTP, SNOT
from neuralot.methods.smoothing import NOISE_SHAPES, SCHEDULES, Smoothing
from neuralot.networks import Potential
from neuralot.sampling import as_sampler
from neuralot.solve import solve
from neuralot.solve.problem import Batch


def trained_form(map_form="network", **options):
    """Return a small form whose weights differ from their initial values."""
    return perturbed(make_form(2, map_form=map_form, hidden_layer_sizes=(6, 6), **options))


def documented_method(name):
    """Return a class that is defined in docs/extending.rst."""
    text = (ROOT / "docs" / "extending.rst").read_text()
    names = {}
    for example in doctest.DocTestParser().get_examples(text):
        if example.source.startswith(("import ", "from ", f"class {name}(")):
            exec(example.source, names)
    return names[name]


def batch(progress=0.3):
    return Batch(single_rows(12), single_rows(12, seed=1), progress, seeded())


@map_forms
def test_snot_has_losses_and_map_of_its_form(map_form):
    form = trained_form(map_form)
    method = SNOT(2, form)
    x, y = single_rows(12), single_rows(12, seed=1)
    for player in method.players:
        assert torch.equal(method.loss(player, batch()), form.losses([player], x, y, seeded())[player])
    assert torch.equal(method.map(x), form.map(x))
    assert torch.equal(method.draw(x, seeded()), form.map(x))


@map_forms
def test_documented_method_equals_otp_at_one_level(map_form):
    published = type("Published", (documented_method("Blurred"),), {"eps": 0.25})
    fits = [
        solve(problem, single_rows(500), single_rows(500, seed=1) + 3, max_iter=20, generator=seeded())
        for problem in (
            published(2, make_form(2, map_form=map_form)),
            OTP(2, make_form(2, map_form=map_form), smoothing=Smoothing(0.25, 0.25)),
        )
    ]
    weights, expected = (solution.problem.form.state_dict() for solution in fits)
    assert all(torch.equal(weights[name], expected[name]) for name in expected)
    assert fits[0].history[-1]["discrepancy"] == fits[1].history[-1]["discrepancy"]


@map_forms
def test_documented_term_is_added_to_map_loss_only(map_form):
    form = trained_form(map_form)
    plain, method = SNOT(2, form), documented_method("Quartic")(2, form)
    expected = 0.1 * (form.map(batch().x) - batch().x).norm(dim=1).pow(4).mean()
    added = [method.loss(player, batch()) - plain.loss(player, batch()) for player in method.players]
    torch.testing.assert_close(torch.stack(added), torch.stack([expected, torch.zeros(())]), rtol=1e-4, atol=1e-5)


@map_forms
def test_documented_term_contributes_to_gradient(map_form):
    form = trained_form(map_form)
    first = next(iter(form.players))
    term = 0.1 * (form.map(batch().x) - batch().x).norm(dim=1).pow(4).mean()
    weights = list(form.networks[first].parameters())
    expected = torch.autograd.grad(term, weights, allow_unused=True, materialize_grads=True)
    with_term, without = (
        method.gradients([first], lambda times: batch())[1][first]
        for method in (documented_method("Quartic")(2, form), SNOT(2, form))
    )
    for after, before, added in zip(with_term, without, expected, strict=True):
        before = torch.zeros_like(added) if before is None else before
        after = torch.zeros_like(added) if after is None else after
        torch.testing.assert_close(after - before, added, rtol=1e-3, atol=1e-4)


@map_forms
def test_maps_are_differentiable_with_respect_to_first_player(map_form):
    form = trained_form(map_form)
    first = list(form.networks[next(iter(form.players))].parameters())
    gradients = torch.autograd.grad(form.map(single_rows(12)).square().sum(), first, allow_unused=True)
    assert any(each is not None and each.abs().sum() > 0 for each in gradients)
    with torch.no_grad():
        assert not form.map(single_rows(12)).requires_grad


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_otp_has_losses_of_paper_on_smoothed_rows(schedule):
    # Choi et al. 2025: T minimises E[c(x~, T(x~)) - V(T(x~))] for the smoothed source
    form = trained_form(critic_loss=CriticLoss(expectile_weight=0))
    smoothing = Smoothing(0.5, 0.1, schedule, 1.0)
    method = OTP(2, form, smoothing=smoothing)
    T, V = form.networks["map"], form.networks["potential"]
    x, y = single_rows(12), single_rows(12, seed=1)
    z = single_rows(12)
    eps = 0.5 * 0.2**0.3 if schedule == "geometric" else 0.5 + 0.3 * (0.1 - 0.5)
    smoothed = (math.sqrt(1 - eps) if schedule == "vp" else 1) * x + math.sqrt(eps) * z
    image = T(smoothed)
    map_loss = ((smoothed - image).square().sum(1) - V(image)).mean()
    torch.testing.assert_close(method.loss("map", batch()), map_loss)
    torch.testing.assert_close(method.loss("potential", batch()), V(image).mean() - V(y).mean())


def test_otp_draws_with_noise_level_of_progress():
    form = trained_form()
    method = OTP(2, form, smoothing=Smoothing(0.5, 0.1, "linear", 0.5))
    x, z = single_rows(12), single_rows(12)
    for progress, eps in ((0.0, 0.5), (0.25, 0.3), (1.0, 0.1)):
        torch.testing.assert_close(method.draw(x, seeded(), progress), form.map(x + math.sqrt(eps) * z))
        assert method.follow(progress) == {"eps": pytest.approx(eps)}
    torch.testing.assert_close(method.draw(x, seeded()), method.draw(x, seeded(), 1.0))


def test_otp_map_is_mean_of_draws():
    method = OTP(2, trained_form(), smoothing=Smoothing(0.5, 0.1), n_transform_draws=2000)
    x = single_rows(4)
    draws = torch.stack([method.draw(x, generator) for generator in [seeded()] for _ in range(4000)])
    error = draws.std(0) / math.sqrt(4000)
    assert ((draws.mean(0) - method.map(x)).abs() < 6 * error).all()


def test_otp_without_noise_equals_snot():
    form = trained_form("gradient")
    smooth, plain = OTP(2, form, smoothing=Smoothing(1e-12, 1e-12)), SNOT(2, form)
    x = single_rows(12)
    torch.testing.assert_close(smooth.map(x), plain.map(x), atol=1e-4, rtol=0)
    for player in plain.players:
        torch.testing.assert_close(smooth.loss(player, batch()), plain.loss(player, batch()), atol=1e-4, rtol=1e-4)


@map_forms
@pytest.mark.parametrize("method", [OTP, SNOT])
def test_methods_have_default_form(method, map_form):
    assert method(3).map(single_rows(5, 3)).shape == (5, 3)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("noise_shape", NOISE_SHAPES)
def test_noise_has_covariance_of_noise_shape(noise_shape, schedule):
    eps, root = 0.25, torch.diag(torch.tensor([1.5, 0.4, 0.0])) @ torch.from_numpy(rotation(3)).float()
    x, y = single_rows(20_000, 3) @ root, single_rows(20_000, 3, seed=1)
    method = OTP(3, smoothing=Smoothing(0.5, eps, schedule), noise_shape=noise_shape)  # its initial map is the identity
    method.prepare(as_sampler(x), as_sampler(y), seeded())
    noise = method.draw(torch.zeros(100_000, 3), seeded())
    source, mean = torch.cov(x.T), (torch.cov(x.T) + torch.cov(y.T)) / 2
    shares, vectors = scipy.linalg.eigh(source.numpy(), mean.numpy())
    axes = torch.from_numpy(np.linalg.inv(vectors).T)
    missing = (axes * (eps - torch.from_numpy(shares)).clamp(min=0)) @ axes.T
    expected = {"isotropic": eps * torch.eye(3), "covariance": eps * mean, "thin": missing}[noise_shape]
    torch.testing.assert_close(torch.cov(noise.T), expected, atol=0.01, rtol=0)
    assert torch.equal(method.map(torch.ones(2, 3))[0], method.map(torch.ones(1, 3))[0])


@map_forms
@pytest.mark.parametrize("noise_shape", NOISE_SHAPES)
def test_affine_base_is_gaussian_map_of_smoothed_source(map_form, noise_shape):
    source_scale, target_scale = torch.tensor([1.0, 0.3]), torch.tensor([0.5, 2.0])
    mean = (source_scale**2 + target_scale**2) / 2
    source = as_sampler(single_rows(20_000) * source_scale)
    target = as_sampler(single_rows(20_000, seed=1) * target_scale + 1)
    form = make_form(2, map_form=map_form, affine_base=True)
    method = OTP(2, form, smoothing=Smoothing(1.0, 0.25, "linear", 0.5), noise_shape=noise_shape).train()
    method.prepare(source, target, seeded())
    x = single_rows(12)
    for progress, eps in ((0.0, 1.0), (0.25, 0.625), (0.9, 0.25)):
        method.follow(progress)
        # both directions have over a hundredth of the mean variance, and no noise at the last level, 0.25
        missing = (eps - (source_scale**2 / mean).clamp(min=0.25)).clamp(min=0) * mean
        added = {"isotropic": eps, "covariance": eps * mean, "thin": missing}
        expected = x * target_scale / (source_scale**2 + added[noise_shape]).sqrt() + 1
        torch.testing.assert_close(form.map(x).detach(), expected, atol=0.1, rtol=0)
        if form.invertible:
            torch.testing.assert_close(form.inverse(form.map(x)).detach(), x, atol=1e-4, rtol=0)


@pytest.mark.parametrize("angle", [0.0, 0.6])
def test_preconditioners_enlarge_thin_direction(angle):
    R = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    source = as_sampler(single_rows(20_000) * torch.tensor([1.0, 1e-3]) @ R)
    target = as_sampler(single_rows(20_000, seed=1) @ R)
    form = make_form(2, affine_base=True)
    method = OTP(2, form, smoothing=Smoothing(0.25, 0.25), noise_shape="thin")
    method.prepare(source, target, seeded())
    f, g = form.networks.values()
    x = method.perturb(source(20_000, seeded()), seeded(1), 1.0)
    # the noise raises the variance of the thin direction to a quarter of 1 / 2, and the preconditioners give both laws
    # the variances 1 and (1 / 8) ** 0.5; then the thin direction is enlarged by a factor of 4
    for network, rows_seen in ((f, x), (g, target(20_000, seeded()))):
        variances = torch.linalg.eigvalsh(torch.cov(network.seen(rows_seen).T))
        assert float(variances[1] / variances[0]) == pytest.approx(16 / 8**0.5, rel=0.1)


def test_isotropic_noise_enlarges_no_direction():
    source = as_sampler(single_rows(2000) * torch.tensor([1.0, 0.0]))
    form = make_form(2, affine_base=True)
    OTP(2, form, smoothing=Smoothing(0.25, 0.01)).prepare(source, source, seeded())
    f, _ = form.networks.values()
    assert f.preconditioner[1, 1] < 0.25 * f.preconditioner[0, 0]  # the target does not vary in this direction


def test_base_is_updated_for_new_laws():
    method = OTP(2, make_form(2, affine_base=True), smoothing=Smoothing(0.25, 0.25), noise_shape="thin")
    source, x = as_sampler(single_rows(2000)), single_rows(12)
    for shift in (0.0, 5.0):
        method.prepare(source, as_sampler(single_rows(2000) + shift), seeded())
        torch.testing.assert_close(method.form.map(x).mean(0), x.mean(0) + shift, atol=0.1, rtol=0)


def test_base_requires_built_in_networks_and_squared_cost():
    assert make_form(2, affine_base=True).affine_base
    for options in ({}, {"noise_dim": 1}, {"cost": Lp(3)}, {"potential_network": Potential}):
        assert not make_form(2, **{"affine_base": bool(options), **options}).affine_base
