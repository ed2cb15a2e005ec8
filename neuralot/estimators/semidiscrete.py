"""Transport to target rows, cell by cell."""

from __future__ import annotations

import copy
from abc import ABC
from collections.abc import Callable
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted
from torch import Generator, Tensor

from neuralot.estimators.base import BaseTransport
from neuralot.estimators.checks import check_refine_steps
from neuralot.estimators.fitting import Watched, learning, settings
from neuralot.estimators.laws import Law, Standardised
from neuralot.estimators.setup import Fitted, seeded_generator
from neuralot.estimators.units import Image, Return, map_rows
from neuralot.estimators.warn import warn_of_other_units
from neuralot.methods.otnet import NETWORK_SHARE, MassTolerance, OTNet
from neuralot.parameters import DISTANCE, auto_or, estimator, number, one_of, parameter
from neuralot.solve.loop import solve
from neuralot.solve.problem import Problem
from neuralot.solve.status import Status

FEWEST_TO_HOLD_OUT = 20
MOST_KEPT, MOST_HELD_OUT = 2**15, 2**14
AVERAGED = 10


class CellsFitted(Fitted):
    """Attributes of a fitted semi-discrete transport."""

    target_points_: np.ndarray
    target_indices_: np.ndarray
    mass_error_: float
    dual_gap_: float
    problem_: OTNet


