"""Figure of a diagnosis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

N_SEGMENTS, N_GRID, N_LEVELS = 100, 60, 24
COLOURS = {"target": ("#c9c9c9", 14), "source": ("#3b6ea8", 4), "images": ("#d1495b", 4)}


@dataclass(frozen=True)
class Landscape:
    """Potential V of the target on a plane.

    Attributes
    ----------
    first, second : ndarray of shape (n_grid,)
        Coordinates along the two directions of the figure.
    values : ndarray of shape (n_grid, n_grid)
        Values of V; rows belong to `second`.
    """

    first: np.ndarray
    second: np.ndarray
    values: np.ndarray


def landscape(transport: Any, source: np.ndarray, target: np.ndarray) -> Landscape | None:
    """Return the potential on the figure's plane, or None."""
    if not hasattr(transport, "potential") or source.shape[1] < 2:
        return None
    origin, directions = _plane(source, target)
    corners = (target - origin) @ directions  # (m, 2)
    first, second = (np.linspace(low, high, N_GRID) for low, high in zip(corners.min(0), corners.max(0), strict=True))
    grid = np.stack(np.meshgrid(first, second), axis=-1).reshape(-1, 2)  # (n_grid^2, 2)
    outside = target.mean(axis=0) - origin
    outside = outside - (outside @ directions) @ directions.T  # the plane through the target's mean
    values = transport.potential(origin + outside + grid @ directions.T)
    return Landscape(first, second, values.reshape(N_GRID, N_GRID))


def plot_diagnosis(
    title: str,
    samples: Mapping[str, np.ndarray],
    potential: Landscape | None,
    history: Sequence[Mapping[str, float]],
) -> Any:
    """Plot samples, potential and history side by side.

    Returns the axes.
    """
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError("plot requires matplotlib; install it with pip install matplotlib") from error

    n_axes = 1 + (potential is not None) + bool(history)
    axes = plt.subplots(1, n_axes, figsize=(5 * n_axes, 4.5), layout="constrained", squeeze=False)[1][0]
    kind = "column" if samples["source"].shape[1] <= 2 else "component"
    _plot_samples(axes[0], samples)
    axes[0].set_title(title, pad=24)
    if potential is not None:
        axes[1].contour(potential.first, potential.second, potential.values, N_LEVELS, cmap="viridis", linewidths=0.8)
        projected = _project(samples)["target"]
        axes[1].scatter(*projected.T, s=4, color=COLOURS["target"][0], linewidths=0, zorder=0)
        axes[1].set(title="level sets of the potential", aspect="equal")
    for each in axes[: 1 + (potential is not None)]:
        each.set(xlabel=f"first {kind}", ylabel=f"second {kind}")
    if history:
        _plot_history(axes[-1], history)
    return axes


def _plot_history(axes: Any, history: Sequence[Mapping[str, float]]) -> None:
    steps = np.array([record["step"] for record in history])
    values = np.array([record["discrepancy"] for record in history])
    axes.plot(steps, values, ".-", color=COLOURS["source"][0])
    axes.set_yscale("symlog", linthresh=1e-3)  # unbiased estimates, which may be below 0
    axes.set(title="discrepancy and gap along the fit", xlabel="step")
    axes.set_ylabel("energy distance to the target", color=COLOURS["source"][0])
    if "gap" in history[0]:
        gaps = axes.twinx()
        gaps.plot(steps, [record["gap"] for record in history], ".--", color=COLOURS["images"][0])
        gaps.set_ylabel("duality gap, in standardised units", color=COLOURS["images"][0])


def _plot_samples(axes: Any, samples: Mapping[str, np.ndarray]) -> None:
    projected = _project(samples)
    for name, (colour, size) in COLOURS.items():
        axes.scatter(*projected[name].T, s=size, color=colour, linewidths=0, label=name)
    segments = np.stack([projected["source"][:N_SEGMENTS], projected["images"][:N_SEGMENTS]])  # (2, n, 2)
    axes.plot(segments[..., 0], segments[..., 1], color="black", linewidth=0.4, alpha=0.35)
    axes.set(aspect="equal")
    axes.legend(frameon=False, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.0), markerscale=3)


def _plane(source: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return origin and directions of the plane of the figure.

    These are the columns for two features, and otherwise two principal components of both samples.
    """
    d = source.shape[1]
    if d == 2:
        return np.zeros(2), np.eye(2)
    rows = np.concatenate([source, target])
    mean = rows.mean(axis=0)
    return mean, np.linalg.svd(rows - mean, full_matrices=False)[2][:2].T  # (d, 2)


def _project(samples: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Project samples onto the plane of the figure."""
    if samples["source"].shape[1] == 1:
        return {name: np.column_stack([rows[:, 0], np.zeros(len(rows))]) for name, rows in samples.items()}
    origin, directions = _plane(samples["source"], samples["target"])
    return {name: (rows - origin) @ directions for name, rows in samples.items()}
