"""Figure of a learned potential."""

from __future__ import annotations

from typing import Any, Self

from numpy.typing import ArrayLike

from neuralot.drawing import draw_legend, draw_potential, label_axes, landscape, plane_of
from neuralot.plots.checks import axis_labels, check_axes, check_rows, check_target, fitted


class PotentialDisplay:
    r"""Level sets of the learned Kantorovich potential V.

    V is a function of target rows. For the squared Euclidean cost the optimal map sends x to the row y that minimises
    :math:`|x - y|^2 - V(y)`. With more than two features, the level sets are those of V on the plane of two principal
    components through the mean of the target, which the labels of the axes say. With one feature, the curve of V is
    drawn.

    Parameters
    ----------
    transport : fitted transport or adapter
        With the method `potential`.
    X_target : array-like of shape (m, d)
        Target rows. The figure covers their range. The names of two columns of a dataframe become labels of the axes.
    X : array-like of shape (n, d), optional
        Source rows, which are drawn, too, and whose principal components count.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    potential_ : matplotlib QuadContourSet or Line2D
        Level sets, or the curve for rows with one feature.

    Raises
    ------
    NotFittedError
        Before `fit`.
    TypeError
        If `transport` has no `potential`.
    ValueError
        If rows are not finite, or shapes do not agree.

    See Also
    --------
    plot_potential : The same in one call.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> import numpy as np
    >>> from neuralot import SNOTTransport
    >>> from neuralot.plots import PotentialDisplay
    >>> X, Y = np.random.default_rng(0).normal(size=(2, 200, 3))
    >>> transport = SNOTTransport(max_iter=20, random_state=0).fit(X, Y)
    >>> display = PotentialDisplay.from_estimator(transport, X, Y)
    >>> display.ax_.get_xlabel()
    'first principal component'
    >>> plt.close(display.figure_)
    """

    ax_: Any
    figure_: Any

    def __init__(self, transport: Any, X_target: ArrayLike, X: ArrayLike | None = None) -> None:
        fitted_transport = fitted(transport, "potential", "transport")
        self.target = check_rows(X_target, "X_target")
        self.source = None if X is None else check_rows(X, "X", ("X_target", self.target))
        self.plane = plane_of(*(rows for rows in (self.source, self.target) if rows is not None))
        self.labels = axis_labels(X_target, self.plane)
        self.landscape = landscape(fitted_transport, self.plane, self.target)

    def plot(self, ax: Any = None) -> Self:
        """Draw the potential and the rows.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Axes to draw on; new ones, with a legend, when None.

        Returns
        -------
        PotentialDisplay
        """
        self.ax_ = check_axes(ax)
        self.figure_ = self.ax_.figure
        self.potential_ = draw_potential(self.ax_, self.landscape, self.plane, self.target, self.source)
        label_axes(self.ax_, self.labels)
        if ax is None:
            draw_legend(self.ax_)
        return self

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: ArrayLike | None, X_target: ArrayLike | None = None, *, ax: Any = None
    ) -> Self:
        """Draw the potential of a transport.

        Parameters
        ----------
        estimator : fitted transport or adapter
            With the method `potential`.
        X : array-like of shape (n, d) or None
            Source rows, which are drawn, too; None for target rows only.
        X_target : array-like of shape (m, d)
            Target rows.
        ax : matplotlib Axes, optional
            As in `plot`.

        Returns
        -------
        PotentialDisplay

        Raises
        ------
        NotFittedError
            Before `fit`.
        TypeError
            If the estimator has no `potential`.
        ValueError
            If rows are not valid, or `X_target` is None.
        """
        fitted(estimator, "potential")
        return cls(estimator, check_target(X_target), X).plot(ax)


def plot_potential(
    transport: Any, X_target: ArrayLike, *, X: ArrayLike | None = None, ax: Any = None
) -> PotentialDisplay:
    """Plot the level sets of the learned potential.

    Parameters
    ----------
    transport : fitted transport or adapter
        With the method `potential`.
    X_target : array-like of shape (m, d)
        Target rows. The figure covers their range, in the plane of two principal components for more than two features.
    X : array-like of shape (n, d), optional
        Source rows, which are drawn, too, and whose principal components count.
    ax : matplotlib Axes, optional
        Axes to draw on; new ones, with a legend, when None.

    Returns
    -------
    PotentialDisplay

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    NotFittedError
        If the transport is not fitted.
    TypeError
        If the transport has no `potential`.
    ValueError
        If rows are not finite, or shapes do not agree.

    Examples
    --------
    >>> import numpy as np
    >>> from neuralot import SNOTTransport
    >>> from neuralot.plots import plot_potential
    >>> X, Y = np.random.default_rng(0).normal(size=(2, 200, 2))
    >>> transport = SNOTTransport(max_iter=20, random_state=0).fit(X, Y)
    >>> plot_potential(transport, Y).landscape.values.shape
    (60, 60)
    """
    return PotentialDisplay(transport, X_target, X).plot(ax)
