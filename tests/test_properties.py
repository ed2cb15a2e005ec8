"""Properties for random shapes, dtypes and weights: finite images, and independence of units."""

import functools

import numpy as np
import pytest
import torch
from conftest import TRANSPORTS, each_transport, gaussian, make_tiny, seeded, takes
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from neuralot.costs import Lp
from neuralot.estimators.streams import StreamTransport
from neuralot.sampling import ArraySampler

quick = settings(derandomize=True, deadline=None, max_examples=20, suppress_health_check=list(HealthCheck))

float_types = st.sampled_from([np.float32, np.float64])
counts, columns, seeds = st.integers(1, 40), st.integers(1, 5), st.integers(0, 2**16)
make_smallest = functools.partial(make_tiny, max_iter=2, hidden_layer_sizes=(6, 6, 6))  # for hundreds of fits
OPTIONS = [{}, {"map_form": "network"}, {"cost": Lp(3)}, {"optimizer": "adam"}, {"output": "smooth"}]


@each_transport
@quick
@given(n=counts, m=counts, d=columns, k=counts, dtype=float_types, seed=seeds, data=st.data())
def test_images_are_finite_with_expected_shape_and_dtype(cls, n, m, d, k, dtype, seed, data):
    option = data.draw(st.sampled_from([option for option in OPTIONS if takes(cls, option)]))
    X, Y, new = (gaussian(size, d, seed + i).astype(dtype) for i, size in enumerate((n, m, k)))
    with np.errstate(all="raise"):
        transport = make_smallest(cls, **option).fit(X, Y + 1)
        images, draws = transport.transform(new), transport.sample(new, 2, random_state=seed)
    assert images.shape == (k, d)
    assert draws.shape == (2, k, d)
    assert images.dtype == draws.dtype == dtype
    assert np.isfinite(images).all()
    assert np.isfinite(draws).all()
    assert np.isfinite(transport.transport_cost_)


@each_transport
@quick
@given(d=columns, seed=seeds, rows=st.lists(st.integers(0, 29), min_size=1, max_size=30), dtype=float_types)
def test_subset_of_rows_has_same_images(cls, d, seed, rows, dtype):
    X = gaussian(30, d, seed).astype(dtype)
    transport = make_smallest(cls).fit(X, X + 1)
    tolerance = 100 * np.finfo(dtype).eps
    np.testing.assert_allclose(
        transport.transform(X[rows]), transport.transform(X)[rows], rtol=tolerance, atol=tolerance
    )


@each_transport
@quick
@given(
    d=columns,
    seed=seeds,
    scale=st.floats(1e-3, 1e3),
    shifts=arrays(np.float64, (2,), elements=st.floats(-100, 100)),
)
def test_map_is_equivariant_under_scaling_and_shifts(cls, d, seed, scale, shifts):
    X, Y = gaussian(30, d, seed), 1 + gaussian(40, d, seed + 1)
    moved = make_smallest(cls).fit(scale * X + shifts[0], scale * Y + shifts[1]).transform(scale * X + shifts[0])
    expected = scale * make_smallest(cls).fit(X, Y).transform(X) + shifts[1]
    same = np.isclose(moved, expected, rtol=1e-7, atol=5e-3 * scale).all(axis=1)
    # units are rounded, so rows at the boundary of a cell may move to the neighbouring cell (measured: 2 of 30)
    assert same.mean() >= (1 if issubclass(cls, StreamTransport) else 0.8)


@each_transport
@quick
@given(seed=seeds, weights=arrays(np.float64, (12,), elements=st.floats(0, 1e6)))
def test_any_weights_with_positive_sum_are_accepted(cls, seed, weights):
    X = gaussian(12, 2, seed)
    transport = make_smallest(cls)
    if weights.sum() == 0:
        with pytest.raises(ValueError, match="sample_weight must"):
            transport.fit(X, X + 1, sample_weight=weights)
        return
    assert np.isfinite(transport.fit(X, X + 1, sample_weight=weights).transform(X)).all()


@quick
@given(n=st.integers(1, 50), data=st.data())
def test_only_rows_of_positive_weight_are_drawn(n, data):
    weights = torch.tensor(data.draw(st.lists(st.floats(0, 1e9), min_size=n, max_size=n)), dtype=torch.double)
    assume(weights.sum() > 0)
    draws = ArraySampler(torch.arange(float(n)).reshape(n, 1), weights)(200, seeded())
    assert (weights[draws.long().ravel()] > 0).all()


@pytest.fixture
def double_by_default():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


CUSTOM = {
    "potential_network": lambda d: torch.nn.Sequential(torch.nn.Linear(d, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
}


@pytest.mark.parametrize(
    ("cls", "option"),
    [(cls, option) for cls in TRANSPORTS for option in [*OPTIONS, CUSTOM] if takes(cls, option)],
    ids=lambda value: value.__name__ if isinstance(value, type) else " ".join(value),
)
def test_torch_default_dtype_has_no_influence(cls, option, request):
    X, Y = gaussian(30, 3, 0), 1 + gaussian(40, 3, 1)

    def results():
        transport = make_smallest(cls, **option).fit(X, Y)
        return transport.transform(X), transport.sample(X, 2, random_state=0), transport.score(X, Y)

    before = results()
    request.getfixturevalue("double_by_default")
    for one, other in zip(before, results(), strict=True):
        np.testing.assert_array_equal(one, other)
