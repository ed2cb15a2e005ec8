"""Base class of the transports that may change masses."""

from __future__ import annotations

import math
from abc import ABC
from typing import Any, cast

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted
from torch import Generator, Tensor

from neuralot._torch import isolated
from neuralot.costs import as_cost
from neuralot.estimators.mixins import Density
from neuralot.estimators.setup import seeded_generator
from neuralot.estimators.state import FitParams
from neuralot.estimators.streams import StreamTransport
from neuralot.estimators.units import RowTransform, Units, map_rows
from neuralot.parameters import PENALTY, estimator, none_or, one_of, parameter
from neuralot.penalties import KINDS, Penalties, Penalty
from neuralot.semidual import SemiDual
from neuralot.solve.problem import Problem


@estimator
class UnbalancedTransport(StreamTransport, ABC):
    """Base class of the transports that may change masses.

    Their method is a `SemiDual`, whose form has the penalties of the marginals.
    """

    unbalanced: str | None = parameter(none_or(one_of(*KINDS)), default=None)
    reg_marginal_source: float | str = parameter(PENALTY, default="auto")
    reg_marginal_target: float | str = parameter(PENALTY, default="auto")

    @property
    def reg_marginal_source_(self) -> float:
        """Penalty of the source's marginal in the fit."""
        check_is_fitted(self)
        return _penalty(self._fitted_params.reg_marginal_source, self._fitted_params, self.units_)

    @property
    def reg_marginal_target_(self) -> float:
        """Penalty of the target's marginal in the fit."""
        check_is_fitted(self)
        return _penalty(self._fitted_params.reg_marginal_target, self._fitted_params, self.units_)

    @isolated
    def source_mass(self, X: Any) -> np.ndarray:
        r"""Return the mass that each source row keeps.

        It is the density :math:`s(x) = d\pi_1 / d\mu` of the plan's first marginal with respect to the law of the
        source: 0 for a row that dies, 1 for a row that keeps its mass. The mass of row i in the plan is its weight,
        relative to the sum of all weights, times s(x_i). The two penalties share a change of mass: with equal ones, a
        row that doubles has s(x) of about 1.41 for ``'kl'`` and 1.33 for ``'chi2'``, and with
        ``reg_marginal_target=inf`` of 2. For the growth of rows in time, see `TrajectoryTransport.growth`.

        Parameters
        ----------
        X : array-like or Tensor of shape (k, n_features)
            Source rows, which need not be rows of the fit.

        Returns
        -------
        ndarray of shape (k,)
            At most 1000; ones for a balanced transport. `OTPTransport` averages over its 16 noise vectors.

        Raises
        ------
        ValueError
            As in `transform`.
        NotFittedError
            Before `fit`.

        Examples
        --------
        >>> import numpy as np
        >>> from neuralot import SNOTTransport
        >>> rng = np.random.default_rng(0)
        >>> X, Y = rng.normal(size=(500, 2)), rng.normal(size=(500, 2))
        >>> X[0] = 20  # far from all target rows
        >>> transport = SNOTTransport(unbalanced="kl", max_iter=50, random_state=0).fit(X, Y)
        >>> bool(transport.source_mass(X)[0] < 0.2 < transport.source_mass(X)[1:].min())
        True
        """
        check_is_fitted(self)
        return self._densities[0](self._check_source(X, reset=False))

    @isolated
    def target_mass(self, X_target: Any) -> np.ndarray:
        r"""Return the mass that reaches each target row.

        It is the density :math:`d\pi_2 / d\nu` of the plan's second marginal with respect to the law of the target.

        Parameters
        ----------
        X_target : array-like or Tensor of shape (m, n_features)
            Target rows.

        Returns
        -------
        ndarray of shape (m,)
            At most 1000; ones for a balanced transport.

        Raises
        ------
        ValueError
            If the rows are not finite or not two-dimensional, or if their number of columns is not that of the fit.
        NotFittedError
            Before `fit`.
        """
        check_is_fitted(self)
        return self._densities[1](self._check_target(X_target, "X_target"))

    @property
    def _densities(self) -> tuple[Density, Density]:
        return (
            lambda rows: self._masses(rows, lambda problem, x: problem.source_mass(x), self.units_.from_source),
            lambda rows: self._masses(rows, lambda problem, y: problem.target_mass(y), self.units_.from_target),
        )

    def _masses(self, rows: np.ndarray, mass: Any, standardise: RowTransform) -> np.ndarray:
        out = np.ones((len(rows), 1), dtype=rows.dtype)
        if self._fitted_params.changes_masses:
            column = lambda problem, x: mass(problem, x)[:, None]  # noqa: E731
            map_rows(self.problem_, rows, column, standardise, lambda masses, _: masses, out, exact=self._is_built_in)
        return out[:, 0]

    def _weighted_draw(self, rows: np.ndarray, random_state: Any) -> tuple[np.ndarray, np.ndarray | None]:
        if not self._fitted_params.changes_masses:
            return super()._weighted_draw(rows, random_state)
        generator = seeded_generator(random_state, next(self.problem_.parameters()).device)

        def draw(problem: Problem, x: Tensor) -> Tensor:
            image, mass = cast(SemiDual, problem).weighted_draw(x, generator)
            return torch.cat([image, cast(Tensor, mass)[:, None]], dim=1)

        def restore(images: np.ndarray, X: np.ndarray) -> np.ndarray:
            return np.hstack([self.units_.to_target(images[:, :-1], X), images[:, -1:]])

        out = np.empty((len(rows), rows.shape[1] + 1), dtype=rows.dtype)
        map_rows(self.problem_, rows, draw, self.units_.from_source, restore, out, exact=self._is_built_in)
        return out[:, :-1], out[:, -1]

    @property
    def _changes_masses(self) -> bool:
        return FitParams(**self._flat_values()).changes_masses

    def _check_parameters(self, *names: str) -> None:
        super()._check_parameters(*names)
        for name in ("reg_marginal_source", "reg_marginal_target"):
            value = getattr(self, name)
            if self.unbalanced is None and not (isinstance(value, str) or math.isinf(value)):
                raise ValueError(
                    f"{name} must be 'auto' or inf with unbalanced=None, got {value!r}; pass unbalanced='kl' or 'chi2'"
                )

    def _build(self, units: Units, params: FitParams, generator: Generator) -> Problem:
        problem = super()._build(units, params, generator)
        if params.changes_masses:
            kind, unit = cast(str, params.unbalanced), units.cost_unit(as_cost(params.cost))
            values = (params.reg_marginal_source, params.reg_marginal_target)
            source, target = (Penalty(kind, _penalty(value, params, units) / unit) for value in values)
            cast(SemiDual, problem).form.penalties = Penalties(source, target)
        return problem


def _penalty(value: float | str, params: FitParams, units: Units) -> float:
    """Return a penalty in units of the cost.

    For a homogeneous cost, ``'auto'`` is the cost unit times the number of directions: for the squared Euclidean cost,
    the total variance of the rows. Otherwise it is the mean cost of random pairs.
    """
    if not params.changes_masses:
        return math.inf
    if not isinstance(value, str):
        return value
    cost = as_cost(params.cost)
    return units.cost_unit(cost) * (units.n_moved if cost.homogeneous else 1)
