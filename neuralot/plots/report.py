"""Figure of a report."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from neuralot.plots.checks import check_report, check_target, fitted


class ReportDisplay:
    """Samples, potential and history of a report, side by side.

    It is the figure of ``report.plot()``.

    Parameters
    ----------
    report : TransportReport or ConditionalReport
        From `neuralot.diagnose` or ``transport.report(X, X_target)``.

    Attributes
    ----------
    axes_ : ndarray of matplotlib Axes
        The samples; the potential, where the transport has one; and discrepancy and gap, where there was a fit. With
        conditions: the samples of each one.
    ax_ : matplotlib Axes
        The first of them.
    figure_ : matplotlib Figure

    Raises
    ------
    TypeError
        If `report` is not a report.

    See Also
    --------
    plot_report : The same in one call.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> import numpy as np
    >>> from neuralot import SNOTTransport
    >>> from neuralot.plots import ReportDisplay
    >>> X, Y = np.random.default_rng(0).normal(size=(2, 200, 2))
    >>> transport = SNOTTransport(max_iter=20, random_state=0).fit(X, Y)
    >>> display = ReportDisplay.from_estimator(transport, X, Y)
    >>> len(display.axes_)
    3
    >>> plt.close(display.figure_)
    """

    ax_: Any
    figure_: Any

    def __init__(self, report: Any) -> None:
        self.report = check_report(report)

    def plot(self, ax: Any = None) -> Self:
        """Draw the report.

        Parameters
        ----------
        ax : array of matplotlib Axes, optional
            As many axes as there are parts; new ones when None.

        Returns
        -------
        ReportDisplay

        Raises
        ------
        ValueError
            If the number of axes is not that of the parts.
        """
        self.axes_: np.ndarray = self.report.plot(ax)
        self.ax_ = self.axes_[0]
        self.figure_ = self.ax_.figure
        return self

    @classmethod
    def from_estimator(cls, estimator: Any, X: ArrayLike, X_target: ArrayLike | None = None, *, ax: Any = None) -> Self:
        """Diagnose a transport on held-out rows and draw the report.

        Parameters
        ----------
        estimator : fitted transport or adapter
        X : array-like of shape (n, d)
            Held-out source rows.
        X_target : array-like of shape (m, d)
            Held-out target rows.
        ax : array of matplotlib Axes, optional
            As in `plot`.

        Returns
        -------
        ReportDisplay

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If rows are not valid, or `X_target` is None.
        """
        transport = fitted(estimator, "report")
        return cls(transport.report(X, check_target(X_target))).plot(ax)


def plot_report(report: Any) -> ReportDisplay:
    """Plot a report: samples, potential and history.

    Parameters
    ----------
    report : TransportReport or ConditionalReport
        From `neuralot.diagnose` or ``transport.report(X, X_target)``.

    Returns
    -------
    ReportDisplay
        The figure is that of ``report.plot()``.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    TypeError
        If `report` is not a report.

    Examples
    --------
    >>> import numpy as np
    >>> from neuralot import diagnose
    >>> from neuralot.plots import plot_report
    >>> X, Y = np.random.default_rng(0).normal(size=(2, 200, 2))
    >>> plot_report(diagnose(lambda rows: rows, X, Y)).ax_.get_title()
    'OPTIMAL'
    """
    return ReportDisplay(report).plot()
