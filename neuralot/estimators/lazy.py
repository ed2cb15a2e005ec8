"""Images of dask collections, computed on demand."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from neuralot.estimators.batches import is_dask
from neuralot.estimators.checks import as_random_state, check_count, naming

Method = Callable[..., Any]


def on_dask(method: Method) -> Method:
    """Let a method map dask arrays and data frames, lazily.

    The images have the blocks or partitions, the columns and the index of the rows, and do not change with a later fit.
    The draws of an array have shape (n_draws, k, n_features). Those of a data frame are `n_draws` rows for each of its
    rows, with the same index. Each part has its own seed, which follows from `random_state` and the number of the part.
    A ValueError is raised if `out` is given, or if the number of columns is not that of the fit.
    """
    signature = inspect.signature(method)

    @wraps(method)
    def wrapper(self: Any, *args: Any, **kwargs: Any) -> Any:
        call = signature.bind(self, *args, **kwargs)
        if not is_dask(call.arguments.get("X")):
            return method(self, *args, **kwargs)
        check_is_fitted(self)
        call.apply_defaults()
        return _mapped(self, method.__name__, **{name: call.arguments[name] for name in list(call.arguments)[1:]})

    return wrapper


def _mapped(
    transport: Any, method: str, X: Any, out: Any = None, n_draws: int | None = None, random_state: Any = None
) -> Any:
    X, dtype = _checked(transport, X, out)
    part = Part(copy.copy(transport), method)
    if n_draws is not None:
        check_count(n_draws, "n_draws")
        part.n_draws, part.seed = n_draws, int(as_random_state(random_state).randint(2**31))
    if hasattr(X, "map_partitions"):
        return X.map_partitions(part.frame, meta=dict.fromkeys(X.columns, dtype))
    if n_draws is None:
        return X.map_blocks(part, dtype=dtype, meta=np.empty((0, 0), dtype=dtype))
    chunks, meta = ((n_draws,), *X.chunks), np.empty((0, 0, 0), dtype=dtype)
    return X.map_blocks(part, dtype=dtype, new_axis=0, chunks=chunks, meta=meta)


class Part:
    """Function that maps the rows of one part.

    Parameters
    ----------
    transport : estimator
    method : str
    """

    def __init__(self, transport: Any, method: str) -> None:
        self.transport, self.method = transport, method
        self.n_draws: int | None = None
        self.seed = 0

    def __call__(self, rows: Any, block_id: Any = None) -> np.ndarray:
        """Map a block of an array."""
        number = max(block_id) if block_id else 0  # its other entries are 0
        if len(rows) == 0:
            shape = rows.shape if self.n_draws is None else (self.n_draws, *rows.shape)
            return np.empty(shape, dtype=np.float32 if np.asarray(rows).dtype == np.float32 else np.float64)
        options = {}
        if self.n_draws is not None:
            seed = int(np.random.SeedSequence([self.seed, number]).generate_state(1)[0])
            options = {"n_draws": self.n_draws, "random_state": seed}
        return np.asarray(getattr(self.transport, self.method)(rows, **options))

    def frame(self, rows: Any, partition_info: Any = None) -> Any:
        """Map a partition of a data frame."""
        images, index = self(rows, (partition_info["number"],) if partition_info else None), rows.index
        if images.ndim == 3:  # the draws of a row follow each other
            images, index = images.swapaxes(0, 1).reshape(-1, images.shape[2]), index.repeat(len(images))
        return type(rows)(images, index=index, columns=rows.columns)


def _checked(transport: Any, X: Any, out: Any) -> tuple[Any, type[np.floating]]:
    """Return the rows, undivided in the blocks, and their dtype."""
    if out is not None:
        raise ValueError("out must be None for a dask array or data frame, whose images are computed on demand")
    with naming("X"):
        if X.ndim != 2 or X.shape[1] != transport.n_features_in_:
            found = f"{X.ndim} dimensions" if X.ndim != 2 else f"{X.shape[1]} features"
            raise ValueError(f"{found}, but the fit had {transport.n_features_in_} features")
    dtypes = set(X.dtypes) if hasattr(X, "dtypes") else {X.dtype}
    dtype = np.float32 if dtypes == {np.dtype(np.float32)} else np.float64
    return X if hasattr(X, "dtypes") else X.rechunk({1: -1}), dtype
