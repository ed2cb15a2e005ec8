"""Streams as samples of `fit`, and images of dask collections."""

import itertools
import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import STREAMS, make_tiny
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from neuralot import OTNetTransport, OTPTransport, SNOTTransport
from neuralot.datasets import make_convex_potential
from neuralot.estimators import reservoir
from neuralot.estimators.reservoir import Reservoir
from neuralot.exceptions import StreamWarning
from neuralot.metrics import l2_uvp

da, dd, pa = (pytest.importorskip(name) for name in ("dask.array", "dask.dataframe", "pyarrow"))
pytestmark = pytest.mark.filterwarnings("default:::dask")
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(600, 2)), RNG.normal(size=(500, 2)) * [2, 0.5] + 3


class Rows(IterableDataset):
    """Data set of single rows."""

    def __init__(self, rows):
        self.rows = rows

    def __iter__(self):
        return iter(torch.from_numpy(self.rows))


class Batches:
    """Re-iterable object that counts its passes."""

    def __init__(self, rows, size=70):
        self.rows, self.size, self.n_passes = rows, size, 0

    def __iter__(self):
        self.n_passes += 1
        return (self.rows[i : i + self.size] for i in range(0, len(self.rows), self.size))


def frame(rows):
    return pd.DataFrame(rows, columns=["a", "b"])


def arrow(rows):
    return pa.table({"a": rows[:, 0], "b": rows[:, 1]}).to_batches(max_chunksize=64)


def memmap(rows, folder):
    path = folder / f"{len(rows)}.npy"
    np.save(path, rows)
    return np.load(path, mmap_mode="r")


SOURCES = {
    "DataLoader": lambda rows, _: DataLoader(TensorDataset(torch.from_numpy(rows), torch.zeros(len(rows))), 64),
    "IterableDataset": lambda rows, _: Rows(rows),
    "object": lambda rows, _: Batches(rows, 7),
    "function": lambda rows, _: lambda: iter(Batches(rows)),
    "empty batches": lambda rows, _: lambda: [rows[:0], rows[:99], rows[:0], rows[99:]],
    "list of record batches": lambda rows, _: arrow(rows),
    "function of record batches": lambda rows, _: lambda: iter(arrow(rows)),
    "dask array": lambda rows, _: da.from_array(rows, chunks=(64, 1)),
    "dask frame": lambda rows, _: dd.from_pandas(frame(rows), npartitions=3),
    "memmap": memmap,
}
each_source = pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)


@pytest.fixture
def short_samples(monkeypatch):
    """Samples of streams of at most 100 rows."""
    monkeypatch.setattr(reservoir, "SAMPLE_ROWS", 100)


def fit(X, Y, cls=OTPTransport, **options):
    return make_tiny(cls, **options).fit(X, Y)


def as_frame_if_named(transport, rows):
    return frame(rows) if hasattr(transport, "feature_names_in_") else rows


@each_source
def test_short_streams_give_the_bits_of_arrays(source, tmp_path):
    transport = make_tiny(OTPTransport).fit(source(X, tmp_path), X_target=source(Y, tmp_path))
    images = transport.transform(as_frame_if_named(transport, X))
    assert np.array_equal(images, fit(X, Y).transform(X))
    assert np.array_equal(fit(X, source(Y, tmp_path)).transform(X), images)


@each_source
def test_long_streams_give_the_same_bits_for_any_batches(source, tmp_path, short_samples):
    transport = fit(source(X, tmp_path), source(Y, tmp_path), max_iter=60)
    images = transport.transform(as_frame_if_named(transport, X))
    assert np.array_equal(images, fit(Batches(X), Batches(Y), max_iter=60).transform(X))
    assert not np.array_equal(images, fit(X, Y, max_iter=60).transform(X))
    assert len(transport.target_sample_) == 100


@pytest.mark.parametrize(("options", "n_passes"), [({}, 3), ({"early_stopping": True}, 1)], ids=["default", "stopping"])
def test_as_many_rows_are_read_as_are_drawn(short_samples, options, n_passes):
    source = Batches(X)
    fit(source, Y, max_iter=80, **options)  # 80 * 16 rows are two passes and a part of the next one
    assert source.n_passes == 1 + (n_passes if not options else 0)


def test_later_passes_renew_the_sample(short_samples, monkeypatch):
    images = fit(Batches(X), Batches(Y), max_iter=60).transform(X)
    monkeypatch.setattr(reservoir.Stream, "read", lambda *_: None)
    assert not np.array_equal(images, fit(Batches(X), Batches(Y), max_iter=60).transform(X))


def test_checkpoint_keeps_the_first_sample(short_samples, tmp_path):
    source = Batches(X)
    fit(source, Y, max_iter=80, checkpoint=tmp_path / "checkpoint")
    assert source.n_passes == 1


