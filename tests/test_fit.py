"""Fits: attributes, end, messages, networks and costs."""

import numpy as np
import pytest
import torch
from conftest import TRANSPORTS, games, nan_layer, takes
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from torch import nn

from neuralot import CriticLoss, Optimizer, OTNetTransport, OTPTransport, SNOTTransport, W2GNTransport
from neuralot.costs import Lp
from neuralot.networks import ConvexPotential
from neuralot.solve import Status


def test_transports_are_found():
    assert {OTNetTransport, OTPTransport, SNOTTransport, W2GNTransport} <= set(TRANSPORTS)


def test_fit_sets_attributes(tiny, samples):
    transport = tiny(max_iter=7).fit(*samples)
    assert transport.n_iter_ == transport.history_[-1]["step"] == 7
    assert transport.status_ in (Status.MAX_ITER, Status.SHORT)
    assert transport.n_features_in_ == 2
    assert transport.units_.scale > 0
    assert not any(weight.requires_grad for weight in transport.problem_.parameters())
    if isinstance(transport, OTPTransport):
        assert transport.eps_min_ == pytest.approx(transport.history_[-1]["eps"])
    for name in vars(transport):
        assert name.endswith("_") or name.startswith("_") or name in transport.get_params()


def test_fit_returns_self_and_keeps_parameters(tiny, samples):
    transport = tiny(callbacks=[], hidden_layer_sizes=[8, 8])
    before = transport.get_params()
    assert transport.fit(*samples) is transport
    assert all(value is before[name] for name, value in transport.get_params().items())


def test_unfitted_transport_raises(tiny, samples):
    transport = tiny()
    for method in (transport.transform, transport.sample):
        with pytest.raises(NotFittedError):
            method(samples[0])
    with pytest.raises(NotFittedError):
        transport.score(*samples)
    with pytest.raises(AttributeError):
        transport.inverse_transform(samples[1])


def test_second_fit_does_not_depend_on_first(fitted, samples):
    X = samples[0]
    first = fitted.transform(X)
    assert np.array_equal(fitted.fit(*samples).transform(X), first)


def test_max_time_ends_fit(tiny, samples):
    transport = tiny(max_iter=10**9, max_time=0.2).fit(*samples)
    assert transport.status_ in (Status.MAX_TIME, Status.SHORT)
    assert transport.n_iter_ < 10**9


def test_callbacks_receive_records_and_may_end_fit(tiny, samples):
    received = []

    def callback(step, problem, record):
        received.append((step, record))
        return step == 2

    transport = tiny(max_iter=9, callbacks=[callback]).fit(*samples)
    assert transport.status_ is Status.STOPPED
    assert transport.n_iter_ == 2
    assert [record for _, record in received] == transport.history_


@pytest.mark.parametrize("verbose", [True, 1])
def test_verbose_writes_progress_to_standard_error(tiny, samples, capsys, verbose):
    tiny(verbose=verbose).fit(*samples)
    shown = capsys.readouterr()
    assert "step 3" in shown.err.replace("\n", " ")
    assert shown.out == ""


def test_fit_is_silent_by_default(tiny, samples, capsys):
    tiny().fit(*samples)
    assert capsys.readouterr() == ("", "")


def test_diverging_fit_warns_with_advice(tiny, samples):
    with pytest.warns(ConvergenceWarning, match="learning_rate_init") as caught:
        transport = tiny(learning_rate_init=1e4, max_iter=200).fit(*samples)
    # for thin sources, the advice is to use OTP, unless this is OTP
    assert ("use OTPTransport" in str(caught[-1].message)) == (not isinstance(transport, OTPTransport))
    assert transport.status_ is Status.DIVERGED
    assert np.isfinite(transport.transform(samples[0])).all()
    assert np.isfinite([value for value in vars(transport).values() if isinstance(value, float)]).all()


def test_fit_without_finite_weights_raises_and_leaves_estimator_unchanged(tiny, transport_class, samples):
    if takes(transport_class, ["map_form"]):
        transport = tiny(map_form=lambda d: nan_layer(d, d))
    elif takes(transport_class, ["potential_network"]):
        transport = tiny(potential_network=lambda d: nan_layer(d, 1))
    else:
        transport = tiny(height_network=lambda d: nan_layer(d, 1))
    before = dict(vars(transport))
    with pytest.raises(FloatingPointError, match="never had finite weights"):
        transport.fit(*samples)
    assert vars(transport) == before


@games
def test_custom_networks_are_fitted(tiny, samples):
    transport = tiny(potential_network=ConvexPotential).fit(*samples)
    assert isinstance(transport.problem_.networks["source_potential"], ConvexPotential)
    transport = tiny(
        map_form=lambda d: nn.Sequential(nn.Linear(d, 4), nn.Tanh(), nn.Linear(4, d)),
        potential_network=lambda d: nn.Sequential(nn.Linear(d, 4), nn.Tanh(), nn.Linear(4, 1)),
    ).fit(*samples)
    assert np.isfinite(transport.transform(samples[0])).all()


@games
@pytest.mark.parametrize(
    "cost",
    [Lp(1.5), Lp(3), lambda x, y: (x - y).abs().sum(-1), lambda x, y: (x - y).norm(dim=-1)],
    ids=["1.5", "3", "l1", "l2"],
)
def test_other_costs_are_fitted(tiny, samples, cost):
    X, Y = samples
    transport = tiny(cost=cost, max_iter=10).fit(X, Y)
    images = transport.sample(X, random_state=0)[0]
    expected = cost(torch.tensor(X), torch.from_numpy(images)).mean()
    assert transport.transport_cost_ == pytest.approx(float(expected), rel=0.05)


@pytest.mark.parametrize("plain", [{"schedule": "linear"}, {}], ids=["OTP", "SNOT"])
def test_settings_of_papers_are_fitted(samples, plain):
    cls = OTPTransport if plain else SNOTTransport
    transport = cls(
        map_form="network",
        critic_loss=CriticLoss(expectile_weight=0),
        optimizer=Optimizer("adam", n_map_steps=10),
        max_iter=3,
        batch_size=16,
        random_state=0,
        **plain,
    ).fit(*samples)
    assert transport.problem_.players == {"map": 10, "potential": 1}
    assert np.isfinite(transport.transform(samples[0])).all()
