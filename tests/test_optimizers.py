"""Optimisers: assignment of the weights, and updates compared with torch."""

import pytest
import torch
from conftest import seeded
from torch import nn

from neuralot.methods import OTNet
from neuralot.networks import ConvexPotential, Heights, MLPMap, NoiseMap, Potential
from neuralot.sampling import as_sampler
from neuralot.solve import optimizers
from neuralot.solve.optimizers import (
    DEFAULT_RATE,
    MUON_FACTOR,
    OPTIMIZERS,
    Adam,
    Descent,
    Muon,
    hidden_matrices,
    make_optimizers,
    orthogonal,
)

NETWORKS = {
    "map": lambda: MLPMap(3, (8, 9, 10)),
    "noise map": lambda: NoiseMap(3, 2, (8, 9, 10)),
    "potential": lambda: Potential(3, (8, 9, 10)),
    "convex": lambda: ConvexPotential(3, (8, 9, 10)),
    "one layer": lambda: MLPMap(3, (8,)),
    "linear": lambda: nn.Linear(3, 3),
    "heights": lambda: Heights(Potential(3, (8, 9, 10)), 5),
    "user": lambda: nn.Sequential(nn.Linear(3, 8), nn.LayerNorm(8), nn.Linear(8, 8, bias=False), nn.Linear(8, 3)),
}
each_network = pytest.mark.parametrize("name", NETWORKS)


def weights_updated_by(created, kind=optimizers.UpdateRule):
    return [weight for each in created if isinstance(each, kind) for weight in each.weights]


@each_network
@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_each_weight_has_exactly_one_optimizer(kind, name):
    network = NETWORKS[name]()
    updated = [id(w) for w in weights_updated_by(make_optimizers(network, kind))]
    assert sorted(updated) == sorted(map(id, network.parameters()))


@pytest.mark.parametrize("kind", ["auto", "muon"])
@pytest.mark.parametrize(
    ("network", "first"),
    [
        (MLPMap(3, (8, 9, 10)), 1),
        (Potential(7, (8, 9, 10)), 1),
        (NoiseMap(3, 2, (8, 9, 10)), 1),
        (MLPMap(8, (8, 9, 10)), 0),
    ],
    ids=["map", "potential", "noise map", "map of eight features"],
)
def test_muon_updates_hidden_matrices_with_at_least_eight_inputs(network, first, kind):
    created = make_optimizers(network, kind)
    linear = [layer for layer in network.residual if isinstance(layer, nn.Linear)]
    by_muon = [id(layer.weight) for layer in linear[first:-1]]
    assert [id(w) for w in weights_updated_by(created, Muon)] == by_muon
    by_adam = {id(w) for w in weights_updated_by(created, Adam)}
    assert by_adam == {id(w) for w in network.parameters()} - set(by_muon)


@each_network
def test_adam_updates_all_weights(name):
    assert not weights_updated_by(make_optimizers(NETWORKS[name](), "adam"), Muon)


@pytest.mark.parametrize("name", ["one layer", "convex", "linear"])
def test_muon_is_not_used_without_hidden_matrices(name):
    assert hidden_matrices(NETWORKS[name]()) == []
    assert not weights_updated_by(make_optimizers(NETWORKS[name](), "muon"), Muon)


def test_frozen_weights_have_no_optimizer():
    network = MLPMap(3, (8, 9, 10))
    network.residual[0].requires_grad_(False)
    network.residual[2].requires_grad_(False)
    updated = {id(w) for w in weights_updated_by(make_optimizers(network))}
    assert updated == {id(w) for w in network.parameters() if w.requires_grad}


@pytest.mark.parametrize(("given", "rate"), [(None, DEFAULT_RATE), (0.01, 0.01)])
def test_learning_rate_of_muon_is_a_multiple_of_the_given_rate(given, rate):
    for optimizer in make_optimizers(MLPMap(3, (8, 9)), learning_rate=given):
        factor = MUON_FACTOR if isinstance(optimizer, Muon) else 1.0
        assert optimizer.learning_rate == pytest.approx(factor * rate)


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_weight_decay_applies_to_hidden_matrices_only(kind):
    network = MLPMap(3, (8, 9, 10))
    hidden = {id(w) for w in hidden_matrices(network)}
    for optimizer in make_optimizers(network, kind, weight_decay=0.1):
        assert optimizer.weight_decay == (0.1 if {id(w) for w in optimizer.weights} <= hidden else 0.0)


def test_descent_subtracts_gradient_of_corrections():
    problem = OTNet(3, Potential(3, (8, 9, 10)))
    problem.prepare(as_sampler(torch.zeros(1, 3)), as_sampler(torch.eye(5)[:, :3]), torch.Generator())
    corrections = problem.networks["heights"].corrections
    *_, descent = problem.optimizers(["heights"], "auto", None, 0.0)
    problem.rate.fill_(0.5)
    descent.step([torch.arange(len(corrections))], torch.tensor(1.0))  # its learning rate is `problem.rate`
    torch.testing.assert_close(corrections.detach(), -0.5 * torch.arange(len(corrections)))


# updates


