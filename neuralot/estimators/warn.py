"""Warnings about the data of a fit."""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import sklearn
import torch
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from torch import Tensor

from neuralot.estimators.conditions import Conditions
from neuralot.estimators.laws import Law, Laws, Standardised
from neuralot.estimators.units import Units
from neuralot.exceptions import (
    ConditionWarning,
    FewRowsWarning,
    OutlierWarning,
    ScaleWarning,
    ScoreWarning,
    SmoothingWarning,
    SpuriousSolutionWarning,
    UnusedWeightsWarning,
)
from neuralot.methods.smoothing import MIN_ROWS_OF_THIN, intrinsic_dimension, is_thin
from neuralot.outliers import CLIP_RANGES, codes_text, outlier_bounds, small_columns
from neuralot.sampling import listed, spaced
from neuralot.solve.distributed import current

LOG10_RATIO = 1.5
MIN_ROWS = 20
MAX_ROWS_OF_THIN = 1_000
# benchmarks/papers.md: at 7 times the default, a cost doubles, and at 0.03 times one is 16 % off
LARGE_NOISE, SMALL_NOISE = 5.0, 0.05
# scale from which on heavy tails are worth a warning, in units of the range of the central 90 % of the rows
TAIL_SCALE_OF_WARNING = 0.45
# a row is heavy from this share of the mass on, and mass splits from this share on; parts of which a plan consists
HEAVY, SPLIT, N_PARTS = 0.1, 0.05, 500
# share of the range of the fit beyond which a condition is outside of it
MARGIN = 0.01


def warn_user(message: str, category: type[Warning]) -> None:
    """Issue a warning that points to the user's code.

    This is the innermost call from outside of this package and scikit-learn. Only the first of the processes that
    share a fit warns.
    """
    if not current().is_first:
        return
    frame, level = inspect.currentframe(), 1
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] in ("neuralot", "sklearn"):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


def warn_of_laws(laws: Laws, units: Units, names: Sequence[Any]) -> None:
    """Warn of scales and outliers in two samples.

    `names` are the names of the columns.
    """
    source, target = (law.subsample().rows for law in laws)
    warn_of_scales(source, target)
    warn_of_columns(source, target, names)
    for law, name, clip_bounds in zip(
        laws, ("source", "target"), (units.source_bounds, units.target_bounds), strict=True
    ):
        bounds = clip_bounds
        if bounds is None:
            bounds = outlier_bounds(law.rows, law.order, units.scale, TAIL_SCALE_OF_WARNING)
        if bounds is not None:
            warn_of_outliers(law, bounds, clip_bounds is not None, name)
        else:
            warn_of_codes(law.rows if law.weights.all() else law.rows[law.order], names, name)


def warn_of_scales(source: np.ndarray, target: np.ndarray, name: str = "source") -> None:
    """Warn if the columns of two samples differ in scale.

    A difference of orders of magnitude suggests that only one of the samples was scaled.
    """
    if min(len(source), len(target)) < MIN_ROWS:
        return
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        # interquartile ranges, which are robust to outliers
        source_ranges, target_ranges = (
            np.subtract(*np.percentile(rows, [75, 25], axis=0)) for rows in (source, target)
        )
        ratios = np.abs(np.log10(target_ranges / source_ranges))
    ratios = ratios[np.isfinite(ratios)]
    if len(ratios) and (ratio := float(np.median(ratios))) > LOG10_RATIO:
        warn_user(
            f"The columns of {name} and target vary on scales that differ by a factor of {10**ratio:.0f} (median). If "
            "this is not intended, apply the same scaling to both. A Pipeline does not transform y. It transforms "
            "X_target in fit only, and only with Pipeline(..., transform_input=['X_target']). Samples that are stacked "
            "with sample_domain are always transformed.",
            ScaleWarning,
        )


def warn_of_columns(source: np.ndarray, target: np.ndarray, names: Sequence[Any]) -> None:
    """Warn of columns that the transport ignores."""
    if min(len(source), len(target)) < MIN_ROWS:
        return
    small = small_columns(source, target)
    if small.any():
        ignored = listed([name for name, is_small in zip(names, small, strict=True) if is_small])
        warn_user(
            f"The transport ignores columns that vary less than a hundredth of another column and have next to no part "
            f"in the cost: {ignored}. If they matter, scale both samples in the same way first, for example with "
            "StandardScaler fitted on the source.",
            ScaleWarning,
        )


