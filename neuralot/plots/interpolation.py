"""Animation of rows that move to their images."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from neuralot.drawing import (
    IMAGE,
    N_SEGMENTS,
    ON_SOURCE,
    ON_TARGET,
    SOURCE,
    TARGET,
    draw_legend,
    draw_paths,
    draw_points,
    label_axes,
    plane_of,
)
from neuralot.parameters import number
from neuralot.plots.checks import axis_labels, check_axes, check_count, check_samples, images_of

STILL, INTERVAL = 0.5, 50  # the time that a still shows, and milliseconds between frames


class InterpolationDisplay:
    r"""Animation of the displacement interpolation.

    .. math:: x_t = (1 - t) x + t y, \quad t \in [0, 1]

    Each row x moves on a line to its image y. For an optimal plan and the squared Euclidean cost, the rows at time t
    have the law of the geodesic between source and target. The still, which is saved by ``figure_.savefig``, shows the
    time 1/2. Rows with more than two features are projected, as in `TransportDisplay`.

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
    animation_ : matplotlib FuncAnimation
    times_ : ndarray of shape (n_frames,)
        The time t of each frame.
    moving_ : matplotlib PathCollection
        The moving points.
    source_, target_ : matplotlib PathCollection
        The points at rest; `target_` is None without target rows.
    segments_ : matplotlib LineCollection
        Segments from source rows to the moving points.

    Raises
    ------
    ValueError
        If rows are not finite, or shapes do not agree.

    See Also
    --------
    plot_interpolation : The same in one call.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from neuralot import OTPTransport
    >>> from neuralot.datasets import make_one_to_many
    >>> from neuralot.plots import InterpolationDisplay
    >>> X, Y = make_one_to_many().sample(50, random_state=0)
    >>> transport = OTPTransport(max_iter=20, random_state=0).fit(X, Y)
    >>> display = InterpolationDisplay.from_estimator(transport, X, Y, n_frames=5)
    >>> display.times_.tolist()
    [0.0, 0.25, 0.5, 0.75, 1.0]
    >>> plt.close(display.figure_)
    """

    ax_: Any
    figure_: Any

    def __init__(self, X: ArrayLike, images: ArrayLike, target: ArrayLike | None = None) -> None:
        self.source, self.images, self.target = check_samples(X, images, target)
        self.plane = plane_of(self.source, self.images if self.target is None else self.target)
        self.labels = axis_labels(X, self.plane)

    def plot(self, ax: Any = None, *, n_frames: int = 30) -> Self:
        """Draw the still and make the animation.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Axes to draw on; new ones, with a legend, when None.
        n_frames : int, default=30
            Number of frames, with evenly spaced times from 0 to 1.

        Returns
        -------
        InterpolationDisplay
        """
        self.times_ = np.linspace(0, 1, check_count(n_frames, "n_frames", 1))
        self.ax_ = check_axes(ax)
        self.figure_ = self.ax_.figure
        self._draw()
        label_axes(self.ax_, self.labels)
        if ax is None:
            draw_legend(self.ax_)
        self.animation_ = _animation(self.ax_.figure.canvas.figure, self.set_time, self.times_)
        return self

    def _draw(self) -> None:
        """Draw all artists, with limits for all times."""
        starts, ends = self.plane.place(self.source, ON_SOURCE), self.plane.place(self.images, ON_TARGET)
        self._starts, self._ends, self.target_ = starts, ends, None
        if self.target is not None:
            self.target_ = draw_points(self.ax_, self.plane.place(self.target, ON_TARGET), TARGET, "target", scale=3)
        self.source_ = draw_points(self.ax_, starts, SOURCE, "source", alpha=0.4)
        self._chosen = np.linspace(0, len(starts) - 1, min(N_SEGMENTS, len(starts))).astype(int)
        self.segments_ = draw_paths(self.ax_, starts[self._chosen], ends[self._chosen])
        self.moving_ = draw_points(self.ax_, ends, IMAGE, "moving")  # at the ends, for the limits of the axes
        self.text_ = self.ax_.text(0.02, 0.98, "", transform=self.ax_.transAxes, va="top")
        if self.plane.is_line:
            self.ax_.set_yticks([ON_SOURCE, ON_TARGET], ["source", "image"])
        else:
            self.ax_.set_aspect("equal")
        self.ax_.autoscale_view()
        self.ax_.autoscale(False)
        self.set_time(STILL)

    def set_time(self, t: float) -> tuple[Any, Any, Any]:
        """Move the points to a time.

        For one animation of several axes, call it for each display.

        Parameters
        ----------
        t : float
            Between 0, at the source rows, and 1, at their images.

        Returns
        -------
        tuple of matplotlib Artist
            What was changed: points, segments and the text with the time.

        Raises
        ------
        ValueError
            If `t` is not a number between 0 and 1.
        """
        number(0, np.nextafter(1, 2), closed=True).check("t", t)
        positions = (1 - t) * self._starts + t * self._ends  # (n, 2)
        self.moving_.set_offsets(positions)
        self.segments_.set_segments(list(np.stack([self._starts, positions], axis=1)[self._chosen]))
        self.text_.set_text(f"t = {t:.2f}")
        return self.moving_, self.segments_, self.text_

    def save(self, path: str | Path, *, fps: int = 20, dpi: float = 100) -> Path:
        """Save the animation as a GIF, which needs Pillow.

        Parameters
        ----------
        path : str or Path
            With the suffix ``.gif``. For other formats, use ``animation_.save``.
        fps : int, default=20
            Frames per second.
        dpi : float, default=100
            Pixels per inch of the figure.

        Returns
        -------
        Path

        Raises
        ------
        ValueError
            If the suffix is another one.
        """
        file = Path(path)
        if file.suffix.lower() != ".gif":
            raise ValueError(f"path must end in .gif, got {str(path)!r}; for other formats, call animation_.save(path)")
        self.animation_.save(file, writer="pillow", fps=check_count(fps, "fps", 1), dpi=dpi)
        self.set_time(STILL)
        return file

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike,
        X_target: ArrayLike | None = None,
        *,
        n_frames: int = 30,
        random_state: int | np.random.RandomState | None = 0,
        ax: Any = None,
    ) -> Self:
        """Animate rows that move to draws from the plan.

        Parameters
        ----------
        estimator : fitted transport or adapter
            One draw per row is shown, or the image where the estimator has no `sample`.
        X : array-like of shape (n, d)
            Source rows.
        X_target : array-like of shape (m, d), optional
            Target rows; not drawn when None.
        n_frames : int, default=30
            As in `plot`.
        random_state : int, RandomState or None, default=0
            Seed of the draws.
        ax : matplotlib Axes, optional
            As in `plot`.

        Returns
        -------
        InterpolationDisplay

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If rows are not valid.
        """
        return cls(X, images_of(estimator, X, random_state), X_target).plot(ax, n_frames=n_frames)


def _animation(figure: Any, set_time: Any, times: np.ndarray) -> Any:
    """Return an animation that lives as long as its figure."""
    from matplotlib.animation import FuncAnimation

    class Animation(FuncAnimation):
        """Animation without a warning if only its still was used."""

        def __del__(self) -> None:
            pass

    animation = Animation(figure, set_time, frames=times, interval=INTERVAL, cache_frame_data=False)
    figure.canvas.mpl_connect("close_event", lambda event: animation)
    return animation


def plot_interpolation(
    X: ArrayLike, images: ArrayLike, target: ArrayLike | None = None, *, n_frames: int = 30, ax: Any = None
) -> InterpolationDisplay:
    """Animate rows that move to their images.

    The points are ``(1 - t) * x + t * y`` at time t. The still shows the time 1/2; ``save(path)`` of the result writes
    a GIF.

    Parameters
    ----------
    X : array-like of shape (n, d)
        Source rows.
    images : array-like of shape (n, d)
        Their images, or draws from the plan.
    target : array-like of shape (m, d), optional
        Target rows; not drawn when None.
    n_frames : int, default=30
        Number of frames, with evenly spaced times from 0 to 1.
    ax : matplotlib Axes, optional
        Axes to draw on; new ones, with a legend, when None.

    Returns
    -------
    InterpolationDisplay
        With the matplotlib animation `animation_`.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If rows are not finite, shapes do not agree, or `n_frames` is less than 1.

    Examples
    --------
    >>> from neuralot.datasets import make_parallel
    >>> from neuralot.plots import plot_interpolation
    >>> X, Y = make_parallel().sample(50, random_state=0)
    >>> display = plot_interpolation(X, X + [0.0, 1.0], Y, n_frames=3)
    >>> display.times_.tolist()
    [0.0, 0.5, 1.0]
    """
    return InterpolationDisplay(X, images, target).plot(ax, n_frames=n_frames)
