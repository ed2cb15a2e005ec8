"""Constant, thin and missing directions of the laws."""

import pickle

import numpy as np
import pytest
from conftest import dtypes, games, gaussian, rotation, skip_unless_takes, streams, takes
from torch import nn

from neuralot.costs import Lp
from neuralot.estimators.streams import StreamTransport
from neuralot.solve import Status


@pytest.mark.parametrize("n_rows", [1, 3, 40])
@pytest.mark.parametrize("options", [{}, {"map_form": "network"}, {"output": "smooth"}], ids=str)
def test_many_features_and_few_rows_give_finite_images(tiny, transport_class, n_rows, options):
    skip_unless_takes(transport_class, options)
    X = gaussian(n_rows, 20)
    transport = tiny(**options).fit(X, np.r_[X, X] + 1)
    loaded = pickle.loads(pickle.dumps(transport))
    for images in (transport.transform(X), transport.sample(X, random_state=0)[0]):
        assert np.isfinite(images).all()
    assert np.array_equal(loaded.transform(X), transport.transform(X))


def test_constant_columns_have_no_influence_and_get_target_values(tiny, samples):
    X, Y = samples
    transport = tiny().fit(X, Y)
    wide, wide_target = np.insert(X, [2] * 30, 3.0, axis=1), np.insert(Y, [2] * 30, 0.1, axis=1)
    with_constants = tiny().fit(wide, wide_target)
    images = with_constants.transform(wide)
    np.testing.assert_allclose(images[:, :2], transport.transform(X), atol=1e-9)
    assert np.array_equal(images[:, 2:], np.full((len(X), 30), 0.1))
    assert with_constants.status_ is transport.status_
    assert np.array_equal(pickle.loads(pickle.dumps(with_constants)).transform(wide), images)


def test_components_outside_of_subspace_are_kept(tiny, transport_class, samples):
    Q = rotation(6)
    X, Y = (rows @ Q[:2] for rows in samples)
    # target rows have no components outside of the subspace
    transport = tiny(**({"output": "smooth"} if takes(transport_class, ["output"]) else {})).fit(X, Y)
    assert transport.units_.n_directions == 2
    inverse = [("inverse_transform", Y)] if isinstance(transport, StreamTransport) else []
    for name, rows in [("transform", X), ("sample", X), *inverse]:
        options = {"random_state": 0} if name == "sample" else {}
        images = getattr(transport, name)(rows, **options)
        np.testing.assert_allclose(images @ Q[2:].T, 0, atol=1e-6)
        residual = np.random.default_rng(1).normal(size=(len(rows), 4)) @ Q[2:]
        np.testing.assert_allclose(getattr(transport, name)(rows + residual, **options), images + residual, atol=1e-6)


@pytest.mark.parametrize("offset", [0.0, pytest.param(10.0, marks=pytest.mark.slow), 1000.0])
@pytest.mark.parametrize(
    "thickness", [0.0, *(pytest.param(each, marks=pytest.mark.slow) for each in (1e-6, 1e-4)), 1e-5, 1e-2]
)
@dtypes
def test_nearly_flat_laws_are_fitted(tiny, dtype, thickness, offset):
    rng = np.random.default_rng(0)
    Q = np.linalg.qr(rng.normal(size=(20, 20)))[0]
    X, Y = (rng.normal(size=(100, 20)) * np.r_[1, 1, np.full(18, thickness)] @ Q + shift for shift in (offset, -offset))
    transport = tiny(max_iter=20).fit(X.astype(dtype), Y.astype(dtype))
    assert transport.status_ in (Status.MAX_ITER, Status.SHORT)
    images = transport.transform(X.astype(dtype))
    np.testing.assert_allclose(images.mean(axis=0), Y.mean(axis=0), atol=0.5)
    np.testing.assert_allclose((images - images.mean(axis=0)) @ Q[2:].T, 0, atol=0.1)


def test_few_rows_do_not_determine_directions(tiny):
    X = gaussian(10, 30)
    units = tiny().fit(X, X + 1).units_
    # the span of the rows says nothing about other rows: all columns, or one principal direction per ten rows
    assert units.n_directions == (1 if units.is_partial else 30)


@games
def test_custom_networks_and_costs_receive_all_columns(tiny, samples):
    X, Y = (np.insert(rows, 2, 1.0, axis=1) for rows in samples)
    received = []

    def network(n_features):
        received.append(n_features)
        return nn.Linear(n_features, n_features)

    tiny(map_form=network).fit(X, Y)
    assert set(received) == {3}
    assert tiny(cost=Lp(1.5), map_form="network").fit(X, Y).units_.n_directions == 3


@streams  # OT-Net maps to rows of the target, which are few
@pytest.mark.parametrize(("n", "d"), [(50, 100), (80, 300), (15, 20)])
def test_new_rows_of_wide_samples_are_nearly_shifted(tiny, n, d):
    X, Y, X_new = gaussian(n, d), gaussian(n, d, 1) + 1, gaussian(100, d, 2)
    error = ((tiny(max_iter=20, batch_size=64).fit(X, Y).transform(X_new) - (X_new + 1)) ** 2).sum(axis=1).mean() / d
    assert error < 0.3  # the shift of the samples' means alone has 2 / n
