"""Mixins of the estimators: documentation link and report."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted

from neuralot.diagnostics import TransportReport, diagnose


class Documented:
    """Mixin that links the HTML representation to the documentation."""

    _doc_link_module = "neuralot"
    _doc_link_template = "https://neuralot.readthedocs.io/en/latest/generated/neuralot.{name}.html"

    def _doc_link_url_param_generator(self) -> dict[str, str]:
        return {"name": type(self).__name__}


class Reporting:
    """Mixin for a report on held-out rows."""

    def report(
        self,
        X: Any,
        X_target: Any,
        *,
        sample_weight: ArrayLike | None = None,
        sample_weight_target: ArrayLike | None = None,
        max_rows: int = 2000,
    ) -> TransportReport:
        """Diagnose the transport on held-out rows, without ground truth.

        Parameters
        ----------
        X : array-like or Tensor of shape (n, n_features)
            Held-out source rows.
        X_target : array-like or Tensor of shape (m, n_features)
            Held-out target rows.
        sample_weight, sample_weight_target : array-like of shape (n,) and (m,), optional
            Weights of the rows.
        max_rows : int, default=2000
            Rows of each sample that are used, drawn at random.

        Returns
        -------
        TransportReport
            With a ``verdict``; `print` it. See `neuralot.diagnose`.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If a sample or its weights are not valid.
        """
        check_is_fitted(self)
        return diagnose(
            self,
            X,
            X_target,
            sample_weight=sample_weight,
            sample_weight_target=sample_weight_target,
            max_rows=max_rows,
        )
