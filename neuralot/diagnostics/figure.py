"""Figure of a diagnosis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from neuralot.drawing import (
    Landscape,
    Plane,
    draw_history,
    draw_legend,
    draw_potential,
    draw_samples,
    label_axes,
    landscape,
    new_axes,
    plane_of,
)


def landscape_of(transport: Any, source: np.ndarray, target: np.ndarray) -> Landscape | None:
    """Return the potential on the figure's plane, or None."""
    if not hasattr(transport, "potential"):
        return None
    return landscape(transport, plane_of(source, target), target)


def plot_diagnosis(
    title: str,
    samples: Mapping[str, np.ndarray],
    potential: Landscape | None,
    history: Sequence[Mapping[str, float]],
    ax: Any = None,
) -> np.ndarray:
    """Plot samples, potential and history side by side.

    Returns the axes.
    """
    n_axes = 1 + (potential is not None) + bool(history)
    axes = _axes(ax, n_axes)
    target = samples["target"]
    plane = plane_of(samples["source"], target)
    _draw_images(axes[0], title, samples, plane)
    if potential is not None:
        draw_potential(axes[1], potential, plane, target)
        axes[1].set_title("potential of the target")
        label_axes(axes[1], plane.labels)
    if history:
        draw_history(axes[-1], history)
        axes[-1].set_title("discrepancy and gap along the fit")
    return axes


def plot_conditions(parts: Mapping[str, Mapping[str, np.ndarray]], ax: Any = None) -> np.ndarray:
    """Plot the samples of several reports in one plane.

    `parts` has the samples by title.

    Returns the axes.
    """
    axes = _axes(ax, len(parts))
    plane = plane_of(*(samples[side] for samples in parts.values() for side in ("source", "target")))
    for axis, (title, samples) in zip(axes, parts.items(), strict=True):
        _draw_images(axis, title, samples, plane)
    return axes


def _axes(ax: Any, n_axes: int) -> np.ndarray:
    axes = new_axes(n_axes, size=(5, 4.5)) if ax is None else np.ravel(ax)
    if len(axes) != n_axes:
        raise ValueError(f"ax must contain {n_axes} axes, got {len(axes)}; pass plt.subplots(1, {n_axes})[1]")
    return axes


def _draw_images(ax: Any, title: str, samples: Mapping[str, np.ndarray], plane: Plane) -> None:
    draw_samples(ax, plane, samples["source"], samples["images"], samples["target"])
    draw_legend(ax)
    ax.set_title(title, pad=24)
    label_axes(ax, plane.labels)