@estimator
class SemiDiscreteTransport(CellsFitted, BaseTransport, ABC):
    """Transport whose images are target rows, cell by cell."""

    output: str = parameter(one_of("hard", "smooth"), default="hard")
    crease_distance: float | str = parameter(auto_or(DISTANCE), default="auto")
    mass_tol: float = parameter(number(0, closed=True), default=4e-3)

    _advice: ClassVar = " If the source lies on a thin set, planes tie: use OTPTransport."
    _own_attributes: ClassVar = frozenset({"target_points_", "target_indices_", "mass_error_", "dual_gap_"})

    @property
    def heights_(self) -> np.ndarray:
        """The heights of `target_points_`, in the data's units."""
        check_is_fitted(self)
        heights = self.problem_.heights.double().cpu().numpy() * self.units_.scale**2
        return heights - self.target_points_ @ self.units_.source_centre

    def assign(self, X: Any) -> np.ndarray:
        """Return which of `target_points_` each row is sent to.

        Parameters
        ----------
        X : array-like or Tensor of shape (k, n_features)

        Returns
        -------
        ndarray of shape (k,)
            Indices of rows of `target_points_`.
        """
        return self._of_rows(X, lambda problem, x: problem.assign(x)).astype(np.intp)

    def singularity_score(self, X: Any) -> np.ndarray:
        """Return the share of the blend beyond the singular set.

        Of the weights of the planes that compete at a row, the share that belongs to those beyond a crease: 0 inside of
        a smooth part, a half where two distant parts compete evenly, more where the image stands alone among others.

        Parameters
        ----------
        X : array-like or Tensor of shape (k, n_features)

        Returns
        -------
        ndarray of shape (k,)
        """
        self._check_parameters("crease_distance")
        return self._of_rows(X, lambda problem, x: self._blend(problem, x)[1])

    def retarget(self, X_target: Any, refine_steps: int = 0, *, sample_weight_target: Any = None) -> Self:
        """Return a transport to other target rows, without a fit.

        The heights of the new rows come from the network.

        Rows that were there in the fit keep their heights. The masses of the new cells are not enforced: look at
        `mass_error_`, and let `refine_steps` bring them nearer to the weights, on source rows that the fit has kept, at
        most 32 768 of them. The steps are for the corrections alone, unless the error is larger than the norm of the
        weights, as for a target of another law: two fifths of them then train the network further.

        Parameters
        ----------
        X_target : array-like or Tensor of shape (m, n_features)
            The new target rows, with the columns of the fit and in its units.
        refine_steps : int
            Steps with the parameters of the fit; `max_time`, `mass_tol` and `callbacks` count as they do there.
        sample_weight_target : array-like of shape (m,), optional

        Returns
        -------
        OTNetTransport
            Fitted, with the parameters of this one, which stays as it is.

        Raises
        ------
        ValueError
            As `fit`, or if the rows leave the directions in which those of the fit varied.

        Warns
        -----
        UserWarning
            If the rows vary by orders of magnitude more or less than those of the fit, or lie far from them, where no
            heights were learned. Move such rows by the difference of the means first, and the images back.
        """
        check_is_fitted(self)
        check_refine_steps(refine_steps)
        law = self._check_target_law(X_target, "X_target", sample_weight_target)
        if not self.units_.covers_target(law.rows):
            raise ValueError(
                "X_target must stay in the directions in which the rows of the fit varied; call fit for this target"
            )
        warn_of_other_units(self.units_.from_target(law.some().rows))
        generator = seeded_generator(self.random_state, self.problem_.points.device)
        target = Standardised.of(law, self.units_.from_target, self.units_.n_directions, generator).sampler()
        chosen, weights = target.distinct()
        other = copy.copy(self)
        other.target_indices_ = law.order[chosen.cpu().numpy()]
        other.target_points_ = law.rows[other.target_indices_]
        problem = self.problem_.retarget(target.data[chosen], weights).requires_grad_(False)
        other.problem_, other.history_, other.n_iter_, other.status_ = problem, [], 0, Status.RETARGETED
        if refine_steps:
            near = problem.certificate().mass_error <= float(weights.norm())
            problem = problem if near else self.problem_.reopened()
            n_corrections = refine_steps if near else (1 - NETWORK_SHARE) * refine_steps
            budget = {"max_iter": refine_steps, "averaging": averaging_over(n_corrections)}
            solution = learning(solve)(
                problem.requires_grad_(True),
                problem.source_rows,
                target,
                max_time=self.max_time,
                callbacks=[MassTolerance(self.mass_tol), *(self.callbacks or ())],
                **settings(self._fitted_params, generator) | budget,
            )
            other.problem_ = _otnet(solution.problem.requires_grad_(False))
            other.history_, other.n_iter_, other.status_ = solution.history, solution.n_iter, solution.status
            if solution.n_iter == refine_steps and solution.status in (Status.MAX_ITER, Status.SHORT):
                other.status_ = Status.REFINED
        other._certify_on_kept_rows()
        return other

    def _of_target(self, law: Law, target: Standardised) -> dict[str, Any]:
        chosen, _ = target.sampler().distinct()
        indices = law.order[chosen.cpu().numpy()]
        return {"target_points_": law.rows[indices], "target_indices_": indices}

    def _watch(self, problem: Problem, source: Standardised, target: Standardised, generator: Generator) -> Watched:
        held_out = source
        if len(source.distinct) >= FEWEST_TO_HOLD_OUT:
            source, held_out = source.split(self.validation_fraction, generator)
        _otnet(problem).keep(source.alike(MOST_KEPT), *held_out.distinct_rows(MOST_HELD_OUT))
        return source, target, MassTolerance(self.mass_tol)

    def _certify_on_kept_rows(self) -> None:
        """Set the certificate and cost from the kept source rows."""
        self._certify()
        source = self.units_.to_source(self.problem_.source_rows.double().cpu().numpy())
        self.transport_cost_ = self._transport_cost(Law(source, np.ones(len(source))))

    def _certify(self) -> None:
        certificate = self.problem_.certificate()
        self.mass_error_ = certificate.mass_error
        with np.errstate(over="ignore"):
            self.dual_gap_ = float(np.square(self.units_.scale) * certificate.gap)

    def _to_target(self, rows: np.ndarray, image: Image, out: np.ndarray) -> np.ndarray:
        self._check_parameters("output", "crease_distance")
        if self.output == "smooth":
            return super()._to_target(rows, lambda problem, x: self._blend(_otnet(problem), x)[0], out)
        index: Image = lambda problem, x: _otnet(problem).assign(x)[:, None]  # noqa: E731
        arrive: Return = lambda index, X: self.target_points_[index[:, 0].astype(np.intp)]  # noqa: E731
        return map_rows(self.problem_, rows, index, self.units_.from_source, arrive, out, exact=self._is_built_in)

    def _blend(self, problem: OTNet, x: Tensor) -> tuple[Tensor, Tensor]:
        distance = self.crease_distance
        return problem.blend(x, None if isinstance(distance, str) else float(distance) / self.units_.scale)

    def _of_rows(self, X: Any, value: Callable[[OTNet, Tensor], Tensor]) -> np.ndarray:
        """One number for each row."""
        check_is_fitted(self)
        rows = self._check_source(X, reset=False)
        image: Image = lambda problem, x: value(_otnet(problem), x)[:, None]  # noqa: E731
        out = np.empty((len(rows), 1), dtype=rows.dtype)
        enter = self.units_.from_source
        return map_rows(self.problem_, rows, image, enter, lambda values, X: values, out, exact=self._is_built_in)[:, 0]


def averaging_over(n_steps: float) -> float:
    """Return the decay of the weight average.

    It averages over a tenth of the steps, at most 100.
    """
    return min(max(0.0, 1 - AVERAGED / n_steps), 0.99)


def _otnet(problem: Problem) -> OTNet:
    assert isinstance(problem, OTNet)
    return problem
