"""Plots of a transport in the plane."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

SOURCE, TARGET, IMAGE = "#3b6ea8", "#c9c9c9", "#d1495b"


def plot_transport(
    X: ArrayLike, images: ArrayLike, target: ArrayLike | None = None, *, n_segments: int = 100, ax: Any = None
) -> Any:
    """Plot source rows, their images and segments between them.

    The target sample is drawn behind them.

    Parameters
    ----------
    X : array-like of shape (n, d)
        Source rows; the first two columns are drawn.
    images : array-like of shape (n, d)
        Their images, or draws from the plan.
    target : array-like of shape (m, d), optional
        Target rows; not drawn when None.
    n_segments : int, default=100
        Number of rows, evenly spaced, that are connected with their image.
    ax : matplotlib Axes, optional
        Axes to draw on; new ones when None.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> from neuralot.datasets import make_parallel
    >>> from neuralot.plots import plot_transport
    >>> X, Y = make_parallel().sample(50, random_state=0)
    >>> plot_transport(X, X + [0.0, 1.0], Y).get_aspect()
    1.0
    """
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError("plot_transport requires matplotlib; install it with pip install matplotlib") from error

    source, image = np.asarray(X), np.asarray(images)
    ax = plt.subplots()[1] if ax is None else ax
    if target is not None:
        target_rows = np.asarray(target)
        ax.scatter(target_rows[:, 0], target_rows[:, 1], s=14, color=TARGET, linewidths=0, label="target")
    indices = np.linspace(0, len(source) - 1, min(n_segments, len(source))).astype(int)
    segments = np.stack([source[indices, :2], image[indices, :2]])  # (2, n_segments, 2)
    ax.plot(segments[..., 0], segments[..., 1], color="black", linewidth=0.4, alpha=0.35)
    ax.scatter(source[:, 0], source[:, 1], s=4, color=SOURCE, linewidths=0, label="source")
    ax.scatter(image[:, 0], image[:, 1], s=4, color=IMAGE, linewidths=0, label="image")
    ax.set_aspect("equal")
    return ax
