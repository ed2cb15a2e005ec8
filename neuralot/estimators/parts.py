"""Rows of a condition, or of a range, for reports."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from neuralot.estimators.conditions import ALL, Conditions, groups
from neuralot.estimators.laws import Laws
from neuralot.estimators.matching import are_discrete

# a range of conditions has at least so many rows of each sample, and there are at most so many ranges
ROWS_PER_RANGE, MAX_RANGES = 100, 4


class Part(NamedTuple):
    """Rows under one condition.

    Attributes
    ----------
    name : str
        The condition, or the range of conditions, as text.
    row : ndarray of shape (n_columns,)
        A row with the condition.
    X, Y : ndarray of shape (n, n_moved), (m, n_moved)
        Moved columns.
    v, w : ndarray of shape (n,), (m,)
        Weights.
    indices : pair of ndarray of int, shapes (n,) and (m,)
        Indices of the rows in the samples.
    """

    name: str
    row: np.ndarray
    X: np.ndarray
    Y: np.ndarray
    v: np.ndarray
    w: np.ndarray
    indices: tuple[np.ndarray, np.ndarray]


def parts_of(laws: Laws, conditions: Conditions) -> Iterator[Part]:
    """Yield the rows of each condition.

    Numbers with fewer than ten rows per value are divided into ranges: each combination of categories is divided at the
    medians of the numbers, into at most 4 ranges with 100 rows or more. In a range, rows are moved to its mean
    condition, by a linear regression of the moved columns on the numbers.
    """
    s, t = (law.rows[:, conditions.columns].astype(np.float64) for law in laws)
    numbers = conditions.levels == 0
    discrete = not numbers.any() or are_discrete(s, t)
    chosen = ALL if discrete else ~numbers
    for value, of_source, of_target in groups(s[:, chosen], t[:, chosen]):
        if not (len(of_source) and len(of_target)):
            continue
        name = conditions.text(value, chosen)
        if discrete:
            yield _part(name, laws, conditions, of_source, of_target)
            continue
        for i, j in _ranges(s[:, numbers], t[:, numbers], of_source, of_target, MAX_RANGES):
            part = _part("", laws, conditions, i, j)
            centre = np.average(s[i], axis=0, weights=part.v) if part.v.any() else s[i].mean(axis=0)
            row = part.row.copy()
            row[conditions.columns[numbers]] = centre[numbers]
            X, Y = (
                _moved_to(centre[numbers], rows, each[:, numbers]) for rows, each in ((part.X, s[i]), (part.Y, t[j]))
            )
            ranges = [
                f"{each} in [{column.min():.4g}, {column.max():.4g}]"
                for each, column in zip(conditions.names[numbers], s[i][:, numbers].T, strict=True)
            ]
            yield Part(", ".join([name] * bool(name) + ranges), row, X, Y, part.v, part.w, (i, j))


def _part(name: str, laws: Laws, conditions: Conditions, *indices: np.ndarray) -> Part:
    row, (i, j) = laws[0].rows[indices[0][0]], indices
    X, Y = (law.rows[each][:, conditions.moved] for law, each in zip(laws, indices, strict=True))
    v, w = (law.weights[each] for law, each in zip(laws, indices, strict=True))
    return Part(name, row, X, Y, v, w, (i, j))


def _ranges(
    s: np.ndarray, t: np.ndarray, i: np.ndarray, j: np.ndarray, n_ranges: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield indices of the rows of each range.

    `i` and `j` are divided at the median of the number with the largest range, relative to that of all rows.
    """
    k = int(np.argmax(np.ptp(s[i], axis=0) / np.maximum(np.ptp(s, axis=0), np.finfo(float).tiny)))
    cut = np.median(s[i, k])
    low, high = ((i[s[i, k] <= cut], j[t[j, k] <= cut]), (i[s[i, k] > cut], j[t[j, k] > cut]))
    if n_ranges == 1 or min(map(len, [*low, *high])) < ROWS_PER_RANGE:
        yield i, j
        return
    yield from _ranges(s, t, *low, n_ranges // 2)
    yield from _ranges(s, t, *high, n_ranges // 2)


def _moved_to(centre: np.ndarray, rows: np.ndarray, s: np.ndarray) -> np.ndarray:
    """Move rows with the numbers `s` to the numbers `centre`."""
    inputs = np.hstack([np.ones((len(s), 1)), s - centre])
    coefficients = np.linalg.lstsq(inputs, rows.astype(np.float64), rcond=None)[0]
    return (rows - (s - centre) @ coefficients[1:]).astype(rows.dtype)
