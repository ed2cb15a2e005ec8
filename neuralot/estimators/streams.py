"""Base class of the transports with streams and early stopping."""

from __future__ import annotations

from abc import ABC
from typing import Any, ClassVar, TypeVar, cast

from torch import Generator

from neuralot._torch import isolated
from neuralot.estimators.base import METADATA, BaseTransport
from neuralot.estimators.checks import unchanged_on_error
from neuralot.estimators.fitting import Watched
from neuralot.estimators.laws import Standardised
from neuralot.estimators.processes import in_processes
from neuralot.parameters import BOOL, auto_or, estimator, integer, number, parameter, size
from neuralot.semidual import SemiDual
from neuralot.solve.callbacks import EarlyStopping
from neuralot.solve.problem import Problem

Self = TypeVar("Self", bound="StreamTransport")


@estimator
class StreamTransport(BaseTransport, ABC):
    """Base class of the transports with `partial_fit` and early stopping.

    Their method is a `SemiDual`, which learns from batches of both samples.
    """

    __metadata_request__partial_fit = METADATA
    _clips: ClassVar = True

    batch_size: int | str = parameter(auto_or(size(1)).changeable_in_streams(), default="auto")
    early_stopping: bool = parameter(BOOL.unused_in_streams(), default=False)
    n_iter_no_change: int = parameter(integer(1).unused_in_streams(), default=500)
    tol: float = parameter(number(0, closed=True).unused_in_streams(), default=1e-4)
    warm_start: bool = parameter(BOOL.unused_in_streams(), default=False)

    @isolated
    @in_processes
    def partial_fit(
        self: Self,
        X: Any,
        y: Any = None,
        *,
        X_target: Any = None,
        sample_domain: Any = None,
        sample_weight: Any = None,
        sample_weight_target: Any = None,
    ) -> Self:
        """Train on the next part of a stream.

        Each call makes one pass over its rows, in ``ceil(max(n, m) / batch_size)`` steps, and does not store them.
        Units, networks and optimisers are those of the first call, whose rows should be representative (a few hundred
        rows). Smoothing levels and learning rates decrease over the first `max_iter` steps of all calls together. After
        that, the smoothing stays at its last level, and the learning rates stay at a tenth of their initial values, so
        the transport can follow a slow drift. If there are few rows, pass them several times. A transport that is
        already fitted continues from its weights.

        Parameters
        ----------
        X, y, X_target, sample_domain, sample_weight, sample_weight_target
            As in `fit`.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            As in `fit`. Also with ``early_stopping=True``, or if the columns or the parameters of the networks differ
            from those of the first call.

        Warns
        -----
        ConvergenceWarning, UserWarning
            As in `fit`.
        """
        first = not hasattr(self, "problem_")
        steps_before = 0 if first else self.n_iter_
        with unchanged_on_error(self):
            self._check_parameters()
            if self.early_stopping:
                raise ValueError("early_stopping must be False for partial_fit, which does not hold out rows")
            laws = self._check_laws(X, y, X_target, sample_domain, sample_weight, sample_weight_target, reset=first)
            self._point_plan = None  # of an earlier fit
            self._set_fitted_attributes(self._fit_part(laws, self._generator(laws, steps_before)), laws)
        self._warn(laws)
        return self

    def _watch(self, problem: Problem, source: Standardised, target: Standardised, generator: Generator) -> Watched:
        if not self.early_stopping:
            return source, target, None
        source, x = source.hold_out(self.validation_fraction, generator)
        target, y = target.hold_out(self.validation_fraction, generator)
        return (
            source,
            target,
            EarlyStopping(
                x,
                y,
                tol=self.tol,
                n_iter_no_change=self.n_iter_no_change,
                settled=cast(SemiDual, problem).settled,
            ),
        )
