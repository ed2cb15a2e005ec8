"""Quantities of a report, and their texts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neuralot.diagnostics.statistics import Estimate

# a proven error of less can be one of the one in ten that chance proves
SHOWN = 0.01


@dataclass(frozen=True)
class Marginal:
    """Distance between the laws of images and target.

    Distances are shares of the target's total variance.

    Attributes
    ----------
    w2, floor : float
        Mean squared W2 distance between blocks of images and of target rows, and that between blocks of target rows;
        nan for too few rows.
    excess : Estimate
        The distance beyond sampling error, see `neuralot.diagnostics.statistics.marginal_distance`.
    by_column : Estimate
        The sum of the distances along columns, principal axes or independent components, beyond sampling error: a lower
        bound of the distance.
    sinkhorn_divergence, sinkhorn_floor : float
        Debiased, of images and of other target rows to the same target rows, at most 1000 of each.
    p_value : float
        Of the permutation test with the energy distance, in which rows of small weight take part with a probability
        proportional to it. A small value shows a difference, not that it matters.
    log_spread : Estimate
        Logarithm of the standard deviation of the images relative to the target's.
    spread : ndarray of shape (d,)
        Standard deviation of each column of the images, relative to the target's; nan for a constant target.
    column_spread : ndarray of shape (d,)
        The same with mean absolute deviations, which a few far rows change less.
    column_differs : ndarray of shape (d,)
        Whether these deviations differ by more than a factor of two, beyond sampling error.
    coverage : ndarray of shape (n_cells,)
        Mass of the images in each of ten cells of the target (k-means), relative to the target's mass there.
    """

    w2: float
    floor: float
    excess: Estimate
    by_column: Estimate
    sinkhorn_divergence: float
    sinkhorn_floor: float
    p_value: float
    log_spread: Estimate
    spread: np.ndarray
    column_spread: np.ndarray
    column_differs: np.ndarray
    coverage: np.ndarray

    @property
    def excess_text(self) -> str:
        """The excess as text."""
        return _excess_text(self.excess)

    @property
    def spread_text(self) -> str:
        """The spread relative to the target's, as text."""
        if not np.isfinite(self.spread).any():
            return "not defined for a constant target"
        return f"{np.exp(self.log_spread.value):.2f} of the target's"

    def lines(self) -> list[tuple[str, str]]:
        """Return pairs of a label and a text."""
        w2_floor = _floor_text(self.floor, share_text(self.floor))
        by_column = self.spread[np.isfinite(self.spread)]
        floor = _floor_text(self.sinkhorn_floor, share_text(self.sinkhorn_floor))
        columns = f"; by column {by_column.min():.2f} to {by_column.max():.2f}" if len(by_column) else ""
        return [
            ("images to target", f"W2^2 {share_text(self.w2)} of the target's variance, {w2_floor}"),
            ("", f"{self.excess_text}; along columns or axes {_with_margin(self.by_column)}"),
            ("", f"Sinkhorn divergence {share_text(self.sinkhorn_divergence)}, {floor}"),
            ("", f"permutation p-value {self.p_value:.2g}"),
            ("spread", f"{self.spread_text}{columns}"),
            ("modes", f"mass in cells of the target {self.coverage.min():.2f} to {self.coverage.max():.3g} of its own"),
        ]


@dataclass(frozen=True)
class Optimality:
    """Cost of the plan compared with the best plan.

    Attributes
    ----------
    cost : float
        Mean cost of rows and their images, in units of the cost.
    exact_cost : float
        Exact cost between the samples of source and target, which sampling makes too large in high dimension.
    gap : float
        Cost that another pairing of the same rows and images saves, in units of the cost; 0 for an optimal plan.
    relative_gap : float
        The same as a share of the target's total variance, or if the cost is another one, of the spread of costs: half
        of the difference between the costs of independent and of optimally paired rows and images.
    share_of : {'variance', 'spread of costs'}
        What `relative_gap` is a share of.
    violated_pairs : float
        Share of pairs of rows, by mass, whose images are better exchanged.
    error : float
        ``max(cost^(1/p) - W_p(source, target), 0) + W_p(images, target)``, with p = 2 for the squared Euclidean
        cost; nan for costs other than this and `Lp`. It is 0 for optimal maps only, and at most twice the Lp distance
        to one (Nietert and Goldfeld). The distance of images and target is that of blocks of rows.
    error_floor : float
        W_p between two blocks of the target, the value of an optimal map on these samples; nan for too few rows.
    """

    cost: float
    exact_cost: float
    gap: float
    relative_gap: float
    share_of: str
    violated_pairs: float
    error: float
    error_floor: float

    @property
    def gap_text(self) -> str:
        """The relative gap as text."""
        saved = f"{self.gap:.2g}, {100 * self.relative_gap:.1f} % of the {self.share_of}"
        return f"another pairing of rows and images saves {saved}"

    def lines(self) -> list[tuple[str, str]]:
        """Return pairs of a label and a text."""
        defined, floor = np.isfinite(self.error), _floor_text(self.error_floor, f"{self.error_floor:.3g}")
        return [
            ("cost", f"{self.cost:.4g}; exact between the samples {self.exact_cost:.4g}"),
            ("optimality", f"{self.gap_text}; {share_text(self.violated_pairs)} of pairs are better exchanged"),
            ("error", f"{self.error:.3g}, {floor}" if defined else "not defined for this cost"),
        ]


@dataclass(frozen=True)
class Baseline:
    """Result of a map without a fit.

    Attributes
    ----------
    cost : float
        Mean cost of rows and their images.
    excess : Estimate
        As that of `Marginal`.
    least_error : float
        Squared distance of the transport to an optimal one that this map proves: if a free map is cheaper and near the
        target, the transport is not optimal. 0 if it proves none, and for costs other than the squared Euclidean and
        `Lp`.
    share_of : {'variance', 'squared spread'}
        What `least_error` is a share of: the target's variance, or with `Lp` and the Lp distance of the transports
        ``E[c(y, E y)]^(2/p)``, for target rows y.
    """

    cost: float
    excess: Estimate
    least_error: float
    share_of: str

    @property
    def text(self) -> str:
        """The quantities as text."""
        proven = f"; proves an error of at least {share_text(self.least_error)} of the {self.share_of}"
        return f"cost {self.cost:.4g}; {_excess_text(self.excess)}" + (proven if self.least_error > SHOWN else "")


def _excess_text(excess: Estimate) -> str:
    return f"beyond sampling {_with_margin(excess)}"


def _with_margin(estimate: Estimate) -> str:
    """Return a share with its margin of error."""
    margin = f"+- {share_text(estimate.margin)}" if np.isfinite(estimate.margin) else "(too few rows for a margin)"
    return f"{share_text(estimate.value)} {margin}"


def _floor_text(floor: float, text: str) -> str:
    return f"floor {text}" if np.isfinite(floor) else "no floor, too few rows"


def curl_text(curl: Estimate) -> str:
    """Return the curl as text."""
    value, margin = (round(100 * each, 2) + 0.0 for each in (curl.value, curl.margin))  # no -0.0
    return f"antisymmetric part of the mean Jacobian {value:.2g} % +- {margin:.2g} % of the variance"


def share_text(value: float) -> str:
    """Format a share as a percentage; rounding errors are 0."""
    if abs(value) < 1e-9:
        return "0 %"
    return f"{100 * value:.2g} %" if abs(value) < 0.995 else f"{100 * value:.4g} %"
