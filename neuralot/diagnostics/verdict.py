"""The verdict on a transport, and its reasons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from neuralot.diagnostics.quantities import Baseline, Marginal, Optimality
from neuralot.diagnostics.report import Verdict
from neuralot.diagnostics.statistics import MAX_BLOCKS, SIGNIFICANT, Estimate

# Shares of the target's variance: what is right, and what a sample can decide. The law of the images is much closer to
# the target than the images to the exact ones: in 32 dimensions, a mean squared error of 4 to 6 % leaves 1 %.
TOLERANCE, GAP_TOLERANCE, RESOLUTION = 0.004, 0.02, 0.04
SPREAD_TOLERANCE = 0.1  # of the standard deviation
# Rows for a source of two dimensions, and for each further one. With fewer, a rotation by 30 degrees may show no
# cheaper pairing; from 200 rows on, free maps and the curl may show it in any dimension.
MIN_ROWS, ROWS_PER_DIMENSION, ENOUGH_ROWS = 40, 80, 200


def decide(
    marginal: Marginal,
    optimality: Optimality,
    baselines: Mapping[str, Baseline],
    blur: float,
    curl: Estimate | None,
    n_rows: float,
    early: bool,
    spurious: str,
    dimension: float,
    disturbed: Sequence[str] = (),
) -> tuple[Verdict, list[str]]:
    """Return the verdict and its reasons.

    `n_rows` is the effective number of rows, and `dimension` that of the source. `spurious` is the reason why a fit
    that misses the target has a spurious solution, if it has. `disturbed` are the names of samples whose distances few
    rows dominate.
    """
    if optimality.relative_gap > GAP_TOLERANCE:
        return Verdict.SPURIOUS, [optimality.gap_text]
    if blur > GAP_TOLERANCE and n_rows >= MIN_ROWS:
        reason = f"the draws of one row vary by {100 * blur:.1f} % of the variance where no optimal plan splits mass"
        return Verdict.SPURIOUS, [reason]
    if n_rows < MIN_ROWS:
        return Verdict.UNDECIDED, [f"{_rows_text(n_rows)} fewer than {MIN_ROWS}"]
    excess, differences, proofs = marginal.excess, _differences(marginal), _proofs(baselines, curl)
    if not disturbed:
        differences += _different_columns(marginal)
    if proofs and not differences:
        return Verdict.SPURIOUS, proofs
    if differences:
        reasons = differences + proofs
        if spurious:
            return Verdict.SPURIOUS, [*reasons, spurious]
        return (Verdict.NOT_CONVERGED if early else Verdict.MARGINAL_NOT_MET), reasons
    if disturbed:
        return Verdict.UNDECIDED, [f"a few far rows of {' and '.join(disturbed)} dominate all distances"]
    needed = int(np.clip(MIN_ROWS + ROWS_PER_DIMENSION * (dimension - 2), MIN_ROWS, ENOUGH_ROWS))
    if n_rows < needed:
        reason = f"{_rows_text(n_rows)} fewer than the {needed} that show wrong pairings in {dimension:.1f} dimensions"
        return Verdict.UNDECIDED, [reason]
    # an estimate below 0 is chance; the distance along columns is a lower bound
    largest = max(excess.value + excess.margin, excess.margin, marginal.by_column.value)
    share = f"{100 * largest:.1f} % of the target's variance"
    if largest > RESOLUTION:
        return Verdict.UNDECIDED, [f"the distance to the target may be as large as {share}"]
    return Verdict.OPTIMAL, [
        f"the distance to the target is estimated to be at most {share}, and the best pairing saves "
        f"{100 * optimality.relative_gap:.1f} %"
    ]


def reason_of_spurious_solution(
    is_thin: bool | None, needs_density: bool | None, early: bool, dual_gap: float | None
) -> str:
    """Return why a missed target shows a spurious solution.

    It does if the source is thin, the method needs a density, and the fit has ended or its potential is optimal. A
    function, of which `needs_density` is None, is judged like these methods. Otherwise the result is empty.
    """
    has_ended = not early or (dual_gap is not None and dual_gap <= GAP_TOLERANCE)
    if not is_thin or needs_density is False or not has_ended:
        return ""
    if needs_density is None:
        return "the source is thin: if the map is that of a method that needs a density, it is a spurious solution"
    return "the source is thin, and the method needs a density: this is a spurious solution"


def _differences(marginal: Marginal) -> list[str]:
    """Return how the images differ from the target."""
    excess, log_spread = marginal.excess, marginal.log_spread
    # with fewer blocks of rows, the standard error itself is too uncertain
    differs = min(marginal.p_value, excess.p_value if excess.degrees >= MAX_BLOCKS - 1 else 1.0) <= SIGNIFICANT
    reasons = []
    if excess.low > TOLERANCE or (differs and excess.value > TOLERANCE):
        reasons.append(f"the images are {100 * excess.value:.1f} % of the variance away from the target")
    elif marginal.by_column.value > GAP_TOLERANCE and marginal.by_column.p_value <= SIGNIFICANT:
        share = 100 * marginal.by_column.value
        reasons.append(f"along columns or axes, the images are {share:.1f} % of the variance away from the target")
    if abs(log_spread.value) - log_spread.margin > SPREAD_TOLERANCE:
        reasons.append(f"the spread of the images is {marginal.spread_text}")
    return reasons


def _different_columns(marginal: Marginal) -> list[str]:
    """Return whether single columns have another spread."""
    off = marginal.column_spread[marginal.column_differs]
    if not len(off):
        return []
    found = f"{off.min():.2g}" if len(off) == 1 else f"{off.min():.2g} to {off.max():.2g}"
    columns = "column" if len(off) == 1 else "columns"
    return [f"the spread of {len(off)} {columns} is {found} of the target's"]


def _proofs(baselines: Mapping[str, Baseline], curl: Estimate | None) -> list[str]:
    """Return what proves that the plan is not optimal."""
    proofs = []
    name, free = max(baselines.items(), key=lambda item: item[1].least_error)
    if free.least_error > GAP_TOLERANCE:
        shown = f"the plan is at least {100 * free.least_error:.0f} % of the {free.share_of} away from an optimal one"
        proofs.append(f"{shown}, as the {name} is cheaper and near the target")
    if curl is not None and curl.low > GAP_TOLERANCE:
        proofs.append(f"the map is not a gradient, and at least {100 * curl.low:.0f} % of the variance away from one")
    return proofs


def _rows_text(n_rows: float) -> str:
    """Return the beginning of a sentence about few rows."""
    return "1 row is" if n_rows < 2 else f"{int(n_rows)} rows, effectively, are"
