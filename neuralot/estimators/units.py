"""Standardised coordinates, and the mapping of rows in blocks."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from sklearn.utils import gen_batches
from torch import Tensor

from neuralot._torch import isolated
from neuralot.costs import Cost
from neuralot.estimators.conditions import Conditions
from neuralot.estimators.directions import blocks, principal_directions, varying_directions
from neuralot.sampling import canonical_order
from neuralot.solve.problem import Problem

# centres and scales are rounded to this many binary digits, so that the order of summation does not change the units
BITS = 12
# range of scales and centres, whose squares float64 can represent
SMALLEST, LARGEST = 1e-152, 1e152

MapFunction = Callable[[Problem, Tensor], Tensor]
RowTransform = Callable[[np.ndarray], np.ndarray]
ImageTransform = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Units:
    """Standardised coordinates of source and target.

    They are x -> B'(x - source_centre) / scale and y -> B'(y - target_centre) / scale. For the squared Euclidean cost,
    separate centres and a common scale do not change the optimal plan. For other costs, source and target have one
    common centre, as they have if masses change. Smoothing levels, learning rates and networks are then independent of
    the units of the data.

    B is a basis of the directions in which the laws vary. For the squared Euclidean cost, the problem is restricted to
    these directions, which are not all directions if columns are constant or if the laws lie in a subspace. In the
    other directions, a row is shifted by the difference of the centres, and scaled about them by `residual_scale`.

    Attributes
    ----------
    source_centre, target_centre : ndarray of shape (n_features,)
    scale : float
        Approximately the root of the mean variance per direction, over source and target.
    cost_level : float
        Mean cost of random pairs; 1 for a homogeneous cost, whose size follows from `scale`.
    basis : ndarray of shape (n_features, n_directions) or None
        B, with orthonormal columns; None for the identity.
    source_bounds, target_bounds : ndarray of shape (2, n_features) or None
        Bounds to which rows are clipped if the sample has outliers; see `neuralot.sampling.outlier_bounds`.
    source_range : ndarray of shape (2, n_features) or None
        Smallest and largest value of each column in the source rows of the fit; None in files of older versions.
    is_partial : bool
        Whether the laws also vary outside of the basis, because there were too few rows; see
        `neuralot.estimators.directions.principal_directions`.
    residual_scale : float
        Factor of the components of source rows outside of the basis in their images.
    """

    source_centre: np.ndarray
    target_centre: np.ndarray
    scale: float
    cost_level: float = 1.0
    basis: np.ndarray | None = None
    source_bounds: np.ndarray | None = None
    target_bounds: np.ndarray | None = None
    source_range: np.ndarray | None = None
    is_partial: bool = False
    residual_scale: float = 1.0

    @classmethod
    def of(
        cls,
        X: np.ndarray,
        Y: np.ndarray,
        v: np.ndarray,
        w: np.ndarray,
        cost: Cost,
        *,
        reduce: bool = False,
        principal: bool = False,
        common_centre: bool = False,
    ) -> Units:
        """Return the units of two weighted samples.

        `v` and `w` are the weights of the rows of `X` and `Y`. With `reduce` and the squared Euclidean cost, the units
        have a basis if the laws do not vary in all directions; with `principal` also if there are too few rows. With
        `common_centre`, source and target have the same centre, so that a shift of either has its cost.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            centres = _mean(X, v), _mean(Y, w)
            if common_centre or not cost.shift_invariant_plan:
                centres = ((centres[0] + centres[1]) / 2,) * 2
            samples = [(X, v, centres[0]), (Y, w, centres[1])]
            deviation = _deviation(samples)
        _check_magnitude(deviation, centres)
        reduce = reduce and cost.shift_invariant_plan
        found = principal_directions(samples, deviation) if reduce and principal else None
        basis, share, residual_scale = None, 1.0, 1.0
        if found is not None:
            basis, share, residual_scale = found.basis, found.share, found.residual_scale
        elif reduce:
            basis = varying_directions(samples, deviation)
        if basis is not None:
            deviation *= np.sqrt(share * basis.shape[0] / basis.shape[1])
        scale = _rounded(deviation)
        source_centre, target_centre = (_rounded_centre(centre, scale * 2.0**-BITS, basis) for centre in centres)
        level = 1.0 if cost.homogeneous else _mean_cost(cost, X, Y, v, w)
        units = cls(source_centre, target_centre, scale, level, basis)
        return replace(units, is_partial=found is not None, residual_scale=residual_scale)

    @property
    def n_directions(self) -> int:
        """Number of coordinates of standardised rows."""
        return len(self.source_centre) if self.basis is None else self.basis.shape[1]

    @property
    def n_columns(self) -> int:
        """Number of columns of rows, with conditions."""
        return len(self.source_centre)

    @property
    def n_moved(self) -> int:
        """Number of coordinates that are moved."""
        return self.n_directions

    def has_conditions(self, conditions: Conditions | None) -> bool:
        """Return whether these are the conditions of the units."""
        return conditions is None

    def moved_rows(self, rows: np.ndarray) -> np.ndarray:
        """Return the columns of rows that are moved."""
        return rows

    def comparable(self, rows: np.ndarray) -> np.ndarray:
        """Return rows between which distances include conditions."""
        return rows

    def with_conditions(self, moved: np.ndarray, rows: Any) -> np.ndarray:
        """Return moved columns together with conditions.

        They are those of `rows`, or 0 if `rows` is 0.
        """
        return moved

    def cover(self, X: np.ndarray, Y: np.ndarray) -> bool:
        """Return whether rows vary only within the basis.

        `X` are source rows, `Y` target rows; rounding errors do not count. A partial basis covers all rows.
        """
        return self._covers(X, self.source_centre) and self._covers(Y, self.target_centre)

    def covers_target(self, Y: np.ndarray) -> bool:
        """Return `cover` for target rows only."""
        return self._covers(Y, self.target_centre)

    def _covers(self, rows: np.ndarray, centre: np.ndarray) -> bool:
        if self.is_partial:
            return True
        residual = np.abs(self._residual(rows, centre)).max()
        return bool(residual <= 1e-3 * max(self.scale, np.abs(rows - centre).max()))

    def cost(self, cost: Cost, device: torch.device) -> Cost:
        """Return the cost as a function of standardised rows."""
        centre = torch.as_tensor(self.source_centre, dtype=torch.float32, device=device)
        return cost.in_units(centre, self.scale, self.cost_level)

    def shift(self) -> np.ndarray:
        """Return the difference of the centres within the basis."""
        shift = self.source_centre - self.target_centre
        return shift if self.basis is None else self.basis @ (self.basis.T @ shift)

    def cost_unit(self, cost: Cost) -> float:
        """Return the factor from standardised costs to costs."""
        if not cost.homogeneous:
            return self.cost_level
        origin = torch.zeros(1, len(self.source_centre), dtype=torch.double)
        return float(cost(origin + self.scale, origin) / cost(origin + 1, origin))

    def from_source(self, X: np.ndarray) -> np.ndarray:
        """Return standardised source rows, float64 or float32 like `X`."""
        return self._standardise(clipped(X, self.source_bounds), self.source_centre)

    def from_target(self, Y: np.ndarray) -> np.ndarray:
        """Return standardised target rows, float64 or float32 like `Y`."""
        return self._standardise(clipped(Y, self.target_bounds), self.target_centre)

    def to_source(self, X: np.ndarray, Y: np.ndarray | None = None) -> np.ndarray:
        """Return standardised source rows in the coordinates of the data.

        The result has the dtype of `X`. If `X` are images of target rows `Y`, the components of `Y` outside of the
        basis are added.
        """
        return self._restore(X, self.source_centre) + self._residual(Y, self.target_centre, 1 / self.residual_scale)

    def to_target(self, Y: np.ndarray, X: np.ndarray | None = None) -> np.ndarray:
        """Return standardised target rows in the coordinates of the data.

        The result has the dtype of `Y`. If `Y` are images of source rows `X`, the components of `X` outside of the
        basis are added.
        """
        return self._restore(Y, self.target_centre) + self._residual(X, self.source_centre, self.residual_scale)

    def _standardise(self, rows: np.ndarray, centre: np.ndarray) -> np.ndarray:
        scaled = (rows - centre) / self.scale  # (n, n_features)
        return (scaled if self.basis is None else scaled @ self.basis).astype(rows.dtype, copy=False)

    def _restore(self, rows: np.ndarray, centre: np.ndarray) -> np.ndarray:
        scaled = rows if self.basis is None else rows @ self.basis.T  # (n, n_features)
        return (scaled * self.scale + centre).astype(rows.dtype, copy=False)

    def _residual(self, rows: np.ndarray | None, centre: np.ndarray, factor: float = 1.0) -> Any:
        """Return components of rows outside of the basis, or 0."""
        if rows is None or self.basis is None:
            return 0
        centred = rows - centre
        return (factor * (centred - (centred @ self.basis) @ self.basis.T)).astype(rows.dtype, copy=False)


