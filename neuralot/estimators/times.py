"""Samples at several times: validation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from neuralot._torch import as_numpy
from neuralot.estimators.interpolation import check_times
from neuralot.parameters import is_number
from neuralot.sampling import check_weights

MIN_ROWS = 2  # of a sample


@dataclass(frozen=True)
class Snapshots:
    """Weighted samples at increasing times.

    Attributes
    ----------
    times : ndarray of shape (n_times,)
    samples : list of ndarray of shape (n_rows, n_features)
    weights : list of (ndarray of shape (n_rows,) or None)
    """

    times: np.ndarray
    samples: list[np.ndarray]
    weights: list[Any]

    @property
    def masses(self) -> np.ndarray:
        """Total weight of each sample, of shape (n_times,)."""
        pairs = zip(self.samples, self.weights, strict=True)
        return np.array([len(rows) if weights is None else weights.sum() for rows, weights in pairs], dtype=np.float64)


def pick_time(y: Any, time: Any) -> Any:
    """Return the times, passed in one of two ways."""
    if time is not None and y is not None:
        raise ValueError("y and time are both times; pass only one of them")
    if time is None and y is None:
        raise ValueError("time is missing: pass one time per row of X, or one per sample if X is a list of samples")
    return y if time is None else time


def without_time(X: Any, time: Any) -> tuple[Any, Any]:
    """Separate rows and times, if `time` names a column.

    Other times are returned as they are.
    """
    if not isinstance(time, str):
        return X, time
    columns = list(getattr(X, "columns", []))
    if columns.count(time) != 1:
        raise ValueError(f"time must be times, or the name of a column of a data frame X, got {time!r}")
    return X[[name for name in columns if name != time]], X[time]


def rows_of_time(X: Any, column: str | None, start: float) -> Any:
    """Return rows without their column of times.

    Raises a ValueError if it has other times than `start`.
    """
    if column is None or column not in list(getattr(X, "columns", [])):
        return X
    X, found = without_time(X, column)
    if not (times := np.unique(np.asarray(found))).tolist() == [start]:
        raise ValueError(
            f"X must have rows of one time, t_start={start:g}, but its column {column!r} has the times "
            f"{times[:5].tolist()}; pass the rows of one time, and this time as t_start"
        )
    return X


def is_list_of_samples(X: Any) -> bool:
    """Return whether `X` is a list of two-dimensional samples."""
    return isinstance(X, (list, tuple)) and any(len(_shape(each)) >= 2 for each in X)


def _shape(rows: Any) -> tuple[int, ...]:
    try:
        return tuple(rows.shape) if hasattr(rows, "shape") else np.shape(rows)
    except ValueError:  # a ragged list
        return ()


def stacked_snapshots(rows: np.ndarray, time: Any, sample_weight: Any) -> Snapshots:
    """Split rows by their times."""
    times = _check_values(time, len(rows), "row of X")
    weights = None if sample_weight is None else check_weights(sample_weight, "sample_weight", len(rows))
    distinct = np.unique(times)
    if len(distinct) < 2:
        raise ValueError(
            f"time must have at least two different values, got only {distinct[0]:g} (n_samples = {len(rows)})"
        )
    samples, split = [], []
    for each in distinct:
        is_chosen = times == each
        samples.append(_check_rows(rows[is_chosen], each))
        split.append(None if weights is None else _weights_at(weights[is_chosen], each, len(samples[-1])))
    return Snapshots(distinct, samples, split)


def listed_snapshots(X: Any, check: Callable[[Any, int], np.ndarray], time: Any, sample_weight: Any) -> Snapshots:
    """Validate a list of samples.

    `check` validates the rows of one sample, whose index in the list is its second argument.
    """
    samples = [check(rows, k) for k, rows in enumerate(X)]
    times = _check_values(time, len(samples), "sample in X")
    if len(samples) < 2 or (np.diff(times) <= 0).any():
        raise ValueError(f"time must contain at least two increasing times, got {times.tolist()}")
    if sample_weight is None:
        return Snapshots(times, [_check_rows(*each) for each in zip(samples, times, strict=True)], [None] * len(times))
    if not isinstance(sample_weight, (list, tuple)) or len(sample_weight) != len(samples):
        raise ValueError(f"sample_weight must be a list of {len(samples)} arrays, one per sample in X")
    weights = [_weights_at(w, t, len(rows)) for w, t, rows in zip(sample_weight, times, samples, strict=True)]
    return Snapshots(times, [_check_rows(*each) for each in zip(samples, times, strict=True)], weights)


def _check_values(time: Any, n_values: int, each: str) -> np.ndarray:
    times = as_numpy(time, "time")
    if times.dtype.kind not in "iuf" or times.shape != (n_values,):
        raise ValueError(
            f"time must contain one number per {each}, got {times.dtype} of shape {times.shape} for {n_values}; "
            f"pass numbers, for example days instead of dates"
        )
    if not np.isfinite(times).all():
        raise ValueError("time must be finite, got NaN or infinity; remove these rows")
    return times.astype(np.float64)


def _check_rows(rows: np.ndarray, time: float) -> np.ndarray:
    if len(rows) < MIN_ROWS:
        raise ValueError(
            f"time {time:g} has {len(rows)} row, but each time needs at least {MIN_ROWS}; rows with equal times form a "
            f"sample, so round times that are all different"
        )
    return rows


def _weights_at(weights: Any, time: float, n_rows: int) -> np.ndarray:
    return check_weights(weights, f"sample_weight at time {time:g}", n_rows)


def check_start(t_start: Any, times: np.ndarray) -> int:
    """Return the index of a fitted time."""
    if t_start is None:
        return 0
    found = np.flatnonzero(times == float(t_start)) if is_number(t_start) else np.empty(0)
    if not len(found):
        raise ValueError(f"t_start must be one of the times of the fit, {times.tolist()}, got {t_start!r}")
    return int(found[0])


def check_time(t: Any, times: np.ndarray) -> float:
    """Return a time within the range of the fit."""
    checked = check_times(times[-1] if t is None else t, times[0], times[-1])
    if checked.ndim:
        raise ValueError(f"t must be a number from {times[0]:g} to {times[-1]:g}, got an array; see interpolate")
    return float(checked)