def weights_of(*shapes, seed=0):
    generator = seeded(seed)
    return [torch.randn(shape, generator=generator) for shape in shapes]


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_adam_equals_torch_adamw(decay):
    ours, theirs = weights_of((3, 4), (5,)), [weight.requires_grad_() for weight in weights_of((3, 4), (5,))]
    one = Adam(ours, 0.01, decay, betas=(0.9, 0.8))
    other = torch.optim.AdamW(theirs, lr=0.01, weight_decay=decay, betas=(0.9, 0.8))
    for seed in range(1, 6):
        gradients = weights_of((3, 4), (5,), seed=seed)
        one.step(gradients, torch.tensor(1.0))
        for weight, gradient in zip(theirs, gradients, strict=True):
            weight.grad = gradient
        other.step()
    torch.testing.assert_close(ours, [weight.detach() for weight in theirs])


def test_adam_respects_strides_and_views():
    strided, plain = weights_of((4, 3))[0].T, weights_of((4, 3))[0].T.contiguous()
    [wide] = weights_of((3, 9))
    part, alone = wide[:, 2:6], wide[:, 2:6].clone()  # a weight that is a view of another tensor
    ours, theirs = Adam([strided, part], 0.01, 0.1), Adam([plain, alone], 0.01, 0.1)
    for seed in (1, 2, 3):
        gradients = weights_of((4, 3), (4, 3), seed=seed)
        ours.step([gradients[0].T.contiguous(), gradients[1].T], torch.tensor(1.0))
        theirs.step([gradients[0].T, gradients[1].T.contiguous()], torch.tensor(1.0))
    torch.testing.assert_close(strided, plain)
    torch.testing.assert_close(part, alone)
    assert torch.equal(wide[:, 6:], weights_of((3, 9))[0][:, 6:])


def test_parametrised_layer_is_updated_by_adam():
    network = nn.Sequential(nn.utils.parametrizations.spectral_norm(nn.Linear(8, 8)), nn.Linear(8, 8), nn.Linear(8, 1))
    created = make_optimizers(network)
    assert [id(weight) for weight in weights_updated_by(created, Muon)] == [id(network[1].weight)]
    assert sorted(map(id, weights_updated_by(created))) == sorted(map(id, network.parameters()))


def test_muon_equals_torch_muon_up_to_bfloat16_rounding():
    shapes = (8, 8), (8, 8), (12, 8), (8, 16)
    before = weights_of(*shapes)
    ours, theirs = weights_of(*shapes), [weight.requires_grad_() for weight in weights_of(*shapes)]
    one = Muon(ours, 0.1, 0.05, momentum=0.9)
    other = torch.optim.Muon(theirs, lr=0.1, weight_decay=0.05, momentum=0.9)
    for seed in range(1, 4):
        gradients = weights_of(*shapes, seed=seed)
        one.step(gradients, torch.tensor(1.0))
        for weight, gradient in zip(theirs, gradients, strict=True):
            weight.grad = gradient
        other.step()
    for our_weight, their_weight, start in zip(ours, theirs, before, strict=True):
        assert (our_weight - their_weight.detach()).norm() < 0.06 * (our_weight - start).norm()


@pytest.mark.parametrize("shape", [(3, 8, 8), (2, 16, 8), (2, 8, 16), (1, 128, 130)], ids=str)
def test_orthogonal_keeps_singular_vectors_and_equalises_singular_values(shape):
    [matrices] = weights_of(shape)
    U, _, V = torch.linalg.svd(matrices, full_matrices=False)
    turned = U.mT @ orthogonal(matrices) @ V.mT
    values = turned.diagonal(dim1=1, dim2=2)
    assert (values > 0.5).all() and (values < 1.3).all()  # noqa: PT018
    assert (turned - torch.diag_embed(values)).abs().max() < 0.03


@pytest.mark.parametrize("kind", [Adam, Muon, Descent])
def test_weight_without_gradient_is_unchanged(kind):
    weights, alone = weights_of((8, 8), (8, 8)), weights_of((8, 8), (8, 8))[1:]
    one, other = kind(weights, 0.1, 0.1), kind(alone, 0.1, 0.1)
    for seed in (1, 2):  # steps that build up momentum
        gradients = weights_of((8, 8), (8, 8), seed=seed)
        one.step(gradients, torch.tensor(1.0))
        other.step(gradients[1:], torch.tensor(1.0))
    before = weights[0].clone()
    for gradient in (weights_of((8, 8), seed=3)[0], None):
        one.step([None, gradient], torch.tensor(1.0))
        other.step([gradient], torch.tensor(1.0))
    assert torch.equal(weights[0], before)
    torch.testing.assert_close(weights[1], alone[0])


@pytest.mark.parametrize(
    "make", [lambda w: Adam(w, 0.01, 0.1), lambda w: Muon(w, 0.01, 0.1), lambda w: Descent(w, 1.0)]
)
def test_share_of_update_scales_learning_rate(make):
    ours, theirs = weights_of((8, 8)), weights_of((8, 8))
    one, other = make(ours), make(theirs)
    first = other.learning_rate
    for seed, share in enumerate([1.0, 0.7, 0.25, 0.0]):
        gradients = weights_of((8, 8), seed=seed)
        one.step(gradients, torch.tensor(share))
        other.learning_rate = share * first
        other.step(gradients, torch.tensor(1.0))
    torch.testing.assert_close(ours, theirs)