def clipped(rows: np.ndarray, bounds: np.ndarray | None) -> np.ndarray:
    """Return rows, clipped to the bounds of their columns."""
    return rows if bounds is None else rows.clip(*bounds).astype(rows.dtype, copy=False)


def _mean(X: np.ndarray, weights: np.ndarray) -> np.ndarray:
    # one row is subtracted first, so that a large common offset does not cause rounding errors
    first = X[np.argmax(weights > 0)].astype(np.float64)
    total = sum(w @ rows for rows, w in blocks(X, weights, first))
    return first + total / weights.sum()


def _check_magnitude(deviation: float, centres: tuple[np.ndarray, ...]) -> None:
    """Raise a ValueError if costs exceed the range of float64."""
    largest = max(deviation, *(float(np.abs(centre).max()) for centre in centres))
    if not (deviation >= SMALLEST and largest <= LARGEST):
        raise ValueError(
            f"X and the target must have a standard deviation of at least {SMALLEST:g}, and values of at most "
            f"{LARGEST:g}, because squared distances are outside of the range of float64 otherwise; got a standard "
            f"deviation of {deviation:.3g} and means of up to {largest:.3g}. Multiply both by the same "
            "number, or remove extreme rows and columns"
        )


def _rounded_centre(centre: np.ndarray, grid: float, basis: np.ndarray | None) -> np.ndarray:
    """Round the coordinates of a centre to multiples of `grid`.

    Components outside of the basis are not rounded.
    """
    if basis is None:
        return np.round(centre / grid) * grid
    inside = basis.T @ centre
    return basis @ (np.round(inside / grid) * grid) + (centre - basis @ inside)


