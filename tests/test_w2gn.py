"""W2GN: its loss and gradients in closed form, its convex potentials, and fits with known maps."""

import inspect
import pickle

import numpy as np
import pytest
import torch
from conftest import TINY, gaussian, perturbed, seeded, single_rows
from sklearn.linear_model import LogisticRegression
from torch import nn

from neuralot import DomainAdapter, W2GNTransport, load
from neuralot.affine import Moments
from neuralot.datasets import make_convex_potential, make_gaussians
from neuralot.forms.losses import gradient
from neuralot.methods import W2GN
from neuralot.methods.w2gn import QuadraticConvexPotential, default_cycle_weight
from neuralot.metrics import l2_uvp
from neuralot.networks import ConvexPotential
from neuralot.sampling import as_sampler
from neuralot.solve import Status, solve
from neuralot.solve.problem import Batch

SHIFT = np.array([3.0, -20.0])


class Scaling(nn.Module):
    """Potential of the map x -> a x."""

    def __init__(self, a):
        super().__init__()
        self.a = nn.Parameter(torch.tensor(a, dtype=torch.double))

    def forward(self, x):
        return (1 - self.a) * x.square().sum(-1)


def gradients_of_scalings(a, b, x, y, cycle_weight):
    method = W2GN(2, (Scaling(a), Scaling(b)), cycle_weight=cycle_weight).double()
    losses, gradients = method.gradients(list(method.players), lambda times: Batch(x, y, 0.5, seeded()))
    assert losses["source_potential"] == losses["target_potential"]
    return [float(losses["source_potential"]), *(float(each) for (each,) in gradients.values())]


@pytest.mark.parametrize("cycle_weight", [0.5, 2.0])
@pytest.mark.parametrize(("a", "b"), [(1.0, 1.0), (2.0, 0.7), (0.3, 4.0)])
def test_loss_and_gradients_equal_closed_form(a, b, cycle_weight):
    # psi = a |x|^2 / 2 and its counterpart b |y|^2 / 2; in the dual terms, S(y) = b y is constant
    x, y = single_rows(20).double(), 2 * single_rows(30, seed=1).double()[:20]
    p, q = float(x.square().sum(1).mean()), float(y.square().sum(1).mean())
    cycle = a * b - 1
    expected = [
        a * p / 2 + b * q - a * b**2 * q / 2 + cycle_weight / 2 * cycle**2 * (p + q),
        p / 2 - b**2 * q / 2 + cycle_weight * cycle * b * (p + q),
        cycle_weight * cycle * a * (p + q),
    ]
    assert gradients_of_scalings(a, b, x, y, cycle_weight) == pytest.approx(expected)


def test_optimal_potentials_are_stationary_and_attain_the_dual():
    # the target is the source times 3: the value of the dual is E<x, T(x)> = 3 E|x|^2
    x = single_rows(20).double()
    loss, *slopes = gradients_of_scalings(3.0, 1 / 3, x, 3 * x, 2.0)
    assert loss == pytest.approx(3 * float(x.square().sum(1).mean()))
    assert slopes == pytest.approx([0, 0], abs=1e-12)


def test_default_cycle_weight_is_two_up_to_fifty_features():
    # twice min(d, 50) / d, as the authors weight the mean square per coordinate by min(d, 50)
    assert [default_cycle_weight(d) for d in (1, 50, 100)] == [2.0, 2.0, 1.0]


@pytest.mark.parametrize("activation", ["celu", "softplus"])
@pytest.mark.parametrize("seed", range(3))
def test_map_is_monotone_and_potential_convex_for_any_weights(activation, seed):
    torch.manual_seed(seed)
    potential = perturbed(QuadraticConvexPotential(3, (6, 6, 6), activation)).double()
    x, y = (3 * single_rows(200, 3, each).double() for each in (seed, seed + 100))
    u = [(each.square().sum(1) - potential(each)) / 2 for each in (x, y, (x + y) / 2)]
    assert (u[0] + u[1] - 2 * u[2]).min() > 0
    images = [each - gradient(potential, each) / 2 for each in (x, y)]
    assert ((images[0] - images[1]) * (x - y)).sum(1).min() > 0


@pytest.mark.parametrize("d", [1, 8, 64])
def test_initial_map_is_close_to_identity(d):
    potential, x = QuadraticConvexPotential(d, (64, 64, 64)), single_rows(100, d)
    assert gradient(potential, torch.zeros(1, d)).abs().max() < 1e-6
    assert gradient(potential, x).norm(dim=1).mean() / 2 < 0.25 * x.norm(dim=1).mean()


@pytest.mark.parametrize("d", [2, 8])
def test_affine_state_is_exact_map_between_gaussians(d):
    pair = make_gaussians(d)
    samples = [torch.from_numpy(rows) for rows in pair.sample(100_000, random_state=0)]
    method = W2GN(d)
    method.load_state_dict(method.affine_state(*(Moments.of(as_sampler(rows), seeded()) for rows in samples)))
    X = samples[0][:1000].float()
    image, inverse = method.map(X).detach(), method.inverse(method.map(X)).detach()
    assert l2_uvp(image, pair.exact_map(X.double().numpy()), pair.target_variance) < 0.1
    torch.testing.assert_close(inverse, X, atol=1e-3, rtol=0)


def test_affine_state_needs_potentials_that_represent_it():
    x = as_sampler(single_rows(100))
    method = W2GN(2, (ConvexPotential(2), ConvexPotential(2)))
    assert method.affine(x, x, seeded()) is None


