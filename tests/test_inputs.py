"""Types of the input and of the results."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from conftest import dtypes, map_both_directions, takes
from torch import nn


@dtypes
@pytest.mark.parametrize("k", [1, 7])
def test_results_have_shape_and_dtype_of_input(tiny, samples, dtype, k):
    X, Y = (rows.astype(dtype) for rows in samples)
    transport = tiny().fit(X, Y)
    for images in (*map_both_directions(transport, X[:k], Y[:k]), transport.fit_transform(X, Y)[:k]):
        assert images.shape == (k, 2)
        assert images.dtype == dtype
        assert np.isfinite(images).all()
    draws = transport.sample(X[:k], n_draws=3)
    assert draws.shape == (3, k, 2)
    assert draws.dtype == dtype
    assert isinstance(transport.score(X, Y), float)


def test_float32_and_float64_give_same_map(tiny, samples):
    X, Y = samples
    double, single = tiny().fit(X, Y), tiny().fit(*(rows.astype(np.float32) for rows in samples))
    np.testing.assert_allclose(single.transform(X), double.transform(X), atol=1e-3)
    np.testing.assert_allclose(double.transform(X.astype(np.float32)), double.transform(X), atol=1e-5)


@pytest.mark.parametrize("kind", ["list", "Fortran", "view", "read-only", "object"])
def test_array_likes_give_identical_results(tiny, samples, kind):
    def like(rows):
        made = {
            "list": rows.tolist(),
            "Fortran": np.asfortranarray(rows),
            "view": np.repeat(rows, 2, axis=0)[::2],
            "read-only": rows,
            "object": rows.astype(object),
        }
        return made[kind]

    X, Y = samples
    transport = tiny().fit(like(X), like(Y))
    assert np.array_equal(transport.transform(like(X)), tiny().fit(X, Y).transform(X))
    assert transport.score(like(X), like(Y)) == tiny().fit(X, Y).score(X, Y)


def test_y_may_be_target_or_labels(tiny, fitted, samples):
    X, Y = samples
    labels = np.arange(len(X)) % 2
    for transport in (tiny().fit(X, X_target=Y), tiny().fit(X, labels, X_target=Y)):
        assert np.array_equal(transport.transform(X), fitted.transform(X))
        assert transport.score(X, labels, X_target=Y) == fitted.score(X, Y)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_tensors_give_tensors(tiny, samples, dtype):
    X, Y = (torch.tensor(rows, dtype=dtype) for rows in samples)
    transport = tiny().fit(X.requires_grad_(), Y)
    arrays = tiny().fit(X.detach().numpy(), Y.numpy())
    of_tensors = [*map_both_directions(transport, X, Y), transport.sample(X, 2, 0)]
    of_arrays = [*map_both_directions(arrays, X.detach().numpy(), Y.numpy()), arrays.sample(X.detach().numpy(), 2, 0)]
    for found, expected in zip(of_tensors, of_arrays, strict=True):
        assert isinstance(found, torch.Tensor)
        assert found.dtype == dtype
        assert not found.requires_grad
        assert np.array_equal(found.numpy(), expected)
    assert isinstance(arrays.transform(X.detach().numpy()), np.ndarray)
    assert isinstance(transport.score(X, Y), float)


def test_dataframes_are_accepted(tiny, samples):
    X, Y = (pd.DataFrame(rows, columns=["a", "b"], index=np.arange(len(rows)) + 100) for rows in samples)
    transport = tiny().fit(X, Y)
    assert transport.feature_names_in_.tolist() == transport.get_feature_names_out().tolist() == ["a", "b"]
    plain = tiny().fit(*samples).transform(samples[0])
    assert np.array_equal(transport.transform(X), plain)
    assert transport.score(X, Y) == tiny().fit(*samples).score(*samples)
    framed = transport.set_output(transform="pandas").transform(X)
    assert framed.columns.tolist() == ["a", "b"]
    assert framed.index.equals(X.index)
    assert np.array_equal(framed.to_numpy(), plain)
    assert transport.sample(X, 2).shape == (2, 30, 2)
    assert all(images.shape == (len(images), 2) for images in map_both_directions(transport, X, Y))


def test_polars_frames_are_accepted(tiny, samples):
    X, Y = (pl.DataFrame(rows, schema=["a", "b"]) for rows in samples)
    transport = tiny().set_output(transform="polars").fit(X, Y)
    assert transport.feature_names_in_.tolist() == ["a", "b"]
    framed = transport.transform(X)
    assert isinstance(framed, pl.DataFrame)
    assert framed.columns == ["a", "b"]
    assert np.array_equal(framed.to_numpy(), tiny().fit(*samples).transform(samples[0]))
    with pytest.raises(ValueError, match="The feature names should match"):
        tiny().fit(X, Y.rename({"a": "c"}))


@pytest.mark.parametrize("columns", [["b", "a"], ["a", "c"]])
def test_target_columns_must_match_source_columns(tiny, samples, columns):
    X, Y = pd.DataFrame(samples[0], columns=["a", "b"]), pd.DataFrame(samples[1], columns=columns)
    with pytest.raises(ValueError, match=r"y: The feature names should match"):
        tiny().fit(X, Y)


@pytest.mark.parametrize(
    ("value", "kind"), [("a", ValueError), (np.nan, ValueError), (pd.Timestamp("2020-01-01"), TypeError)], ids=str
)
def test_columns_that_are_not_finite_numbers_are_named(tiny, samples, value, kind):
    X, Y = (pd.DataFrame(rows, columns=["a", "b"]) for rows in samples)
    for bad, name in (((X.assign(b=value), Y), "X"), ((X, Y.assign(b=value)), "y")):
        with pytest.raises(kind, match=f"^{name}: not finite numbers in 'b': "):
            tiny().fit(*bad)
        for convert in (pa.Table.from_pandas, pl.from_pandas):
            with pytest.raises(kind, match=f"^{name}: not finite numbers in 'b': "):
                tiny().fit(*map(convert, bad))


@pytest.mark.parametrize("kind", ["datetime64[D]", "timedelta64[h]"])
def test_arrays_and_frames_of_dates_only_are_refused(tiny, samples, kind):
    dates = np.arange(2 * len(samples[0])).reshape(-1, 2).astype(kind)
    frame = pd.DataFrame(dates.astype(kind.replace("D", "s").replace("h", "s")), columns=["a", "b"])
    transport = tiny().fit(*samples)
    for bad in (dates, list(dates), frame, pa.Table.from_pandas(frame), pl.from_pandas(frame)):
        with pytest.raises(TypeError, match="dates or durations; convert them, for example to days"):
            tiny().fit(bad, samples[1])
        with pytest.raises(TypeError, match=r"^y: not finite numbers in "):
            tiny().fit(samples[0], bad)
        with pytest.raises(TypeError, match=r"^X: not finite numbers in "):
            transport.transform(bad)


def test_input_is_not_modified(tiny, samples):
    X, Y = (rows.copy() for rows in samples)
    transport = tiny().fit(X, Y)
    map_both_directions(transport, X, Y)
    transport.sample(X)
    transport.score(X, Y)
    assert np.array_equal(X, samples[0])
    assert np.array_equal(Y, samples[1])


def test_custom_functions_with_float32_constants_accept_float64_rows(tiny, transport_class, samples):
    X, Y = samples
    weights = torch.tensor([[2.0, 0.0], [0.0, 1.0]])

    class Shifted(nn.Linear):
        def __init__(self, d, n_outputs):
            super().__init__(d, n_outputs)
            self.constant = torch.eye(d)

        def forward(self, x):
            return super().forward(x @ self.constant)

    functions = {
        "cost": lambda x, y: ((x - y) @ weights).square().sum(-1),
        "map_form": lambda d: Shifted(d, d),
        "height_network": lambda d: Shifted(d, 1),
    }
    for name in filter(lambda name: takes(transport_class, [name]), functions):
        transport = tiny(**{name: functions[name]}).fit(X, Y)
        assert transport.transform(X).dtype == np.float64
        assert np.isfinite(transport.transform(X)).all()
        assert np.isfinite(transport.transport_cost_)