def _deviation(samples: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> float:
    """Return the root of the mean variance per column.

    The mean is over all samples. The result is 1 if all rows are equal.
    """
    largest = max(float(np.abs(rows).max(initial=0.0)) for sample in samples for rows, _ in blocks(*sample))
    if largest == 0:
        return 1.0
    squares = [
        sum(float(w @ ((rows / largest) ** 2).mean(axis=1)) for rows, w in blocks(*sample)) / sample[1].sum()
        for sample in samples
    ]
    deviation = largest * float(np.sqrt(np.mean(squares)))
    return deviation if deviation > 0 else 1.0


def _mean_cost(cost: Cost, X: np.ndarray, Y: np.ndarray, v: np.ndarray, w: np.ndarray) -> float:
    x, y = (torch.from_numpy(rows).float() for rows in _random_rows([(X, v), (Y, w)]))
    level = float(cost(x, y).abs().mean())
    return level if level > 0 else 1.0


def _random_rows(samples: list[tuple[np.ndarray, np.ndarray]]) -> Iterator[np.ndarray]:
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
# fewer rows per block from 256 columns on, because the features of a convolutional network are many times as large
NUMBERS_PER_MAP = 2**22


@isolated
def map_rows(
    problem: Problem,
    rows: np.ndarray,
    image: MapFunction,
    standardise: RowTransform,
    restore: ImageTransform,
    out: np.ndarray,
    *,
    exact: bool,
) -> np.ndarray:
    """Map rows with a fitted problem, block by block.

    Fills `out` with `restore(image(problem, standardise(rows)), rows)` and returns it. With a further first dimension,
    `out` is filled for one of its entries after the other, which is for draws. If `exact`, float64 rows are
    mapped in float64 on a CPU. Otherwise rows are mapped in float32.
    """
    device = next(problem.parameters()).device
    dtype = torch.float64 if exact and rows.dtype == np.float64 and device.type == "cpu" else torch.float32
    with torch.inference_mode(False), torch.no_grad():
        problem = copy.deepcopy(problem).to(dtype)
        size = min(ROWS_PER_BLOCK, max(1, NUMBERS_PER_MAP // rows.shape[1]))
        for each in out if out.ndim == 3 else [out]:
            for block in gen_batches(len(rows), size):
                images = image(problem, torch.from_numpy(standardise(rows[block])).to(device, dtype))
                each[block] = restore(images.cpu().numpy().astype(rows.dtype, copy=False), rows[block])
    return out