@pytest.mark.parametrize("cls", [STREAMS[0], *(pytest.param(cls, marks=pytest.mark.slow) for cls in STREAMS[1:])])
def test_sorted_streams_are_represented(cls, short_samples, monkeypatch):
    monkeypatch.setattr(reservoir, "SAMPLE_ROWS", 2000)
    pair = make_convex_potential(2)
    source, target = (rows[np.argsort(rows[:, 0])] for rows in pair.sample(20_000, random_state=0))
    new, _ = pair.sample(2000, 1, random_state=1)
    errors = []
    for X, Y in ((Batches(source, 500), Batches(target, 500)), (source, target), (source[:2000], target[:2000])):
        transport = cls(max_iter=150, batch_size=64, random_state=0).fit(X, Y)
        errors.append(l2_uvp(transport.transform(new), pair.exact_map(new), target.var(axis=0).sum()))
    of_stream, of_all, of_head = errors
    assert of_stream < 1.5 * of_all
    assert of_head > 5 * of_stream


def test_shuffled_loader_is_reproducible(short_samples):
    def images():
        loader = DataLoader(TensorDataset(torch.from_numpy(X)), batch_size=50, shuffle=True)
        return fit(loader, Y, max_iter=60).transform(X)

    state = torch.get_rng_state()
    first = images()
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(1)
    assert np.array_equal(first, images())


def test_parquet_file_is_read_by_a_function(tmp_path):
    pq = pytest.importorskip("pyarrow.parquet")
    pq.write_table(pa.table({"a": X[:, 0], "b": X[:, 1]}), tmp_path / "X.parquet")
    transport = fit(lambda: pq.ParquetFile(tmp_path / "X.parquet").iter_batches(batch_size=50), Y)
    assert transport.feature_names_in_.tolist() == ["a", "b"]
    dataset = pytest.importorskip("pyarrow.dataset").dataset(tmp_path / "X.parquet")
    assert np.array_equal(fit(dataset, Y).transform(frame(X)), transport.transform(frame(X)))
    with pytest.raises(ValueError, match="feature names should match"):
        fit(frame(X), lambda: [frame(Y).rename(columns={"b": "c"})])


BAD = {
    "iterator": (lambda: iter([X]), "list_iterator, which can be read only once.*pass a function"),
    "generator": (lambda: (X for _ in range(2)), "generator, which can be read only once.*pass a function"),
    "no batches": (lambda: lambda: iter(()), "has no rows"),
    "empty batches": (lambda: lambda: [X[:0], X[:0]], "has no rows"),
    "fewer columns": (lambda: lambda: [X, X[:, :1]], "batch 1 .*1 features"),
    "nan": (lambda: lambda: [X, X, np.full((2, 2), np.nan)], "batch 2 .*NaN"),
    "null": (lambda: pa.table({"a": [1.0], "b": pa.array([None], pa.int32())}).to_batches(), "batch 0 .*NaN"),
    "other dtype": (lambda: lambda: [X, X.astype(np.float32)], "batch 1 .*float64 to float32.*one dtype"),
    "strings": (lambda: lambda: [np.full((2, 2), "a")], "batch 0 .*strings"),
    "single rows": (lambda: lambda: X, "batch 0 .*Expected 2D array"),
    "images": (lambda: DataLoader(torch.zeros(4, 3, 8, 8)), "batch 0 .*dim 4"),
    "function with arguments": (lambda: lambda n, generator: X, "must be a function without arguments"),
    "not iterable": (lambda: lambda: 3, "must be a function without arguments"),
}


@pytest.mark.parametrize(("bad", "message"), BAD.values(), ids=BAD)
def test_bad_streams_are_named(bad, message):
    transport = make_tiny(OTPTransport)
    before = dict(vars(transport))
    for name, samples in {"X": (bad(), Y), "y": (X, bad())}.items():
        with pytest.raises((TypeError, ValueError), match=rf"(?s)^{name}\b.*{message}"):
            transport.fit(*samples)
    assert vars(transport) == before


@pytest.mark.parametrize("later", [0, 50])
def test_stream_that_ends_early_is_named(short_samples, later):
    lengths = itertools.chain([600], itertools.repeat(later))

    def batches():
        return iter([X[: next(lengths)]]) if later else itertools.islice([X], next(lengths))

    transport = make_tiny(OTPTransport, max_iter=200)
    with pytest.raises(ValueError, match=r"^X has (no rows in pass 2|50 rows in pass 2 and had 600 in the first)"):
        transport.fit(batches, Y)
    assert not hasattr(transport, "problem_")


def test_bad_rows_of_later_passes_are_named(short_samples):
    passes = iter([[X], [X, np.full((2, 2), np.inf)]])
    with pytest.raises(ValueError, match=r"^X, batch 1 \(counted from 0\): .*infinity"):
        fit(lambda: next(passes), Y, max_iter=200)


def test_streams_have_no_weights(tmp_path):
    with pytest.raises(ValueError, match=r"^sample_weight must be None for a stream"):
        make_tiny(OTPTransport).fit(Batches(X), Y, sample_weight=np.ones(600))
    with pytest.raises(ValueError, match=r"^sample_weight_target must be None for a stream"):
        make_tiny(OTPTransport).fit(X, Batches(Y), sample_weight_target=np.ones(500))
    weighted = make_tiny(OTPTransport).fit(memmap(X, tmp_path), Y, sample_weight=np.ones(600))
    assert np.array_equal(weighted.transform(X), fit(X, Y).transform(X))


