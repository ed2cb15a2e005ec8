"""Figure of rows that are images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from neuralot.drawing import new_axes
from neuralot.plots.checks import (
    check_axes,
    check_count,
    check_image_shape,
    check_rows,
    check_titles,
    check_values,
    draws_of,
)

INCHES = 0.9  # width of an image in a new figure


class ImagesDisplay:
    """Rows that are images, in a grid.

    Parameters
    ----------
    rows : array-like of shape (n, c * h * w)
        Images, channels first: grey (c = 1), RGB (3) or RGBA (4). Where an RGBA image is transparent, the page shows.
    image_shape : tuple of int
        Channels, height and width ``(c, h, w)``.
    n_columns : int, default=8
        Images in a line of the grid.
    titles : sequence of str, optional
        A title for each image.
    line_titles : sequence of str, optional
        A title for each line of the grid, on its left.
    value_range : tuple of float, optional
        Values of black and of full intensity; values outside are clipped. By default (0, 255) for integers of 8 bits,
        and (0, 1) for other rows, which must then not be far outside.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    image_ : matplotlib AxesImage
        The whole grid. Its array has shape (height, width, 4).
    titles_, line_titles_ : list of matplotlib Text

    Raises
    ------
    ValueError
        If rows are not finite, or `image_shape`, titles or range do not fit them.

    See Also
    --------
    plot_images : The same in one call.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> import numpy as np
    >>> from neuralot import SNOTTransport
    >>> from neuralot.plots import ImagesDisplay
    >>> X = np.random.default_rng(0).uniform(size=(100, 48))
    >>> transport = SNOTTransport(max_iter=20, random_state=0).fit(X, 1 - X)
    >>> display = ImagesDisplay.from_estimator(transport, X, 1 - X, image_shape=(3, 4, 4))
    >>> [text.get_text() for text in display.line_titles_]
    ['source', 'image', 'target']
    >>> plt.close(display.figure_)
    """

    ax_: Any
    figure_: Any

    def __init__(
        self,
        rows: ArrayLike,
        image_shape: tuple[int, int, int],
        *,
        n_columns: int = 8,
        titles: Sequence[str] | None = None,
        line_titles: Sequence[str] | None = None,
        value_range: tuple[float, float] | None = None,
    ) -> None:
        points = check_rows(rows, "rows")
        shape = check_image_shape(image_shape, points)
        low, high = check_values(rows, points, value_range)
        self.pixels = as_rgba(np.clip((points - low) / (high - low), 0, 1).reshape(-1, *shape))  # (n, h, w, 4)
        self.n_columns = min(check_count(n_columns, "n_columns", 1), len(points))
        self.n_lines = -(-len(points) // self.n_columns)
        self.titles = check_titles(titles, "titles", len(points), "image")
        self.line_titles = check_titles(line_titles, "line_titles", self.n_lines, "line")

    def plot(self, ax: Any = None) -> Self:
        """Draw the images.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Axes to draw on; new ones, of a size that fits the grid, when None.

        Returns
        -------
        ImagesDisplay
        """
        grid, corners = self._grid()
        if ax is None:
            width = INCHES * self.n_columns
            ax = new_axes(size=(width, width * grid.shape[0] / grid.shape[1]))[0]
        self.ax_ = check_axes(ax)
        self.figure_ = self.ax_.figure
        self.image_ = self.ax_.imshow(grid, interpolation="nearest")
        self.ax_.set_axis_off()
        _, height, width, _ = self.pixels.shape
        middles = [(left + width / 2 - 0.5, top - 0.5) for top, left in corners]
        sides = [(-0.5 - 0.1 * width, top + height / 2 - 0.5) for top, left in corners if left == 0]
        self.titles_ = [
            self.ax_.text(*place, text, ha="center", va="bottom", fontsize="small")
            for place, text in zip(middles, self.titles, strict=False)
        ]
        self.line_titles_ = [
            self.ax_.text(*place, text, ha="right", va="center")
            for place, text in zip(sides, self.line_titles, strict=False)
        ]
        return self

    def _grid(self) -> tuple[np.ndarray, list[tuple[int, int]]]:
        """Return the grid, and the corner of each image."""
        n, height, width, _ = self.pixels.shape
        gap = max(1, round(0.08 * max(height, width)))
        above = round(0.35 * width) if self.titles else 0
        down, right = height + max(gap, above), width + gap
        corners = [(i // self.n_columns * down + above, i % self.n_columns * right) for i in range(n)]
        grid = np.zeros((above + self.n_lines * down - down + height, self.n_columns * right - gap, 4))
        for (top, left), image in zip(corners, self.pixels, strict=True):
            grid[top : top + height, left : left + width] = image
        return grid, corners

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        X_target: ArrayLike | None = None,
        *,
        image_shape: tuple[int, int, int],
        n_columns: int = 8,
        n_draws: int = 1,
        value_range: tuple[float, float] | None = None,
        random_state: int | np.random.RandomState | None = 0,
        ax: Any = None,
    ) -> Self:
        """Draw images, their draws from the plan, and targets.

        The first line of the grid shows source rows, each following one a draw of each of them, and the last one target
        rows.

        Parameters
        ----------
        estimator : fitted transport or adapter
            Draws are shown, or the image where the estimator has no `sample`.
        X : array-like of shape (n, c * h * w)
            Source rows; the first `n_columns` are drawn.
        X_target : array-like of shape (m, c * h * w), optional
            Target rows; the first `n_columns` are drawn.
        image_shape : tuple of int
            As in the constructor.
        n_columns : int, default=8
            Number of source rows.
        n_draws : int, default=1
            Draws of each source row.
        value_range : tuple of float, optional
            As in the constructor, for rows and draws.
        random_state : int, RandomState or None, default=0
            Seed of the draws.
        ax : matplotlib Axes, optional
            As in `plot`.

        Returns
        -------
        ImagesDisplay

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If rows or `image_shape` are not valid.
        """
        n_draws, n_columns = check_count(n_draws, "n_draws", 1), check_count(n_columns, "n_columns", 1)
        source = check_rows(X, "X")
        check_image_shape(image_shape, source, "X")
        value_range = check_values(X, source, value_range, "X")
        lines = [source[:n_columns], *draws_of(estimator, X[:n_columns], n_draws, random_state)]
        if X_target is not None:
            lines.append(check_rows(X_target, "X_target", ("X", source))[:n_columns])
        names = ["source", *["image"] * n_draws, *["target"] * (X_target is not None)]
        return cls(
            np.concatenate(lines), image_shape, n_columns=len(lines[0]), line_titles=names, value_range=value_range
        ).plot(ax)


def as_rgba(images: np.ndarray) -> np.ndarray:
    """Return images as RGBA.

    The shape (n, c, h, w) becomes (n, h, w, 4).
    """
    colours = np.moveaxis(images, 1, -1)
    if colours.shape[-1] == 4:
        return colours
    colours = np.broadcast_to(colours, (*colours.shape[:-1], 3))
    return np.concatenate([colours, np.ones((*colours.shape[:-1], 1))], axis=-1)


def plot_images(
    rows: ArrayLike,
    image_shape: tuple[int, int, int],
    *,
    n_columns: int = 8,
    titles: Sequence[str] | None = None,
    value_range: tuple[float, float] | None = None,
    ax: Any = None,
) -> ImagesDisplay:
    """Plot rows that are images, in a grid.

    Parameters
    ----------
    rows : array-like of shape (n, c * h * w)
        Images, channels first: grey (c = 1), RGB (3) or RGBA (4). Where an RGBA image is transparent, the page shows.
    image_shape : tuple of int
        Channels, height and width ``(c, h, w)``.
    n_columns : int, default=8
        Images in a line of the grid.
    titles : sequence of str, optional
        A title for each image.
    value_range : tuple of float, optional
        Values of black and of full intensity; values outside are clipped. By default (0, 255) for integers of 8 bits,
        and (0, 1) for other rows, which must then not be far outside.
    ax : matplotlib Axes, optional
        Axes to draw on; new ones, of a size that fits the grid, when None.

    Returns
    -------
    ImagesDisplay

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If rows are not finite, or `image_shape`, titles or range do not fit them.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from neuralot.plots import plot_images
    >>> rows, digits = load_digits(return_X_y=True)
    >>> plot_images(rows[:20] / 16, (1, 8, 8), titles=[str(digit) for digit in digits[:20]]).n_lines
    3
    """
    return ImagesDisplay(rows, image_shape, n_columns=n_columns, titles=titles, value_range=value_range).plot(ax)
