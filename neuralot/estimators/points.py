"""Exact plans between laws with few distinct rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse.csgraph import csgraph_from_dense, floyd_warshall
from scipy.spatial.distance import cdist
from sklearn.utils import gen_batches
from torch import Generator

from neuralot.costs import Cost, as_cost
from neuralot.divergences import MAX_PIVOTS
from neuralot.estimators.laws import Law, Standardised
from neuralot.estimators.state import FitParams, Setup
from neuralot.estimators.units import ROWS_PER_BLOCK, Units
from neuralot.sampling import spaced

# distinct rows of a discrete law, and the same if its rows are repeated
MAX_POINTS, MAX_REPEATED = 16, 64
# rows per distinct row from which they count as repeated, and source rows per target point for cells
ROWS_PER_POINT = 8
# source rows from which cells are computed, and target rows of a plan
MAX_ROWS = 4096
# share of the largest weight below which a row is left out
NEGLIGIBLE = 1e-6
# largest distance of a row from an equal one, relative to the scale: float32 rows of a float64 sample
TOLERANCE = 1e-5


@dataclass(frozen=True)
class PointPlan:
    r"""Exact plan between laws with few distinct rows.

    It replaces images of the networks, which are not exact at points.

    - If both laws are discrete, the plan from each source point is computed by linear programming. It applies to rows
      equal to a source point. For a method of plans, only the source needs to be discrete; draws are then rows of the
      target sample.
    - If there are many source rows per target point, the source is divided into the cells of an optimal dual solution,
      in which the image is :math:`\arg\min_j c(x, y_j) - V(y_j)`. This applies to all rows.

    Attributes
    ----------
    target : ndarray of shape (m, n_features)
        Distinct target rows, in the units of the data.
    source : ndarray of shape (k, n_directions)
        Standardised source points; k = 0 if the source is not discrete.
    shares : ndarray of shape (k, m)
        Conditional probabilities of the target rows.
    potential : ndarray of shape (m,) or (0,)
        V at the standardised target rows; empty without cells.
    """

    target: np.ndarray
    source: np.ndarray
    shares: np.ndarray
    potential: np.ndarray

    @classmethod
    def of(cls, target: Law, setup: Setup, *, splits: bool) -> PointPlan | None:
        """Return the plan of a fit, or None.

        `target` is the law of the target, and `splits` says whether the method learns a plan. The result is None if
        neither case of the class applies, or if there are too few rows for their columns, whose plan follows their
        noise.
        """
        chosen, b = _points(setup.target)
        is_few, has_points = len(chosen) < MAX_REPEATED, _is_discrete(setup.source)
        if setup.units.is_partial or len(chosen) < 2 or not (is_few or (has_points and splits)):
            return None
        if len(chosen) > MAX_ROWS:
            chosen, b = chosen[spaced(b, MAX_ROWS)], np.full(MAX_ROWS, 1 / MAX_ROWS)
        cost = standardised_cost(setup.units, setup.params)
        y = _rows(setup.target, chosen)
        potential = _potential(setup.source, cost, y, b) if is_few else np.empty(0)
        x, shares = y[:0], np.empty((0, len(y)))
        if has_points and (splits or _is_discrete(setup.target)):
            source, a = _points(setup.source)
            x = _rows(setup.source, source)
            costs = _matrix(cost, x, y)
            shares = _solve(costs, a, b)[0] / a[:, None] if np.isfinite(costs).all() else shares
            x = x[: len(shares)]
        if not (len(x) or len(potential)):
            return None
        return cls(target.rows[target.order[chosen]].astype(np.float64), x, shares, potential)

    def replace(
        self, rows: np.ndarray, images: np.ndarray, units: Units, cost: Cost, choose: Callable[[np.ndarray], np.ndarray]
    ) -> None:
        """Replace images of rows by those of the plan.

        `images` has the shape (n, n_features), or (n_draws, n, n_features) for draws. `choose` returns the images,
        shape (l, n_features), for conditional probabilities of shape (l, m).
        """
        for block in gen_batches(len(rows), ROWS_PER_BLOCK):
            x = units.from_source(rows[block].astype(np.float64))
            out = images[..., block, :]
            if len(self.potential):
                y = units.from_target(self.target)
                out[...] = self.target[(_matrix(cost, x, y) - self.potential).argmin(axis=1)]
            if len(self.source):
                distances = cdist(x, self.source, "chebyshev")  # (l, k), without an array of shape (l, k, n_directions)
                nearest, is_equal = distances.argmin(axis=1), distances.min(axis=1) <= TOLERANCE
                shares = self.shares[nearest[is_equal]]
                for each in out if out.ndim == 3 else [out]:
                    each[is_equal] = choose(shares)

    def means(self, shares: np.ndarray) -> np.ndarray:
        """Return the conditional means."""
        return shares @ self.target

    def modes(self, shares: np.ndarray) -> np.ndarray:
        """Return the target rows with the largest shares."""
        return self.target[shares.argmax(axis=1)]

    def draws(self, generator: Generator) -> Callable[[np.ndarray], np.ndarray]:
        """Return a function that draws target rows."""

        def draw(shares: np.ndarray) -> np.ndarray:
            u = torch.rand(len(shares), generator=generator, device=generator.device, dtype=torch.double)
            above = shares.cumsum(axis=1) > u.cpu().numpy()[:, None]
            above[:, -1] = True  # despite rounding errors of the sum
            return self.target[above.argmax(axis=1)]

        return draw


def standardised_cost(units: Units, params: FitParams) -> Cost:
    """Return the cost of a fit for standardised rows."""
    return units.cost(as_cost(params.cost), torch.device("cpu"))


def _matrix(cost: Cost, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the costs of all pairs.

    A custom cost is evaluated in the precision of a fit.
    """
    a, b = (torch.from_numpy(rows) if cost.homogeneous else torch.from_numpy(rows).float() for rows in (x, y))
    return cost.pairwise(a, b).detach().double().numpy()


