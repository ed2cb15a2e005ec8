"""Validation of samples."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import check_array
from sklearn.utils.validation import validate_data

from neuralot.estimators.checks import as_array, check_domains, naming, pick_target, refuse_second_target
from neuralot.estimators.laws import Law, Laws
from neuralot.sampling import check_weights

DTYPES = (np.float64, np.float32)


class Samples(BaseEstimator):
    """Mixin that validates samples and converts them to laws."""

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
    ) -> Laws:
        """Return the weighted source and target samples."""
        v, w = sample_weight, sample_weight_target
        if sample_domain is None:
            target, name = pick_target(y, X_target)
            source = self._check_source(X, reset=reset)
            target_law = self._check_target_law(target, name, w)
            return Law(source, check_weights(v, "sample_weight", len(source))), target_law
        refuse_second_target(y, X_target, w)
        rows = self._check_source(X, reset=reset)
        is_source = check_domains(sample_domain, len(rows))
        weights = check_weights(v, "sample_weight", len(rows))
        v, w = (
            check_weights(weights[chosen], f"sample_weight of the {name} rows", chosen.sum())
            for chosen, name in ((is_source, "source"), (~is_source, "target"))
        )
        return Law(rows[is_source], v), Law(rows[~is_source], w)

    def _check_target_law(self, target: Any, name: str, weights: Any) -> Law:
        """Return a weighted target sample."""
        rows = self._check_target(target, name)
        return Law(rows, check_weights(weights, "sample_weight_target", len(rows)))

    def _check_source(self, X: Any, *, reset: bool) -> np.ndarray:
        with naming("X"):
            return validate_data(self, as_array(X), reset=reset, dtype=DTYPES, order="C")

    def _check_target(self, target: Any, name: str) -> np.ndarray:
        with naming(name):
            rows = check_array(as_array(target), dtype=DTYPES, order="C", estimator=self, input_name=name)
        if rows.shape[1] != self.n_features_in_:
            raise ValueError(
                f"{name} has {rows.shape[1]} features, but the source has {self.n_features_in_}; pass target rows with "
                f"the same columns as X"
            )
        if hasattr(self, "feature_names_in_") and hasattr(target, "columns"):
            with naming(name):
                validate_data(self, target, reset=False, skip_check_array=True)  # checks the column names
        return rows
