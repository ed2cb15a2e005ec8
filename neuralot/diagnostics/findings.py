"""Findings about the data and the fit, with advice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.stats import ks_2samp

from neuralot.diagnostics.by_column import costs_by_column
from neuralot.diagnostics.quantities import Baseline, Marginal, Optimality
from neuralot.diagnostics.statistics import ROUNDING, SIGNIFICANT, Sample
from neuralot.diagnostics.verdict import GAP_TOLERANCE, TOLERANCE
from neuralot.outliers import CLIP_RANGES, codes_text, outlier_bounds, small_columns
from neuralot.sampling import listed

SPLIT = 0.05  # conditional variance from which on mass splits
DIFFERENT_MASSES = 0.3  # of their logarithms; totals of held-out rows vary by some percent
SIMPLER = ": it does as well, and is simpler (ot.da.LinearTransport of POT)."
TINY = np.finfo(float).tiny
# shares of target rows that are rows of the fit, and of rows that are distinct, for a finding about rows of the fit
SAME_ROWS, DISTINCT = 0.1, 0.9
# share of its own variance by which a column may miss the target without a finding, and rows that tell
OWN_DISTANCE, MIN_HALF = 0.1, 100
# Some rows of the same law are always a little outside of the range of the fit. Many rows in one column are not, nor is
# one that is farther outside than this range is wide.
MANY_OUTSIDE, SHARE_OUTSIDE, FAR_OUTSIDE = 20, 0.05, 1.0


def findings_of_data(
    names: Sequence[str],
    source: Sample,
    images: np.ndarray,
    target: Sample,
    target_rows: np.ndarray | None,
    source_range: np.ndarray | None,
    dimension: float | None,
    needs_density: bool | None,
) -> list[str]:
    """Return findings about columns, rows and the source's dimension.

    `target_rows` are some target rows of the fit, and `source_range` is the range of its source, shape (2, d), if there
    was a fit. `dimension` is that of a thin source, and None for others. `needs_density` says whether the method can be
    wrong for thin sources, and is None for functions.
    """
    found = _small_columns(names, source, target)
    found += _outliers("X", names, source) + _outliers("X_target", names, target)
    found += _own_distances(names, Sample(images, source.masses), target)
    found += _rows_of_fit(target, target_rows)
    if source_range is not None:
        found += _rows_outside(names, source, source_range)
    if dimension is not None:
        text = f"The source lies on a thin set, of dimension about {dimension:.1f} in {source.rows.shape[1]} features."
        found.append(
            text if needs_density is False else f"{text} SNOT, W2GN and OT-Net can be wrong there; use OTPTransport."
        )
    return found


def _own_distances(names: Sequence[str], images: Sample, target: Sample) -> list[str]:
    """Return a finding if columns miss the target by themselves.

    Their squared W2 distances are shares of their own variance; that between halves of the target is subtracted. The
    laws must differ in the test of Kolmogorov and Smirnov too, as a few rare values may have any distance.
    """
    half = len(target.rows) // 2
    if half < MIN_HALF:
        return []
    halves = target.part(slice(half)), target.part(slice(half, None))
    variances = target.masses @ (target.rows - target.mean) ** 2
    varies = variances > (ROUNDING * np.abs(target.rows).max(axis=0)) ** 2
    distances = costs_by_column(images, target) - costs_by_column(*halves)
    shares = distances / np.where(varies, variances, np.inf)
    thinned = [each.thinned(np.random.default_rng(0)) for each in (images, target)]
    is_off = shares > OWN_DISTANCE
    for column in np.flatnonzero(is_off):
        p_value = ks_2samp(*(rows[:, column] for rows in thinned), method="asymp").pvalue
        is_off[column] = p_value <= SIGNIFICANT / len(shares)
    if not is_off.any():
        return []
    return [
        f"Taken by themselves, the images in columns {listed(np.array(names)[is_off])} are up to "
        f"{100 * shares[is_off].max():.0f} % of a column's own variance away from the target. If such a column has "
        f"next to no part in the distances above but matters, scale both samples alike before the fit."
    ]


def _rows_of_fit(target: Sample, target_rows: np.ndarray | None) -> list[str]:
    """Return a finding if the fit has seen the rows.

    There is none for rows of which many are equal, as they would occur in any sample.
    """
    if target_rows is None or target_rows.shape[1:] != target.rows.shape[1:]:
        return []
    rows, of_fit = (np.ascontiguousarray(each, dtype=np.float32) for each in (target.rows, target_rows))
    known = {row.tobytes() for row in of_fit}
    n = sum(row.tobytes() in known for row in rows)
    if n < SAME_ROWS * len(rows) or len(np.unique(rows, axis=0)) < DISTINCT * len(rows):
        return []
    return [
        "Rows of X_target are rows of the fit. Unless they are the whole target, the report is too favourable: pass "
        "rows that the fit has not seen."
    ]


def _small_columns(names: Sequence[str], source: Sample, target: Sample) -> list[str]:
    small = small_columns(source.rows, target.rows)
    if not small.any():
        return []
    return [
        f"Columns {listed(np.array(names)[small])} vary less than a hundredth of another column and have next to no "
        f"part in the cost. If they matter, scale both samples alike first, for example with StandardScaler."
    ]


def samples_with_outliers(source: Sample, target: Sample) -> list[str]:
    """Return the names of samples that a few rows dominate."""
    return [name for name, sample in (("X", source), ("X_target", target)) if _bounds(sample) is not None]


def _bounds(sample: Sample) -> np.ndarray | None:
    scale = float(np.sqrt(sample.variance / sample.rows.shape[1]))
    return outlier_bounds(sample.rows, np.arange(len(sample.rows)), scale)


def _outliers(name: str, names: Sequence[str], sample: Sample) -> list[str]:
    bounds = _bounds(sample)
    if bounds is None:
        codes = codes_text(sample.rows, names)
        return [f"{name} has {codes}"] if codes else []
    is_outside = ((sample.rows < bounds[0]) | (sample.rows > bounds[1])).any(axis=1)
    return [
        f"Rows {_indices(sample, is_outside)} of {name} are more than {CLIP_RANGES} interquartile ranges from the "
        f"median, and dominate the distances above. If they contain a code for missing values, such as 9999, impute "
        f"the values; otherwise remove or clip the rows."
    ]


def _rows_outside(names: Sequence[str], source: Sample, source_range: np.ndarray) -> list[str]:
    """Return a finding about rows outside of the range."""
    low, high = source_range
    beyond = np.maximum(low - source.rows, source.rows - high)
    is_outside = beyond > 0
    is_shifted = is_outside.sum(axis=0) > max(MANY_OUTSIDE, SHARE_OUTSIDE * len(source.rows))
    is_shifted |= (beyond > FAR_OUTSIDE * (high - low)).any(axis=0)
    if not is_shifted.any():
        return []
    in_rows = is_outside[:, is_shifted].any(axis=1)
    n, columns = in_rows.sum(), np.array(names)[is_shifted]
    return [
        f"{n} of {len(source.rows)} rows of X {'is' if n == 1 else 'are'} outside of the range of the fit, in column"
        f"{'s' * (len(columns) > 1)} {listed(columns)}: rows {_indices(source, in_rows)}. Their images are "
        f"extrapolations: fit with rows of this range, or do not trust these images."
    ]


def findings_of_masses(taken: float, brought: float) -> list[str]:
    """Return a finding if marginals have different masses."""
    if abs(np.log(max(taken, TINY)) - np.log(max(brought, TINY))) < DIFFERENT_MASSES:
        return []
    return [
        f"The plan takes a mass of {taken:.2g} from the source but brings {brought:.2g} to the target, although both "
        f"must be equal: give the fit more steps, or use larger penalties."
    ]


def findings_of_fit(
    marginal: Marginal,
    optimality: Optimality,
    baselines: dict[str, Baseline],
    split: float,
    blur: float,
    early: bool,
    is_thin: bool | None,
    needs_density: bool | None,
    history: Sequence[Mapping[str, float]],
) -> list[str]:
    """Return findings about the plan and the fit's budget."""
    found = []
    if blur > GAP_TOLERANCE and is_thin is False:
        found.append("Noise blurs the plan, but the source has a density: use SNOTTransport, or a smaller eps_min.")
    elif blur > GAP_TOLERANCE:
        found.append(
            "Noise blurs the plan along the source: use the defaults of noise_shape and eps_min, or more rows."
        )
    elif split > GAP_TOLERANCE and optimality.relative_gap > GAP_TOLERANCE:
        found.append("Noise blurs the plan: more rows permit less of it.")
    if history and "affine" in history[-1]:
        found.append(
            "The affine map replaced the learned map, which was farther from the target: a longer fit may be better."
        )
    else:
        found += _as_good(baselines["affine map"], marginal)
    if split > SPLIT and is_thin is not False:
        found.append(
            "The plan splits mass: transform returns barycentres, call sample for images with the target's law."
        )
    if early and is_thin and needs_density is not False:
        found.append("The fit ended early on a thin source: use OTPTransport. More steps may not help.")
    elif early:
        found.append("The fit ended early: give it more steps or time.")
    return found


def _as_good(affine: Baseline, marginal: Marginal) -> list[str]:
    """Return a finding if the affine map does as well."""
    excess, own = affine.excess, marginal.excess
    # for other costs it is not optimal, and a map that misses the target is no advice
    end = SIMPLER if affine.share_of == "variance" and excess.low <= TOLERANCE else "."
    if excess.value <= max(own.value, TOLERANCE):
        return [f"The affine map between the moments is at least as close to the target{end}"]
    if excess.value - own.value < np.hypot(excess.margin, own.margin):
        return [f"The affine map between the moments is as close to the target, within the margins{end}"]
    return []


def _indices(sample: Sample, is_chosen: np.ndarray) -> str:
    """Return the indices of chosen rows as text."""
    indices = np.arange(len(sample.rows)) if sample.indices is None else sample.indices
    return listed(np.sort(indices[is_chosen]))
