"""Declaration of parameters, and groups of parameters."""

import inspect
import pickle

import numpy as np
import pytest
import sklearn
from conftest import each_transport, games, takes
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from neuralot import CriticLoss, Optimizer, OTPTransport, SNOTTransport
from neuralot.estimators.game import GameTransport
from neuralot.parameters import estimator, number, parameter


@each_transport
def test_estimators_have_at_most_thirty_parameters(cls):
    assert len(inspect.signature(cls).parameters) == len(cls().get_params(deep=False)) <= 30


def test_parameters_of_class_precede_those_of_parents():
    names = list(inspect.signature(OTPTransport).parameters)
    assert names.index("eps_max") < names.index("map_form") < names.index("max_iter")


@games
def test_parameters_of_groups_are_set_by_nested_name(tiny):
    transport = tiny().set_params(critic_loss__expectile=0.9, optimizer__weight_decay=0.1)
    assert transport.critic_loss == CriticLoss(expectile=0.9)
    assert transport.optimizer == Optimizer("muon", weight_decay=0.1)
    transport.set_params(optimizer="adam", optimizer__n_map_steps=3)
    assert transport.optimizer == Optimizer("adam", n_map_steps=3)
    params = transport.get_params()
    assert (params["critic_loss__expectile"], params["optimizer__name"]) == (0.9, "adam")
    assert tiny().get_params()["critic_loss__expectile"] == CriticLoss().expectile


@games
def test_clone_copies_groups(tiny):
    transport = tiny(critic_loss=CriticLoss(expectile=0.9))
    clone(transport).set_params(critic_loss__expectile=0.8)
    assert transport.critic_loss.expectile == 0.9


@games
def test_group_changed_after_fit_does_not_change_map(tiny, samples):
    transport = tiny(critic_loss=CriticLoss(expectile=0.9), optimizer=Optimizer(n_map_steps=1)).fit(*samples)
    before = transport.transform(samples[0])
    transport.critic_loss.expectile, transport.optimizer.n_map_steps = 0.6, 5
    assert np.array_equal(pickle.loads(pickle.dumps(transport)).transform(samples[0]), before)


@games
def test_all_parameters_of_groups_have_an_effect(tiny, samples):
    default_images = tiny(max_iter=5).fit(*samples).transform(samples[0])
    for options in (
        {"critic_loss": CriticLoss(expectile=0.6)},
        {"critic_loss": CriticLoss(expectile_weight=0.1)},
        {"critic_loss": CriticLoss(gradient_penalty=0.5)},
        {"critic_loss": CriticLoss(gap_weight=0.01)},
        {"optimizer": Optimizer("adam")},
        {"optimizer": Optimizer(weight_decay=2.0)},
        {"optimizer": Optimizer(n_map_steps=3)},
    ):
        assert not np.array_equal(tiny(max_iter=5, **options).fit(*samples).transform(samples[0]), default_images)


@games
def test_short_form_of_group_gives_identical_result(tiny, samples):
    default_images = tiny(optimizer="adam").fit(*samples).transform(samples[0])
    other = tiny(optimizer=Optimizer("adam"), critic_loss=CriticLoss()).fit(*samples).transform(samples[0])
    assert np.array_equal(default_images, other)


def test_grid_search_sets_parameters_of_groups(samples):
    X, Y = samples
    stacked, domains = np.r_[X, Y], np.r_[np.ones(len(X)), -np.ones(len(Y))]
    grid = {"critic_loss__expectile_weight": [0.0, 1.0], "optimizer__weight_decay": [0.1]}
    transport = SNOTTransport(max_iter=3, hidden_layer_sizes=(4,), random_state=0)
    order = np.random.default_rng(0).permutation(len(stacked))
    with sklearn.config_context(enable_metadata_routing=True):
        search = GridSearchCV(transport, grid, cv=2, error_score="raise")
        search.fit(stacked[order], sample_domain=domains[order])
    assert search.best_estimator_.optimizer == Optimizer(weight_decay=0.1)
    assert transport.critic_loss is None


def test_group_rejects_unknown_parameters():
    with pytest.raises(ValueError, match="CriticLoss has no parameter 'tau'; its parameters are expectile"):
        SNOTTransport().set_params(critic_loss__tau=0.9)


def test_repr_of_group_shows_changed_parameters():
    assert repr(Optimizer()) == "Optimizer()"
    assert repr(Optimizer("adam", weight_decay=0)) == "Optimizer(name='adam', weight_decay=0)"


@estimator
class Shifted(SNOTTransport):
    """SNOT with an additional parameter."""

    shift: float = parameter(number(0), default=1.0)


class Undeclared(SNOTTransport):
    """SNOT with a hand-written constructor and an undeclared parameter."""

    def __init__(self, *, shift=1.0, max_iter=3):
        super().__init__(max_iter=max_iter)
        self.shift = shift


def test_subclass_may_declare_parameters(samples):
    assert clone(Shifted(shift=2.0)).shift == 2.0
    assert next(iter(inspect.signature(Shifted).parameters)) == "shift"
    with pytest.raises(ValueError, match=r"shift must be a number above 0 and below 1e\+30, got -1"):
        Shifted(shift=-1).fit(*samples)


def test_undeclared_parameter_raises(samples):
    with pytest.raises(TypeError, match="Undeclared does not declare its parameter shift"):
        Undeclared().fit(*samples)


@each_transport
def test_only_semi_dual_transports_have_groups(cls):
    assert takes(cls, ["critic_loss"]) == issubclass(cls, GameTransport)
