"""Warnings about the data of a fit."""

from __future__ import annotations

import inspect
import math
import warnings

import numpy as np
import sklearn

from neuralot.estimators.units import AT_MOST, FAR_OUTSIDE

LARGE_RATIO, FEWEST_TO_COMPARE = 1.5, 20  # decades, rows


def warn_user(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn at the line of the user's code.

    It is the innermost line outside of this package and scikit-learn.
    """
    frame, level = inspect.currentframe(), 1
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] in ("neuralot", "sklearn"):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


def warn_of_scales(source: np.ndarray, target: np.ndarray, name: str = "source") -> None:
    """Warn if the columns of two samples differ in scale.

    A difference of orders of magnitude suggests that one of the samples was not scaled.
    """
    if min(len(source), len(target)) < FEWEST_TO_COMPARE:
        return
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        # interquartile ranges, which are robust to outliers
        one, other = (np.subtract(*np.percentile(rows, [75, 25], axis=0)) for rows in (source, target))
        ratios = np.abs(np.log10(other / one))
    ratios = ratios[np.isfinite(ratios)]
    if len(ratios) and (ratio := float(np.median(ratios))) > LARGE_RATIO:
        warn_user(
            f"{name} and target columns vary on scales that differ by a factor of {10**ratio:.0f} (median). If that is "
            "not meant, scale both alike. In a Pipeline a y never takes the earlier steps, and X_target does in fit "
            "alone, with Pipeline(..., transform_input=['X_target']); stacked samples with sample_domain always do"
        )


def warn_of_outliers(rows: np.ndarray, indices: np.ndarray, bounds: np.ndarray, moved: bool, name: str) -> None:
    """Warn of the rows outside of a sample's `bounds_of`.

    `moved` is whether the fit clips these rows to the bounds.
    """
    outside = np.intersect1d(np.flatnonzero(((rows < bounds[0]) | (rows > bounds[1])).any(axis=1)), indices)
    named = ", ".join(map(str, outside[:5])) + (f" and {len(outside) - 5} more" if len(outside) > 5 else "")
    seen = (
        f"The fit takes them for rows at {AT_MOST} of these ranges, and so does what maps new rows"
        if moved
        else "The fit sees the others at their scale, nearly as one point"
    )
    warn_user(
        f"{name} has rows far outside of the rest, more than {AT_MOST} interquartile ranges from the median, some more "
        f"than {FAR_OUTSIDE}: {named}. {seen}. If they hold a code for missing values, such as 9999, impute it; else "
        f"remove or clip them (rows are counted within {name})"
    )


def warn_of_lost_domains() -> None:
    """Warn if scikit-learn may have dropped a score's `sample_domain`.

    It passes `sample_domain` on only with metadata routing.
    """
    if not sklearn.get_config()["enable_metadata_routing"]:
        warn_user(
            "score takes all rows for target rows: the fit had a sample_domain, this call has none. Cross-validation "
            "passes it to score only after sklearn.set_config(enable_metadata_routing=True); outside of it, pass "
            "sample_domain"
        )


def warn_of_other_units(*samples: np.ndarray) -> None:
    """Warn if standardised rows differ from the last fit's.

    They vary by orders of magnitude more or less, or lie far away from them.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        spread = float(np.sqrt(np.mean([rows.var(axis=0).mean() for rows in samples])))
        distance = max(float(np.abs(rows.mean(axis=0)).max()) for rows in samples)
    if min(map(len, samples)) < FEWEST_TO_COMPARE or not math.isfinite(spread + distance):
        return
    of_before = "those of the fit that warm_start, partial_fit or retarget goes on from"
    if spread and abs(math.log10(spread)) > LARGE_RATIO:
        warn_user(
            f"rows vary {spread:.3g} times as much as {of_before}; bring them into the same units, or begin with a new "
            f"fit"
        )
    elif distance > 10**LARGE_RATIO:
        warn_user(
            f"rows lie {distance:.3g} standard deviations away from {of_before}; move them there first, which leaves "
            f"the plan of the squared Euclidean cost as it is, or begin with a new fit"
        )
