"""Report and verdict of a diagnosis."""

from __future__ import annotations

import html
import textwrap
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass, field
from enum import Enum
from typing import Any

import numpy as np

from neuralot.diagnostics.dual import Dual
from neuralot.diagnostics.figure import plot_diagnosis
from neuralot.diagnostics.quantities import Baseline, Marginal, Optimality, curl_text, share_text
from neuralot.diagnostics.statistics import Estimate
from neuralot.drawing import Landscape

STILL_FALLING = 0.9
SMALL_BLUR = 0.001
LINE = 80  # characters of a printed line


class Verdict(Enum):
    """Whether a transport is right, as far as samples tell.

    Attributes
    ----------
    OPTIMAL
        Within tolerances, the images have the law of the target, and no other pairing of rows and images is cheaper.
    MARGINAL_NOT_MET
        The images do not have the law of the target, and the fit has ended.
    SPURIOUS
        The plan is not optimal, or the images of a thin source miss the target and the method needs a density.
    NOT_CONVERGED
        The images do not have the law of the target, and the fit says that it ended too early.
    UNDECIDED
        The samples are too small to decide, or a few rows dominate them.

    Examples
    --------
    >>> from neuralot import Verdict
    >>> Verdict.UNDECIDED.message
    'The samples are too small to decide, or a few rows dominate them.'
    """

    OPTIMAL = (
        "Within tolerances, the images have the law of the target, and no other pairing of rows and images is cheaper."
    )
    MARGINAL_NOT_MET = "The images do not have the law of the target."
    SPURIOUS = "The plan is not optimal."
    NOT_CONVERGED = "The images do not have the law of the target, and the fit ended too early."
    UNDECIDED = "The samples are too small to decide, or a few rows dominate them."

    @property
    def message(self) -> str:
        """Message for the user."""
        return self.value


class Printed(ABC):
    """Base class of reports that are printed as lines."""

    @abstractmethod
    def lines(self) -> list[tuple[str, str]]:
        """Return pairs of a label and a text."""

    def __str__(self) -> str:
        lines = self.lines()
        width = max(len(label) for label, _ in lines) + 2
        wrapped = ((label, textwrap.wrap(text, LINE - width) or [""]) for label, text in lines)
        return "\n".join(
            f"{label if i == 0 else '':{width}}{part}" for label, parts in wrapped for i, part in enumerate(parts)
        )

    __repr__ = __str__

    def _repr_html_(self) -> str:
        cells = (f"<tr><th>{html.escape(label)}</th><td>{html.escape(text)}</td></tr>" for label, text in self.lines())
        return f"<table><caption>Transport report</caption>{''.join(cells)}</table>"


@dataclass(frozen=True, repr=False)
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
    curl : Estimate or None
        Antisymmetric part of the mean Jacobian of the map, as a share of the target's variance, see
        `neuralot.diagnostics.curl.evaluate_curl`. It is 0 for optimal maps under the squared Euclidean cost. None for
        other costs, thin sources and those with columns of few values, fewer than 200 rows, one feature or more than
        256, a function that has no images near the rows, or draws that vary by more than 2 %.
    conditional_spread : float
        Mean variance of the draws of one row, as a share of the target's variance. Where it is not small, mass splits,
        and `transform` returns barycentres and not a map.
    blur : float
        Part of the conditional spread that no optimal plan has, at least: all of it for a source with a density and a
        strictly convex cost, see `neuralot.diagnostics.blur.evaluate_blur` for thin sources. 0 where it is not known,
        as for other costs, or for thin sources of more than 256 features.
    baselines : dict of str to Baseline
        The identity, the shift by the difference of the means, and the affine map between the moments.
    dimension : float
        Estimate of the intrinsic dimension of the source, see `neuralot.methods.smoothing.intrinsic_dimension`.
    findings : tuple of str
        What is notable about the data and the fit, and what to do.
    samples : dict of str to ndarray
        The rows: ``source``, ``images`` and ``target``.
    ended_early : bool
        Whether the fit says that it ended before it converged.
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
    curl: Estimate | None
    conditional_spread: float
    blur: float
    baselines: dict[str, Baseline]
    dimension: float
    findings: tuple[str, ...]
    samples: dict[str, np.ndarray] = field(repr=False)
    ended_early: bool
    history: tuple[dict[str, float], ...] = field(repr=False)
    landscape: Landscape | None = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain data, for JSON.

        The samples, the history and the landscape are left out; the numbers of rows and ``more_steps_help`` are added.
        """
        left_out = ("samples", "history", "landscape", "verdict")
        kept = {name: value for name, value in vars(self).items() if name not in left_out}
        content = {name: _plain(value) for name, value in kept.items()}
        added = {name: getattr(self, name) for name in ("n_source", "n_target", "more_steps_help")}
        return {"verdict": self.verdict.name, "message": self.verdict.message, **content, **added}

    @property
    def n_source(self) -> int:
        """Number of source rows that were used."""
        return len(self.samples["source"])

    @property
    def n_target(self) -> int:
        """Number of target rows that were used."""
        return len(self.samples["target"])

    @property
    def more_steps_help(self) -> bool | None:
        """Whether more steps would probably bring the images closer.

        They would if the fit ended early without a spurious solution, or if its discrepancy was still falling. None if
        this is not known.
        """
        found = self._last_discrepancies()
        return True if self._is_short else None if found is None else 0 < found[1] < STILL_FALLING * found[0]

    def lines(self) -> list[tuple[str, str]]:
        """Return pairs of a label and a text."""
        return [
            ("verdict", f"{self.verdict.name}. {self.verdict.message}"),
            *(("", reason) for reason in self.reasons),
            ("rows", f"{self.n_source} of the source, {self.n_target} of the target"),
            ("source", f"of dimension about {self.dimension:.1f} in {self._features_text()}"),
            *self.marginal.lines(),
            *self.optimality.lines(),
            *([] if self.dual is None else self.dual.lines()),
            *([] if self.curl is None else [("curl", curl_text(self.curl))]),
            ("draws of one row", f"variance {share_text(self.conditional_spread)} of the target's{self._blur_text()}"),
            *((name, base.text) for name, base in self.baselines.items()),
            *self._lines_of_fit(),
            *(("note", finding) for finding in self.findings),
        ]

    @property
    def _is_short(self) -> bool:
        return self.ended_early and self.verdict is not Verdict.SPURIOUS

    def _features_text(self) -> str:
        n = self.samples["source"].shape[1]
        return f"{n} feature{'s' * (n > 1)}"

    def _blur_text(self) -> str:
        is_large = self.blur > SMALL_BLUR
        return f", at least {share_text(self.blur)} where no optimal plan splits mass" if is_large else ""

    def _lines_of_fit(self) -> list[tuple[str, str]]:
        """Return the change of the discrepancy, and whether steps help."""
        found = self._last_discrepancies()
        if found is None:
            return []
        before, after = found
        trend = "about 0" if after <= 0 else "still falling" if after < STILL_FALLING * before else "no longer falling"
        text = f"discrepancy {after:.2g} in the last fifth of the fit, {before:.2g} in the fifth before: {trend}"
        advice = "; the fit ended early, and more steps may help" if self._is_short else "; more steps would help"
        return [("fit", text + advice * bool(self.more_steps_help))]

    def _last_discrepancies(self) -> tuple[float, float] | None:
        """Return the means over the last two fifths."""
        values = [record["discrepancy"] for record in self.history if "discrepancy" in record]
        n = len(values) // 5
        return (float(np.mean(values[-2 * n : -n])), float(np.mean(values[-n:]))) if n else None

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
