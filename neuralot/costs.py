"""Transport costs c(x, y).

A cost is evaluated on paired rows or on all pairs. Some costs also define a map from the gradient of a potential.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import final

import torch
from torch import Tensor

PairedCost = Callable[[Tensor, Tensor], Tensor]


class Cost(ABC):
    """Transport cost c(x, y).

    Attributes
    ----------
    has_map_from_gradient : bool
        Whether `map_from_gradient` is available, that is, whether the gradient of a potential determines the map.
    shift_invariant_plan : bool
        Whether the optimal plan is invariant to translations of source and target by *different* vectors. True for the
        squared Euclidean cost only.
    homogeneous : bool
        Whether translating and scaling both laws in the same way only multiplies the cost by a constant. Any other cost
        is evaluated in the units of the data, although networks take standardised rows.
    n_moved : int or None
        Number of leading columns that are moved; the others are conditions, see `Conditional`. None for all columns.
    """

    n_moved: int | None = None
    has_map_from_gradient: bool = False
    shift_invariant_plan: bool = False
    homogeneous: bool = False

    def __init_subclass__(cls) -> None:
        for base in cls.__bases__:
            # their formulas are used in place of calls
            if getattr(base, "__final__", False):
                raise TypeError(f"{cls.__name__} cannot derive from {base.__name__}; derive from neuralot.costs.Cost")

    @abstractmethod
    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the cost of paired rows, shape (n,).

        `x` and `y` have shape (n, d).
        """

    def pairwise(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the cost of all pairs, shape (n, m).

        `x` has shape (n, d), `y` has shape (m, d).
        """
        return torch.stack([self(row.expand_as(y), y) for row in x])  # one row at a time, which saves memory

    def map_from_gradient(self, x: Tensor, gradient: Tensor) -> Tensor:
        """Solve grad_x c(x, y) = `gradient` for y.

        Returns y, shape (n, d). If `gradient` is that of an optimal Kantorovich potential at `x`, y is the image of
        `x`. Raises a NotImplementedError if the cost does not define the map.
        """
        raise NotImplementedError(
            f"{type(self).__name__} does not define a map from the gradient of a potential; pass map_form='network'"
        )

    def in_units(self, centre: Tensor, scale: float, level: float) -> Cost:
        """Return the cost of standardised rows.

        This is ``c(scale x + centre, scale y + centre) / level``, or a multiple of it.
        """
        return self if self.homogeneous else _InUnits(self, centre, scale, level)


class _InUnits(Cost):
    def __init__(self, cost: Cost, centre: Tensor, scale: float, level: float) -> None:
        self.cost, self.centre, self.scale, self.level = cost, centre, scale, level
        self.has_map_from_gradient = cost.has_map_from_gradient

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        return self.cost(self._in_data_units(x), self._in_data_units(y)) / self.level

    def map_from_gradient(self, x: Tensor, gradient: Tensor) -> Tensor:
        image = self.cost.map_from_gradient(self._in_data_units(x), gradient * (self.level / self.scale))
        return (image - self.centre) / self.scale

    def _in_data_units(self, x: Tensor) -> Tensor:
        return x * self.scale + self.centre


@final
class SquaredEuclidean(Cost):
    """Squared Euclidean cost, ``c(x, y) = |x - y|^2``.

    The map is ``x - gradient / 2``.

    Examples
    --------
    >>> import torch
    >>> from neuralot.costs import SquaredEuclidean
    >>> SquaredEuclidean()(torch.zeros(3, 2), torch.ones(3, 2))
    tensor([2., 2., 2.])
    """

    has_map_from_gradient = True
    shift_invariant_plan = True
    homogeneous = True

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        return (x - y).square().sum(-1)

    def pairwise(self, x: Tensor, y: Tensor) -> Tensor:
        return torch.cdist(x, y).square()

    def map_from_gradient(self, x: Tensor, gradient: Tensor) -> Tensor:
        return x - gradient / 2


@final
class Lp(Cost):
    """The p-th power of the Lp distance, p > 1.

    ``c(x, y) = sum_i |x_i - y_i|^p``. The map is ``x - sign(g) (|g| / p)^(1 / (p - 1))`` in each coordinate, where g is
    the gradient of the potential. For p > 2 its slope is infinite at g = 0, and fits in the gradient form diverge: use
    ``map_form='network'``, which ``'auto'`` selects for this cost. For p from 1.2 to 2 the gradient form is faster and
    slightly more accurate, and has an inverse map.

    Parameters
    ----------
    p : float
        Exponent, greater than 1. Otherwise the cost is not strictly convex, and a gradient does not determine a map.

    Raises
    ------
    ValueError
        If `p` is not greater than 1.

    Examples
    --------
    >>> import torch
    >>> from neuralot.costs import Lp
    >>> Lp(3.0)(torch.zeros(2, 2), torch.full((2, 2), 2.0))
    tensor([16., 16.])
    """

    has_map_from_gradient = True
    homogeneous = True

    def __init__(self, p: float) -> None:
        try:
            valid = 1 < float(p) < float("inf")
        except (TypeError, ValueError):
            valid = False
        if not valid:
            raise ValueError(f"p must be a finite number greater than 1, got {p!r}; pass for example Lp(1.5)")
        self.p = float(p)

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        return (x - y).abs().pow(self.p).sum(-1)

    def map_from_gradient(self, x: Tensor, gradient: Tensor) -> Tensor:
        return x - gradient.sign() * (gradient.abs() / self.p).pow(1 / (self.p - 1))

    def __repr__(self) -> str:
        return f"Lp({self.p:g})"


class Conditional(Cost):
    """Cost of moved columns between rows of equal conditions.

    The first `n_moved` columns of a row are moved; the others are its condition. The cost of two rows with different
    conditions is infinite.

    Parameters
    ----------
    cost : Cost
        Cost of the moved columns.
    n_moved : int

    Examples
    --------
    >>> import torch
    >>> from neuralot.costs import Conditional, SquaredEuclidean
    >>> x, y = torch.tensor([[0.0, 1.0], [0.0, 1.0]]), torch.tensor([[2.0, 1.0], [2.0, 0.0]])
    >>> Conditional(SquaredEuclidean(), 1)(x, y)
    tensor([4., inf])
    """

    def __init__(self, cost: Cost, n_moved: int) -> None:
        self.cost, self.n_moved = cost, n_moved
        self.has_map_from_gradient = cost.has_map_from_gradient

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        n = self.n_moved
        return self.cost(x[..., :n], y[..., :n]).where(_are_equal(x[..., n:], y[..., n:]), torch.inf)

    def pairwise(self, x: Tensor, y: Tensor) -> Tensor:
        n = self.n_moved
        return self.cost.pairwise(x[:, :n], y[:, :n]).where(_are_equal(x[:, None, n:], y[:, n:]), torch.inf)

    def map_from_gradient(self, x: Tensor, gradient: Tensor) -> Tensor:
        n = self.n_moved
        return torch.cat([self.cost.map_from_gradient(x[:, :n], gradient[:, :n]), x[:, n:]], dim=1)


def _are_equal(s: Tensor, t: Tensor) -> Tensor:
    """Return whether conditions are equal, row by row."""
    return (s == t).all(dim=-1)


def is_squared_euclidean(cost: Cost) -> bool:
    """Return whether the moved columns have the squared Euclidean cost."""
    return isinstance(cost.cost if isinstance(cost, Conditional) else cost, SquaredEuclidean)


class CallableCost(Cost):
    """User-defined cost, a function of paired rows.

    The function takes two tensors of shape (n, d) and returns shape (n,). It must be differentiable, and strictly
    convex in x - y.

    Parameters
    ----------
    function : callable
        Composed of torch operations on the last axis. It is called with rows in the units of the data, on the CPU and
        on the device of a fit.

    Examples
    --------
    >>> import torch
    >>> from neuralot.costs import CallableCost
    >>> weights = torch.tensor([1.0, 3.0])
    >>> CallableCost(lambda x, y: ((x - y) ** 2 * weights.to(x)).sum(-1))(torch.zeros(1, 2), torch.ones(1, 2))
    tensor([4.])
    """

    def __init__(self, function: PairedCost) -> None:
        self.function = function

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        return self.function(x, y)


def as_cost(cost: str | Cost | PairedCost) -> Cost:
    """Convert an argument to a `Cost`.

    ``'sqeuclidean'`` gives a `SquaredEuclidean`, a function of paired rows a `CallableCost`. A `Cost` is returned
    unchanged.

    Raises
    ------
    ValueError
        If `cost` is none of these.

    Examples
    --------
    >>> from neuralot.costs import as_cost
    >>> type(as_cost("sqeuclidean")).__name__
    'SquaredEuclidean'
    """
    if isinstance(cost, Cost):
        return cost
    if isinstance(cost, str) and cost == "sqeuclidean":
        return SquaredEuclidean()
    if not isinstance(cost, (str, type)) and callable(cost):
        return CallableCost(cost)
    raise ValueError(
        f"cost must be 'sqeuclidean', a neuralot.costs.Cost such as Lp(1.5), or a function of paired rows "
        f"(n, d), (n, d) -> (n,), got {cost!r}"
    )
