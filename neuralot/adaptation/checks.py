"""Validation of the adapters' parameters and labels."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from sklearn.utils import column_or_1d
from sklearn.utils.multiclass import check_classification_targets

from neuralot._torch import as_numpy
from neuralot.parameters import is_bool, is_real, is_text

DIRECTIONS = ("source_to_target", "target_to_source")


def check_direction(direction: Any) -> None:
    """Raise a ValueError unless `direction` is one of `DIRECTIONS`."""
    if not is_text(direction, *DIRECTIONS):
        raise ValueError(f"direction must be {' or '.join(map(repr, DIRECTIONS))}, got {direction!r}")


def check_class_reg(class_reg: Any, direction: str, is_classifier: bool) -> None:
    """Raise a ValueError unless `class_reg` is valid.

    It must be a number of at least 0. Values above 0 require a classifier and ``direction='source_to_target'``.
    """
    if not (is_real(class_reg) and 0 <= class_reg < math.inf):
        raise ValueError(f"class_reg must be a number of at least 0, got {class_reg!r}")
    if class_reg and not (is_classifier and direction == DIRECTIONS[0]):
        raise ValueError(
            f"class_reg={class_reg} requires a classifier and direction='source_to_target'; otherwise pass class_reg=0"
        )


def check_predicts(estimator: Any) -> None:
    """Raise a TypeError unless `estimator` has `fit` and `predict`.

    `estimator` must be an instance, not a class.
    """
    if isinstance(estimator, type) or not (hasattr(estimator, "fit") and hasattr(estimator, "predict")):
        raise TypeError(f"estimator must be a classifier or regressor, such as LogisticRegression(), got {estimator!r}")


def check_self_training(self_training: Any, is_classifier: bool) -> None:
    """Raise a ValueError unless `self_training` is a valid bool.

    True requires a classifier.
    """
    if not is_bool(self_training):
        raise ValueError(f"self_training must be True or False, got {self_training!r}")
    if self_training and not is_classifier:
        raise ValueError("self_training=True requires a classifier; otherwise pass self_training=False")


def check_labels(y: Any, n_rows: int) -> np.ndarray:
    """Return labels as an array of shape (n_rows,)."""
    if y is None:
        raise ValueError(
            "y is missing: this method requires y to be passed, but the target y is None; pass one label per row of X"
        )
    labels = as_numpy(y, "y")
    if labels.shape == (n_rows, 1):
        labels = column_or_1d(labels, warn=True)
    if labels.shape != (n_rows,):
        raise ValueError(
            f"y must contain one label per row of X and have shape ({n_rows},), got shape {labels.shape}; pass target "
            f"rows as X_target"
        )
    return labels


def check_targets(labels: np.ndarray, is_classifier: bool) -> None:
    """Raise a ValueError unless an estimator can learn the labels.

    They must be finite, and discrete for a classifier.
    """
    if labels.dtype.kind in "fc" and not np.isfinite(labels).all():
        raise ValueError("y must be finite for source rows, got NaN or infinity")
    if is_classifier:
        try:
            check_classification_targets(labels)
        except ValueError as error:
            raise ValueError(f"y must contain classes: {error}") from error


def select_labels(labels: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Return the labels of the chosen rows.

    The dtype of an object array is inferred again from the chosen labels: if only other rows have None as label, for
    example, the dtype may be integer.
    """
    return np.array(labels[chosen].tolist()) if labels.dtype == object else labels[chosen]
