"""Optimisers: every weight has exactly one, and Muon gets the hidden matrices."""

import pytest
import torch
from torch import nn
from torch.optim import Adam, AdamW

from neuralot.networks import ConvexPotential, MLPMap, NoiseMap, Potential
from neuralot.optimizers import DEFAULT_RATE, MUON_FACTOR, OPTIMIZERS, Muon, hidden_matrices, make_optimizers

NETWORKS = {
    "map": lambda: MLPMap(3, (8, 9, 10)),
    "noise map": lambda: NoiseMap(3, 2, (8, 9, 10)),
    "potential": lambda: Potential(3, (8, 9, 10)),
    "convex": lambda: ConvexPotential(3, (8, 9, 10)),
    "one layer": lambda: MLPMap(3, (8,)),
    "linear": lambda: nn.Linear(3, 3),
    "user": lambda: nn.Sequential(nn.Linear(3, 8), nn.LayerNorm(8), nn.Linear(8, 8, bias=False), nn.Linear(8, 3)),
}
each_network = pytest.mark.parametrize("name", NETWORKS)


def moved_by(optimizers, kind):
    return [w for each in optimizers if isinstance(each, kind) for group in each.param_groups for w in group["params"]]


@each_network
@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_every_weight_is_in_exactly_one_optimizer(kind, name):
    network = NETWORKS[name]()
    moved = [id(w) for w in moved_by(make_optimizers(network, kind), torch.optim.Optimizer)]
    assert sorted(moved) == sorted(map(id, network.parameters()))


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
def test_muon_moves_the_matrices_that_lead_into_hidden_layers_from_eight_inputs_on(network, first, kind):
    optimizers = make_optimizers(network, kind)
    linear = [layer for layer in network.residual if isinstance(layer, nn.Linear)]
    by_muon = [id(layer.weight) for layer in linear[first:-1]]
    assert [id(w) for w in moved_by(optimizers, Muon)] == by_muon
    by_adam = {id(w) for w in moved_by(optimizers, (Adam, AdamW))}
    assert by_adam == {id(w) for w in network.parameters()} - set(by_muon)


@each_network
def test_adam_alone_means_adam_alone(name):
    assert not moved_by(make_optimizers(NETWORKS[name](), "adam"), Muon)


@pytest.mark.parametrize("name", ["one layer", "convex", "linear"])
def test_without_hidden_matrices_there_is_no_muon(name):
    assert hidden_matrices(NETWORKS[name]()) == []
    assert not moved_by(make_optimizers(NETWORKS[name](), "muon"), Muon)


def test_frozen_weights_are_left_out():
    network = MLPMap(3, (8, 9, 10))
    network.residual[0].requires_grad_(False)
    network.residual[2].requires_grad_(False)
    moved = {id(w) for w in moved_by(make_optimizers(network), torch.optim.Optimizer)}
    assert moved == {id(w) for w in network.parameters() if w.requires_grad}


@pytest.mark.parametrize(("given", "rate"), [(None, DEFAULT_RATE), (0.01, 0.01)])
def test_rates(given, rate):
    for optimizer in make_optimizers(MLPMap(3, (8, 9)), learning_rate=given):
        factor = MUON_FACTOR if isinstance(optimizer, Muon) else 1.0
        assert [group["lr"] for group in optimizer.param_groups] == [pytest.approx(factor * rate)]


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_weight_decay_is_for_hidden_matrices_only(kind):
    network = MLPMap(3, (8, 9, 10))
    hidden = {id(w) for w in hidden_matrices(network)}
    for optimizer in make_optimizers(network, kind, weight_decay=0.1):
        for group in optimizer.param_groups:
            expected = 0.1 if {id(w) for w in group["params"]} <= hidden else 0.0
            assert group["weight_decay"] == expected
