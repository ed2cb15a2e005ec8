"""Value of the learned potential in the dual problem."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.spatial.distance import cdist

from neuralot.costs import Cost, SquaredEuclidean
from neuralot.diagnostics.quantities import share_text
from neuralot.diagnostics.statistics import Sample, exact_cost
from neuralot.divergences import cost_matrix

N_DESCENT = 15
N_CURVATURE = 200
MAX_FEATURES = 64
STEP = 1e-3  # of finite differences, as a share of the standard deviation per column

Gradient = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Dual:
    r"""Value of the learned potential V in the dual problem.

    Attributes
    ----------
    value : float
        :math:`\sum_i a_i \min_j [c(x_i, y_j) - V(y_j)] + \sum_j b_j V(y_j)`, at most the exact cost of the samples.
    gap : float
        The exact cost of the samples minus `value`; 0 for an optimal potential of these samples.
    relative_gap : float
        The same as a share of what `Optimality.relative_gap` is a share of.
    error_bound : float
        Upper bound of the root mean square distance between the map and the optimal map, in the units of the data; nan
        if the theory gives none.
    condition : str
        The condition of the bound, or why there is none.
    spread : float
        Root of the target's total variance, with which the bound can be compared.
    """

    value: float
    gap: float
    relative_gap: float
    error_bound: float
    condition: str
    spread: float

    def lines(self) -> list[tuple[str, str]]:
        """Return pairs of a label and a text."""
        if np.isnan(self.error_bound):
            bound = f"no bound of the map's error: {self.condition}"
        elif self.error_bound > self.spread:
            bound = "the bound of the map's error is larger than the target's spread, and says nothing"
        else:
            share = 100 * self.error_bound / self.spread
            bound = f"root mean square error at most {self.error_bound:.3g} ({share:.0f} % of the target's spread), "
            bound += self.condition
        # below 0 by rounding only
        gap = f"the exact cost is larger by {max(self.gap, 0):.2g}, {share_text(max(self.relative_gap, 0))} {self.unit}"
        return [("dual value", f"{self.value:.4g}; {gap}"), ("", bound)]

    @property
    def unit(self) -> str:
        """What `relative_gap` is a share of."""
        return "of the target's variance" if np.isfinite(self.spread) else "of the spread of costs"


def evaluate_dual(
    transport: Any, source: Sample, images: np.ndarray, target: Sample, cost: Cost, unit: float
) -> Dual | None:
    """Return the dual value of a transport, or None.

    The transport must have a method `potential`.
    """
    if not hasattr(transport, "potential"):
        return None
    squared = isinstance(cost, SquaredEuclidean)
    # centred, so that the distance of the means does not cause rounding errors
    shift = (source.mean - target.mean) if squared else np.zeros_like(source.mean)
    x, y, T = source.rows - shift, target.rows, images
    linear = lambda rows: 2 * (rows - target.mean) @ shift  # noqa: E731
    V = transport.potential(y) + linear(y)  # (m,)
    values = (cdist(x, y, "sqeuclidean") if squared else cost_matrix(cost, x, y)) - V  # (n, m)
    exact = exact_cost(Sample(x, source.masses), target, cost)
    dual = float(source.masses @ values.min(axis=1) + target.masses @ V)
    gap = exact - dual
    between = float(shift @ shift)
    if not squared:
        return Dual(dual, gap, gap / unit, np.nan, "it is known for the squared Euclidean cost only", np.nan)

    def evaluate(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        value, gradient = transport.potential(rows, return_gradient=True)
        return value + linear(rows), gradient + 2 * shift

    bound, condition = _error_bound(evaluate, source, x, T, target, V, exact, values.argmin(axis=1))
    # the cost between the means, which the centring has removed, and the rest of the linear term
    return Dual(dual + between, gap, gap / unit, bound, condition, np.sqrt(target.variance))


def _error_bound(
    potential: Gradient,
    source: Sample,
    x: np.ndarray,
    images: np.ndarray,
    target: Sample,
    V: np.ndarray,
    exact: float,
    best: np.ndarray,
) -> tuple[float, str]:
    r"""Return the bound of the map's error, and its condition.

    If :math:`|x - y|^2 - V(y)` is :math:`\beta`-strongly convex in y, the error is at most
    :math:`\sqrt{2 / \beta} (\sqrt{E_1} + \sqrt{E_2})`, where :math:`E_1` is the mean of
    :math:`|x - T|^2 - V(T) - \min_y [|x - y|^2 - V(y)]`, and :math:`E_2` the exact cost minus the dual value with this
    minimum over all y (Fan et al., Theorem 4).
    """
    if x.shape[1] > MAX_FEATURES:
        return np.nan, f"it is computed up to {MAX_FEATURES} features"
    try:
        low, high = _curvature(potential, target)
    except NotImplementedError:
        return np.nan, "the potential has no gradient"
    if low <= 1e-6 * high:
        return np.nan, "the potential is not strongly convex relative to the cost at the target rows and between them"
    V_images, _ = potential(images)
    at_images = ((x - images) ** 2).sum(axis=1) - V_images
    lowest = _minimum(potential, x, images, high)
    lowest = np.minimum(lowest, _minimum(potential, x, target.rows[best], high))
    inner = max(float(source.masses @ (at_images - lowest)), 0.0)
    outer = max(exact - float(source.masses @ lowest + target.masses @ V), 0.0)
    bound = np.sqrt(2 / low) * (np.sqrt(inner) + np.sqrt(outer))
    return float(bound), "if the potential is as convex everywhere as at and midway between target rows"


def _curvature(potential: Gradient, target: Sample) -> tuple[float, float]:
    """Return the extreme curvatures of the cost minus V.

    They are the smallest and the largest eigenvalue of 2 I minus the Hessian of V, at some target rows and midway
    between pairs of them: where an optimal plan splits mass, the cost minus V is not convex between the images.
    """
    rows = target.rows[:N_CURVATURE]
    rows = np.concatenate([rows, (rows + rows[::-1]) / 2])
    d = rows.shape[1]
    h = STEP * np.sqrt(target.variance / d) or STEP
    slopes = [(potential(rows + h * e)[1] - potential(rows - h * e)[1]) / (2 * h) for e in np.eye(d)]
    hessian = np.stack(slopes, axis=1)  # (n, d, d)
    curvatures = np.linalg.eigvalsh(2 * np.eye(d) - (hessian + hessian.transpose(0, 2, 1)) / 2)
    return float(curvatures.min()), float(curvatures.max())


def _minimum(potential: Gradient, x: np.ndarray, y: np.ndarray, curvature: float) -> np.ndarray:
    """Return the minima of |x - y|^2 - V(y).

    They are found by gradient descent from `y`.
    """
    lowest = np.full(len(x), np.inf)
    for _ in range(N_DESCENT):
        value, gradient = potential(y)
        lowest = np.minimum(lowest, ((x - y) ** 2).sum(axis=1) - value)
        y = y - (2 * (y - x) - gradient) / curvature
    return lowest
