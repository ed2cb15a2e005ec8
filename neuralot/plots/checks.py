"""Validation of rows and estimators to be plotted."""

from __future__ import annotations

from typing import Any

import numpy as np

from neuralot.divergences import as_points
from neuralot.drawing import Plane
from neuralot.parameters import integer


def check_rows(rows: Any, name: str, like: tuple[str, np.ndarray] | None = None) -> np.ndarray:
    """Return rows as a float64 array of shape (n, d).

    `like` is the name and value of rows that must have as many columns.
    """
    if getattr(rows, "ndim", 2) == 3:
        raise ValueError(
            f"{name} must have shape (n, d), got shape {tuple(rows.shape)}; pass one draw, such as draws[0]"
        )
    points = as_points(rows, name)
    if like is not None and points.shape[1] != like[1].shape[1]:
        raise ValueError(
            f"{name} must have as many columns as {like[0]}, {like[1].shape[1]}, got shape {points.shape}; pass rows "
            f"with the same features"
        )
    return points


def check_samples(X: Any, images: Any, target: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Return source rows, their images, and target rows or None."""
    source = check_rows(X, "X")
    ends = check_rows(images, "images", ("X", source))
    if len(ends) != len(source):
        raise ValueError(
            f"images must have one row per row of X, {len(source)}, got {len(ends)}; pass transport.transform(X), or "
            f"one draw, such as transport.sample(X)[0]"
        )
    return source, ends, None if target is None else check_rows(target, "target", ("X", source))


def check_count(value: Any, name: str, low: int) -> int:
    """Return a number of segments, frames or columns."""
    integer(low).check(name, value)
    return int(value)


def axis_labels(X: Any, plane: Plane) -> tuple[str, str]:
    """Return the labels of the axes.

    These are components, or the names of at most two columns.
    """
    if plane.kind != "column":
        return plane.labels
    first, second = [*map(str, getattr(X, "columns", ())), "", ""][:2]
    return first, second


def label_axes(ax: Any, labels: tuple[str, str]) -> None:
    """Set labels that are not empty."""
    ax.set(**{name: label for name, label in zip(("xlabel", "ylabel"), labels, strict=True) if label})


def fitted(estimator: Any, method: str, name: str = "estimator") -> Any:
    """Return a fitted estimator that has a method.

    Adapters are replaced by their transport. Raises a NotFittedError before a fit, and a TypeError for other objects.
    """
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    transport = getattr(estimator, "transport_", estimator)
    expected = f"{name} must be a fitted transport, such as OTPTransport().fit(X, X_target)"
    if isinstance(transport, type) or not hasattr(transport, "fit"):
        raise TypeError(f"{expected}, got {estimator!r}")
    try:
        check_is_fitted(transport)
    except NotFittedError as error:
        raise NotFittedError(f"{expected}; this {type(transport).__name__} is not fitted, call fit first") from error
    if not hasattr(transport, method):
        raise TypeError(f"{expected}; this {type(transport).__name__} has no {method}")
    return transport


def images_of(estimator: Any, X: Any, random_state: Any) -> Any:
    """Return one draw of the plan for each row.

    This is the map's image where the estimator, such as a pipeline, has no `sample`.
    """
    transport = fitted(estimator, "transform")
    if not hasattr(transport, "sample"):
        return transport.transform(X)
    return transport.sample(X, random_state=random_state)[0]
