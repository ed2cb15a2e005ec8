"""Pickles, clones, and later changes of parameters."""

import copy
import pickle

import numpy as np
import pytest
import torch
from conftest import takes, there_and_back
from sklearn.base import clone
from torch import nn

from neuralot.costs import Lp
from neuralot.networks import ConvexPotential
from neuralot.solve import Status


def flat(value):
    """Every value inside of nested containers and objects of ours."""
    if isinstance(value, dict):
        value = [*value.keys(), *value.values()]
    if isinstance(value, (list, tuple)):
        return [inner for each in value for inner in flat(each)]
    if type(value).__module__.startswith("neuralot") and hasattr(value, "__dict__") and not isinstance(value, Status):
        return [value, *flat(vars(value))]
    return [value]


@pytest.mark.parametrize(
    "options", [{}, {"map_form": "network"}, {"cost": Lp(3)}, {"schedule": "vp"}, {"output": "smooth"}], ids=str
)
def test_a_pickle_is_exact_and_holds_arrays_only(tiny, transport_class, samples, options):
    if not takes(transport_class, options):
        pytest.skip("not a parameter of this estimator")
    X = samples[0]
    transport = tiny(**options).fit(*samples)
    for value in flat(transport.__getstate__()):
        assert not isinstance(value, (torch.Tensor, nn.Module, torch.Generator)), value
    for copied in (pickle.loads(pickle.dumps(transport)), copy.deepcopy(transport)):
        assert np.array_equal(copied.transform(X), transport.transform(X))
        assert np.array_equal(copied.sample(X, 2, 0), transport.sample(X, 2, 0))
        assert copied.history_ == transport.history_
        assert copied.status_ is transport.status_
        assert copied.get_params().keys() == transport.get_params().keys()
        if hasattr(transport, "inverse_transform"):
            assert np.array_equal(copied.inverse_transform(X), transport.inverse_transform(X))
    assert isinstance(transport.problem_, nn.Module)


def test_a_pickle_holds_each_weight_once(tiny, samples):
    transport = tiny(hidden_layer_sizes=(64, 64, 64)).fit(*samples)
    n_bytes = 4 * sum(weight.numel() for weight in transport.problem_.parameters())
    assert len(pickle.dumps(transport)) < 1.3 * n_bytes + 10_000


def test_an_unfitted_estimator_pickles_and_clones(tiny):
    for copied in (pickle.loads(pickle.dumps(tiny())), clone(tiny())):
        assert copied.get_params() == tiny().get_params()


def test_a_clone_of_a_fitted_estimator_is_unfitted(fitted):
    assert not hasattr(clone(fitted), "problem_")


CHANGED = {
    "hidden_layer_sizes": (3,),
    "activation": "tanh",
    "cost": Lp(3),
    "critic_loss__expectile": 0.7,
    "optimizer": "adam",
    "noise_dim": 1,
    "eps_min": 0.1,
    "eps_max": 9.0,
    "schedule": "vp",
    "optimizer__n_map_steps": 5,
    "random_state": 9,
    "map_form": ConvexPotential,
    "height_network": ConvexPotential,
    "n_monte_carlo": 3,
}


def test_set_params_after_fit_changes_neither_the_map_nor_its_pickle(fitted, samples):
    X = samples[0]
    before = [*there_and_back(fitted, X, X), *fitted.sample(X, 2, 0)]
    fitted.set_params(**{name: value for name, value in CHANGED.items() if name in fitted.get_params()})
    for transport in (fitted, pickle.loads(pickle.dumps(fitted))):
        assert np.array_equal([*there_and_back(transport, X, X), *transport.sample(X, 2, 0)], before)
