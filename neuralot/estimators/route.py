"""Route of rows through fitted transports."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from neuralot.costs import as_cost
from neuralot.estimators.interpolation import check_straight

# smallest mass of a row in a ratio of masses
SMALLEST_MASS = 1e-6
Image = Callable[[Any, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Route:
    """Fitted transports between neighbouring times.

    Attributes
    ----------
    transports : sequence of n_times - 1 estimators
    times : ndarray of shape (n_times,)
    """

    transports: Sequence[Any]
    times: np.ndarray

    def interval(self, t: float) -> int:
        """Return the index of the last interval that contains `t`."""
        return min(int(np.searchsorted(self.times, t, "right")) - 1, len(self.transports) - 1)

    def fraction(self, k: int, t: float) -> float:
        """Return the part of an interval before `t`."""
        part = (t - self.times[k]) / (self.times[k + 1] - self.times[k])
        return float(np.clip(part, 0.0, 1.0))

    def ends(self, t: float) -> np.ndarray:
        """Return the fitted times around `t`."""
        first = np.searchsorted(self.times, t, "right") - 1
        return self.times[[first, np.searchsorted(self.times, t)]]

    def check_straight(self) -> None:
        """Raise a ValueError unless straight lines are shortest."""
        check_straight(as_cost(getattr(self.transports[0], "cost", "sqeuclidean")))

    def knots(self, rows: np.ndarray, start: int, at: np.ndarray, image: Image) -> dict[int, np.ndarray]:
        """Return positions at the fitted times around `at`.

        The keys are the indices of times. `image` maps rows by one transport, to the next time.
        """
        knots = {start: rows}
        for k in range(start, int(np.searchsorted(self.times, float(at.max())))):
            knots[k + 1] = image(self.transports[k], knots[k])
        for k in range(start, int(np.searchsorted(self.times, float(at.min()), "right")) - 1, -1):
            transport = self.transports[k - 1]
            if not hasattr(transport, "inverse_transform"):
                raise ValueError(
                    f"t must be at least t_start={self.times[start]:g}, because this {type(transport).__name__} has no "
                    f"inverse map, got {at.min():g}"
                )
            knots[k - 1] = transport.inverse_transform(knots[k])
        return knots

    def frames(self, knots: dict[int, np.ndarray], at: np.ndarray) -> np.ndarray:
        """Return the positions at the times `at`, between the knots."""
        some = next(iter(knots.values()))
        frames = np.empty((len(at), *some.shape), dtype=some.dtype)
        for frame, t in zip(frames, at.tolist(), strict=True):
            found = np.flatnonzero(self.times == t)
            if len(found):
                frame[:] = knots[int(found[0])]
                continue
            self.check_straight()
            k = self.interval(t)
            s = self.fraction(k, t)
            frame[:] = (1 - s) * knots[k] + s * knots[k + 1]
        return frames

    def growth(self, knots: dict[int, np.ndarray], scales: np.ndarray, start: int, t: float) -> np.ndarray:
        """Return how masses grow between two times.

        The first time has the index `start`. `knots` are the positions of rows at the fitted times, and `scales` the
        factors of the mass ratios in each interval.
        """
        factors = np.ones(len(knots[start]))
        for k in sorted(knots.keys() & {each - 1 for each in knots}):
            part = self.fraction(k, t) - (start > k)  # negative for earlier times than that of `start`
            factors *= (scales[k] * mass_ratio(self.transports[k], knots[k], knots[k + 1])) ** part
        return factors


def mass_ratio(transport: Any, rows: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Return mass of images per mass of rows.

    It is one for a balanced transport, and its mean over the source is one for an exact plan.
    """
    if not hasattr(transport, "source_mass"):
        return np.ones(len(rows))
    kept, reached = transport.source_mass(rows), transport.target_mass(images)
    return np.maximum(kept, SMALLEST_MASS) / np.maximum(reached, SMALLEST_MASS)
