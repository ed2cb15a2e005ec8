"""Mixins of the estimators: documentation link, report and score."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.neighbors import NearestNeighbors
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from neuralot._torch import isolated
from neuralot.costs import as_cost
from neuralot.diagnostics import ConditionalReport, TransportReport, diagnose
from neuralot.diagnostics.conditional import AtCondition, diagnose_conditions
from neuralot.divergences import sinkhorn_divergence
from neuralot.estimators.conditions import Conditions
from neuralot.estimators.laws import Laws
from neuralot.estimators.parts import parts_of
from neuralot.estimators.samples import Samples
from neuralot.estimators.state import Fitted, is_built_in
from neuralot.estimators.units import map_rows
from neuralot.estimators.warn import warn_of_scales
from neuralot.forms.losses import gradient
from neuralot.solve.problem import Problem

N_NEIGHBORS = 10
N_DRAWS_OF_RADII = 4
SHARE_OF_RADII = 0.03


def has_inverse(estimator: Any) -> bool:
    """Return whether a fitted transport has an inverse map.

    Raises an AttributeError if not.
    """
    check_is_fitted(estimator)
    if not estimator.problem_.invertible:
        raise AttributeError(
            f"This {type(estimator).__name__} has no inverse_transform, because only W2GN and semi-dual "
            f"transports with map_form='gradient' learn the inverse map"
        )
    return True


Density = Callable[[np.ndarray], np.ndarray]


class Documented:
    """Mixin that links the HTML representation to the documentation."""

    _doc_link_module = "neuralot"
    _doc_link_template = "https://neuralot.readthedocs.io/en/latest/generated/neuralot.{name}.html"

    def _doc_link_url_param_generator(self) -> dict[str, str]:
        return {"name": type(self).__name__}


class Reporting(Fitted, Samples):
    """Mixin for the potential, a report and the score."""

    @isolated
    def potential(self, X_target: Any, return_gradient: bool = False) -> Any:
        r"""Evaluate the learned Kantorovich potential V of the target.

        For all rows, :math:`\min_y [c(x, y) - V(y)] + V(y') \le c(x, y')`. The mean of the first term over the source
        plus that of V over the target is therefore at most the optimal cost, for any V; it equals the optimal cost for
        an optimal potential. V is determined up to a constant, or, with conditions, up to a function of the condition.

        Parameters
        ----------
        X_target : array-like or Tensor of shape (m, n_features)
            Target rows.
        return_gradient : bool
            Whether to return the gradients, too. A semi-discrete transport has none.

        Returns
        -------
        values : ndarray of shape (m,)
            In units of the cost.
        gradients : ndarray of shape (m, n_features)
            Only if `return_gradient`; 0 for conditions. For the squared Euclidean cost, ``y - gradients / 2`` is the
            inverse map.

        Raises
        ------
        ValueError
            If the rows are not finite or not two-dimensional, or if their number of columns is not that of the fit.
        NotFittedError
            Before `fit`.

        Examples
        --------
        >>> import numpy as np
        >>> from neuralot import SNOTTransport
        >>> X, Y = np.random.default_rng(0).normal(size=(2, 500, 2))
        >>> transport = SNOTTransport(max_iter=50, random_state=0).fit(X, Y + 3)
        >>> transport.potential(Y + 3).shape
        (500,)
        """
        check_is_fitted(self)
        return self._values(self._check_target(X_target, "X_target"), return_gradient)

    def _values(self, rows: np.ndarray, return_gradient: bool) -> Any:
        """Return the potential at validated rows, and its gradients."""
        units, cost = self.units_, as_cost(self._fitted_params.cost)
        shift = units.shift() if cost.shift_invariant_plan else np.zeros(len(units.target_centre))
        unit = units.cost_unit(cost)

        def values_and_gradients(problem: Problem, y: Tensor) -> Tensor:
            values = problem.potential(y)[:, None]  # (n, 1)
            return torch.cat([values, gradient(problem.potential, y)], dim=1) if return_gradient else values

        def restore(images: np.ndarray, Y: np.ndarray) -> np.ndarray:
            # the squared Euclidean cost of rows with different centres has a term that is linear in y
            values = unit * images[:, :1] - 2 * ((units.moved_rows(Y) - units.target_centre) @ shift)[:, None]
            if not return_gradient:
                return values
            gradients = images[:, 1 : 1 + units.n_moved]
            gradients = gradients if units.basis is None else gradients @ units.basis.T
            return np.hstack([values, units.with_conditions(gradients * (unit / units.scale) - 2 * shift, 0)])

        out = np.empty((len(rows), 1 + return_gradient * rows.shape[1]), dtype=rows.dtype)
        built_in = is_built_in(self._fitted_params)
        map_rows(self.problem_, rows, values_and_gradients, units.from_target, restore, out, exact=built_in)
        return (out[:, 0], out[:, 1:]) if return_gradient else out[:, 0]

    @isolated
    def uncertainty(self, X: Any, n_draws: int = 16) -> np.ndarray:
        r"""Estimate the uncertainty of each row's image.

        .. math:: u(x)^2 = \mathrm{Var}[T | x] + v(x)^2, \quad v(x)^3 = r(x)^2 (e(x) + 0.03 r(x))

        The first term is the conditional variance of the draws, 0 for a deterministic map. The second ranks the rows by
        the expected error of their mean images: r(x) is the root mean square over draws y of the mean distance of y to
        its ten nearest of at most 1000 target rows of the fit, as few rows determine the map where the target is
        sparse; e(x) is the root mean square distance between the mean image and those at 40 and 70 % of the budget, as
        far as the fit got: where it is large, the map has not settled. Without either, as after `partial_fit` and
        `retarget`, v is r. Distances include those of standardised conditions. The size of u is not that of the error,
        and it is no bound.

        Parameters
        ----------
        X : array-like or Tensor of shape (k, n_features)
            Source rows.
        n_draws : int, default=16
            Number of draws per row.

        Returns
        -------
        ndarray of shape (k,)
            In the units of the data.

        Raises
        ------
        ValueError
            As in `sample`.
        AttributeError
            If the transport was loaded from a file that older versions have saved: fit again.

        Examples
        --------
        >>> import numpy as np
        >>> from neuralot import SNOTTransport
        >>> X, Y = np.random.default_rng(0).normal(size=(2, 500, 2))
        >>> transport = SNOTTransport(max_iter=50, random_state=0).fit(X, Y)
        >>> near, far = transport.uncertainty([[0.0, 0.0], [3.0, 3.0]])
        >>> bool(near < far)
        True
        """
        check_is_fitted(self)
        draws = self._comparable_draws(X, n_draws)
        radii = self._radii(draws[:N_DRAWS_OF_RADII])
        changes = [each._comparable_draws(X, n_draws).mean(axis=0) - draws.mean(axis=0) for each in self._earlier()]
        errors = radii
        if changes:
            distances = np.sqrt((np.stack(changes) ** 2).sum(axis=2).mean(axis=0))
            errors = np.cbrt(radii**2 * (distances + SHARE_OF_RADII * radii))
        return np.sqrt(draws.var(axis=0, ddof=min(1, n_draws - 1)).sum(axis=1) + errors**2)

    def _comparable_draws(self, X: Any, n_draws: int) -> np.ndarray:
        """Return draws whose distances count conditions, too.

        Their shape is (n_draws, k, d).
        """
        if self._conditions is None:
            return np.asarray(self.sample(X, n_draws, random_state=0))
        rows = self._draws(self._check_source(X, reset=False), n_draws, random_state=0)
        return np.stack([self.units_.comparable(images) for images in rows])

    def _earlier(self) -> Iterator[Any]:
        """Yield the transport of each earlier step."""
        for changes in (self._earlier_changes or {}).values():
            earlier = copy.copy(self)  # its weights are copies
            earlier.problem_.to(next(self.problem_.parameters()).device)
            for name, weight in earlier.problem_.named_parameters():
                weight.add_(torch.as_tensor(changes[name]).to(weight))
            yield earlier

    def _radii(self, draws: np.ndarray) -> np.ndarray:
        """Distances of draws to their nearest target rows, shape (k,)."""
        target = self.units_.comparable(self.target_sample_)
        centre = target.mean(axis=0)  # distances of rows far from 0 are inaccurate
        neighbors = NearestNeighbors(n_neighbors=min(N_NEIGHBORS, len(target))).fit(target - centre)
        distances = [neighbors.kneighbors(images - centre)[0].mean(axis=1) for images in draws]
        return np.sqrt(np.mean(np.square(distances), axis=0))

    def report(
        self,
        X: Any,
        X_target: Any,
        *,
        sample_weight: ArrayLike | None = None,
        sample_weight_target: ArrayLike | None = None,
        max_rows: int = 2000,
    ) -> TransportReport | ConditionalReport:
        """Diagnose the transport on held-out rows, without ground truth.

        Parameters
        ----------
        X : array-like or Tensor of shape (n, n_features)
            Held-out source rows.
        X_target : array-like or Tensor of shape (m, n_features)
            Held-out target rows.
        sample_weight, sample_weight_target : array-like of shape (n,) and (m,), optional
            Weights of the rows.
        max_rows : int, default=2000
            Rows of each sample that are used, drawn at random.

        Returns
        -------
        TransportReport or ConditionalReport
            With a ``verdict``; `print` it. See `neuralot.diagnose`. With conditions, there is one report per condition
            with at least 40 rows of each sample. Numbers with fewer than ten rows per value are divided into at most 4
            ranges, and the map is judged at the mean condition of each range, to which its rows are moved by a linear
            regression. Errors between these conditions remain unseen, and if the shape of the laws changes much within
            a range, the report finds a difference although the map may be right.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If a sample or its weights are not valid, or if no condition has enough rows.
        """
        check_is_fitted(self)
        v, w = sample_weight, sample_weight_target
        if self._conditions is None:
            Y = self._check_target(X_target, "X_target")
            return diagnose(self, X, Y, sample_weight=v, sample_weight_target=w, max_rows=max_rows)
        laws = self._separate_laws(X, None, X_target, None, v, w, reset=False, streams=False)
        return diagnose_conditions(self._parts(laws, self._conditions), max_rows)

    def _parts(self, laws: Laws, conditions: Conditions) -> Iterator[tuple[Any, ...]]:
        """Yield the transport, rows and weights of each condition."""
        cost, history, moved = as_cost(self._fitted_params.cost), tuple(self.history_), conditions.moved
        names = [str(name) for name in self._column_names[moved]]
        in_fit = self.units_.source_range
        for part in parts_of(laws, conditions):
            transport = AtCondition(
                *(self._draws, self._values, self._densities, part.row),
                *(moved, names, part.indices, None if in_fit is None else in_fit[:, moved]),
                *(cost, self.status_, history, self._needs_density),
            )
            yield part.name, transport, part.X, part.Y, part.v, part.w

    def score(
        self,
        X: Any,
        y: Any = None,
        *,
        X_target: Any = None,
        sample_domain: Any = None,
        sample_weight: Any = None,
        sample_weight_target: Any = None,
    ) -> float:
        """Return minus the debiased Sinkhorn divergence of images to target.

        The images are draws from the plan. From each sample, at most 2000 rows are used, evenly spaced in weight.
        Higher is better, 0 means that the laws agree, and the unit is the square of the unit of the data. The score
        measures the distance of the images from the target law, not the optimality of the map. With conditions, the
        laws are those of rows and conditions together; conditions are standardised and then scaled like the rows.

        Parameters
        ----------
        X : array-like or Tensor of shape (k, n_features)
            Held-out source rows.
        y, X_target : array-like or Tensor of shape (l, n_features)
            Held-out target rows, as in `fit`.
        sample_domain : array-like of shape (k,), optional
            Domain of each row of `X`, as in `fit`.
        sample_weight, sample_weight_target : array-like, optional
            Weights, as in `fit`.

        Returns
        -------
        float

        Warns
        -----
        ScaleWarning
            If the scales of images and target differ by more than a factor of 30. A Pipeline transforms `X_target` in
            `fit` only; in `score` it transforms only samples stacked with `sample_domain`.
        """
        check_is_fitted(self)
        laws = self._check_laws(X, y, X_target, sample_domain, sample_weight, sample_weight_target, reset=False)
        source, target = laws[0].reduced().repeated(), laws[1].reduced()
        draws, masses = self._weighted_draw(source.rows, random_state=0)
        units = self.units_
        warn_of_scales(units.moved_rows(draws), units.moved_rows(target.rows), "images")
        v, w = source.weights, target.weights
        if masses is not None:
            v, w = v * masses, w * self._densities[1](target.rows)
        images, rows = map(units.comparable, (draws, target.rows))
        return -sinkhorn_divergence(images, rows, sample_weight=v, sample_weight_target=w)
