"""Standardised coordinates, and images of rows under a fitted problem."""

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

# centres and scales are rounded to this many binary digits, so that the order of summation does not change the units
BITS = 12
# a direction varies if its variance is above this share of the largest and above the rounding errors of distant rows
NEGLIGIBLE = 1e-12
ROUNDING = 4.0
MOST_FEATURES = 2048
# sums are taken in blocks: a float64 copy of a large sample would exceed the sample and the cache in size
NUMBERS_PER_BLOCK = 2**16
# a sample has outliers if some rows are FAR_OUTSIDE interquartile ranges from the medians, less than a share FEW
# more than AT_MOST, and its scale is above LARGE_SHARE times these ranges; rows are then clipped to AT_MOST ranges
FAR_OUTSIDE, LARGE_SHARE, AT_MOST = 100, 10.0, 10
FEW, FEW_ROWS = 0.05, 2000


@dataclass(frozen=True)
class Units:
    """Standardised coordinates of source and target.

    They are x -> B'(x - source_centre) / scale and y -> B'(y - target_centre) / scale. A common scale and, for the
    squared Euclidean cost, two centres do not change the optimal plan. Smoothing levels, learning rates and networks
    are then independent of units. Other costs have one common centre.

    B is a basis of the directions in which the laws vary. If these are not all directions (constant columns, a plane in
    a large space), the problem has fewer dimensions, for the squared Euclidean cost: the other directions contribute
    only the displacement between the centres, and the component of a row outside of B is moved by this displacement.

    Attributes
    ----------
    source_centre, target_centre : ndarray of shape (n_features,)
    scale : float
        About the root of the mean variance per direction, over source and target.
    cost_level : float
        Mean cost of random pairs; 1 for a homogeneous cost, whose size follows from `scale`.
    basis : ndarray of shape (n_features, n_directions) or None
        B, with orthonormal columns; None for the identity.
    source_bounds, target_bounds : ndarray of shape (2, n_features) or None
        Rows are clipped to these bounds if a few rows are far outliers; see `bounds_of`.
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
        """Return the units of two weighted samples.

        `v` and `w` are the weights of the rows of `X` and `Y`. With `reduce` and the squared Euclidean cost, the units
        have a basis if the laws do not vary in all directions.
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
        """Number of coordinates of standardised rows."""
        return len(self.source_centre) if self.basis is None else self.basis.shape[1]

    def cover(self, X: np.ndarray, Y: np.ndarray) -> bool:
        """Return whether rows vary only within the basis.

        `X` are source rows, `Y` target rows; rounding errors do not count.
        """
        return self._covers(X, self.source_centre) and self._covers(Y, self.target_centre)

    def covers_target(self, Y: np.ndarray) -> bool:
        """Return `cover` for target rows only."""
        return self._covers(Y, self.target_centre)

    def _covers(self, rows: np.ndarray, centre: np.ndarray) -> bool:
        beside = np.abs(self._residual(rows, centre)).max()
        return bool(beside <= 1e-3 * max(self.scale, np.abs(rows - centre).max()))

    def cost(self, cost: Cost, device: torch.device) -> Cost:
        """Return the cost as a function of standardised rows."""
        centre = torch.as_tensor(self.source_centre, dtype=torch.float32, device=device)
        return cost.in_units(centre, self.scale, self.cost_level)

    def from_source(self, X: np.ndarray) -> np.ndarray:
        """Return standardised source rows, float64 or float32 like `X`."""
        return self._enter(clipped(X, self.source_bounds), self.source_centre)

    def from_target(self, Y: np.ndarray) -> np.ndarray:
        """Return standardised target rows, float64 or float32 like `Y`."""
        return self._enter(clipped(Y, self.target_bounds), self.target_centre)

    def to_source(self, X: np.ndarray, Y: np.ndarray | None = None) -> np.ndarray:
        """Return standardised source rows in the user's coordinates.

        The result has the dtype of `X`. If `X` are images of target rows `Y`, components of `Y` outside of the basis
        are added.
        """
        return self._leave(X, self.source_centre) + self._residual(Y, self.target_centre)

    def to_target(self, Y: np.ndarray, X: np.ndarray | None = None) -> np.ndarray:
        """Return standardised target rows in the user's coordinates.

        The result has the dtype of `Y`. If `Y` are images of source rows `X`, components of `X` outside of the basis
        are added.
        """
        return self._leave(Y, self.target_centre) + self._residual(X, self.source_centre)

    def _enter(self, rows: np.ndarray, centre: np.ndarray) -> np.ndarray:
        moved = (rows - centre) / self.scale  # (n, n_features)
        return (moved if self.basis is None else moved @ self.basis).astype(rows.dtype, copy=False)

    def _leave(self, rows: np.ndarray, centre: np.ndarray) -> np.ndarray:
        back = rows if self.basis is None else rows @ self.basis.T  # (n, n_features)
        return (back * self.scale + centre).astype(rows.dtype, copy=False)

    def _residual(self, rows: np.ndarray | None, centre: np.ndarray) -> Any:
        """Return components of rows outside of the basis, or 0."""
        if rows is None or self.basis is None:
            return 0
        moved = rows - centre
        return (moved - (moved @ self.basis) @ self.basis.T).astype(rows.dtype, copy=False)


