"""Transport between two domains as a step of a pipeline."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import OneToOneFeatureMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from neuralot.adaptation.checks import check_direction
from neuralot.adaptation.moving import DOMAIN, Mover
from neuralot.estimators.base import BaseTransport
from neuralot.estimators.checks import check_domains, unchanged_on_error
from neuralot.sampling import check_weights


class TransportAdapter(OneToOneFeatureMixin, TransformerMixin, Mover):
    """Transformer that moves the rows of one domain to another.

    It is a step for pipelines with domain labels, such as those of skada. `transform` moves source rows with
    ``direction='source_to_target'``, otherwise target rows, and does not change the other rows. Without `sample_domain`
    all rows are target rows, as in prediction.

    Parameters
    ----------
    transport : SNOTTransport, OTPTransport or another transport of this package
    direction : {'source_to_target', 'target_to_source'}, default='source_to_target'

    Attributes
    ----------
    transport_ : estimator
        The fitted clone of `transport`.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features,)
        If `X` has column names.

    Examples
    --------
    >>> import numpy as np
    >>> from neuralot import SNOTTransport, TransportAdapter
    >>> X = np.random.default_rng(0).normal(size=(200, 2))
    >>> domain = np.repeat([1, -2], 100)
    >>> X[domain < 0] += 5
    >>> adapter = TransportAdapter(SNOTTransport(max_iter=50, random_state=0)).fit(X, sample_domain=domain)
    >>> bool((adapter.transform(X, sample_domain=domain).mean(axis=0) > 4).all())
    True
    >>> bool((adapter.transform(X[100:]) == X[100:]).all())
    True
    """

    __metadata_request__fit = DOMAIN | {"sample_weight": True}
    __metadata_request__transform = DOMAIN

    def __init__(self, transport: BaseTransport, *, direction: str = "source_to_target") -> None:
        self.transport = transport
        self.direction = direction

    def fit(self, X: Any, y: Any = None, *, sample_domain: Any = None, sample_weight: Any = None) -> TransportAdapter:
        """Fit the transport between the domains.

        Parameters
        ----------
        X : array-like of shape (n, n_features)
            Rows of both domains.
        y : ignored
        sample_domain : array-like of shape (n,)
            Above 0 for source rows, below 0 for target rows.
        sample_weight : array-like of shape (n,), optional

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If `sample_domain` is missing or does not contain both domains, or if `direction` is unknown.
        """
        with unchanged_on_error(self):
            check_direction(self.direction)
            rows = self._check_rows(X, reset=True)
            if sample_domain is None:
                raise ValueError(
                    "sample_domain is missing: pass one number per row, above 0 for source rows and below 0 for target "
                    "rows"
                )
            is_source = check_domains(sample_domain, len(rows))
            v = w = None
            if sample_weight is not None:
                weights = check_weights(sample_weight, "sample_weight", len(rows))
                v, w = weights[is_source], weights[~is_source]
            self._fit_transport(rows[is_source], rows[~is_source], v, w)
        return self

    def fit_transform(
        self, X: Any, y: Any = None, *, sample_domain: Any = None, sample_weight: Any = None
    ) -> np.ndarray:
        """Fit the transport and move the rows of one domain.

        The parameters are those of `fit`.
        """
        self.fit(X, y, sample_domain=sample_domain, sample_weight=sample_weight)
        return self.transform(X, sample_domain=sample_domain)

    def transform(self, X: Any, *, sample_domain: Any = None) -> np.ndarray:
        """Move the rows of one domain.

        Parameters
        ----------
        X : array-like of shape (k, n_features)
        sample_domain : array-like of shape (k,), optional
            Above 0 for source rows, below 0 for target rows; all are target rows when None.

        Returns
        -------
        ndarray of shape (k, n_features)
        """
        check_is_fitted(self)
        rows = self._check_rows(X)
        return self._to_destination(rows, self._source_mask(sample_domain, len(rows)))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
