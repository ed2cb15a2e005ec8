"""Findings about the data and the fit, with advice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from neuralot.diagnostics.report import Baseline, Marginal, Optimality
from neuralot.diagnostics.statistics import Sample
from neuralot.diagnostics.verdict import GAP_TOLERANCE, TOLERANCE
from neuralot.methods.smoothing import intrinsic_dimension
from neuralot.sampling import CLIP_RANGES, outlier_bounds, small_columns

SPLIT = 0.05  # conditional variance from which on mass splits
MARGIN = 0.1  # of the range of the fit, beyond which rows are outside of it
N_LISTED = 5


def findings_of_data(
    names: Sequence[str], source: tuple[Sample, np.ndarray], target: tuple[Sample, np.ndarray]
) -> list[str]:
    """Return findings about small columns and outliers.

    Each sample comes with the indices of its rows in the data.
    """
    found = []
    small = small_columns(source[0].rows, target[0].rows)
    if small.any():
        found.append(
            f"Columns {_listed(np.array(names)[small])} vary less than a hundredth of another column and have next to "
            f"no part in the cost. If they matter, scale both samples alike first, for example with StandardScaler."
        )
    for name, (sample, indices) in (("X", source), ("X_target", target)):
        scale = float(np.sqrt(sample.variance / len(names)))
        bounds = outlier_bounds(sample.rows, np.arange(len(sample.rows)), scale)
        if bounds is not None:
            is_outside = ((sample.rows < bounds[0]) | (sample.rows > bounds[1])).any(axis=1)
            found.append(
                f"Rows {_listed(np.sort(indices[is_outside]))} of {name} are more than {CLIP_RANGES} interquartile "
                f"ranges from the median, and dominate the distances above. If they contain a code for missing values, "
                f"such as 9999, impute the values; otherwise remove or clip the rows."
            )
    return found


def findings_of_range(names: Sequence[str], source: Sample, indices: np.ndarray, units: Any) -> list[str]:
    """Return a finding about rows outside of the fit's range."""
    source_range = getattr(units, "source_range", None)
    if source_range is None:
        return []
    margin = MARGIN * (source_range[1] - source_range[0])
    is_outside = (source.rows < source_range[0] - margin) | (source.rows > source_range[1] + margin)
    n_outside = int(is_outside.any(axis=1).sum())
    if not n_outside:
        return []
    columns = np.array(names)[is_outside.any(axis=0)]
    return [
        f"{n_outside} of {len(source.rows)} rows of X are outside of the range of the fit, in columns "
        f"{_listed(columns)}: {_listed(np.sort(indices[is_outside.any(axis=1)]))}. Their images are extrapolations."
    ]


def findings_of_source(source: Sample, is_thin: bool) -> list[str]:
    """Return a finding about the dimension of the source."""
    if not is_thin:
        return []
    dimension = intrinsic_dimension(torch.from_numpy(source.rows))
    return [
        f"The source lies on a thin set, of dimension about {dimension:.1f} in {source.rows.shape[1]} features. SNOT "
        f"and OT-Net can be wrong there; use OTPTransport."
    ]


def findings_of_fit(
    marginal: Marginal,
    optimality: Optimality,
    baselines: dict[str, Baseline],
    split: float,
    early: bool,
    is_thin: bool,
) -> list[str]:
    """Return findings about the plan and the fit's budget."""
    found = []
    if split > GAP_TOLERANCE and (not is_thin or optimality.relative_gap > GAP_TOLERANCE):
        found.append("Noise blurs the plan: for a source with a density use SNOTTransport, or lower eps_min.")
    affine = baselines["affine map"].excess
    if affine.value <= max(marginal.excess.value, TOLERANCE):
        found.append("The affine map between the moments is at least as close to the target.")
    if split > SPLIT and is_thin:
        found.append(
            "The plan splits mass: transform returns barycentres, call sample for images with the target's law."
        )
    if early:
        found.append(
            "The fit ended early, and its images were still approaching the target: give it more steps or time."
        )
    return found


def _listed(values: np.ndarray) -> str:
    """Return the first few values as text."""
    more = f" and {len(values) - N_LISTED} more" if len(values) > N_LISTED else ""
    return ", ".join(map(str, values[:N_LISTED])) + more
