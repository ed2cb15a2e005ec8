"""Columns that are conditions, and the categories among them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from sklearn.preprocessing import OrdinalEncoder

from neuralot.parameters import is_integer
from neuralot.sampling import listed

# names of the types of categories in pandas and polars
CATEGORICAL = ("category", "categorical", "enum")
ALL = slice(None)

T = TypeVar("T", bound=Any)


@dataclass(frozen=True)
class Conditions:
    """Columns that are conditions.

    A column is a category if its type is categorical or its values are not numbers, and otherwise a number. The rows of
    a fit have the codes 0, 1, ... of categories, in sorted order.

    Attributes
    ----------
    columns : ndarray of int
        Indices of the columns that are conditions.
    moved : ndarray of int
        Indices of the other columns.
    names : ndarray of shape (n_columns,)
        Names of the conditions, or their indices.
    categories : dict of str to ndarray
        Sorted categories by the index of the column, for the columns that are categories.
    """

    columns: np.ndarray
    moved: np.ndarray
    names: np.ndarray
    categories: dict[str, np.ndarray]

    @classmethod
    def of(cls, X: Any, condition: Any) -> Conditions:
        """Return the conditions of source rows.

        `condition` is the parameter of the estimator. Raises a ValueError if `X` does not have its columns.
        """
        n_columns = X.shape[1]
        columns = [_index_of(each, X, n_columns) for each in _as_list(condition)]
        if len(set(columns)) < len(columns):
            raise ValueError(f"condition must contain each column once, got {condition!r}")
        if len(columns) == n_columns:
            raise ValueError(f"condition must leave at least one column of X to move, got all {n_columns} columns")
        moved = np.setdiff1d(np.arange(n_columns), columns)
        names = np.array([name_of(X, j) for j in columns], dtype=object)
        categories = {
            str(j): _categories(column_of(X, j), name)
            for j, name in zip(columns, names, strict=True)
            if _is_categorical(column_of(X, j))
        }
        return cls(np.array(columns), moved, names, categories)

    @property
    def levels(self) -> np.ndarray:
        """Number of categories of each condition; 0 for numbers."""
        return np.array([len(self.categories.get(str(j), ())) for j in self.columns])

    def n_combinations(self, rows: np.ndarray) -> int:
        """Return the number of combinations of categories in rows."""
        return len(np.unique(rows[:, self.columns[self.levels > 0]], axis=0))

    def text(self, value: np.ndarray, chosen: slice | np.ndarray = ALL) -> str:
        """Return a condition as text, such as ``drug='a', dose=1``.

        `value` has the codes and numbers of the `chosen` conditions.
        """
        texts = []
        for j, name, each in zip(self.columns[chosen], self.names[chosen], value, strict=True):
            categories = self.categories.get(str(j))
            texts.append(f"{name}={each:g}" if categories is None else f"{name}={categories[int(each)]!r}")
        return ", ".join(texts)

    def encoded(self, X: Any, argument: str) -> np.ndarray:
        """Return rows with the codes of their categories.

        Raises a ValueError that names the argument for values that are not categories of the fit.
        """
        codes = {int(j): self._codes(X, int(j), argument) for j in self.categories}
        columns = [codes[j] if j in codes else np.asarray(column_of(X, j)) for j in range(X.shape[1])]
        are_numbers = all(column.dtype.kind in "biuf" for column in columns)
        return np.column_stack([column if are_numbers else column.astype(object) for column in columns])

    def labelled(self, X: Any, rows: np.ndarray) -> Any:
        """Return images of rows `X` with their categories.

        The result is a data frame like `X` if `X` is one of pandas or polars and the images have two dimensions, and
        otherwise an array of objects.
        """
        if hasattr(X, "iloc") and rows.ndim == 2:
            frame = X.copy()
            for j in self.moved:
                frame[X.columns[j]] = rows[:, j]
            return frame
        if hasattr(X, "with_columns") and rows.ndim == 2:
            series = type(X.to_series(0))
            return X.with_columns([series(X.columns[j], rows[:, j]) for j in self.moved])
        labelled = rows.astype(object)
        for j in map(int, self.categories):
            labelled[..., j] = np.asarray(column_of(X, j))
        return labelled

    def _codes(self, X: Any, j: int, argument: str) -> np.ndarray:
        known = self.categories[str(j)]
        name = self.names[self.columns == j][0]
        values = _as_objects(column_of(X, j), name)
        encoder = OrdinalEncoder(categories=[known], handle_unknown="use_encoded_value", unknown_value=-1)
        codes = encoder.fit(known[:, None]).transform(values[:, None])[:, 0]
        if (codes < 0).any():
            unknown = sorted(set(map(str, values[codes < 0])))
            raise ValueError(
                f"{argument} has categories in the condition {name!r} that are not in the source of the fit: "
                f"{listed(unknown)}; the fit has {listed(list(known))}. Leave these rows out, or fit with rows of them"
            )
        return codes.astype(np.float32)  # exact, and no reason to compute in float64


def groups(source: np.ndarray, target: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield distinct rows of two arrays.

    With each come the indices of the rows that are equal to it, in both arrays.
    """
    values, codes = np.unique(np.vstack([source, target]), axis=0, return_inverse=True)
    order = np.argsort(codes.ravel(), kind="stable")
    ends = np.cumsum(np.bincount(codes.ravel()))
    for value, indices in zip(values, np.split(order, ends[:-1]), strict=True):
        yield value, indices[indices < len(source)], indices[indices >= len(source)] - len(source)


