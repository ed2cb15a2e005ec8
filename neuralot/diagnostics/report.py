"""Report and verdict of a diagnosis."""

from __future__ import annotations

import html
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass, field
from enum import Enum
from typing import Any

import numpy as np

from neuralot.diagnostics.dual import Dual
from neuralot.diagnostics.figure import plot_diagnosis
from neuralot.diagnostics.statistics import Estimate
from neuralot.drawing import Landscape

STILL_FALLING = 0.9


class Verdict(Enum):
    """Whether a transport is right, as far as samples tell.

    Attributes
    ----------
    OPTIMAL
        The images have the law of the target, and no other pairing of rows and images is cheaper.
    MARGINAL_NOT_MET
        The images do not have the law of the target, and the fit has ended.
    SPURIOUS
        The plan is not optimal, or the images of a thin source miss the target although the fit has ended.
    NOT_CONVERGED
        The images do not have the law of the target, and the fit says that it ended too early.
    UNDECIDED
        The samples are too small to decide.

    Examples
    --------
    >>> from neuralot import Verdict
    >>> Verdict.UNDECIDED.message
    'The samples are too small to decide.'
    """

    OPTIMAL = "The images have the law of the target, and no other pairing of rows and images is cheaper."
    MARGINAL_NOT_MET = "The images do not have the law of the target."
    SPURIOUS = "The plan is not optimal."
    NOT_CONVERGED = "The images do not have the law of the target, and the fit ended too early."
    UNDECIDED = "The samples are too small to decide."

    @property
    def message(self) -> str:
        """Message for the user."""
        return self.value


