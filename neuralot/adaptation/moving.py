"""Base class of the domain adapters."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.utils.validation import validate_data

from neuralot.estimators.base import BaseTransport
from neuralot.estimators.checks import as_array, check_domains, naming
from neuralot.estimators.mixins import Documented
from neuralot.estimators.samples import DTYPES

# metadata requested by default from a meta-estimator
DOMAIN = {"sample_domain": True}


class Mover(Documented, BaseEstimator):
    """Base class of estimators that move rows between two domains."""

    transport: BaseTransport
    direction: str
    transport_: BaseTransport

    def _fit_transport(self, source: np.ndarray, target: np.ndarray, v: Any, w: Any) -> None:
        if not isinstance(self.transport, BaseTransport):
            raise TypeError(f"transport must be a transport estimator, such as OTPTransport(), got {self.transport!r}")
        if self.direction == "target_to_source":
            source, target, v, w = target, source, w, v
        transport = clone(self.transport).set_output(transform="default")
        self.transport_ = transport.fit(source, X_target=target, sample_weight=v, sample_weight_target=w)

    def _weights_in_plan(self, transport: BaseTransport, rows: np.ndarray, v: Any) -> Any:
        """Return the weights `v` of source rows, times their masses.

        The result is `v` if the transport is balanced.
        """
        mass = getattr(transport, "source_mass" if self.direction == "source_to_target" else "target_mass", None)
        densities = np.ones(1) if mass is None else mass(rows).astype(np.float64)
        if (densities == 1).all():
            return v
        return densities if v is None else v * densities

    def _to_destination(self, rows: np.ndarray, is_source: np.ndarray) -> np.ndarray:
        """Map rows to the destination domain of `direction`.

        Rows that are already in this domain are unchanged.
        """
        is_mapped = is_source if self.direction == "source_to_target" else ~is_source
        if not is_mapped.any():
            return rows
        images = rows.copy()
        images[is_mapped] = self.transport_.transform(rows[is_mapped])
        return images

    def _check_rows(self, X: Any, name: str = "X", *, reset: bool = False) -> np.ndarray:
        with naming(name):
            X = as_array(X)
        with naming(name, X):
            return validate_data(self, X, reset=reset, dtype=DTYPES, order="C")

    def _source_mask(self, sample_domain: Any, n_rows: int) -> np.ndarray:
        """Return the mask of source rows; none without `sample_domain`."""
        if sample_domain is None:
            return np.zeros(n_rows, dtype=bool)
        return check_domains(sample_domain, n_rows, both=False)
