"""Prediction of target rows from labelled source rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, MetaEstimatorMixin, clone, is_classifier
from sklearn.utils import get_tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted, has_fit_parameter

from neuralot.adaptation.checks import (
    check_class_reg,
    check_direction,
    check_labels,
    check_predicts,
    check_self_training,
    check_targets,
    select_labels,
)
from neuralot.adaptation.moving import DOMAIN, Mover
from neuralot.estimators.base import METADATA, BaseTransport
from neuralot.estimators.checks import check_domains, refuse_second_target, unchanged_on_error
from neuralot.estimators.conditions import check_by_index, with_positive_indices
from neuralot.estimators.warn import warn_of_lost_domains, warn_of_masked_labels, warn_of_unused_weights
from neuralot.sampling import check_weights

N_ROUNDS = 2


def _estimator_has(method: str) -> Callable[[DomainAdapter], bool]:
    def check(adapter: DomainAdapter) -> bool:
        getattr(adapter.estimator_ if hasattr(adapter, "estimator_") else adapter.estimator, method)
        return True

    return check


class DomainAdapter(MetaEstimatorMixin, Mover):
    """Classifier or regressor for the rows of a target domain.

    It is fitted on labelled source rows and unlabelled target rows. With ``direction='source_to_target'`` the source
    rows are moved to the target and the estimator is trained on their images; target rows are predicted without a
    transport. With ``'target_to_source'`` the estimator is trained on the source rows, and target rows are moved to the
    source before prediction.

    `fit` takes the two samples in one of two forms: ``fit(X, y, X_target=Y)``, or stacked,
    ``fit(X, y, sample_domain=s)`` with s > 0 for source rows and s < 0 for target rows, whose labels are ignored.
    Cross-validation requires the stacked form, as it splits the rows of `X` into folds; `score` then uses target rows
    only.

    Parameters
    ----------
    transport : SNOTTransport, OTPTransport or another transport of this package
        If its parameter `unbalanced` lets masses change, as for classes with other frequencies in the target, source
        rows count with their masses in the fit of the estimator, if that accepts weights.
    estimator : classifier or regressor
    direction : {'source_to_target', 'target_to_source'}, default='source_to_target'
    class_reg : float, default=0.0
        Weight of the classes in the transport cost, in units of the standard deviation of the rows. Above 0, the
        transport is fitted twice more, on rows with appended class indicators: labels for source rows, predictions of
        the estimator for target rows. Moving a row to another class then costs more. As in all self-training, wrong
        predictions can be reinforced: accuracy may rise or fall (``benchmarks/README.md``). Only for classifiers with
        ``direction='source_to_target'``.
    self_training : bool, default=False
        Whether to train the estimator once more, on source and target rows, with its own predictions as labels of the
        target rows (``benchmarks/README.md``). Only for classifiers.

    Attributes
    ----------
    transport_ : estimator
        The fitted clone of `transport`, without classes.
    estimator_ : estimator
        The fitted clone of `estimator`.
    classes_ : ndarray
        Classes of the fitted classifier.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features,)
        If `X` has column names.

    References
    ----------
    Courty, Flamary, Tuia and Rakotomamonjy, "Optimal transport for domain adaptation", IEEE TPAMI, 2017.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from neuralot import DomainAdapter, SNOTTransport
    >>> rng = np.random.default_rng(0)
    >>> y = rng.integers(2, size=300)
    >>> X = rng.normal(size=(300, 2)) + 4 * y[:, None]
    >>> X_target = X[:200] * [1, 3] + 5
    >>> adapter = DomainAdapter(SNOTTransport(max_iter=100, random_state=0), LogisticRegression())
    >>> adapter.fit(X, y, X_target=X_target).score(X_target, y[:200]) > 0.95
    True
    """

    __metadata_request__fit = METADATA
    __metadata_request__predict = DOMAIN
    __metadata_request__predict_proba = DOMAIN
    __metadata_request__predict_log_proba = DOMAIN
    __metadata_request__decision_function = DOMAIN
    __metadata_request__score = DOMAIN | {"sample_weight": True}

    def __init__(
        self,
        transport: BaseTransport,
        estimator: BaseEstimator,
        *,
        direction: str = "source_to_target",
        class_reg: float = 0.0,
        self_training: bool = False,
    ) -> None:
        self.transport = transport
        self.estimator = estimator
        self.direction = direction
        self.class_reg = class_reg
        self.self_training = self_training

    def fit(
        self,
        X: Any,
        y: Any,
        *,
        X_target: Any = None,
        sample_domain: Any = None,
        sample_weight: Any = None,
        sample_weight_target: Any = None,
    ) -> DomainAdapter:
        """Fit the transport between the domains, then the estimator.

        Parameters
        ----------
        X : array-like of shape (n, n_features)
            Source rows, or the rows of both domains with `sample_domain`.
        y : array-like of shape (n,)
            Labels. With `sample_domain`, those of target rows are ignored.
        X_target : array-like of shape (m, n_features), optional
            Target rows.
        sample_domain : array-like of shape (n,), optional
            Above 0 for source rows, below 0 for target rows.
        sample_weight : array-like of shape (n,), optional
            Weights of the rows of `X`, for the transport and, for source rows, the estimator, if its `fit` accepts
            weights.
        sample_weight_target : array-like of shape (m,), optional
            Weights of the rows of `X_target`, for the transport.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If there is no target sample or more than one, if labels are missing or not 1-D, if the domains or the
            columns are inconsistent, or if `direction` is unknown. The adapter is then unchanged.
        TypeError
            If `transport` is not a transport of this package.

        Warns
        -----
        UnusedWeightsWarning
            If the `fit` of the estimator does not accept `sample_weight`.
        """
        with unchanged_on_error(self):
            check_direction(self.direction)
            check_predicts(self.estimator)
            check_by_index(self.transport, type(self).__name__)
            check_class_reg(self.class_reg, self.direction, is_classifier(self.estimator))
            check_self_training(self.self_training, is_classifier(self.estimator))
            rows = self._check_rows(X, reset=True)
            labels = check_labels(y, len(rows))
            v = None if sample_weight is None else check_weights(sample_weight, "sample_weight", len(rows))
            if sample_domain is not None:
                refuse_second_target(None, X_target, sample_weight_target)
                is_source = check_domains(sample_domain, len(rows))
                target, w = rows[~is_source], None if v is None else v[~is_source]
                rows, labels, v = rows[is_source], select_labels(labels, is_source), None if v is None else v[is_source]
            elif X_target is not None:
                target, w = self._check_rows(X_target, "X_target"), sample_weight_target
                w = None if w is None else check_weights(w, "sample_weight_target", len(target))
            else:
                raise ValueError(
                    "X_target is missing: pass the target rows as fit(X, y, X_target=Y), or pass sample_domain if X "
                    "contains the rows of both domains"
                )
            check_targets(labels, is_classifier(self.estimator))
            if v is not None and not has_fit_parameter(self.estimator, "sample_weight"):
                warn_of_unused_weights(self.estimator)
            self._stacked = sample_domain is not None
            self._fit_transport(rows, target, v, w)
            images = self._to_destination(rows, np.ones(len(rows), dtype=bool))
            weights = self._weights_in_plan(self.transport_, rows, v)
            self._fit_estimator(images, labels, weights)
            if self.class_reg:
                images, weights = self._fit_with_classes(rows, labels, target, v, w)
            if self.self_training:
                target_images = self._to_destination(target, np.zeros(len(target), dtype=bool))
                self._fit_on_predictions(images, labels, target_images, weights, w)
        return self

    def _fit_on_predictions(self, images: np.ndarray, labels: np.ndarray, target: np.ndarray, v: Any, w: Any) -> None:
        """Fit the estimator again, on source and target rows.

        The labels of the target rows are its predictions.
        """
        predicted = self.estimator_.predict(target)
        weights = None
        if v is not None or w is not None:
            weights = np.concatenate(
                [check_weights(v, "sample_weight", len(images)), check_weights(w, "sample_weight_target", len(target))]
            )
        self._fit_estimator(np.concatenate([images, target]), np.concatenate([labels, predicted]), weights)

    def _fit_with_classes(self, rows: np.ndarray, labels: np.ndarray, target: np.ndarray, v: Any, w: Any) -> Any:
        """Fit transport and estimator again, with class indicators.

        The indicators are columns appended to the rows: of the labels for source rows, of the predictions for target
        rows. Returns the images of the source rows, and their weights.
        """
        deviation = np.sqrt((rows.var(axis=0).sum() + target.var(axis=0).sum()) / 2)

        def append_classes(X: np.ndarray, y: np.ndarray) -> np.ndarray:
            indicators = y[:, None] == self.classes_  # (n, n_classes)
            return np.hstack([X, (self.class_reg * deviation * indicators).astype(X.dtype)])

        source = append_classes(rows, labels)
        for _ in range(N_ROUNDS):
            transport = with_positive_indices(clone(self.transport), rows.shape[1]).set_output(transform="default")
            transport.fit(
                source,
                X_target=append_classes(target, self.estimator_.predict(target)),
                sample_weight=v,
                sample_weight_target=w,
            )
            images = transport.transform(source)[:, : rows.shape[1]]
            weights = self._weights_in_plan(transport, source, v)
            self._fit_estimator(images, labels, weights)
        return images, weights

    def _fit_estimator(self, rows: np.ndarray, labels: np.ndarray, weights: np.ndarray | None) -> None:
        accepts_weights = weights is not None and has_fit_parameter(self.estimator, "sample_weight")
        options = {"sample_weight": weights} if accepts_weights else {}
        self.estimator_ = clone(self.estimator).fit(rows, labels, **options)

    def predict(self, X: Any, *, sample_domain: Any = None) -> np.ndarray:
        """Predict labels.

        Parameters
        ----------
        X : array-like of shape (k, n_features)
            Target rows.
        sample_domain : array-like of shape (k,), optional
            Above 0 for source rows, below 0 for target rows; all are target rows when None.

        Returns
        -------
        ndarray of shape (k,)
        """
        return self._call("predict", X, sample_domain)

    @available_if(_estimator_has("predict_proba"))
    def predict_proba(self, X: Any, *, sample_domain: Any = None) -> np.ndarray:
        """Predict class probabilities, shape (k, n_classes).

        The parameters are those of `predict`.
        """
        return self._call("predict_proba", X, sample_domain)

    @available_if(_estimator_has("predict_log_proba"))
    def predict_log_proba(self, X: Any, *, sample_domain: Any = None) -> np.ndarray:
        """Predict log-probabilities of the classes, shape (k, n_classes).

        The parameters are those of `predict`.
        """
        return self._call("predict_log_proba", X, sample_domain)

    @available_if(_estimator_has("decision_function"))
    def decision_function(self, X: Any, *, sample_domain: Any = None) -> np.ndarray:
        """Return the estimator's decision values.

        The parameters are those of `predict`.
        """
        return self._call("decision_function", X, sample_domain)

    def score(self, X: Any, y: Any, *, sample_weight: Any = None, sample_domain: Any = None) -> float:
        """Return the estimator's score on target rows, accuracy or R^2.

        Parameters
        ----------
        X : array-like of shape (k, n_features)
        y : array-like of shape (k,)
            True labels.
        sample_weight : array-like of shape (k,), optional
        sample_domain : array-like of shape (k,), optional
            Above 0 for source rows, which are ignored, below 0 for target rows; all are target rows when None.

        Returns
        -------
        float

        Warns
        -----
        ScoreWarning
            If `fit` was called with `sample_domain`, this call is not, and metadata routing is disabled: in
            cross-validation, source rows then count as target rows. Or if no label is one of the classes of the fit,
            so that the score says nothing.
        """
        check_is_fitted(self)
        rows = self._check_rows(X)
        labels = check_labels(y, len(rows))
        if sample_domain is None and self._stacked:
            warn_of_lost_domains()
        is_target = ~self._source_mask(sample_domain, len(rows))
        if not is_target.any():
            raise ValueError("sample_domain has no target rows; score requires at least one value below 0")
        labels = select_labels(labels, is_target)
        if is_classifier(self.estimator_) and set(labels.tolist()).isdisjoint(self.classes_.tolist()):
            warn_of_masked_labels(labels, self.classes_)
        rows = self._to_destination(rows[is_target], np.zeros(is_target.sum(), dtype=bool))
        if sample_weight is None:
            return self.estimator_.score(rows, labels)
        weights = check_weights(sample_weight, "sample_weight", len(is_target))[is_target]
        return self.estimator_.score(rows, labels, sample_weight=weights)

    @property
    def classes_(self) -> np.ndarray:
        """Classes of the fitted classifier."""
        check_is_fitted(self)
        return self.estimator_.classes_

    def _call(self, method: str, X: Any, sample_domain: Any) -> np.ndarray:
        check_is_fitted(self)
        rows = self._check_rows(X)
        is_source = self._source_mask(sample_domain, len(rows))
        return getattr(self.estimator_, method)(self._to_destination(rows, is_source))

    def __sklearn_tags__(self) -> Any:
        tags, inner = super().__sklearn_tags__(), get_tags(self.estimator)
        tags.estimator_type = inner.estimator_type
        tags.classifier_tags, tags.regressor_tags = inner.classifier_tags, inner.regressor_tags
        tags.target_tags.required = True
        return tags
