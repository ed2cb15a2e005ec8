"""Outliers, heavy tails, codes for missing values and small columns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from neuralot.sampling import listed

# a sample has outliers if some rows are farther than OUTLIER_RANGES interquartile ranges from the medians, fewer than
# the share MAX_CLIPPED are farther than CLIP_RANGES, and its scale is above SCALE_RANGES times these ranges; rows are
# then clipped to CLIP_RANGES
OUTLIER_RANGES, SCALE_RANGES, CLIP_RANGES = 100, 10.0, 10
MAX_CLIPPED, QUANTILE_ROWS = 0.05, 2000
# the tails of a sample are heavy if its scale is above TAIL_SCALE times the range of its central 90 %, where that of a
# normal law is at 0.3; rows are then clipped to CLIP_RANGES interquartile ranges or TAIL_RANGES of these ranges, the
# larger one. Far rows whose distances differ by less than the factor TAIL_SPREAD are a cluster, unless they are fewer
# than the share FEW_FAR
TAIL_RANGES, TAIL_SCALE, TAIL_SPREAD, FEW_FAR = 2.0, 1.0, 2.0, 0.01
# a code is at least ISOLATED times as far from the median as any other value, in a sample of MIN_ROWS or more
ISOLATED, MIN_ROWS = 2.0, 20
# columns whose spreads differ by more
LARGE_RATIO = 100.0


def outlier_bounds(
    rows: np.ndarray, indices: np.ndarray, scale: float, tail_scale: float = TAIL_SCALE
) -> np.ndarray | None:
    """Return bounds for the columns of a sample with outliers.

    A sample has outliers if a few rows are far from all others and dominate its scale, or if its tails are heavy. The
    result is None for other samples.

    Parameters
    ----------
    rows : ndarray of shape (n, n_features)
        A sample.
    indices : ndarray of shape (k,)
        Indices of the rows to use.
    scale : float
        Approximately the root of the mean variance per column, over this sample and the other one.
    tail_scale : float
        Scale above which tails are heavy, in units of the range of the central 90 %.

    Returns
    -------
    ndarray of shape (2, n_features)
        `CLIP_RANGES` interquartile ranges below and above the medians, if some rows are more than `OUTLIER_RANGES`
        ranges away; at least `TAIL_RANGES` times the range of the central 90 % for heavy tails.
    """
    subsample = rows[indices[np.linspace(0, len(indices) - 1, min(len(indices), QUANTILE_ROWS)).astype(int)]]
    low, lower, median, upper, high = np.percentile(subsample, [5, 25, 50, 75, 95], axis=0)
    ranges = upper - lower
    varies = ranges > 0
    margin = np.where(varies, CLIP_RANGES * ranges, np.inf)
    if not _are_far(rows, indices, scale, median, ranges):
        margin = np.where(high > low, np.maximum(CLIP_RANGES * ranges, TAIL_RANGES * (high - low)), np.inf)
        if not _are_tails(rows, indices, scale, median, margin, tail_scale * rms(high - low)):
            return None
    return np.stack([median - margin, median + margin])


def missing_codes(rows: np.ndarray) -> list[tuple[int, float, int]]:
    """Return values that may be codes for missing values.

    Such a value is the largest or smallest of its column, more than `CLIP_RANGES` ranges from the median and isolated,
    and occurs more than once or has only nines as digits. Columns whose range is 0, or of two values, have none.
    The result has the index of the column, the value, and the number of rows.
    """
    subsample = rows[np.linspace(0, len(rows) - 1, min(len(rows), QUANTILE_ROWS)).astype(int)]
    median, ranges = _medians_and_ranges(subsample)
    found = []
    for extremes in (rows.max(axis=0), rows.min(axis=0)):
        is_far = (ranges > 0) & (np.abs(extremes - median) > CLIP_RANGES * ranges)
        for column in np.flatnonzero(is_far):
            value, centre = extremes[column], median[column]
            is_code = rows[:, column] == value
            others = rows[~is_code, column]
            next_distance = np.maximum((others - centre) * np.sign(value - centre), 0).max()
            is_known = is_code.sum() > 1 or (float(value).is_integer() and set(str(abs(int(value)))) == {"9"})
            if is_known and abs(value - centre) > ISOLATED * next_distance > 0:
                found.append((int(column), float(value), int(is_code.sum())))
    return found


def codes_text(rows: np.ndarray, names: Sequence[object]) -> str:
    """Return `missing_codes` as text with advice.

    The text is empty if there are none, or too few rows to tell.
    """
    found = missing_codes(rows) if len(rows) >= MIN_ROWS else []
    if not found:
        return ""
    codes = listed([f"{value:g} in {n} rows of column {names[column]}" for column, value, n in found])
    return f"{codes}, far from all other values. If this is a code for missing values, impute the values."


def small_columns(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return a mask of columns that the transport ignores.

    They vary less than a hundredth of another column and have next to no part in the cost. Both the range and the
    standard deviation, without a few far values, must be small, so that neither outliers nor columns with few values
    that differ from 0 decide. Columns whose range is 0 do not count. The result has shape (n_features,).
    """
    with np.errstate(over="ignore", invalid="ignore"):
        ranges, deviations = np.max([_ranges_and_deviations(rows) for rows in (x, y)], axis=0)
    return (ranges > 0) & (ranges * LARGE_RATIO < ranges.max()) & (deviations * LARGE_RATIO < deviations.max())


