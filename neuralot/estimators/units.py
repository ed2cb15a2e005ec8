"""Units of the networks, and rows on their way through a fitted problem."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg
import torch
from sklearn.utils import gen_batches
from torch import Tensor

from neuralot.costs import Cost
from neuralot.sampling import canonical_order, projection, spaced
from neuralot.solve.problem import Problem

# centres and scales are rounded to this many binary digits, so that sums taken in another order give the same units
BITS = 12
# a direction varies if its variance is above this share of the largest, and above the rounding of rows that are far out
NEGLIGIBLE = 1e-12
ROUNDING = 4.0
MOST_FEATURES = 2048
# sums go block by block: a float64 copy of a large sample would be larger than the sample, and than the cache
NUMBERS_PER_BLOCK = 2**16
# a sample has outliers if a few rows are so many interquartile ranges from the medians, and its scale is so many times
# that of these ranges; rows are then moved in to the last number of them
FAR_OUTSIDE, LARGE_SHARE, AT_MOST = 100, 10.0, 10
FEW, FEW_ROWS = 0.05, 2000


@dataclass(frozen=True)
class Units:
    """Standardised coordinates: x -> B'(x - source_centre) / scale, y -> B'(y - target_centre) / scale.

    One common scale, and for the squared Euclidean cost two centres, leave the optimal plan unchanged and make
    smoothing levels, learning rates and networks independent of units. Other costs get one common centre.

    B is a basis of the directions in which the laws vary. Where that is not all of them (constant columns, a plane in
    a large space) the problem is one of fewer dimensions, for the squared Euclidean cost: the way from one centre to
    the other is all that the rest contributes, and what a row has beside B goes along with it.

    Attributes
    ----------
    source_centre, target_centre : ndarray of shape (n_features,)
    scale : float
        About the root of the mean variance per direction, over source and target.
    cost_level : float
        Mean cost of random pairs, for a cost whose size nothing else tells; 1 for a homogeneous one.
    basis : ndarray of shape (n_features, n_directions) or None
        B, with orthonormal columns; None for the identity.
    source_bounds, target_bounds : ndarray of shape (2, n_features) or None
        Rows beyond them are taken for rows at them, where a few lie very far outside; see `bounds_of`.
    """

    source_centre: np.ndarray
    target_centre: np.ndarray
    scale: float
    cost_level: float = 1.0
    basis: np.ndarray | None = None
    source_bounds: np.ndarray | None = None
    target_bounds: np.ndarray | None = None

    @classmethod
    def of(
        cls, X: np.ndarray, Y: np.ndarray, v: np.ndarray, w: np.ndarray, cost: Cost, *, reduce: bool = False
    ) -> Units:
        """Units of two weighted samples; `v` and `w` are the weights of the rows of `X` and `Y`.

        With `reduce` there is a basis where the laws do not vary in all directions; not for other costs than the
        squared Euclidean one.
        """
        centres = _mean(X, v), _mean(Y, w)
        if not cost.shift_invariant_plan:
            centres = ((centres[0] + centres[1]) / 2,) * 2
        laws = [(X, v, centres[0]), (Y, w, centres[1])]
        spread = _spread(laws)
        basis = _span(laws, spread) if reduce and cost.shift_invariant_plan else None
        if basis is not None:
            spread *= np.sqrt(basis.shape[0] / basis.shape[1])
        scale = _rounded(spread)
        source_centre, target_centre = (_on_grid(centre, scale * 2.0**-BITS, basis) for centre in centres)
        level = 1.0 if cost.homogeneous else _level(cost, X, Y, v, w)
        return cls(source_centre, target_centre, scale, level, basis)

    @property
    def n_directions(self) -> int:
        """How many coordinates standardised rows have."""
        return len(self.source_centre) if self.basis is None else self.basis.shape[1]

    def cover(self, X: np.ndarray, Y: np.ndarray) -> bool:
        """Whether rows of the source and of the target vary in no other directions, up to rounding."""
        return self._covers(X, self.source_centre) and self._covers(Y, self.target_centre)

    def covers_target(self, Y: np.ndarray) -> bool:
        """Whether rows of the target vary in no other directions, up to rounding."""
        return self._covers(Y, self.target_centre)

    def _covers(self, rows: np.ndarray, centre: np.ndarray) -> bool:
        beside = np.abs(self._beside(rows, centre)).max()
        return bool(beside <= 1e-3 * max(self.scale, np.abs(rows - centre).max()))

    def cost(self, cost: Cost, device: torch.device) -> Cost:
        """The cost as a function of standardised rows."""
        centre = torch.as_tensor(self.source_centre, dtype=torch.float32, device=device)
        return cost.in_units(centre, self.scale, self.cost_level)

    def from_source(self, X: np.ndarray) -> np.ndarray:
        """Source rows in standardised coordinates, float64 or float32 like `X`."""
        return self._enter(clipped(X, self.source_bounds), self.source_centre)

    def from_target(self, Y: np.ndarray) -> np.ndarray:
        """Target rows in standardised coordinates, float64 or float32 like `Y`."""
        return self._enter(clipped(Y, self.target_bounds), self.target_centre)

    def to_source(self, X: np.ndarray, Y: np.ndarray | None = None) -> np.ndarray:
        """Standardised source rows, images of the target rows `Y`, in the user's coordinates and the dtype of `X`."""
        return self._leave(X, self.source_centre) + self._beside(Y, self.target_centre)

    def to_target(self, Y: np.ndarray, X: np.ndarray | None = None) -> np.ndarray:
        """Standardised target rows, images of the source rows `X`, in the user's coordinates and the dtype of `Y`."""
        return self._leave(Y, self.target_centre) + self._beside(X, self.source_centre)

    def _enter(self, rows: np.ndarray, centre: np.ndarray) -> np.ndarray:
        moved = (rows - centre) / self.scale
        return (moved if self.basis is None else moved @ self.basis).astype(rows.dtype, copy=False)

    def _leave(self, rows: np.ndarray, centre: np.ndarray) -> np.ndarray:
        back = rows if self.basis is None else rows @ self.basis.T
        return (back * self.scale + centre).astype(rows.dtype, copy=False)

    def _beside(self, rows: np.ndarray | None, centre: np.ndarray) -> Any:
        """What rows have beside the directions in which the laws vary; 0 where these are all."""
        if rows is None or self.basis is None:
            return 0
        moved = rows - centre
        return (moved - (moved @ self.basis) @ self.basis.T).astype(rows.dtype, copy=False)


