"""Sources of rows that are read in batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from functools import partial
from typing import Any

import numpy as np
from torch.utils.data import DataLoader, Dataset

ROWS_PER_BATCH = 4_096
# numbers per block of a memory-mapped file
NUMBERS_PER_READ = 2**20

Pass = Callable[[], Iterator[Any]]


def is_stream(X: Any) -> bool:
    """Return whether the rows of `X` are read in batches.

    Streams are data sets and loaders of torch, data sets of Arrow, dask collections, memory-mapped arrays, lists of
    Arrow batches, functions, and other iterables that are neither arrays nor sequences.
    """
    if isinstance(X, (DataLoader, Dataset, np.memmap)) or is_dask(X):
        return getattr(X, "ndim", 2) == 2
    if isinstance(X, list):
        return len(X) > 0 and is_arrow(X[0])
    is_array = isinstance(X, (type, Sequence, Mapping, Set)) or hasattr(X, "__array__") or hasattr(X, "shape")
    return not is_array and (callable(X) or hasattr(X, "__iter__") or hasattr(X, "to_batches"))


def is_dask(X: Any) -> bool:
    """Return whether `X` is a collection of dask."""
    return hasattr(X, "__dask_graph__") and hasattr(X, "ndim")


def is_arrow(batch: Any) -> bool:
    """Return whether `batch` is a record batch of Arrow."""
    return hasattr(batch, "schema") and hasattr(batch, "num_rows")


def passes(X: Any, name: str) -> Pass:
    """Return a function that begins a pass over a stream.

    Raises a ValueError if the stream can be read only once. `name` is that of the argument.
    """
    if isinstance(X, np.memmap):
        return partial(_blocks, X)
    if is_dask(X):
        return partial(_partitions, X)
    if isinstance(X, Dataset):
        return partial(iter, DataLoader(X, batch_size=ROWS_PER_BATCH))
    if isinstance(X, Iterator):
        raise ValueError(
            f"{name} is a {type(X).__name__}, which can be read only once, but a fit reads it again and again; pass a "
            f"function without arguments that returns a new iterator, or an object whose __iter__ does"
        )
    if isinstance(X, Iterable):
        return partial(iter, X)
    if hasattr(X, "to_batches"):
        X = X.to_batches
    return partial(_called, X, name)


def as_rows(batch: Any) -> Any:
    """Return the rows of a batch.

    They are the first entry of a tuple or list of tensors or arrays, as a `DataLoader` returns. Arrow batches become
    tables, which have column names for scikit-learn.
    """
    if isinstance(batch, (tuple, list)) and len(batch) > 0 and getattr(batch[0], "ndim", 0) >= 2:
        batch = batch[0]
    if is_arrow(batch) and not hasattr(batch, "to_batches"):
        import pyarrow as pa

        return pa.Table.from_batches([batch])
    return batch


def _called(function: Callable[[], Iterable[Any]], name: str) -> Iterator[Any]:
    try:
        return iter(function())
    except TypeError as error:
        raise TypeError(
            f"{name} must be a function without arguments that returns an iterable of batches, but raised: {error}"
        ) from error


def _blocks(rows: np.memmap) -> Iterator[np.ndarray]:
    size = max(1, NUMBERS_PER_READ // max(1, rows.shape[1]))
    for start in range(0, max(1, len(rows)), size):
        yield np.asarray(rows[start : start + size])


def _partitions(X: Any) -> Iterator[Any]:
    """Yield the parts of a dask array or data frame."""
    if hasattr(X, "npartitions") and hasattr(X, "columns"):
        yield from (X.partitions[i].compute() for i in range(X.npartitions))
    else:
        X = X.rechunk({1: -1})
        yield from (X.blocks[i].compute() for i in range(X.numblocks[0]))