def test_other_methods_refuse_streams():
    transport = fit(X, Y)
    calls = {"X": transport.transform, "y": lambda rows: transport.score(X, rows)}
    for name, call in {**calls, "X ": lambda rows: transport.partial_fit(rows, Y)}.items():
        with pytest.raises(
            TypeError, match=rf"^{name.strip()}: a stream of batches \(Batches\) is accepted by fit only"
        ):
            call(Batches(X))


def test_max_time_ends_the_first_pass(short_samples):
    def endless():
        return (X[i % 500 : i % 500 + 70] for i in itertools.count())

    transport = make_tiny(SNOTTransport, max_time=1e-6)
    with pytest.warns(StreamWarning, match="first pass over X"):
        transport.fit(endless, Y)
    assert transport.transform(X).shape == X.shape


def test_otnet_takes_long_sources_only(short_samples):
    transport = fit(Batches(X), Y[:20], OTNetTransport)
    assert len(transport.target_points_) == 20
    with pytest.raises(ValueError, match=r"^y is too long a stream: OTNetTransport keeps all rows"):
        fit(X, Batches(Y), OTNetTransport)
    assert np.array_equal(fit(X, Batches(Y[:90]), OTNetTransport).heights_, fit(X, Y[:90], OTNetTransport).heights_)


def test_reservoir_is_uniform_and_independent_of_batches():
    counts, values = np.zeros(40), np.arange(40.0)[:, None]
    for seed in range(500):
        one, many = Reservoir([seed], 10), Reservoir([seed], 10)
        one.add(values)
        for start in range(0, 40, 7):
            many.add(values[start : start + 7])
        assert np.array_equal(one.sample, many.sample)
        assert np.array_equal(one.sample[:, 0], one.numbers)
        counts[one.numbers] += 1
    # binomial with mean 125 and standard deviation 9.7
    assert np.abs(counts - 125).max() < 45
    assert counts.sum() == 5000


@pytest.fixture(scope="module")
def fitted():
    return fit(frame(X), frame(Y))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("method", ["transform", "inverse_transform"])
def test_dask_images_are_those_of_arrays(dtype, method):
    rows = X.astype(dtype)
    transport = fit(X, Y)
    images, expected = getattr(transport, method)(da.from_array(rows, chunks=(64, 1))), getattr(transport, method)(rows)
    transport.set_params(random_state=1).fit(Y, X)
    assert isinstance(images, da.Array)
    assert images.dtype == dtype
    assert images.chunks[0] == (64,) * 9 + (24,)
    assert np.array_equal(images.compute(), expected)


def test_dask_frames_keep_index_and_columns(fitted):
    table = dd.from_pandas(frame(X).set_index(np.arange(600) * 2), npartitions=3)
    images = fitted.transform(table)
    assert isinstance(images, dd.DataFrame)
    expected = pd.DataFrame(fitted.transform(table.compute()), columns=["a", "b"], index=np.arange(600) * 2)
    pd.testing.assert_frame_equal(images.compute(), expected)
    assert (images.dtypes == np.float64).all()
    empty = fitted.transform(table[table["a"] > 100]).compute()
    assert empty.shape == (0, 2)


def test_dask_draws_have_one_seed_per_part():
    rows = np.tile(X[:50], (2, 1))
    transport = fit(X, Y, noise_shape="isotropic")
    draws = transport.sample(da.from_array(rows, chunks=(50, 2)), n_draws=3, random_state=0)
    values = draws.compute()
    assert draws.shape == values.shape == (3, 100, 2)
    assert np.array_equal(values, transport.sample(da.from_array(rows, chunks=(50, 2)), 3, 0).compute())
    assert not np.isclose(values[:, :50], values[:, 50:]).any()
    named = fit(frame(X), frame(Y), noise_shape="isotropic")
    table = named.sample(dd.from_pandas(frame(rows), npartitions=2), n_draws=3, random_state=0).compute()
    assert table.index.tolist() == np.repeat(np.arange(100), 3).tolist()
    np.testing.assert_array_equal(table.to_numpy().reshape(100, 3, 2).swapaxes(0, 1), values)


def test_bad_dask_arrays_are_named(fitted):
    for bad, out, message in ((da.ones((4, 3)), None, "^X: 3 features"), (da.ones((4, 2)), X, "^out must be None")):
        with pytest.raises(ValueError, match=message):
            fitted.transform(bad, out=out)
    with pytest.raises(ValueError, match=r"^X: 1 dimensions"):
        fitted.transform(da.ones(4))
    with pytest.raises(ValueError, match="feature names"):
        fitted.transform(dd.from_pandas(frame(X)[["b", "a"]], npartitions=1)).compute()


def test_wrapped_methods_can_be_pickled(fitted):
    loaded = pickle.loads(pickle.dumps(fitted))
    assert np.array_equal(loaded.transform(frame(X)), fitted.transform(frame(X)))