def bounds_of(rows: np.ndarray, indices: np.ndarray, scale: float) -> np.ndarray | None:
    """Bounds for the columns of a sample of which a few rows lie so far outside that its scale is theirs; else None.

    Parameters
    ----------
    rows : ndarray of shape (n, n_features)
        A sample.
    indices : ndarray of shape (k,)
        Those of its rows that count.
    scale : float
        About the root of the mean variance per column.

    Returns
    -------
    ndarray of shape (2, n_features)
        `AT_MOST` interquartile ranges below and above the medians, where some rows are `FAR_OUTSIDE` of them away.
    """
    few = rows[indices[np.linspace(0, len(indices) - 1, min(len(indices), FEW_ROWS)).astype(int)]]
    low, middle, high = np.percentile(few, [25, 50, 75], axis=0)
    spread = high - low
    varies = spread > 0
    if not varies.any() or scale <= LARGE_SHARE * float(np.sqrt(np.mean(spread**2))):
        return None
    distances = (np.abs(rows[:, varies] - middle[varies]) / spread[varies])[indices].max(axis=1)
    if not ((distances > FAR_OUTSIDE).any() and np.mean(distances > AT_MOST) < FEW):
        return None
    reach = np.where(varies, AT_MOST * spread, np.inf)
    return np.stack([middle - reach, middle + reach])


def clipped(rows: np.ndarray, bounds: np.ndarray | None) -> np.ndarray:
    """Rows with their entries between the bounds of the columns, if there are any."""
    return rows if bounds is None else rows.clip(*bounds).astype(rows.dtype, copy=False)


