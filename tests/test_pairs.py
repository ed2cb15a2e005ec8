"""Pairs from the plan: rows and draws, weights, marginals and optimality of OT-Net's plan, masses, bad input."""

import numpy as np
import ot
import pandas as pd
import pytest
import torch
from conftest import dtypes, gaussian

from neuralot import OTNetTransport, SNOTTransport
from neuralot.datasets import make_one_to_many


@dtypes
def test_pairs_are_rows_and_their_images(fitted, samples, dtype):
    X = samples[0].astype(dtype)
    x, y = fitted.sample_pairs(X, 300, random_state=3)
    assert x.shape == y.shape == (300, X.shape[1])
    assert x.dtype == y.dtype == dtype
    assert (x[:, None] == X).all(axis=2).any(axis=1).all()
    again = fitted.sample_pairs(X, 300, random_state=3)
    assert np.array_equal(again, (x, y))
    assert not np.array_equal(fitted.sample_pairs(X, 300, random_state=4)[0], x)
    one = X[:1]
    draws = fitted.sample(one, 300, random_state=0)[:, 0]
    alone = fitted.sample_pairs(one, 300, random_state=0)[1]
    # the images of one row have the law of its draws, which is one point for a map
    np.testing.assert_allclose(alone.mean(axis=0), draws.mean(axis=0), atol=1e-5 + 0.4 * draws.std(axis=0).max())
    assert (np.ptp(alone, axis=0) > 1e-5).any() == (np.ptp(draws, axis=0) > 1e-5).any()


def test_tensors_give_tensors(fitted, samples):
    X = torch.from_numpy(samples[0].copy())
    x, y = fitted.sample_pairs(X, 5, random_state=0)
    assert isinstance(x, torch.Tensor)
    assert isinstance(y, torch.Tensor)
    assert np.array_equal(x, fitted.sample_pairs(samples[0], 5, random_state=0)[0])


def test_rows_are_chosen_by_weight(fitted, samples):
    X, weights = samples[0], np.zeros(len(samples[0]))
    weights[:2] = 1, 3
    x, _ = fitted.sample_pairs(X, 4000, sample_weight=weights, random_state=0)
    is_second = (x == X[1]).all(axis=1)
    assert (is_second | (x == X[0]).all(axis=1)).all()
    assert abs(is_second.mean() - 0.75) < 4 * np.sqrt(0.75 * 0.25 / 4000)


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.slow)])
def test_pairs_of_otnet_have_the_marginals_and_the_cost_of_the_exact_plan(seed):
    noise, Y = gaussian(8000, 2, seed), gaussian(60, 2, seed + 100) * [1, 0.3] + [3, 0]
    weights = np.random.default_rng(seed).uniform(1, 2, len(Y))
    transport = OTNetTransport(max_iter=200, random_state=seed).fit(noise, Y, sample_weight_target=weights)
    x, y = transport.sample_pairs(gaussian(4000, 2, seed + 200), 4000, random_state=seed)
    of = (y[:, None] == Y).all(axis=2)
    assert of.any(axis=1).all()
    shares, exact_shares = of.mean(axis=0), weights / weights.sum()
    assert np.sqrt(((shares - exact_shares) ** 2).sum()) < transport.mass_error_ + 3 * np.sqrt(1 / 4000)
    # whatever the heights, the map is optimal between the laws of its rows and images
    costs = ot.dist(x, Y)
    exact = ot.emd2([], shares, costs)
    np.testing.assert_allclose(((x - y) ** 2).sum(axis=1).mean(), exact, rtol=1e-6)
    assert abs(ot.emd2([], exact_shares, costs) / exact - 1) < 0.05
    shuffled = ((x - np.random.default_rng(0).permutation(y)) ** 2).sum(axis=1).mean()
    assert shuffled > 1.1 * exact  # independent pairs are worse


def test_masses_choose_the_pairs():
    # two far clusters of shares 1/2 and 2/3 in the laws: their masses in the plan are proportional to sqrt(a b)
    rng = np.random.default_rng(0)
    X, Y = (
        0.3 * rng.normal(size=(1500, 2)) + np.where((np.arange(1500) < share * 1500)[:, None], [-4, 0], [4, 0])
        for share in (1 / 2, 2 / 3)
    )
    params = {"unbalanced": "kl", "reg_marginal_source": 2.0, "reg_marginal_target": 2.0}
    transport = SNOTTransport(max_iter=150, random_state=0, **params).fit(X, Y)
    x, y = transport.sample_pairs(X, 4000, random_state=0)
    exact = np.sqrt(2 / 3) / (np.sqrt(2 / 3) + np.sqrt(1 / 3))  # .586, where .5 of the rows are on the left
    assert abs((x[:, 0] < 0).mean() - exact) < 0.03
    assert ((x[:, 0] < 0) == (y[:, 0] < 0)).mean() > 0.99


def test_rows_without_mass_have_no_pairs():
    params = {"unbalanced": "chi2", "reg_marginal_source": 0.5, "reg_marginal_target": 0.5}
    transport = SNOTTransport(max_iter=20, hidden_layer_sizes=(8,), random_state=0, **params)
    transport.fit(gaussian(200, 2), gaussian(200, 2, seed=1))
    far = np.full((3, 2), 1000.0)
    assert not transport.source_mass(far).any()
    with pytest.raises(ValueError, match="X must have rows that keep mass"):
        transport.sample_pairs(far, 10)


def test_categories_stay_with_their_rows():
    rng = np.random.default_rng(0)
    frames = [pd.DataFrame({"u": rng.normal(size=90), "v": rng.normal(size=90)}) for _ in range(2)]
    frames = [frame.assign(drug=rng.choice(["a", "b"], 90)) for frame in frames]
    transport = SNOTTransport(condition="drug", max_iter=5, hidden_layer_sizes=(4,), random_state=0).fit(*frames)
    x, y = transport.sample_pairs(frames[0], 40, random_state=0)
    assert list(x.columns) == list(y.columns) == ["u", "v", "drug"]
    assert (x["drug"] == y["drug"]).all()
    assert x.index.isin(frames[0].index).all()
    np.testing.assert_allclose(x[["u", "v"]], frames[0].loc[x.index, ["u", "v"]])
    np.testing.assert_allclose(y[["u", "v"]], transport.transform(x)[["u", "v"]], atol=1e-6)


def test_pairs_of_a_plan_split_mass(transport_class):
    X, Y = make_one_to_many().sample(200, random_state=0)
    transport = transport_class(max_iter=3, random_state=0).fit(X, Y)
    x, y = transport.sample_pairs(X[:1], 50, random_state=0)
    assert (x == X[0]).all()
    assert (transport_class.__name__ == "OTPTransport") == (len(np.unique(y.round(5), axis=0)) > 1)
