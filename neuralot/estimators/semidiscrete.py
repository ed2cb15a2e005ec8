"""Base class of the semi-discrete transports."""

from __future__ import annotations

import copy
from abc import ABC
from collections.abc import Callable
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted
from torch import Generator, Tensor

from neuralot._torch import isolated
from neuralot.estimators.base import ROWS_OF_TARGET, BaseTransport
from neuralot.estimators.checks import check_refine_steps
from neuralot.estimators.fitting import Watched, training_options
from neuralot.estimators.laws import Law, Standardised
from neuralot.estimators.setup import seeded_generator
from neuralot.estimators.state import Fitted, Setup
from neuralot.estimators.units import ImageTransform, MapFunction, map_rows
from neuralot.estimators.warn import warn_of_other_units
from neuralot.methods.otnet import NETWORK_SHARE, OTNet
from neuralot.parameters import DISTANCE, auto_or, estimator, number, one_of, parameter
from neuralot.solve.loop import solve
from neuralot.solve.problem import Problem
from neuralot.solve.status import Record, Status

MIN_ROWS_TO_HOLD_OUT = 20
MAX_STORED_ROWS, MAX_HELD_OUT_ROWS = 2**15, 2**14
AVERAGING_DIVISOR = 10


class CellsFitted(Fitted):
    """Attributes of a fitted semi-discrete transport."""

    target_points_: np.ndarray
    target_indices_: np.ndarray
    mass_error_: float
    dual_gap_: float
    problem_: OTNet


class MassTolerance:
    """Callback that stops when the cell masses match the target.

    The distance between the cell masses of held-out rows and the target's weights is recorded as ``mass_error``. A fit
    stops when its square plus two standard errors is below ``tol^2``, which requires at least about
    ``(8 / m)^(1/2) / tol^2`` held-out rows.

    Parameters
    ----------
    tol : float
    """

    def __init__(self, tol: float) -> None:
        self.tol = tol

    def __call__(self, step: int, problem: Problem, record: Record) -> bool:
        certificate = _otnet(problem).certificate()
        record["mass_error"] = certificate.mass_error
        return certificate.square + 2 * certificate.uncertainty < self.tol**2

    def finish(self, problem: Problem, is_affine: bool = False) -> bool:
        """Keep the last weights of the problem."""
        return False