def _points(sample: Standardised) -> tuple[np.ndarray, np.ndarray]:
    """Return indices of the distinct rows, and their shares.

    Rows with negligible weight are left out.
    """
    chosen, shares = (each.cpu().numpy() for each in sample.sampler().distinct())
    kept = shares >= NEGLIGIBLE * shares.max()
    return chosen[kept], shares[kept] / shares[kept].sum()


def _rows(sample: Standardised, chosen: np.ndarray) -> np.ndarray:
    return sample.rows[torch.from_numpy(chosen).to(sample.rows.device)].double().cpu().numpy()


def _is_discrete(sample: Standardised) -> bool:
    """Return whether a sample counts as discrete."""
    n_points = len(sample.distinct)
    is_repeated = n_points <= MAX_REPEATED and len(sample.rows) >= ROWS_PER_POINT * n_points
    return is_repeated or len(_points(sample)[0]) <= MAX_POINTS


def _solve(costs: np.ndarray, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return an optimal plan, and the target's dual solution."""
    import ot

    plan, log = ot.emd(a, b, costs, numItermax=MAX_PIVOTS, log=True)
    return plan, log["v"]


def _centred(V: np.ndarray, costs: np.ndarray, cells: np.ndarray) -> np.ndarray:
    r"""Return a dual solution far from the vertices.

    V is optimal if :math:`V_l - V_j \le \min_{i \in cell j} (c_{il} - c_{ij})`. The solver returns a vertex of this
    set, so that a row of each cell is on its boundary. Shortest paths from and to each point are further vertices.
    """
    bounds = np.full((len(V), len(V)), np.inf)
    for j in np.unique(cells):
        rows = costs[cells == j]
        bounds[j] = (rows - rows[:, j, None]).min(axis=0)
    slack = bounds - (V - V[:, None])
    if not np.isfinite(slack).all():  # a cell is empty
        return V
    paths = floyd_warshall(csgraph_from_dense(slack.clip(min=0), null_value=np.inf))  # 0 is an edge, too
    return V + (paths.mean(axis=0) - paths.mean(axis=1)) / 2


def _potential(source: Standardised, cost: Cost, y: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return V at target points; empty without cells.

    There are no cells if there are few source rows, or if the cells of V do not have the masses `b`, because the mass
    of a thin set or of a heavy row must split.
    """
    if len(source.distinct) < ROWS_PER_POINT * len(y):
        return np.empty(0)
    x = source.equally_weighted(MAX_ROWS).double().cpu().numpy()
    costs = _matrix(cost, x, y)
    if not np.isfinite(costs).all():
        return np.empty(0)
    plan, V = _solve(costs, np.full(len(x), 1 / len(x)), b)
    V = _centred(V, costs, plan.argmax(axis=1))
    masses = np.bincount((costs - V).argmin(axis=1), minlength=len(y)) / len(x)
    # an optimal basic solution splits fewer rows than there are target points
    return V if np.abs(masses - b).sum() / 2 <= (len(y) - 1) / len(x) + 1e-9 else np.empty(0)
