"""Drawing of samples, potentials and histories on matplotlib axes.

The figures of reports and `neuralot.plots` share it. The colours are from the set of Okabe and Ito, except for a darker
grey, and differ for all common kinds of colour blindness. Each has a contrast of at least 3 with white and with the
background of dark pages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

SOURCE, TARGET, IMAGE = "#0072b2", "#949494", "#d55e00"
POTENTIAL, SEGMENT = "#009e73", "#767676"
N_SEGMENTS, N_GRID, N_LEVELS = 100, 60, 12
SHARE_OF_COLOURS = 0.3, 0.75  # of viridis, whose dark end dark pages hide and whose yellow end white pages hide
MAX_COLUMNS = 4
ON_SOURCE, ON_TARGET = 0.0, 1.0  # heights at which rows with one feature are drawn


class Artists(NamedTuple):
    """Matplotlib artists of samples; None for what was not drawn."""

    source: Any
    images: Any
    target: Any
    segments: Any


@dataclass(frozen=True)
class Plane:
    """Plane onto which rows are projected.

    Attributes
    ----------
    origin : ndarray of shape (d,)
    directions : ndarray of shape (d, k)
        The features themselves for at most two features, and otherwise two principal components; k is 1 or 2.
    kind : str
        ``'column'`` or ``'principal component'``.
    """

    origin: np.ndarray
    directions: np.ndarray
    kind: str

    @property
    def is_line(self) -> bool:
        """Whether rows have one feature only."""
        return self.directions.shape[1] == 1

    @property
    def labels(self) -> tuple[str, str]:
        """Labels of the two axes."""
        return (self.kind, "") if self.is_line else (f"first {self.kind}", f"second {self.kind}")

    def project(self, rows: np.ndarray) -> np.ndarray:
        """Return the coordinates of rows, shape (n, k)."""
        return (rows - self.origin) @ self.directions

    def place(self, rows: np.ndarray, height: float) -> np.ndarray:
        """Return positions of shape (n, 2) in the figure.

        Rows with one feature are placed at the given height.
        """
        projected = self.project(rows)
        return np.column_stack([projected, np.full(len(rows), height)]) if self.is_line else projected


def plane_of(*samples: np.ndarray) -> Plane:
    """Return the plane in which samples are drawn."""
    d = samples[0].shape[1]
    if d <= 2:
        return Plane(np.zeros(d), np.eye(d), "column")
    rows = np.concatenate(samples)
    mean = rows.mean(axis=0)
    directions = np.linalg.svd(rows - mean, full_matrices=False)[2][:2].T  # (d, 2), or (d, 1) for a single row
    return Plane(mean, np.pad(directions, [(0, 0), (0, 2 - directions.shape[1])]), "principal component")


@dataclass(frozen=True)
class Landscape:
    """Potential V of the target on a plane.

    Attributes
    ----------
    first, second : ndarray of shape (n_grid,)
        Coordinates along the two directions of the figure; `second` is empty for rows with one feature.
    values : ndarray of shape (n_grid, n_grid)
        Values of V; rows belong to `second`. Shape (n_grid,) for rows with one feature.
    """

    first: np.ndarray
    second: np.ndarray
    values: np.ndarray


def landscape(transport: Any, plane: Plane, target: np.ndarray) -> Landscape:
    """Return the potential in a plane, around the target.

    The plane is shifted to the mean of the target.
    """
    corners = plane.project(target)  # (m, k)
    low, high = corners.min(axis=0), corners.max(axis=0)
    margin = np.where(high > low, 0.05 * (high - low), 1.0)
    axes = [np.linspace(*ends, N_GRID) for ends in zip(low - margin, high + margin, strict=True)]
    grid = np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, len(axes))  # (n_grid^k, k)
    outside = target.mean(axis=0) - plane.origin
    outside = outside - (outside @ plane.directions) @ plane.directions.T
    values = np.asarray(transport.potential(plane.origin + outside + grid @ plane.directions.T))
    first, second = axes if len(axes) == 2 else (axes[0], np.empty(0))
    return Landscape(first, second, values.reshape([N_GRID] * len(axes)))


def new_axes(n_axes: int = 1, size: tuple[float, float] | None = None) -> np.ndarray:
    """Return axes of a new figure, side by side.

    More than four are in several rows. Raises an ImportError if matplotlib is not installed.
    """
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError("figures require matplotlib; install it with pip install matplotlib") from error
    n_columns = min(n_axes, MAX_COLUMNS)
    n_lines = -(-n_axes // n_columns)
    figsize = None if size is None else (size[0] * n_columns, size[1] * n_lines)
    axes = plt.subplots(n_lines, n_columns, figsize=figsize, layout="constrained", squeeze=False)[1].ravel()
    for ax in axes[n_axes:]:
        ax.remove()
    return axes[:n_axes]


def draw_samples(
    ax: Any,
    plane: Plane,
    source: np.ndarray,
    images: np.ndarray,
    target: np.ndarray | None = None,
    n_segments: int = N_SEGMENTS,
) -> Artists:
    """Draw rows, their images, segments between them, and the target."""
    starts, ends = plane.place(source, ON_SOURCE), plane.place(images, ON_TARGET)
    of_target = None
    if target is not None:
        of_target = draw_points(ax, plane.place(target, ON_TARGET), TARGET, "target", scale=3)
    chosen = np.linspace(0, len(source) - 1, min(n_segments, len(source))).astype(int)
    segments = draw_paths(ax, starts[chosen], ends[chosen])
    of_source = draw_points(ax, starts, SOURCE, "source")
    of_images = draw_points(ax, ends, IMAGE, "image")
    if plane.is_line:
        ax.set_yticks([ON_SOURCE, ON_TARGET], ["source", "image"])
    else:
        ax.set_aspect("equal")
    return Artists(of_source, of_images, of_target, segments)


def draw_points(ax: Any, positions: np.ndarray, colour: str, label: str, scale: float = 1.0, **options: Any) -> Any:
    """Draw points, smaller ones where there are many."""
    size = scale * np.clip(4000 / len(positions), 4, 16)
    return ax.scatter(positions[:, 0], positions[:, 1], s=size, color=colour, linewidths=0, label=label, **options)


def draw_paths(ax: Any, starts: np.ndarray, ends: np.ndarray) -> Any:
    """Draw segments between positions."""
    from matplotlib.collections import LineCollection

    paths = list(np.stack([starts, ends], axis=1))  # of shape (2, 2)
    return ax.add_collection(LineCollection(paths, colors=SEGMENT, linewidths=0.5, alpha=0.5))


def label_axes(ax: Any, labels: tuple[str, str]) -> None:
    """Set labels that are not empty."""
    ax.set(**{name: label for name, label in zip(("xlabel", "ylabel"), labels, strict=True) if label})


def draw_legend(ax: Any) -> None:
    """Add a legend in one line above the axes."""
    ax.legend(frameon=False, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.0), markerscale=2)


def draw_potential(
    ax: Any, values: Landscape, plane: Plane, target: np.ndarray, source: np.ndarray | None = None
) -> Any:
    """Draw the level sets of a potential over the samples.

    The curve is drawn for rows with one feature. Returns the artist of the potential.
    """
    low, spread = values.values.min(), np.ptp(values.values)
    draw_points(ax, plane.place(target, low - 0.05 * spread), TARGET, "target", zorder=1)
    if source is not None:
        draw_points(ax, plane.place(source, low - 0.1 * spread), SOURCE, "source", zorder=1, alpha=0.5)
    if plane.is_line:
        ax.set_ylabel("potential")
        return ax.plot(values.first, values.values, color=POTENTIAL)[0]
    ax.set_aspect("equal")
    first, last = SHARE_OF_COLOURS
    unit = spread / (last - first)
    options = {"cmap": "viridis", "vmin": low - first * unit, "vmax": low + (1 - first) * unit, "linewidths": 1.0}
    levels = ax.contour(values.first, values.second, values.values, N_LEVELS, **options)
    ax.figure.colorbar(levels, ax=ax, label="potential", shrink=0.8)
    return levels


class Curves(NamedTuple):
    """Matplotlib artists of a history.

    None stands for what was not recorded.
    """

    discrepancy: Any
    gap: Any
    affine: Any


def draw_history(ax: Any, history: Sequence[Mapping[str, float]]) -> Curves:
    """Draw discrepancy and dual gap along a fit.

    The gap has axes of its own, on the right.
    """
    steps, values = zip(*((record["step"], record["discrepancy"]) for record in history), strict=True)
    discrepancy, gap, affine = ax.plot(steps, values, ".-", color=IMAGE)[0], None, None
    if "affine" in history[-1]:
        affine = ax.plot(steps[-1], history[-1]["affine"], "*", color=IMAGE, markersize=10, label="affine map")[0]
        ax.legend(frameon=False)
    ax.set_yscale("symlog", linthresh=1e-3)  # unbiased estimates, which may be below 0
    ax.set_xlabel("step")
    ax.set_ylabel("energy distance to the target", color=IMAGE)
    if known := [(record["step"], record["gap"]) for record in history if "gap" in record]:
        right = ax.twinx()
        gap = right.plot(*zip(*known, strict=True), ".--", color=POTENTIAL)[0]
        right.set_ylim(bottom=min(0.0, *(value for _, value in known)))
        right.set_ylabel("duality gap, in standardised units", color=POTENTIAL)
    return Curves(discrepancy, gap, affine)