def check_by_index(transport: Any, owner: str) -> None:
    """Raise a ValueError if a transport names its conditions.

    `owner` is the estimator that passes arrays to it.
    """
    condition = getattr(transport, "condition", None)
    if condition is not None and any(isinstance(each, str) for each in _as_list(condition)):
        raise ValueError(
            f"transport has condition={condition!r}, but {owner} passes arrays without names to it: give the indices "
            f"of columns of numbers, and encode categories first"
        )


def with_positive_indices(transport: T, n_columns: int) -> T:
    """Replace negative indices of conditions, before columns are appended."""
    condition = getattr(transport, "condition", None)
    if condition is not None:
        indices = [int(j) % n_columns if is_integer(j, -n_columns, -1) else j for j in _as_list(condition)]
        transport.set_params(condition=indices)
    return transport


def _as_list(condition: Any) -> list[Any]:
    return list(condition) if isinstance(condition, (list, tuple)) else [condition]


def _index_of(condition: Any, X: Any, n_columns: int) -> int:
    """Return the index of a column."""
    if is_integer(condition, -n_columns, n_columns - 1):
        return int(condition) % n_columns
    names = [str(name) for name in getattr(X, "columns", ())]
    if isinstance(condition, str) and condition in names:
        return names.index(condition)
    valid = f"the columns are {listed(names)}" if names else "X has no column names: pass indices"
    raise ValueError(f"condition must name columns of X or be indices below {n_columns}, got {condition!r}; {valid}")


def name_of(X: Any, j: int) -> Any:
    """Return the name of a column, or its index."""
    return str(X.columns[j]) if hasattr(X, "columns") else j


def column_of(X: Any, j: int) -> Any:
    """Return a column of an array or data frame."""
    if hasattr(X, "iloc"):
        return X.iloc[:, j]
    return X[X.columns[j]] if hasattr(X, "columns") else X[:, j]


def _is_categorical(column: Any) -> bool:
    """Return whether the values of a column are categories."""
    if str(column.dtype).lower().startswith(CATEGORICAL):
        return True
    values = np.asarray(column)
    return values.dtype.kind in "SU" or (values.dtype.kind == "O" and any(isinstance(each, str) for each in values))


def _categories(column: Any, name: Any) -> np.ndarray:
    values: Iterable[Any] = set(_as_objects(column, name).tolist())
    try:
        return np.array(sorted(values), dtype=object)
    except TypeError:
        raise ValueError(
            f"the condition {name!r} must have categories of one type, got {listed(list(values))}"
        ) from None


def _as_objects(column: Any, name: Any) -> np.ndarray:
    """Return the values of a category, none missing."""
    values = np.asarray(column).astype(object)
    is_missing = np.array([value is None or value != value for value in values])
    if is_missing.any():
        raise ValueError(
            f"the condition {name!r} has {is_missing.sum()} missing values; replace them by a category of their own, "
            f"or leave these rows out"
        )
    return values
