"""Declared parameters, and those that a group holds."""

import inspect
import pickle

import numpy as np
import pytest
import sklearn
from conftest import TRANSPORTS, games, takes
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from neuralot import CriticLoss, Optimizer, OTPTransport, SNOTTransport
from neuralot.estimators.game import GameTransport
from neuralot.parameters import estimator, number, parameter


@pytest.mark.parametrize("cls", TRANSPORTS)
def test_no_estimator_has_more_than_twenty_four_parameters(cls):
    assert len(inspect.signature(cls).parameters) == len(cls().get_params(deep=False)) <= 24


def test_the_parameters_of_a_class_come_before_those_of_its_parents():
    names = list(inspect.signature(OTPTransport).parameters)
    assert names.index("eps_max") < names.index("map_form") < names.index("max_iter")


@games
def test_a_group_is_set_by_name(tiny):
    transport = tiny().set_params(critic_loss__expectile=0.9, optimizer__weight_decay=0.1)
    assert transport.critic_loss == CriticLoss(expectile=0.9)
    assert transport.optimizer == Optimizer("muon", weight_decay=0.1)
    transport.set_params(optimizer="adam", optimizer__n_map_steps=3)
    assert transport.optimizer == Optimizer("adam", n_map_steps=3)
    params = transport.get_params()
    assert (params["critic_loss__expectile"], params["optimizer__name"]) == (0.9, "adam")
    assert tiny().get_params()["critic_loss__expectile"] == CriticLoss().expectile


@games
def test_a_clone_has_its_own_groups(tiny):
    transport = tiny(critic_loss=CriticLoss(expectile=0.9))
    clone(transport).set_params(critic_loss__expectile=0.8)
    assert transport.critic_loss.expectile == 0.9


@games
def test_a_group_changed_after_a_fit_changes_no_map(tiny, samples):
    transport = tiny(critic_loss=CriticLoss(expectile=0.9), optimizer=Optimizer(n_map_steps=1)).fit(*samples)
    before = transport.transform(samples[0])
    transport.critic_loss.expectile, transport.optimizer.n_map_steps = 0.6, 5
    assert np.array_equal(pickle.loads(pickle.dumps(transport)).transform(samples[0]), before)


@games
def test_every_field_of_a_group_counts(tiny, samples):
    usual = tiny(max_iter=5).fit(*samples).transform(samples[0])
    for options in (
        {"critic_loss": CriticLoss(expectile=0.6)},
        {"critic_loss": CriticLoss(expectile_weight=0.1)},
        {"critic_loss": CriticLoss(gradient_penalty=0.5)},
        {"critic_loss": CriticLoss(gap_weight=0.01)},
        {"optimizer": Optimizer("adam")},
        {"optimizer": Optimizer(weight_decay=2.0)},
        {"optimizer": Optimizer(n_map_steps=3)},
    ):
        assert not np.array_equal(tiny(max_iter=5, **options).fit(*samples).transform(samples[0]), usual)


@games
def test_the_short_form_of_a_group_gives_the_same_bits(tiny, samples):
    usual = tiny(optimizer="adam").fit(*samples).transform(samples[0])
    other = tiny(optimizer=Optimizer("adam"), critic_loss=CriticLoss()).fit(*samples).transform(samples[0])
    assert np.array_equal(usual, other)


def test_a_search_reaches_into_a_group(samples):
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


def test_a_group_refuses_names_that_it_has_not():
    with pytest.raises(ValueError, match="CriticLoss has no parameter 'tau'; it has expectile"):
        SNOTTransport().set_params(critic_loss__tau=0.9)


def test_a_group_shows_what_was_changed():
    assert repr(Optimizer()) == "Optimizer()"
    assert repr(Optimizer("adam", weight_decay=0)) == "Optimizer(name='adam', weight_decay=0)"


@estimator
class Shifted(SNOTTransport):
    """SNOT with a parameter more."""

    shift: float = parameter(number(0), default=1.0)


class Undeclared(SNOTTransport):
    """A constructor by hand, with a parameter that no class declares."""

    def __init__(self, *, shift=1.0, max_iter=3):
        super().__init__(max_iter=max_iter)
        self.shift = shift


def test_a_subclass_declares_its_parameters(samples):
    assert clone(Shifted(shift=2.0)).shift == 2.0
    assert next(iter(inspect.signature(Shifted).parameters)) == "shift"
    with pytest.raises(ValueError, match="shift must be a number above 0, got -1"):
        Shifted(shift=-1).fit(*samples)


def test_an_undeclared_parameter_is_an_error_of_the_class(samples):
    with pytest.raises(TypeError, match="Undeclared does not say what shift may be"):
        Undeclared().fit(*samples)


@pytest.mark.parametrize("cls", TRANSPORTS)
def test_only_games_have_groups(cls):
    assert takes(cls, ["critic_loss"]) == issubclass(cls, GameTransport)
