"""Findings about the data and the fit, with advice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from neuralot.diagnostics.quantities import Baseline, Marginal, Optimality
from neuralot.diagnostics.statistics import Sample
from neuralot.diagnostics.verdict import GAP_TOLERANCE, TOLERANCE
from neuralot.outliers import CLIP_RANGES, codes_text, outlier_bounds, small_columns
from neuralot.sampling import listed

SPLIT = 0.05  # conditional variance from which on mass splits
DIFFERENT_MASSES = 0.3  # of their logarithms; totals of held-out rows vary by some percent
SIMPLER = ": for the squared distance it does as well, and is simpler (ot.da.LinearTransport of POT)."
TINY = np.finfo(float).tiny
# Some rows of the same law are always a little outside of the range of the fit. Many rows in one column are not, nor is
# one that is farther outside than this range is wide.
MANY_OUTSIDE, SHARE_OUTSIDE, FAR_OUTSIDE = 20, 0.05, 1.0


def findings_of_data(
    names: Sequence[str],
    source: Sample,
    target: Sample,
    source_range: np.ndarray | None,
    dimension: float | None,
    needs_density: bool,
) -> list[str]:
    """Return findings about columns, rows and the source's dimension.

    `source_range` is that of the fit, shape (2, d), if there was one. `dimension` is that of a thin source, and None
    for others. `needs_density` says whether the method can be wrong for thin sources.
    """
    found = _small_columns(names, source, target)
    found += _outliers("X", names, source) + _outliers("X_target", names, target)
    if source_range is not None:
        found += _rows_outside(names, source, source_range)
    if dimension is not None:
        text = f"The source lies on a thin set, of dimension about {dimension:.1f} in {source.rows.shape[1]} features."
        found.append(text + " SNOT, W2GN and OT-Net can be wrong there; use OTPTransport." * needs_density)
    return found


def _small_columns(names: Sequence[str], source: Sample, target: Sample) -> list[str]:
    small = small_columns(source.rows, target.rows)
    if not small.any():
        return []
    return [
        f"Columns {listed(np.array(names)[small])} vary less than a hundredth of another column and have next to no "
        f"part in the cost. If they matter, scale both samples alike first, for example with StandardScaler."
    ]


def _outliers(name: str, names: Sequence[str], sample: Sample) -> list[str]:
    scale = float(np.sqrt(sample.variance / sample.rows.shape[1]))
    bounds = outlier_bounds(sample.rows, np.arange(len(sample.rows)), scale)
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
    needs_density: bool,
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
    affine, own = baselines["affine map"].excess, marginal.excess
    if affine.value <= max(own.value, TOLERANCE):
        found.append("The affine map between the moments is at least as close to the target" + SIMPLER)
    elif affine.value - own.value < np.hypot(affine.margin, own.margin):
        found.append("The affine map between the moments is as close to the target, within the margins" + SIMPLER)
    if history and "affine" in history[-1]:
        found.append(
            "The affine map replaced the learned map, which was farther from the target: a longer fit may be better."
        )
    if split > SPLIT and is_thin is not False:
        found.append(
            "The plan splits mass: transform returns barycentres, call sample for images with the target's law."
        )
    if early and is_thin and needs_density:
        found.append("The fit ended early on a thin source: use OTPTransport. More steps may not help.")
    elif early:
        found.append("The fit ended early: give it more steps or time.")
    return found


def _indices(sample: Sample, is_chosen: np.ndarray) -> str:
    """Return the indices of chosen rows as text."""
    indices = np.arange(len(sample.rows)) if sample.indices is None else sample.indices
    return listed(np.sort(indices[is_chosen]))