def warn_of_thin_source(source: Tensor, target: Tensor) -> None:
    """Warn if the source may have spurious solutions.

    `source` and `target` are distinct standardised rows.
    """
    if min(len(source), len(target)) < MIN_ROWS_OF_THIN:
        return
    x, y = (rows[:: math.ceil(len(rows) / MAX_ROWS_OF_THIN)].double().cpu() for rows in (source, target))
    d = x.shape[1]
    if is_thin(x, *(torch.cov(rows.T, correction=0).reshape(d, d) for rows in (x, y))):
        warn_user(
            f"The source lies on a thin set, of dimension about {intrinsic_dimension(x):.1f} in {d} directions, where "
            "this method may converge to a map that is not a transport map. Use OTPTransport, and check the result "
            "with report(X, X_target).",
            SpuriousSolutionWarning,
        )


def warn_of_split(source: Standardised, target: Standardised) -> None:
    """Warn if an optimal plan splits heavy source rows."""
    share = split_mass(source, target)
    if share > SPLIT:
        warn_user(
            f"Few source rows hold much of the mass, and an optimal plan splits {share:.0%} of the mass between "
            "several targets per row, which no map can do. Use OTPTransport, and draw images with sample.",
            SpuriousSolutionWarning,
        )


def split_mass(source: Standardised, target: Standardised) -> float:
    """Return the share of mass that rows split.

    Only rows with at least the share `HEAVY` of the mass count. The plan is optimal for `N_PARTS` parts of equal mass.
    """
    starts = torch.cat([source.distinct.new_tensor([-1]), source.distinct]).cpu().numpy() + 1
    shares = np.add.reduceat(source.weights, starts[:-1]) / source.weights.sum()
    if shares.max() <= HEAVY:
        return 0.0
    parts = spaced(source.weights, N_PARTS)
    group = np.searchsorted(starts, parts, side="right") - 1  # the distinct row of each part
    x = source.rows[torch.from_numpy(parts)].cpu().numpy()
    y = target.rows[torch.from_numpy(spaced(target.weights, N_PARTS))].cpu().numpy()
    images = y[linear_sum_assignment(cdist(x, y, "sqeuclidean"))[1]]
    split = 0
    for heavy in np.flatnonzero(shares > HEAVY):
        counts = np.unique(images[group == heavy], axis=0, return_counts=True)[1]
        split += counts.sum() - counts.max(initial=0)
    return float(split / N_PARTS)


def warn_of_few_rows(laws: Laws, units: Units) -> None:
    """Warn if both samples have fewer rows than columns."""
    sizes = [len(law.order) for law in laws]
    n_features = laws[0].rows.shape[1]
    if max(sizes) >= n_features or min(sizes) < 2:
        return
    effect = (
        f"The transport is learned in the {units.n_directions} principal directions of the samples, and rows are only "
        "shifted and scaled in all others"
        if units.is_partial
        else "The map follows the noise of the rows in most directions"
    )
    warn_user(
        f"There are too few rows, {sizes[0]} in the source and {sizes[1]} in the target, for {n_features} columns. "
        f"{effect}. Pass more rows, or reduce the columns first, for example with PCA.",
        FewRowsWarning,
    )


def warn_of_conditions(rows: np.ndarray, units: Units, conditions: Conditions) -> None:
    """Warn of numbers outside of the range of the fit."""
    if units.source_range is None or not len(rows):
        return
    values, (low, high) = rows[:, conditions.columns], units.source_range[:, conditions.columns]
    margin = MARGIN * (high - low)
    outside = (values < low - margin) | (values > high + margin)  # (n, n_conditions)
    if outside.any():
        bounds = zip(conditions.names, low, high, outside.any(axis=0), strict=True)
        ranges = listed([f"{name!r}: {a:g} to {b:g}" for name, a, b, is_left in bounds if is_left])
        warn_user(
            f"{outside.any(axis=1).sum()} of {len(rows)} rows have conditions outside of the range of the fit "
            f"({ranges}). Their images are extrapolations; fit with rows of these conditions.",
            ConditionWarning,
        )


def warn_of_far_conditions(laws: Laws, conditions: Conditions) -> None:
    """Warn of numbers far from all others."""
    is_number = conditions.levels == 0
    for j, name in zip(conditions.columns[is_number], conditions.names[is_number], strict=True):
        far = [_far_values(law.rows[:, [j]], law.order) for law in laws]
        samples = [sample for sample, values in zip(("source", "target"), far, strict=True) if len(values)]
        if samples:
            warn_user(
                f"The condition {name!r} of the {' and the '.join(samples)} has values far from all others, such as "
                f"{np.concatenate(far)[0]:g}. They determine its scale, so that the images of all rows are wrong. If "
                "they are codes for missing values, impute them or leave the rows out. If the numbers differ by orders "
                "of magnitude, such as doses, pass their logarithms.",
                OutlierWarning,
            )


