"""Pickles, clones, and changes of parameters after a fit."""

import copy
import pickle

import numpy as np
import pytest
import torch
from conftest import map_both_directions, skip_unless_takes
from sklearn.base import clone
from torch import nn

from neuralot.costs import Lp
from neuralot.networks import ConvexPotential
from neuralot.solve import Status


def nested_values(value):
    """Return all values in nested containers and objects of the package."""
    if isinstance(value, dict):
        value = [*value.keys(), *value.values()]
    if isinstance(value, (list, tuple)):
        return [inner for each in value for inner in nested_values(each)]
    if type(value).__module__.startswith("neuralot") and hasattr(value, "__dict__") and not isinstance(value, Status):
        return [value, *nested_values(vars(value))]
    return [value]


@pytest.mark.parametrize(
    "options", [{}, {"map_form": "network"}, {"cost": Lp(3)}, {"schedule": "vp"}, {"output": "smooth"}], ids=str
)
def test_pickled_transport_is_identical_and_contains_arrays_only(tiny, transport_class, samples, options):
    skip_unless_takes(transport_class, options)
    X = samples[0]
    transport = tiny(**options).fit(*samples)
    for value in nested_values(transport.__getstate__()):
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


def test_pickle_contains_each_weight_once(tiny, samples):
    transport = tiny(hidden_layer_sizes=(64, 64, 64)).fit(*samples)
    # in single precision, and the changes since two earlier steps, for `uncertainty`, in half precision
    n_bytes = (4 + 2 * 2) * sum(weight.numel() for weight in transport.problem_.parameters())
    assert len(pickle.dumps(transport)) < 1.3 * n_bytes + 10_000


def test_unfitted_estimator_can_be_pickled_and_cloned(tiny):
    for copied in (pickle.loads(pickle.dumps(tiny())), clone(tiny())):
        assert copied.get_params() == tiny().get_params()


def test_clone_is_unfitted(fitted):
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


def test_set_params_after_fit_changes_neither_map_nor_pickle(fitted, samples):
    X = samples[0]
    before = [*map_both_directions(fitted, X, X), *fitted.sample(X, 2, 0)]
    fitted.set_params(**{name: value for name, value in CHANGED.items() if name in fitted.get_params()})
    for transport in (fitted, pickle.loads(pickle.dumps(fitted))):
        assert np.array_equal([*map_both_directions(transport, X, X), *transport.sample(X, 2, 0)], before)