def _blocks(X: np.ndarray, weights: np.ndarray, centre: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rows of positive weight, minus the centre, in float64, and their weights, a few at a time."""
    for block in gen_batches(len(X), max(1, NUMBERS_PER_BLOCK // X.shape[1])):
        rows, some = X[block], weights[block]
        kept = some > 0
        if not kept.all():
            rows, some = rows[kept], some[kept]
        yield rows - centre, some


def _mean(X: np.ndarray, weights: np.ndarray) -> np.ndarray:
    # a first row is taken out, so that a huge common offset costs no digits
    first = X[np.argmax(weights > 0)].astype(np.float64)
    total = sum(w @ rows for rows, w in _blocks(X, weights, first))
    return first + total / weights.sum()


def _on_grid(centre: np.ndarray, grid: float, basis: np.ndarray | None) -> np.ndarray:
    """The centre with its coordinates rounded to multiples of `grid`; what is outside of the basis stays as it is."""
    if basis is None:
        return np.round(centre / grid) * grid
    inside = basis.T @ centre
    return basis @ (np.round(inside / grid) * grid) + (centre - basis @ inside)


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


def _span(samples: list[tuple[np.ndarray, np.ndarray, np.ndarray]], scale: float) -> np.ndarray | None:
    """Orthonormal basis of the directions in which any of the samples varies; None where that is no help.

    The basis depends on these directions alone, not on their variances, and holds columns that are orthogonal to all
    others as they are.
    """
    n_features = samples[0][0].shape[1]
    if n_features > MOST_FEATURES:
        return None
    rounding = ROUNDING * max(float(np.abs(centre).max() * np.finfo(X.dtype).eps) for X, _, centre in samples) / scale
    few = [(X[some], w[some], centre) for X, w, centre in samples for some in [spaced(w, min(4 * n_features, len(w)))]]
    for each in (few, samples):  # where a few rows vary in all directions, all rows do
        variances, vectors = np.linalg.eigh(_gram(each, scale))
        varying = variances > max(NEGLIGIBLE * variances[-1], rounding**2)
        if varying.all() or not varying.any():
            return None
    if 2 * varying.sum() > min(len(np.unique(projection(X)[w > 0])) for X, w, _ in samples):
        return None  # there are too few rows to tell: others of the same law may well vary there
    onto = (vectors[:, varying] @ vectors[:, varying].T).round(9) + 0.0
    basis, triangle, _ = scipy.linalg.qr(onto, pivoting=True)
    basis = (basis * np.sign(np.diag(triangle)))[:, : varying.sum()]
    return np.where(np.abs(basis) < 1e-8, 0.0, basis)


def _gram(samples: list[tuple[np.ndarray, np.ndarray, np.ndarray]], scale: float) -> np.ndarray:
    """Sum of the samples' covariances, in units of `scale`."""
    gram = np.zeros((samples[0][0].shape[1],) * 2)
    for sample in samples:
        for rows, w in _blocks(*sample):
            rows = rows / scale
            gram += rows.T @ (rows * (w / sample[1].sum())[:, None])
    return gram


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


ROWS_PER_BLOCK = 16_384

Image = Callable[[Problem, Tensor], Tensor]
Change = Callable[[np.ndarray], np.ndarray]
Return = Callable[[np.ndarray, np.ndarray], np.ndarray]


def map_rows(
    problem: Problem, rows: np.ndarray, image: Image, enter: Change, leave: Return, out: np.ndarray, *, exact: bool
) -> np.ndarray:
    """Fill `out` with `leave(image(problem, enter(rows)), rows)`; if `exact`, in float64 for float64 rows on a CPU."""
    device = next(problem.parameters()).device
    dtype = torch.float64 if exact and rows.dtype == np.float64 and device.type == "cpu" else torch.float32
    with torch.inference_mode(False), torch.no_grad():
        problem = copy.deepcopy(problem).to(dtype)
        for block in gen_batches(len(rows), ROWS_PER_BLOCK):
            moved = image(problem, torch.from_numpy(enter(rows[block])).to(device, dtype))
            out[block] = leave(moved.cpu().numpy().astype(rows.dtype, copy=False), rows[block])
    return out