@dataclass(frozen=True)
class Marginal:
    """Distance between the laws of images and target.

    Distances are shares of the target's total variance.

    Attributes
    ----------
    w2, floor : float
        Mean squared W2 distance between blocks of images and of target rows, and that between blocks of target rows.
    excess : Estimate
        The distance beyond sampling error, see `neuralot.diagnostics.statistics.marginal_distance`.
    sinkhorn_divergence, sinkhorn_floor : float
        Debiased, of images and of other target rows to the same target rows, at most 1000 of each.
    p_value : float
        Of the permutation test with the energy distance. A small value shows a difference, not that it matters.
    log_spread : Estimate
        Logarithm of the standard deviation of the images relative to the target's.
    spread : ndarray of shape (d,)
        Standard deviation of each column of the images, relative to the target's; nan for a constant target.
    coverage : ndarray of shape (n_cells,)
        Mass of the images in each of ten cells of the target (k-means), relative to the target's mass there.
    """

    w2: float
    floor: float
    excess: Estimate
    sinkhorn_divergence: float
    sinkhorn_floor: float
    p_value: float
    log_spread: Estimate
    spread: np.ndarray
    coverage: np.ndarray

    @property
    def excess_text(self) -> str:
        """The excess as text."""
        return _excess_text(self.excess)

    def lines(self) -> list[tuple[str, str]]:
        """Return pairs of a label and a text."""
        by_column = self.spread[np.isfinite(self.spread)]
        columns = f"; by column {by_column.min():.2f} to {by_column.max():.2f}" if len(by_column) else ""
        return [
            (
                "images to target",
                f"W2^2 {_share(self.w2)} of the target's variance, floor {_share(self.floor)}",
            ),
            ("", self.excess_text),
            ("", f"Sinkhorn divergence {_share(self.sinkhorn_divergence)}, floor {_share(self.sinkhorn_floor)}"),
            ("", f"permutation p-value {self.p_value:.2g}"),
            ("spread", f"{np.exp(self.log_spread.value):.2f} of the target's{columns}"),
            ("modes", f"mass in cells of the target {self.coverage.min():.2f} to {self.coverage.max():.2f} of its own"),
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
        The same as a share of the target's total variance, or of the exact cost if the cost is another one.
    share_of : {'variance', 'exact cost'}
        What `relative_gap` is a share of.
    violated_pairs : float
        Share of pairs of rows, by mass, whose images are better exchanged.
    error : float
        ``max(cost^(1/p) - W_p(source, target), 0) + W_p(images, target)``, with p = 2 for the squared Euclidean
        cost; nan for costs other than this and `Lp`. It is 0 for optimal maps only, and at most twice the Lp distance
        to one (Nietert and Goldfeld). The distance of images and target is that of blocks of rows.
    error_floor : float
        W_p between two blocks of the target, the value of an optimal map on these samples.
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
        defined = np.isfinite(self.error)
        return [
            ("cost", f"{self.cost:.4g}; exact between the samples {self.exact_cost:.4g}"),
            ("optimality", f"{self.gap_text}; {_share(self.violated_pairs)} of pairs are better exchanged"),
            ("error", f"{self.error:.3g}, floor {self.error_floor:.3g}" if defined else "not defined for this cost"),
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
    """

    cost: float
    excess: Estimate

    @property
    def excess_text(self) -> str:
        """The excess as text."""
        return _excess_text(self.excess)


class Printed(ABC):
    """Base class of reports that are printed as lines."""

    @abstractmethod
    def lines(self) -> list[tuple[str, str]]:
        """Return pairs of a label and a text."""

    def __str__(self) -> str:
        lines = self.lines()
        width = max(len(label) for label, _ in lines) + 2
        return "\n".join(f"{label:{width}}{text}" for label, text in lines)

    def _repr_html_(self) -> str:
        cells = (f"<tr><th>{html.escape(label)}</th><td>{html.escape(text)}</td></tr>" for label, text in self.lines())
        return f"<table><caption>Transport report</caption>{''.join(cells)}</table>"


@dataclass(frozen=True)
class TransportReport(Printed):
    """Diagnosis of a transport on held-out rows.

    Parameters
    ----------
    verdict : Verdict
    reasons : tuple of str
        What decided the verdict, with numbers.
    marginal : Marginal
    optimality : Optimality
    dual : Dual or None
        The value of the learned potential; None if the transport has no `potential`.
    conditional_spread : float
        Mean variance of the draws of one row, as a share of the target's variance. Where it is not small, mass splits,
        and `transform` returns barycentres and not a map.
    baselines : dict of str to Baseline
        The identity, the shift by the difference of the means, and the affine map between the moments.
    dimension : float
        Estimate of the intrinsic dimension of the source, see `neuralot.methods.smoothing.intrinsic_dimension`.
    findings : tuple of str
        What is notable about the data and the fit, and what to do.
    n_source, n_target : int
        Rows that were used.
    samples : dict of str to ndarray
        The rows: ``source``, ``images`` and ``target``.
    history : tuple of dict
        The records of the fit, where the transport has some.
    landscape : Landscape or None
        The potential in the plane of the figure.

    Examples
    --------
    >>> import numpy as np
    >>> from neuralot import diagnose
    >>> rng = np.random.default_rng(0)
    >>> report = diagnose(lambda rows: rows + 3, rng.normal(size=(500, 2)), rng.normal(size=(500, 2)) + 3)
    >>> report.verdict.name, report.optimality.cost
    ('OPTIMAL', 18.0)
    """

    verdict: Verdict
    reasons: tuple[str, ...]
    marginal: Marginal
    optimality: Optimality
    dual: Dual | None
    conditional_spread: float
    baselines: dict[str, Baseline]
    dimension: float
    findings: tuple[str, ...]
    n_source: int
    n_target: int
    samples: dict[str, np.ndarray] = field(repr=False)
    history: tuple[dict[str, float], ...] = field(repr=False)
    landscape: Landscape | None = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain data, for JSON.

        The samples, the history and the landscape are left out.
        """
        left_out = ("samples", "history", "landscape", "verdict")
        kept = {name: value for name, value in vars(self).items() if name not in left_out}
        content = {name: _plain(value) for name, value in kept.items()}
        return {"verdict": self.verdict.name, "message": self.verdict.message, **content}

    def lines(self) -> list[tuple[str, str]]:
        """Return pairs of a label and a text."""
        return [
            ("verdict", f"{self.verdict.name}. {self.verdict.message}"),
            *(("", reason) for reason in self.reasons),
            ("rows", f"{self.n_source} of the source, {self.n_target} of the target"),
            ("source", f"of dimension about {self.dimension:.1f} in {self.samples['source'].shape[1]} features"),
            *self.marginal.lines(),
            *self.optimality.lines(),
            *([] if self.dual is None else self.dual.lines()),
            ("draws of one row", f"variance {_share(self.conditional_spread)} of the target's"),
            *((name, f"cost {base.cost:.4g}; {base.excess_text}") for name, base in self.baselines.items()),
            *self._lines_of_fit(),
            *(("note", finding) for finding in self.findings),
        ]

    def _lines_of_fit(self) -> list[tuple[str, str]]:
        """Return the change of the discrepancy at the end."""
        values = [record["discrepancy"] for record in self.history if "discrepancy" in record]
        n = len(values) // 5
        if not n:
            return []
        before, after = np.mean(values[-2 * n : -n]), np.mean(values[-n:])
        trend = "about 0" if after <= 0 else "still falling" if after < STILL_FALLING * before else "no longer falling"
        text = f"discrepancy {after:.2g} in the last fifth of the fit, {before:.2g} in the fifth before: {trend}"
        return [("fit", text)]

    def plot(self, ax: Any = None) -> np.ndarray:
        """Plot images and target, the potential, and the fit.

        The first axes show the rows, with segments of the plan; the second the level sets of the potential, if the
        transport has one, in the plane of the first; the third discrepancy and dual gap along the fit, if there was
        one. Rows are projected onto two principal components of source and target.

        Parameters
        ----------
        ax : array of matplotlib Axes, optional
            As many axes as there are parts; those of a new figure when None.

        Returns
        -------
        ndarray of matplotlib Axes

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If the number of axes is not that of the parts.
        """
        return plot_diagnosis(self.verdict.name, self.samples, self.landscape, self.history, ax)


def _excess_text(excess: Estimate) -> str:
    return f"beyond sampling {_share(excess.value)} +- {_share(excess.margin)}"


def _share(value: float) -> str:
    """Format a share as a percentage."""
    return f"{100 * value:.2g} %" if abs(value) < 1 else f"{100 * value:.0f} %"


def _plain(value: Any) -> Any:
    """Return nested dataclasses and arrays as dicts, lists and numbers."""
    if hasattr(value, "__dataclass_fields__"):
        return {name: _plain(each) for name, each in asdict(value).items()}
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    if isinstance(value, np.ndarray):
        return [_plain(float(each)) for each in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
