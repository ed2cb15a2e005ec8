"""Validation of rows and estimators to be plotted."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from neuralot.divergences import as_points
from neuralot.drawing import Plane, new_axes
from neuralot.parameters import integer, is_integer, is_real

CHANNELS = (1, 3, 4)  # grey, RGB, RGBA
MARGIN = 0.5  # how far values may be outside of the range of images, if no range is given


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


def check_axes(ax: Any) -> Any:
    """Return axes; those of a new figure for None."""
    if ax is None:
        return new_axes()[0]
    if not hasattr(ax, "scatter"):
        raise TypeError(
            f"ax must be matplotlib Axes, got a {type(ax).__name__}; pass plt.subplots()[1], or one item of an array"
        )
    return ax


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


def draws_of(estimator: Any, X: Any, n_draws: int, random_state: Any) -> np.ndarray:
    """Return draws of the plan, shape (n_draws, n, d).

    This is the map's image where the estimator, such as a pipeline, has no `sample`.
    """
    transport = fitted(estimator, "transform")
    if hasattr(transport, "sample"):
        draws = transport.sample(X, n_draws=n_draws, random_state=random_state)
        return np.stack([check_rows(images, "images") for images in draws])
    if n_draws > 1:
        raise ValueError(f"n_draws must be 1 for {type(transport).__name__}, which has no sample, got {n_draws}")
    return check_rows(transport.transform(X), "images")[None]


def images_of(estimator: Any, X: Any, random_state: Any) -> np.ndarray:
    """Return one draw of the plan for each row."""
    return draws_of(estimator, X, 1, random_state)[0]


def check_target(X_target: Any) -> Any:
    """Return target rows; they must not be None."""
    if X_target is None:
        raise ValueError("X_target is missing: pass target rows of shape (m, d) as X_target")
    return X_target


def check_history(history: Any, name: str) -> list[Mapping[str, float]]:
    """Return the records of a fit."""
    records = history if isinstance(history, (list, tuple)) else fitted(history, "history_", name).history_
    if not records:
        raise ValueError(f"{name} has no records; pass a transport after a fit, or its history_")
    for record in records:
        if not (isinstance(record, Mapping) and {"step", "discrepancy"} <= record.keys()):
            raise ValueError(
                f"{name} must contain records with step and discrepancy, got {record!r}; pass history_ of a transport"
            )
    return list(records)


def check_report(report: Any) -> Any:
    """Return a report."""
    if isinstance(report, type) or not (hasattr(report, "verdict") and hasattr(report, "plot")):
        raise TypeError(
            f"report must be a TransportReport or ConditionalReport, got {report!r}; pass "
            f"transport.report(X, X_target) or diagnose(function, X, X_target)"
        )
    return report


def check_image_shape(image_shape: Any, rows: np.ndarray, name: str = "rows") -> tuple[int, int, int]:
    """Return channels, height and width."""
    valid = isinstance(image_shape, (tuple, list)) and len(image_shape) == 3
    if not (valid and all(is_integer(size, 1) for size in image_shape) and image_shape[0] in CHANNELS):
        raise ValueError(
            f"image_shape must be (channels, height, width) with 1, 3 or 4 channels, such as (3, 28, 28), got "
            f"{image_shape!r}"
        )
    if math.prod(image_shape) != rows.shape[1]:
        raise ValueError(
            f"image_shape={tuple(image_shape)} needs rows with {math.prod(image_shape)} values, but {name} has shape "
            f"{rows.shape}; pass the shape (channels, height, width) of the images"
        )
    channels, height, width = map(int, image_shape)
    return channels, height, width


def check_values(rows: Any, points: np.ndarray, value_range: Any, name: str = "rows") -> tuple[float, float]:
    """Return the values of black and of full intensity."""
    if value_range is not None:
        valid = isinstance(value_range, (tuple, list)) and len(value_range) == 2 and all(map(is_real, value_range))
        if not (valid and -math.inf < value_range[0] < value_range[1] < math.inf):
            raise ValueError(f"value_range must be (low, high) with low < high, got {value_range!r}")
        return float(value_range[0]), float(value_range[1])
    if str(getattr(rows, "dtype", "")).endswith("uint8"):
        return 0.0, 255.0
    low, high = points.min(), points.max()
    if low < -MARGIN or high > 1 + MARGIN:
        raise ValueError(
            f"{name} must have values between 0 and 1, got values from {low:.3g} to {high:.3g}; pass "
            f"value_range=(low, high) with the values of black and of full intensity"
        )
    return 0.0, 1.0


def check_titles(titles: Any, name: str, n: int, each: str) -> list[str]:
    """Return titles; none for None."""
    if titles is None:
        return []
    if isinstance(titles, str) or len(titles) != n:
        found = f"the string {titles!r}" if isinstance(titles, str) else f"{len(titles)}"
        raise ValueError(f"{name} must be a list with one title per {each}, {n}, got {found}")
    return [str(title) for title in titles]