def bounds_of(rows: np.ndarray, indices: np.ndarray, scale: float) -> np.ndarray | None:
    """Return bounds for the columns of a sample with outliers.

    A sample has outliers if a few rows are far outside and dominate its scale. The result is None for other samples.

    Parameters
    ----------
    rows : ndarray of shape (n, n_features)
        A sample.
    indices : ndarray of shape (k,)
        Indices of the rows to use.
    scale : float
        About the root of the mean variance per column.

    Returns
    -------
    ndarray of shape (2, n_features)
        `AT_MOST` interquartile ranges below and above the medians, if some rows are more than `FAR_OUTSIDE` ranges
        away.
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
    """Clip rows to the bounds of the columns, if any."""
    return rows if bounds is None else rows.clip(*bounds).astype(rows.dtype, copy=False)


def _blocks(X: np.ndarray, weights: np.ndarray, centre: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield blocks of centred rows with their weights.

    The rows are float64; rows without weight are left out.
    """
    for block in gen_batches(len(X), max(1, NUMBERS_PER_BLOCK // X.shape[1])):
        rows, some = X[block], weights[block]
        kept = some > 0
        if not kept.all():
            rows, some = rows[kept], some[kept]
        yield rows - centre, some


def _mean(X: np.ndarray, weights: np.ndarray) -> np.ndarray:
    # a first row is subtracted, so that a large common offset does not cost digits
    first = X[np.argmax(weights > 0)].astype(np.float64)
    total = sum(w @ rows for rows, w in _blocks(X, weights, first))
    return first + total / weights.sum()


def _on_grid(centre: np.ndarray, grid: float, basis: np.ndarray | None) -> np.ndarray:
    """Round the coordinates of a centre to multiples of `grid`.

    Components outside of the basis are not rounded.
    """
    if basis is None:
        return np.round(centre / grid) * grid
    inside = basis.T @ centre
    return basis @ (np.round(inside / grid) * grid) + (centre - basis @ inside)


def _spread(samples: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> float:
    """Return the root of the mean variance per column.

    The mean is over all samples; the result is 1 if nothing varies.
    """
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
    """Return an orthonormal basis of the directions of variation.

    These are the directions in which any of the samples varies. The result is None if all directions vary, if none
    does, if there are too few rows to tell, or if there are more than `MOST_FEATURES` features. The basis depends on
    the directions only, not on their variances. A column that is orthogonal to all others is kept as a basis vector.
    """
    n_features = samples[0][0].shape[1]
    if n_features > MOST_FEATURES:
        return None
    rounding = ROUNDING * max(float(np.abs(centre).max() * np.finfo(X.dtype).eps) for X, _, centre in samples) / scale
    few = [(X[some], w[some], centre) for X, w, centre in samples for some in [spaced(w, min(4 * n_features, len(w)))]]
    for each in (few, samples):  # if a few rows vary in all directions, all rows do
        variances, vectors = np.linalg.eigh(_gram(each, scale))
        varying = variances > max(NEGLIGIBLE * variances[-1], rounding**2)
        if varying.all() or not varying.any():
            return None
    if 2 * varying.sum() > min(len(np.unique(projection(X)[w > 0])) for X, w, _ in samples):
        return None  # too few rows to tell: other rows of the same law may vary there
    onto = (vectors[:, varying] @ vectors[:, varying].T).round(9) + 0.0
    basis, triangle, _ = scipy.linalg.qr(onto, pivoting=True)
    basis = (basis * np.sign(np.diag(triangle)))[:, : varying.sum()]
    return np.where(np.abs(basis) < 1e-8, 0.0, basis)


def _gram(samples: list[tuple[np.ndarray, np.ndarray, np.ndarray]], scale: float) -> np.ndarray:
    """Return the summed covariances of the samples divided by `scale`."""
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
    """Yield 1000 random rows per sample, independent of their order."""
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
    """Map rows through a problem, block by block.

    Fills `out` with `leave(image(problem, enter(rows)), rows)` and returns it. If `exact`, float64 rows on a CPU are
    mapped in float64, others in float32.
    """
    device = next(problem.parameters()).device
    dtype = torch.float64 if exact and rows.dtype == np.float64 and device.type == "cpu" else torch.float32
    with torch.inference_mode(False), torch.no_grad():
        problem = copy.deepcopy(problem).to(dtype)
        for block in gen_batches(len(rows), ROWS_PER_BLOCK):
            moved = image(problem, torch.from_numpy(enter(rows[block])).to(device, dtype))
            out[block] = leave(moved.cpu().numpy().astype(rows.dtype, copy=False), rows[block])
    return out
