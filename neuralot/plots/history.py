"""Figure of a fit: discrepancy and dual gap by step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

from neuralot.drawing import draw_history
from neuralot.plots.checks import check_axes, check_history


class HistoryDisplay:
    r"""Discrepancy and dual gap along a fit.

    The discrepancy is the energy distance between the images of some rows and target rows. It is an unbiased estimate,
    so it may be below 0, and its axis is linear between -0.001 and 0.001 and logarithmic outside. The dual gap is
    :math:`\mathrm{OT} - \left(E \min_y [c(x, y) - V(y)] + E\, V(y)\right)` for the learned potential V, on some rows of
    the fit; it is 0 for an optimal potential.

    Parameters
    ----------
    history : sequence of dict
        The records of a fit, as in `history_` of an estimator, with ``step`` and ``discrepancy``, and ``gap`` where it
        was recorded. The value ``affine`` of the last record is drawn as a star: the discrepancy of the affine map that
        replaced the learned one.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the discrepancy.
    gap_ax_ : matplotlib Axes or None
        Axes of the gap, with the same steps; None if no gap was recorded.
    figure_ : matplotlib Figure
    discrepancy_, gap_, affine_ : matplotlib Line2D
        What was drawn; None where it was not recorded.

    Raises
    ------
    ValueError
        If there are no records, or they lack ``step`` or ``discrepancy``.

    See Also
    --------
    plot_history : The same in one call.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from neuralot.plots import HistoryDisplay
    >>> history = [{"step": 1, "discrepancy": 0.5, "gap": 2.0}, {"step": 100, "discrepancy": 0.01, "gap": 0.1}]
    >>> display = HistoryDisplay(history).plot()
    >>> display.gap_.get_ydata().tolist()
    [2.0, 0.1]
    >>> plt.close(display.figure_)
    """

    ax_: Any
    figure_: Any

    def __init__(self, history: Sequence[Mapping[str, float]]) -> None:
        self.history = check_history(history, "history")

    def plot(self, ax: Any = None) -> Self:
        """Draw the records.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Axes to draw on; new ones when None.

        Returns
        -------
        HistoryDisplay
        """
        self.ax_ = check_axes(ax)
        self.figure_ = self.ax_.figure
        self.discrepancy_, self.gap_, self.affine_ = draw_history(self.ax_, self.history)
        self.gap_ax_ = None if self.gap_ is None else self.gap_.axes
        return self

    @classmethod
    def from_estimator(cls, estimator: Any, X: Any = None, X_target: Any = None, *, ax: Any = None) -> Self:
        """Draw the records of an estimator's fit.

        Parameters
        ----------
        estimator : fitted transport or adapter
        X, X_target : ignored
            Present for the common signature of displays.
        ax : matplotlib Axes, optional
            As in `plot`.

        Returns
        -------
        HistoryDisplay

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If the estimator has no records, such as an OT-Net transport that was given a new target without a fit.
        """
        return cls(check_history(estimator, "estimator")).plot(ax)


def plot_history(transport_or_history: Any, *, ax: Any = None) -> HistoryDisplay:
    """Plot discrepancy and dual gap along a fit.

    Parameters
    ----------
    transport_or_history : fitted transport, adapter or sequence of dict
        An estimator with `history_`, or the records themselves.
    ax : matplotlib Axes, optional
        Axes to draw on; new ones when None.

    Returns
    -------
    HistoryDisplay

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    NotFittedError
        If the estimator is not fitted.
    ValueError
        If there are no records, or they lack ``step`` or ``discrepancy``.

    Examples
    --------
    >>> import numpy as np
    >>> from neuralot import SNOTTransport
    >>> from neuralot.plots import plot_history
    >>> X, Y = np.random.default_rng(0).normal(size=(2, 200, 2))
    >>> transport = SNOTTransport(max_iter=20, random_state=0).fit(X, Y + 3)
    >>> plot_history(transport).ax_.get_xlabel()
    'step'
    """
    return HistoryDisplay(check_history(transport_or_history, "transport_or_history")).plot(ax)