def _medians_and_ranges(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the medians of columns, and their ranges.

    These are interquartile ranges; if one is 0, as in a column of mostly zeros, the range of the central 90 %, or 0 if
    fewer than `MIN_ROWS` values differ from the median.
    """
    low, lower, median, upper, high = np.percentile(rows, [5, 25, 50, 75, 95], axis=0)
    is_rare = (rows != median).sum(axis=0) < MIN_ROWS
    return median, np.where(upper > lower, upper - lower, np.where(is_rare, 0.0, high - low))


def _ranges_and_deviations(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ranges and standard deviations of columns.

    Ranges are interquartile ranges; if one is 0, as in a column of mostly zeros, the third quartile of the distances of
    the other values from the median. It is 0 if there are fewer than `MIN_ROWS` of them: the rare values of a pixel or
    of a gene tell no scale. Deviations are those without a few far values.
    """
    lower, median, upper = np.percentile(rows, [25, 50, 75], axis=0)
    ranges, distances = upper - lower, np.abs(rows - median)
    for column in np.flatnonzero(ranges == 0):
        others = distances[distances[:, column] > 0, column]
        ranges[column] = np.percentile(others, 75) if len(others) >= MIN_ROWS else 0.0
    is_far = (distances > CLIP_RANGES * ranges) & (ranges > 0)
    is_far &= is_far.mean(axis=0) < MAX_CLIPPED
    return ranges, np.where(is_far, median, rows).std(axis=0)


def rms(values: np.ndarray) -> float:
    """Return the root of the mean square."""
    return float(np.sqrt(np.mean(values**2)))


def _are_far(rows: np.ndarray, indices: np.ndarray, scale: float, median: np.ndarray, ranges: np.ndarray) -> bool:
    """Return whether a few far rows dominate the scale."""
    varies = ranges > 0
    if not varies.any() or scale <= SCALE_RANGES * rms(ranges):
        return False
    distances = (np.abs(rows[:, varies] - median[varies]) / ranges[varies])[indices].max(axis=1)
    return bool((distances > OUTLIER_RANGES).any() and np.mean(distances > CLIP_RANGES) < MAX_CLIPPED)


def _are_tails(
    rows: np.ndarray, indices: np.ndarray, scale: float, median: np.ndarray, margin: np.ndarray, largest: float
) -> bool:
    """Return whether a sample has heavy tails.

    Its own scale is above `largest`, and its rows outside of `margin` are not a cluster.
    """
    # the common scale is at least 2^(-1/2) times that of either sample
    if not 0 < largest < 2**0.5 * scale:
        return False
    chosen = rows[indices]
    distances = (np.abs(chosen - median) / margin).max(axis=1)
    distances = distances[distances > 1]
    if not len(distances) or rms(chosen.std(axis=0, dtype=np.float64)) <= largest:
        return False
    return bool(distances.max() > TAIL_SPREAD * distances.min() or len(distances) <= FEW_FAR * len(chosen))
