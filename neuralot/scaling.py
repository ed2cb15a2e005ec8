"""Units: the coordinates in which networks see the data, and the way there and back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.utils import gen_batches

from neuralot.costs import Cost
from neuralot.sampling import canonical_order

# centres and scales are rounded to this many binary digits, so that sums taken in another order give the same units
BITS = 12
# sums go block by block: a float64 copy of a large sample would be larger than the sample
ROWS_PER_BLOCK = 16_384


@dataclass(frozen=True)
class Units:
    """Standardised coordinates: x -> (x - source_centre) / scale, y -> (y - target_centre) / scale.

    One common scale, and for the squared Euclidean cost two centres, leave the optimal plan unchanged and make
    smoothing levels, learning rates and networks independent of units. Other costs get one common centre.

    Attributes
    ----------
    source_centre, target_centre : ndarray of shape (n_features,)
    scale : float
        About the root of the mean variance per column, over source and target.
    cost_level : float
        Mean cost of random pairs, for a cost whose size nothing else tells; 1 for a homogeneous one.
    """

    source_centre: np.ndarray
    target_centre: np.ndarray
    scale: float
    cost_level: float = 1.0

    @classmethod
    def of(cls, X: np.ndarray, Y: np.ndarray, v: np.ndarray, w: np.ndarray, cost: Cost) -> Units:
        """Units of two weighted samples; `v` and `w` are the weights of the rows of `X` and `Y`."""
        centres = _mean(X, v), _mean(Y, w)
        if not cost.shift_invariant_plan:
            centres = ((centres[0] + centres[1]) / 2,) * 2
        scale = _rounded(_spread([(X, v, centres[0]), (Y, w, centres[1])]))
        grid = scale * 2.0**-BITS
        source_centre, target_centre = (np.round(centre / grid) * grid for centre in centres)
        level = 1.0 if cost.homogeneous else _level(cost, X, Y, v, w)
        return cls(source_centre, target_centre, scale, level)

    def cost(self, cost: Cost, device: torch.device) -> Cost:
        """The cost as a function of standardised rows."""
        centre = torch.as_tensor(self.source_centre, dtype=torch.float32, device=device)
        return cost.in_units(centre, self.scale, self.cost_level)

    def from_source(self, X: np.ndarray) -> np.ndarray:
        """Source rows in standardised coordinates, float64 or float32 like `X`."""
        return ((X - self.source_centre) / self.scale).astype(X.dtype, copy=False)

    def from_target(self, Y: np.ndarray) -> np.ndarray:
        """Target rows in standardised coordinates, float64 or float32 like `Y`."""
        return ((Y - self.target_centre) / self.scale).astype(Y.dtype, copy=False)

    def to_source(self, X: np.ndarray) -> np.ndarray:
        """Standardised source rows in the user's coordinates, in the dtype of `X`."""
        return (X * self.scale + self.source_centre).astype(X.dtype, copy=False)

    def to_target(self, Y: np.ndarray) -> np.ndarray:
        """Standardised target rows in the user's coordinates, in the dtype of `Y`."""
        return (Y * self.scale + self.target_centre).astype(Y.dtype, copy=False)


def _blocks(X: np.ndarray, weights: np.ndarray, centre: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rows of positive weight, minus the centre, in float64, and their weights, some thousand at a time."""
    for block in gen_batches(len(X), ROWS_PER_BLOCK):
        kept = weights[block] > 0
        yield X[block][kept] - centre, weights[block][kept]


def _mean(X: np.ndarray, weights: np.ndarray) -> np.ndarray:
    # a first row is taken out, so that a huge common offset costs no digits
    first = X[np.argmax(weights > 0)].astype(np.float64)
    total = sum(w @ rows for rows, w in _blocks(X, weights, first))
    return first + total / weights.sum()


def _spread(samples: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> float:
    """Root of the mean variance per column over the samples; 1 where nothing varies."""
    largest = max(float(np.abs(rows).max(initial=0.0)) for sample in samples for rows, _ in _blocks(*sample))
    if largest == 0:
        return 1.0
    squares = [
        sum(float(w @ ((rows / largest) ** 2).mean(axis=1)) for rows, w in _blocks(*sample)) / sample[1].sum()
        for sample in samples
    ]
    spread = largest * float(np.sqrt(np.mean(squares)))
    return spread if spread > 0 else 1.0


def _level(cost: Cost, X: np.ndarray, Y: np.ndarray, v: np.ndarray, w: np.ndarray) -> float:
    x, y = (torch.from_numpy(rows).float() for rows in _some([(X, v), (Y, w)]))
    level = float(cost(x, y).abs().mean())
    return level if level > 0 else 1.0


def _some(samples: list[tuple[np.ndarray, np.ndarray]]) -> Iterator[np.ndarray]:
    """A thousand rows of each weighted sample, whatever the order of its rows."""
    rng = np.random.default_rng(0)
    for rows, weights in samples:
        order = canonical_order(rows, weights)
        weights = weights[order]
        yield rows[rng.choice(order, 1000, p=weights / weights.sum())]


def _rounded(value: float) -> float:
    mantissa, exponent = np.frexp(value)
    return float(np.ldexp(np.round(mantissa * 2**BITS) / 2**BITS, exponent))