def test_method_is_trained_by_the_loop():
    x = single_rows(200)
    solution = solve(W2GN(2), x, x + 1, max_iter=300, learning_rate=0.01, averaging=0.9, generator=seeded())
    assert solution.status in (Status.MAX_ITER, Status.SHORT)
    assert ((solution.problem.map(x) - x).mean(0) - 1).abs().max() < 0.1


@pytest.fixture(scope="module")
def of_gaussians():
    pair = make_gaussians(2)
    return pair, W2GNTransport(max_iter=300, random_state=0).fit(*pair.sample(2000, random_state=0))


def test_gaussian_map_and_inverse_are_learned(of_gaussians):
    pair, transport = of_gaussians
    X, Y = pair.sample(2000, random_state=1)
    images = transport.transform(X)
    assert "affine" not in transport.history_[-1]
    # an affine map of estimated moments has an error of about d (d + 3) / (2 n), 0.3 %
    assert l2_uvp(images, pair.exact_map(X), pair.target_variance) < 1.0
    assert l2_uvp(transport.inverse_transform(images), X) < 1.0
    assert l2_uvp(transport.transform(transport.inverse_transform(Y)), Y) < 1.0
    # the sampling error of the difference of the means is 4 %
    assert transport.transport_cost_ == pytest.approx(pair.cost, rel=0.15)


def test_fitted_map_is_monotone(of_gaussians):
    pair, transport = of_gaussians
    for images_of, sample in ((transport.transform, 0), (transport.inverse_transform, 1)):
        x, y = (5 * pair.sample(1000, random_state=seed)[sample] for seed in (1, 2))
        assert ((images_of(x) - images_of(y)) * (x - y)).sum(1).min() > 0


@pytest.mark.slow
def test_map_that_is_not_affine_is_learned():
    pair = make_convex_potential(2)
    transport = W2GNTransport(max_iter=400, random_state=0).fit(*pair.sample(2000, random_state=0))
    X = pair.sample(2000, random_state=1)[0]
    # the affine map has an error of 17 %, the identity one of 140 %
    assert l2_uvp(transport.transform(X), pair.exact_map(X), pair.target_variance) < 8


@pytest.mark.slow
def test_translation_is_exact():
    X = gaussian(400, 2)
    transport = W2GNTransport(max_iter=200, random_state=0).fit(X, X + SHIFT)
    assert np.abs(transport.transform(X) - X - SHIFT).mean() < 0.05
    other = W2GNTransport(max_iter=200, random_state=0).fit(X, X)
    np.testing.assert_allclose(transport.transform(X), other.transform(X) + SHIFT, atol=0.01)  # rounding of the centres


def test_all_parameters_have_an_effect(samples):
    expected = W2GNTransport(**TINY).fit(*samples).transform(samples[0])
    for options in (
        {"cycle_weight": 9.0},
        {"activation": "celu"},
        {"potential_network": ConvexPotential},
        {"learning_rate_init": 0.02},
    ):
        assert not np.array_equal(W2GNTransport(**TINY, **options).fit(*samples).transform(samples[0]), expected)


def test_parameters_of_games_are_missing():
    assert not {"cost", "map_form", "critic_loss", "optimizer"} & set(inspect.signature(W2GNTransport).parameters)
    with pytest.raises(TypeError, match="cost"):
        W2GNTransport(cost="sqeuclidean")


@pytest.mark.parametrize("activation", ["silu", "tanh", "gelu", "relu"])
def test_activations_that_are_not_convex_and_smooth_are_rejected(samples, activation):
    with pytest.raises(ValueError, match="activation must be one of 'auto', 'celu', 'softplus'"):
        W2GNTransport(activation=activation).fit(*samples)


def test_custom_potentials_are_fitted_and_restored(samples, tmp_path):
    transport = W2GNTransport(**TINY, potential_network=ConvexPotential).fit(*samples)
    assert all(type(network) is ConvexPotential for network in transport.problem_.networks.values())
    transport.save(tmp_path / "transport.safetensors")
    for copied in (
        load(tmp_path / "transport.safetensors", potential_network=ConvexPotential),
        pickle.loads(pickle.dumps(transport)),
    ):
        assert np.array_equal(copied.inverse_transform(samples[1]), transport.inverse_transform(samples[1]))


def test_warm_start_continues_from_last_weights(samples):
    X, Y = samples
    options = {**TINY, "potential_network": ConvexPotential}  # without a fallback to the affine map
    transport = W2GNTransport(**{**options, "max_iter": 100}, warm_start=True).fit(X, Y)
    before = transport.transform(X)
    transport.set_params(max_iter=1, learning_rate_init=1e-7).fit(X, Y)
    np.testing.assert_allclose(transport.transform(X), before, atol=1e-4)
    cold = W2GNTransport(**{**options, "max_iter": 1}, learning_rate_init=1e-7).fit(X, Y)
    assert np.abs(cold.transform(X) - before).max() > 1e-2


def test_time_limit_is_kept(samples):
    transport = W2GNTransport(max_time=1.0, random_state=0).fit(*samples)
    assert transport.status_ in (Status.MAX_TIME, Status.SHORT)
    assert transport.history_[-1]["seconds"] < 2


@pytest.mark.parametrize("direction", ["source_to_target", "target_to_source"])
def test_domain_adapter_predicts_labels_in_both_directions(direction):
    X = gaussian(200, 2) + np.repeat([[-3, 0], [3, 0]], 100, axis=0)
    labels = np.repeat([0, 1], 100)
    adapter = DomainAdapter(
        W2GNTransport(max_iter=100, batch_size=64, random_state=0), LogisticRegression(), direction=direction
    )
    assert adapter.fit(X, labels, X_target=X + 7).score(X + 7, labels) > 0.95