@estimator
class SemiDiscreteTransport(CellsFitted, BaseTransport, ABC):
    """Base class of transports whose images are target rows."""

    output: str = parameter(one_of("hard", "smooth"), default="hard")
    crease_distance: float | str = parameter(auto_or(DISTANCE), default="auto")
    mass_tol: float = parameter(number(0, closed=True), default=4e-3)

    _needs_density: ClassVar = True
    _keeps_target: ClassVar = True
    _advice: ClassVar = " If the source lies on a low-dimensional set, OT-Net cannot split its mass: use OTPTransport."
    _own_attributes: ClassVar = frozenset({"target_points_", "target_indices_", "mass_error_", "dual_gap_"})

    @property
    def heights_(self) -> np.ndarray:
        """Heights of the planes of `target_points_`, in the data's units."""
        check_is_fitted(self)
        heights = self.problem_.heights.double().cpu().numpy() * self.units_.scale**2
        return heights - self.target_points_ @ self.units_.source_centre

    def potential(self, X_target: Any, return_gradient: bool = False) -> Any:
        """Evaluate the learned Kantorovich potential V of the target.

        At target rows of the fit, V is ``2 h + |y|^2`` with their heights h; at other rows, the network predicts it.

        Parameters
        ----------
        X_target : array-like or Tensor of shape (m, n_features)
            Target rows.
        return_gradient : bool
            Must be False.

        Returns
        -------
        ndarray of shape (m,)
            In squared units of the data.

        Raises
        ------
        NotImplementedError
            With `return_gradient`.
        """
        if return_gradient:
            raise NotImplementedError("return_gradient must be False for a semi-discrete transport")
        return super().potential(X_target)

    def assign(self, X: Any) -> np.ndarray:
        """Return the index of the target point of each row.

        Parameters
        ----------
        X : array-like or Tensor of shape (k, n_features)
            Source rows.

        Returns
        -------
        ndarray of shape (k,)
            Indices into `target_points_`.
        """
        return self._evaluate_rows(X, lambda problem, x: problem.assign(x)).astype(np.intp)

    def singularity_score(self, X: Any) -> np.ndarray:
        """Return the share of the blending weights beyond a crease.

        With ``output='smooth'``, the target points of the highest planes at a row are blended, except for those beyond
        a crease of the potential. The score is the share of the weights of these excluded points. It is 0 where the map
        is smooth, 0.5 where two distant parts of the target have equal weight, and more where the target point of the
        highest plane is isolated.

        Parameters
        ----------
        X : array-like or Tensor of shape (k, n_features)
            Source rows.

        Returns
        -------
        ndarray of shape (k,)
            Scores from 0 to 1.
        """
        self._check_parameters("crease_distance")
        return self._evaluate_rows(X, lambda problem, x: self._blend(problem, x)[1])

    @isolated
    def retarget(self, X_target: Any, refine_steps: int = 0, *, sample_weight_target: Any = None) -> Self:
        """Return a transport to other target rows, without a fit.

        The network predicts the heights of the new rows. Rows that were target rows in the fit keep their heights. The
        masses of the new cells are not enforced: check `mass_error_`, and pass `refine_steps` to make the masses more
        accurate. The refinement uses source rows that the fit has stored, at most 32 768 rows. It trains the
        corrections only, unless the mass error is larger than the norm of the weights, as for a target of another law.
        In this case, two fifths of the steps train the network further.

        Parameters
        ----------
        X_target : array-like or Tensor of shape (m, n_features)
            The new target rows, with the columns and in the units of the fit.
        refine_steps : int
            Number of steps, with the parameters of the fit. `max_time`, `mass_tol` and `callbacks` apply as in `fit`.
        sample_weight_target : array-like of shape (m,), optional
            Non-negative weights of the new target rows.

        Returns
        -------
        OTNetTransport
            A fitted transport with the same parameters. The original transport is unchanged.

        Raises
        ------
        ValueError
            As in `fit`, or if the rows vary in directions in which the rows of the fit did not vary.

        Warns
        -----
        UserWarning
            If the scale of the rows differs from that of the fit by orders of magnitude, or if the rows are far from
            those of the fit, where no heights were learned. In the second case, shift the rows by the difference of the
            means first, and shift the images back.
        """
        check_is_fitted(self)
        check_refine_steps(refine_steps)
        law = self._check_target_law(X_target, "X_target", sample_weight_target)
        if not self.units_.covers_target(law.rows):
            raise ValueError(
                "X_target must vary only in the directions in which the rows of the fit varied; call fit for this "
                "target"
            )
        warn_of_other_units(self.units_.from_target(law.subsample().rows))
        generator = seeded_generator(self.random_state, self.problem_.points.device)
        target = Standardised.of(law, self.units_.from_target, self.units_.n_directions, generator).sampler()
        chosen, weights = target.distinct()
        other = copy.copy(self)
        other.target_indices_ = law.order[chosen.cpu().numpy()]
        other.target_points_ = law.rows[other.target_indices_]
        other.target_sample_ = law.reduced(ROWS_OF_TARGET).rows.copy()
        problem = self.problem_.retarget(target.data[chosen], weights).requires_grad_(False)
        other.problem_, other.history_, other.n_iter_, other.status_ = problem, [], 0, Status.RETARGETED
        other.__dict__.pop("_earlier_changes", None)  # of another target
        if refine_steps:
            is_near = problem.certificate().mass_error <= float(weights.norm())
            problem = problem if is_near else self.problem_.reopened()
            n_corrections = refine_steps if is_near else (1 - NETWORK_SHARE) * refine_steps
            options = {"max_iter": refine_steps, "averaging": averaging_over(n_corrections)}
            solution = solve(
                problem.requires_grad_(True),
                problem.source_rows,
                target,
                max_time=self.max_time,
                callbacks=[MassTolerance(self.mass_tol), *(self.callbacks or ())],
                **training_options(self._fitted_params, generator) | options,
            )
            other.problem_ = _otnet(solution.problem.requires_grad_(False))
            other.history_, other.n_iter_, other.status_ = solution.history, solution.n_iter, solution.status
            if solution.n_iter == refine_steps and solution.status in (Status.MAX_ITER, Status.SHORT):
                other.status_ = Status.REFINED
        other._certify_on_stored_rows()
        return other

    def _sample_attributes(self, target: Law, setup: Setup) -> dict[str, Any]:
        chosen, _ = setup.target.sampler().distinct()
        indices = target.order[chosen.cpu().numpy()]
        return {"target_points_": target.rows[indices], "target_indices_": indices}

    def _watch(self, problem: Problem, source: Standardised, target: Standardised, generator: Generator) -> Watched:
        held_out = source
        if len(source.distinct) >= MIN_ROWS_TO_HOLD_OUT:
            source, held_out = source.split(self.validation_fraction, generator)
        stored_rows = source.equally_weighted(MAX_STORED_ROWS)
        _otnet(problem).keep(stored_rows, *held_out.distinct_rows(MAX_HELD_OUT_ROWS))
        return source, target, MassTolerance(self.mass_tol)

    def _certify_on_stored_rows(self) -> None:
        """Set error estimates and cost from the stored source rows."""
        self._certify()
        source = self.units_.to_source(self.problem_.source_rows.double().cpu().numpy())
        self.transport_cost_ = self._transport_cost(Law(source, np.ones(len(source))))

    def _certify(self) -> None:
        certificate = self.problem_.certificate()
        self.mass_error_ = certificate.mass_error
        with np.errstate(over="ignore"):
            self.dual_gap_ = float(np.square(self.units_.scale) * certificate.gap)

    def _to_target(
        self, rows: np.ndarray, image: MapFunction, out: np.ndarray, generator: Generator | None = None
    ) -> np.ndarray:
        self._check_parameters("output", "crease_distance")
        if self.output == "smooth":
            return super()._to_target(rows, lambda problem, x: self._blend(_otnet(problem), x)[0], out)
        index: MapFunction = lambda problem, x: _otnet(problem).assign(x)[:, None]  # noqa: E731
        point: ImageTransform = lambda indices, X: self.target_points_[indices[:, 0].astype(np.intp)]  # noqa: E731
        return map_rows(self.problem_, rows, index, self.units_.from_source, point, out, exact=self._is_built_in)

    def _blend(self, problem: OTNet, x: Tensor) -> tuple[Tensor, Tensor]:
        distance = self.crease_distance
        return problem.blend(x, None if isinstance(distance, str) else float(distance) / self.units_.scale)

    def _evaluate_rows(self, X: Any, function: Callable[[OTNet, Tensor], Tensor]) -> np.ndarray:
        """Return one value of a function per row."""
        check_is_fitted(self)
        rows = self._check_source(X, reset=False)
        value: MapFunction = lambda problem, x: function(_otnet(problem), x)[:, None]  # noqa: E731
        unchanged: ImageTransform = lambda values, X: values  # noqa: E731
        out = np.empty((len(rows), 1), dtype=rows.dtype)
        map_rows(self.problem_, rows, value, self.units_.from_source, unchanged, out, exact=self._is_built_in)
        return out[:, 0]


def averaging_over(n_steps: float) -> float:
    """Return the decay of the weight average.

    The average extends over about a tenth of the steps, at most 100 steps.
    """
    return min(max(0.0, 1 - AVERAGING_DIVISOR / n_steps), 0.99)


def _otnet(problem: Problem) -> OTNet:
    assert isinstance(problem, OTNet)
    return problem
