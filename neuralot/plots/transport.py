"""Figure of source rows, their images and the target."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from neuralot.drawing import N_SEGMENTS, draw_legend, draw_samples, label_axes, plane_of
from neuralot.plots.checks import axis_labels, check_axes, check_count, check_samples, images_of


class TransportDisplay:
    """Source rows, their images and segments between them.

    Rows with more than two features are projected onto two principal components of source and target, which the labels
    of the axes say. Rows with one feature are drawn on two lines, the source below its images.

    Parameters
    ----------
    X : array-like of shape (n, d)
        Source rows. The names of two columns of a dataframe become labels of the axes.
    images : array-like of shape (n, d)
        Their images, or draws from the plan.
    target : array-like of shape (m, d), optional
        Target rows; not drawn when None.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    source_, images_, target_ : matplotlib PathCollection
        The points; `target_` is None without target rows.
    segments_ : matplotlib LineCollection

    Raises
    ------
    ValueError
        If rows are not finite, or shapes do not agree.

    See Also
    --------
    plot_transport : The same in one call.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from neuralot import SNOTTransport
    >>> from neuralot.datasets import make_parallel
    >>> from neuralot.plots import TransportDisplay
    >>> X, Y = make_parallel().sample(50, random_state=0)
    >>> transport = SNOTTransport(max_iter=20, random_state=0).fit(X, Y)
    >>> display = TransportDisplay.from_estimator(transport, X, Y)
    >>> display.images_.get_offsets().shape
    (50, 2)
    >>> plt.close(display.figure_)
    """

    ax_: Any
    figure_: Any

    def __init__(self, X: ArrayLike, images: ArrayLike, target: ArrayLike | None = None) -> None:
        self.source, self.images, self.target = check_samples(X, images, target)
        self.plane = plane_of(self.source, self.images if self.target is None else self.target)
        self.labels = axis_labels(X, self.plane)

    def plot(self, ax: Any = None, *, n_segments: int = N_SEGMENTS) -> Self:
        """Draw the rows.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Axes to draw on; new ones, with a legend, when None.
        n_segments : int, default=100
            Number of rows, evenly spaced, that are connected with their image.

        Returns
        -------
        TransportDisplay
        """
        check_count(n_segments, "n_segments", 0)
        self.ax_ = check_axes(ax)
        self.figure_ = self.ax_.figure
        drawn = draw_samples(self.ax_, self.plane, self.source, self.images, self.target, n_segments)
        self.source_, self.images_, self.target_, self.segments_ = drawn
        label_axes(self.ax_, self.labels)
        if ax is None:
            draw_legend(self.ax_)
        return self

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike,
        X_target: ArrayLike | None = None,
        *,
        n_segments: int = N_SEGMENTS,
        random_state: int | np.random.RandomState | None = 0,
        ax: Any = None,
    ) -> Self:
        """Draw rows and draws from the plan of a transport.

        Parameters
        ----------
        estimator : fitted transport or adapter
            One draw per row is shown, or the image where the estimator has no `sample`.
        X : array-like of shape (n, d)
            Source rows.
        X_target : array-like of shape (m, d), optional
            Target rows; not drawn when None.
        n_segments : int, default=100
            As in `plot`.
        random_state : int, RandomState or None, default=0
            Seed of the draws.
        ax : matplotlib Axes, optional
            As in `plot`.

        Returns
        -------
        TransportDisplay

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If rows are not valid.
        """
        return cls(X, images_of(estimator, X, random_state), X_target).plot(ax, n_segments=n_segments)


def plot_transport(
    X: ArrayLike,
    images: ArrayLike,
    target: ArrayLike | None = None,
    *,
    n_segments: int = N_SEGMENTS,
    ax: Any = None,
) -> TransportDisplay:
    """Plot source rows, their images and segments between them.

    The target sample is drawn behind them. Rows with more than two features are projected onto two principal components
    of source and target; rows with one feature are drawn on two lines.

    Parameters
    ----------
    X : array-like of shape (n, d)
        Source rows.
    images : array-like of shape (n, d)
        Their images, or draws from the plan.
    target : array-like of shape (m, d), optional
        Target rows; not drawn when None.
    n_segments : int, default=100
        Number of rows, evenly spaced, that are connected with their image.
    ax : matplotlib Axes, optional
        Axes to draw on; new ones, with a legend, when None.

    Returns
    -------
    TransportDisplay

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If rows are not finite, or shapes do not agree.

    Examples
    --------
    >>> from neuralot.datasets import make_parallel
    >>> from neuralot.plots import plot_transport
    >>> X, Y = make_parallel().sample(50, random_state=0)
    >>> plot_transport(X, X + [0.0, 1.0], Y).ax_.get_aspect()
    1.0
    """
    return TransportDisplay(X, images, target).plot(ax, n_segments=n_segments)