def _far_values(column: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """Return the outliers of a column, of shape (n, 1)."""
    column = column.astype(np.float64)
    bounds = outlier_bounds(column, indices, float(column[indices].std()))
    return np.empty(0) if bounds is None else column[(column < bounds[0]) | (column > bounds[1])]


def warn_of_noise(eps_min: float, default: float) -> None:
    """Warn if the last noise level is unusual."""
    ratio = eps_min / default
    if SMALL_NOISE <= ratio <= LARGE_NOISE:
        return
    effect = (
        "The draws of the plan are blurred"
        if ratio > 1
        else "The map is harder to learn, and the plan no better, because the rows are further apart than the noise"
    )
    warn_user(
        f"eps_min={eps_min:g} is {ratio:.2g} times its default for this source, {default:.2g}. {effect}. Pass "
        "eps_min='auto'.",
        SmoothingWarning,
    )


def warn_of_outliers(law: Law, bounds: np.ndarray, is_clipped: bool, name: str) -> None:
    """Warn about rows outside of the bounds of a sample.

    The bounds are those of `outlier_bounds`. `is_clipped` is whether the fit clips rows to them.
    """
    is_outside = ((law.rows < bounds[0]) | (law.rows > bounds[1])).any(axis=1)
    outside = np.intersect1d(np.flatnonzero(is_outside), law.order)
    outside = outside if law.numbers is None else np.sort(law.numbers[outside])
    effect = (
        "fit and transform clip them to this distance, so their images are not those of the exact plan"
        if is_clipped
        else "they have a large part in the cost, and the other rows are resolved on their scale only"
    )
    warn_user(
        f"The {name} has outliers: rows {listed(outside)} (counted within the {name}), at more than {CLIP_RANGES} "
        f"interquartile ranges from the median and with most of the variance. As a result, {effect}. If these rows "
        "contain a code for missing values, such as 9999, impute the values. Otherwise, remove or clip the rows. If "
        "the tails are heavy, transform the columns of both samples first, for example by np.arcsinh.",
        OutlierWarning,
    )


def warn_of_codes(rows: np.ndarray, names: Sequence[Any], name: str) -> None:
    """Warn of values that may be codes for missing values."""
    if text := codes_text(rows, names):
        warn_user(f"The {name} has {text}", OutlierWarning)


def warn_of_lost_domains() -> None:
    """Warn if scikit-learn may not have passed `sample_domain` to `score`.

    It passes `sample_domain` to `score` only with metadata routing.
    """
    if not sklearn.get_config()["enable_metadata_routing"]:
        warn_user(
            "score treats all rows as target rows, because sample_domain was passed to fit but not to score. "
            "Cross-validation passes sample_domain to score only after "
            "sklearn.set_config(enable_metadata_routing=True). In a direct call of score, pass sample_domain.",
            ScoreWarning,
        )


def warn_of_masked_labels(labels: np.ndarray, classes: np.ndarray) -> None:
    """Warn of labels none of which is a class."""
    marks = list(dict.fromkeys(labels.tolist()))
    warn_user(
        f"no label of the target rows is one of the classes {listed(classes.tolist())}, got {listed(marks)}, so the "
        "score says nothing. It needs true labels of target rows, not marks such as -1; without them, compare "
        "transports by their report.",
        ScoreWarning,
    )


def warn_of_unused_weights(estimator: Any) -> None:
    """Warn that an estimator does not use the weights."""
    warn_user(
        f"sample_weight is used for the transport only, because {type(estimator).__name__}.fit does not accept it. If "
        "the weights should count in the estimator, too, pass one that supports them, such as LogisticRegression.",
        UnusedWeightsWarning,
    )


def warn_of_other_units(*samples: np.ndarray) -> None:
    """Warn if standardised rows do not match the previous fit.

    Their scale differs by orders of magnitude, or they are far away.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        scale = float(np.sqrt(np.mean([rows.var(axis=0).mean() for rows in samples])))
        distance = max(float(np.abs(rows.mean(axis=0)).max()) for rows in samples)
    if min(map(len, samples)) < MIN_ROWS or not math.isfinite(scale + distance):
        return
    previous = "the rows of the fit that warm_start, partial_fit or retarget continues"
    if scale and abs(math.log10(scale)) > LOG10_RATIO:
        warn_user(
            f"The standard deviation of the rows is {scale:.3g} times that of {previous}. Convert the rows to the "
            "same units, or start a new fit.",
            ScaleWarning,
        )
    elif distance > 10**LOG10_RATIO:
        warn_user(
            f"The rows are {distance:.3g} standard deviations away from {previous}. Shift them by the difference of "
            "the means first, which does not change the plan of the squared Euclidean cost, or start a new fit.",
            ScaleWarning,
        )
