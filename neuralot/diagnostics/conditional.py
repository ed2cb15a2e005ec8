"""Diagnosis of a transport under each of its conditions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from neuralot.costs import Cost
from neuralot.diagnostics.diagnose import diagnose
from neuralot.diagnostics.figure import plot_conditions
from neuralot.diagnostics.report import Printed, TransportReport, Verdict
from neuralot.diagnostics.verdict import MIN_ROWS
from neuralot.sampling import listed
from neuralot.solve.status import Status

# from the worst to the best
ORDER = (Verdict.SPURIOUS, Verdict.NOT_CONVERGED, Verdict.MARGINAL_NOT_MET, Verdict.UNDECIDED, Verdict.OPTIMAL)


@dataclass(frozen=True)
class AtCondition:
    """A conditional transport under one condition, for `diagnose`.

    Attributes
    ----------
    draws : callable (rows, n_draws, seed) -> ndarray
        Draws of rows with all columns.
    values : callable (rows, return_gradient) -> ndarray or pair of ndarray
        Potential at rows with all columns.
    densities : pair of callable, rows -> ndarray
        Densities of the plan's marginals at rows with all columns.
    row : ndarray of shape (n_columns,)
        A row with the condition.
    moved : ndarray of int
        Columns that are moved.
    _columns : sequence of str
        Their names.
    _row_indices : pair of ndarray of int
        Indices of the source and target rows in the data.
    source_range : ndarray of shape (2, n_moved) or None
        Range of the moved columns in the fit.
    cost : Cost
    status_ : Status
    history_ : sequence of dict
    _needs_density : bool
        Whether the method can be wrong for thin sources.
    """

    draws: Callable[[np.ndarray, int, Any], np.ndarray]
    values: Callable[[np.ndarray, bool], Any]
    densities: tuple[Callable[[np.ndarray], np.ndarray], Callable[[np.ndarray], np.ndarray]]
    row: np.ndarray
    moved: np.ndarray
    _columns: Sequence[str]
    _row_indices: tuple[np.ndarray, np.ndarray]
    source_range: np.ndarray | None
    cost: Cost
    status_: Status
    history_: Sequence[Mapping[str, float]]
    _needs_density: bool

    def sample(self, X: np.ndarray, n_draws: int = 1, random_state: Any = None) -> np.ndarray:
        """Draw images of moved columns, shape (n_draws, n, n_moved)."""
        return self.draws(self._with_condition(X), n_draws, random_state)[..., self.moved]

    def source_mass(self, X: np.ndarray) -> np.ndarray:
        """Return the mass that the plan takes from each row."""
        return self.densities[0](self._with_condition(X))

    def target_mass(self, Y: np.ndarray) -> np.ndarray:
        """Return the mass that reaches each target row."""
        return self.densities[1](self._with_condition(Y))

    def potential(self, Y: np.ndarray, return_gradient: bool = False) -> Any:
        """Return the potential at moved columns, and its gradients."""
        found = self.values(self._with_condition(Y), return_gradient)
        return (found[0], found[1][:, self.moved]) if return_gradient else found

    def _with_condition(self, rows: np.ndarray) -> np.ndarray:
        result = np.repeat(self.row[None].astype(rows.dtype), len(rows), axis=0)
        result[:, self.moved] = rows
        return result


@dataclass(frozen=True, repr=False)
class ConditionalReport(Printed):
    """Diagnosis of a transport with conditions or several times.

    Each condition, or range of a number, has its own report, on the moved columns of its rows. The verdict is the worst
    of them, in the order SPURIOUS, NOT_CONVERGED, MARGINAL_NOT_MET, UNDECIDED, OPTIMAL.

    Parameters
    ----------
    reports : dict of str to TransportReport
        Reports by condition, or by interval of a `TrajectoryTransport`.
    omitted : dict of str to int
        Number of rows with weight of the conditions that have too few for a report.

    Examples
    --------
    >>> import numpy as np
    >>> from neuralot import SNOTTransport
    >>> rng = np.random.default_rng(0)
    >>> dose = np.repeat([0.0, 1.0], 500)
    >>> X, Y = (np.c_[rng.normal(size=(1000, 2)) + shift * dose[:, None], dose] for shift in (0, 3))
    >>> transport = SNOTTransport(condition=2, max_iter=200, random_state=0).fit(X, Y)
    >>> list(transport.report(X, Y).reports)
    ['2=0', '2=1']
    """

    reports: dict[str, TransportReport]
    omitted: dict[str, int] = field(default_factory=dict)

    @property
    def verdict(self) -> Verdict:
        """The worst verdict of all conditions."""
        found = {report.verdict for report in self.reports.values()}
        return next(verdict for verdict in ORDER if verdict in found)

    @property
    def reasons(self) -> tuple[str, ...]:
        """The reasons of the worst verdict, by condition."""
        worst = [(name, report) for name, report in self.reports.items() if report.verdict is self.verdict]
        return tuple(f"{name}: {reason}" for name, report in worst for reason in report.reasons)

    @property
    def findings(self) -> tuple[str, ...]:
        """Findings about the data and the fit, with their conditions."""
        conditions: dict[str, list[str]] = {}
        for name, report in self.reports.items():
            for finding in report.findings:
                conditions.setdefault(finding, []).append(name)
        return tuple(f"{listed(names)}: {finding}" for finding, names in conditions.items())

    def to_dict(self) -> dict[str, Any]:
        """Return the reports as plain data, for JSON."""
        reports = {name: report.to_dict() for name, report in self.reports.items()}
        return {
            "verdict": self.verdict.name,
            "message": self.verdict.message,
            "reasons": list(self.reasons),
            "reports": reports,
            "omitted": self.omitted,
        }

    def plot(self, ax: Any = None) -> np.ndarray:
        """Plot images and target of each condition.

        All are drawn in one plane: of the features, or of two principal components from three features on.
        ``report.reports[name].plot()`` has the potential and the fit, too.

        Parameters
        ----------
        ax : array of matplotlib Axes, optional
            As many axes as there are reports; those of a new figure when None.

        Returns
        -------
        ndarray of matplotlib Axes

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If the number of axes is not that of the reports.
        """
        named = self.reports.items()
        return plot_conditions({f"{name}: {report.verdict.name}": report.samples for name, report in named}, ax)

    def lines(self) -> list[tuple[str, str]]:
        """Return pairs of a label and a text."""
        return [
            ("verdict", f"{self.verdict.name}. {self.verdict.message}"),
            *(
                (name, f"{report.verdict.name}: {'; '.join(report.reasons)}; {report.marginal.excess_text}")
                for name, report in self.reports.items()
            ),
            *(("note", finding) for finding in self.findings),
            *([("note", self._omitted_text())] if self.omitted else []),
        ]

    def _omitted_text(self) -> str:
        return f"{listed([*self.omitted])} have fewer than {MIN_ROWS} source or target rows, and no report"


def diagnose_conditions(
    parts: Iterator[tuple[str, AtCondition, np.ndarray, np.ndarray, np.ndarray, np.ndarray]], max_rows: int
) -> ConditionalReport:
    """Diagnose a transport under each condition.

    `parts` has the name of a condition, the transport under it, the moved columns of its source and target rows, and
    their weights.
    """
    reports, small = {}, {}
    for name, transport, X, Y, v, w in parts:
        n_rows = min(int((weights > 0).sum()) for weights in (v, w))
        if n_rows < MIN_ROWS:
            small[name] = n_rows
        else:
            reports[name] = diagnose(transport, X, Y, sample_weight=v, sample_weight_target=w, max_rows=max_rows)
    if not reports:
        raise ValueError(
            f"report compares rows with equal or similar conditions, and needs at least {MIN_ROWS} source and target "
            f"rows of one condition; the largest of {len(small)} conditions has {max(small.values(), default=0)}. Pass "
            f"more rows, or rows with few values of the condition, for example rows of one dose"
        )
    return ConditionalReport(reports, small)
