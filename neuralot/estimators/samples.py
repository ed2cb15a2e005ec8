"""Validation of samples."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import check_array
from sklearn.utils.validation import validate_data

from neuralot.estimators.batches import is_arrow, is_stream
from neuralot.estimators.checks import (
    as_array,
    as_type_of,
    check_domains,
    check_out,
    naming,
    pick_target,
    refuse_second_target,
    refuse_stream,
)
from neuralot.estimators.conditions import Conditions
from neuralot.estimators.laws import Law, Laws
from neuralot.estimators.matching import matched
from neuralot.estimators.reservoir import Check, law_of_stream, sample_size
from neuralot.estimators.units import Units
from neuralot.estimators.warn import warn_of_conditions
from neuralot.sampling import check_weights
from neuralot.solve.distributed import current

DTYPES = (np.float64, np.float32)


class Samples(BaseEstimator):
    """Mixin that validates samples and converts them to laws."""

    # whether the fit needs all rows of the target at once
    _keeps_target: ClassVar[bool] = False
    units_: Units
    # None without the parameter `condition`
    _conditions: Conditions | None = None

    def _check_laws(
        self,
        X: Any,
        y: Any,
        X_target: Any,
        sample_domain: Any,
        sample_weight: Any,
        sample_weight_target: Any,
        *,
        reset: bool,
        streams: bool = False,
    ) -> Laws:
        """Return the weighted source and target samples.

        Streams are accepted with `streams` only. If there are conditions, the target has the source's law of them.
        """
        laws = self._separate_laws(
            X, y, X_target, sample_domain, sample_weight, sample_weight_target, reset=reset, streams=streams
        )
        return laws if self._conditions is None else matched(laws, self._conditions)

    def _separate_laws(
        self,
        X: Any,
        y: Any,
        X_target: Any,
        sample_domain: Any,
        sample_weight: Any,
        sample_weight_target: Any,
        *,
        reset: bool,
        streams: bool,
    ) -> Laws:
        """Return the weighted samples as they are."""
        v, w = sample_weight, sample_weight_target
        if sample_domain is None:
            target, name = pick_target(y, X_target)
            if streams and reads_in_batches(X, v, "sample_weight"):
                source = self._law_of_stream(X, "X", self._check_batch)
            else:
                rows = self._check_source(X, reset=reset)
                source = Law(rows, check_weights(v, "sample_weight", len(rows)))
            if streams and reads_in_batches(target, w, "sample_weight_target"):
                return source, self._law_of_stream(target, name, lambda rows, _: self._check_target(rows, name))
            return source, self._check_target_law(target, name, w)
        refuse_second_target(y, X_target, w)
        rows = self._check_source(X, reset=reset)
        is_source = check_domains(sample_domain, len(rows))
        weights = check_weights(v, "sample_weight", len(rows))
        v, w = (
            check_weights(weights[chosen], f"sample_weight of the {name} rows", chosen.sum())
            for chosen, name in ((is_source, "source"), (~is_source, "target"))
        )
        return Law(rows[is_source], v), Law(rows[~is_source], w)

    def _law_of_stream(self, X: Any, name: str, check: Check) -> Law:
        """Return a sample of a stream.

        The first pass ends after a quarter of `max_time`.
        """
        is_target = name != "X"
        keeper = type(self).__name__ if is_target and self._keeps_target else None
        max_time = None if self.max_time is None else self.max_time / 4
        return law_of_stream(X, name, check, int(is_target), max_time, keeper)

    def _check_target_law(self, target: Any, name: str, weights: Any) -> Law:
        """Return a weighted target sample."""
        rows = self._check_target(target, name)
        return Law(rows, check_weights(weights, "sample_weight_target", len(rows)))

    def _check_source(self, X: Any, *, reset: bool) -> np.ndarray:
        rows = self._check_batch(X, reset)
        if self._conditions is not None and not reset:
            warn_of_conditions(rows, self.units_, self._conditions)
        return rows

    def _check_batch(self, X: Any, reset: bool) -> np.ndarray:
        """Return source rows, the first of a sample with `reset`."""
        with naming("X"):
            X = self._as_table(X)
        if reset:
            self._set_conditions(X)
        conditions, options = self._conditions, {"dtype": DTYPES, "order": "C"}
        if conditions is None or not conditions.categories:
            with naming("X", X):
                rows = validate_data(self, X, reset=reset, **options)
        else:
            with naming("X"):
                validate_data(self, X, reset=reset, skip_check_array=True)
            rows = self._with_codes(X, "X")
        return rows

    def _as_table(self, X: Any) -> Any:
        """Return rows; batches of Arrow with conditions as data frames."""
        refuse_stream(X)
        X = as_array(X)
        return X.to_pandas() if getattr(self, "condition", None) is not None and is_arrow(X) else X

    def _set_conditions(self, X: Any) -> None:
        """Set the conditions of a fit, from the source rows."""
        condition = getattr(self, "condition", None)
        if condition is None or len(getattr(X, "shape", ())) != 2:  # scikit-learn's checks raise for other arrays
            if self._conditions is not None:
                self._conditions = None
            return
        found, previous = Conditions.of(X, condition), self._conditions
        keeps = previous is not None and np.array_equal(previous.columns, found.columns)
        if not (getattr(self, "warm_start", False) and keeps):  # a warm start keeps the codes of categories
            self._conditions = found

    @property
    def _has_categories(self) -> bool:
        return self._conditions is not None and bool(self._conditions.categories)

    def _with_codes(self, X: Any, name: str) -> np.ndarray:
        """Return rows with codes in place of categories."""
        assert self._conditions is not None
        rows = self._conditions.encoded(X, name)
        with naming(name, X, self._conditions.categories):
            return check_array(rows, dtype=DTYPES, order="C", estimator=self, input_name=name)

    def _check_out(self, out: np.ndarray | None, shape: tuple[int, ...], rows: np.ndarray) -> np.ndarray:
        """Return the array for images; without categories only."""
        if out is not None and self._has_categories:
            raise ValueError("out must be None for rows with categories, whose images are not an array of numbers")
        return check_out(out, shape, rows)

    def _like(self, X: Any, rows: np.ndarray) -> Any:
        """Return images in the type of `X`."""
        if not self._has_categories:
            return as_type_of(X, rows)
        assert self._conditions is not None
        return self._conditions.labelled(as_array(X), rows)

    @property
    def _column_names(self) -> np.ndarray:
        return np.asarray(getattr(self, "feature_names_in_", range(self.n_features_in_)))

    def _check_target(self, target: Any, name: str) -> np.ndarray:
        with naming(name):
            target = self._as_table(target)
        if self._has_categories and getattr(target, "shape", ())[1:] == (self.n_features_in_,):
            rows = self._with_codes(target, name)
        else:
            with naming(name, target):
                rows = check_array(target, dtype=DTYPES, order="C", estimator=self, input_name=name)
        if rows.shape[1] != self.n_features_in_:
            raise ValueError(
                f"{name} has {rows.shape[1]} features, but the source has {self.n_features_in_}; pass target rows with "
                f"the same columns as X"
            )
        if hasattr(self, "feature_names_in_") and hasattr(target, "columns"):
            with naming(name):
                validate_data(self, target, reset=False, skip_check_array=True)  # checks the column names
        return rows


def reads_in_batches(X: Any, weights: Any, name: str) -> bool:
    """Return whether a fit reads rows in batches.

    It reads streams so, unless they are arrays with weights or no longer than a sample of a stream. Weights of other
    streams raise a ValueError; `name` is that of the weights.
    """
    if not is_stream(X):
        return False
    if current().size > 1:  # each process has the same rows
        if not hasattr(X, "__array__"):
            sample = "the source" if name == "sample_weight" else "the target"
            raise ValueError(
                f"{sample} must be an array in a fit that several processes share, got {type(X).__name__}; pass a "
                f"numpy.memmap, or fit in one process"
            )
        return False
    if weights is not None and not hasattr(X, "__array__"):
        raise ValueError(f"{name} must be None for a stream of batches; pass arrays, or repeat rows of large weight")
    is_short = isinstance(X, np.memmap) and len(X) <= sample_size(X.shape[1])
    return weights is None and not is_short
