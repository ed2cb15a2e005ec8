"""scikit-learn's own callbacks (`sklearn.callback`, from 1.9 on): every record of a fit is a task that they hear of."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from neuralot.solve.clock import N_RECORDS
from neuralot.solve.problem import Problem
from neuralot.solve.status import Record

try:
    from sklearn.callback import CallbackSupportMixin as CallbackSupportMixin
    from sklearn.callback import with_callbacks as with_callbacks

    AVAILABLE = True
except ImportError:  # scikit-learn before 1.9
    AVAILABLE = False

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Stands in for scikit-learn's mixin."""

    def with_callbacks(method: Any) -> Any:
        """Return the method as it is."""
        return method


class Tasks:
    """Tells the callbacks that were set on a transport of its fit and, as a callback of the loop, of each record.

    Parameters
    ----------
    transport : estimator
    X, y : the samples, as given to `fit`
    metadata : dict
        What else `fit` was given, for callbacks that score.
    """

    def __init__(self, transport: Any, X: Any, y: Any, metadata: dict[str, Any]) -> None:
        self.transport = transport
        metadata = {name: value for name, value in metadata.items() if value is not None}
        if y is None:  # callbacks score where there is a y, which may be the target
            y = metadata.pop("X_target", None)
        self.given = {"X": X, "y": y, "metadata": metadata}
        # one task for every record, and one for what is left when the last is made
        self.fit = transport._init_callback_context(max_subtasks=N_RECORDS + 2)
        self.fit.call_on_fit_task_begin(estimator=transport, **self.given)
        self.fitted: dict[str, Any] = {}

    def begin(self, fitted: dict[str, Any]) -> Tasks:
        """Begin the first task; `fitted` are the fitted attributes known by now."""
        self.fitted = fitted
        self.task = self.fit.subcontext(task_name="record")
        self.task.call_on_fit_task_begin(estimator=self.transport, **self.given)
        return self

    def __call__(self, step: int, problem: Problem, record: Record) -> bool:
        # a copy, as this problem goes on learning
        stop = self._end(self.task, lambda: self.fitted | {"problem_": copy.deepcopy(problem).requires_grad_(False)})
        self.begin(self.fitted)
        return stop

    def end(self) -> None:
        """End the fit, when the transport has its attributes."""
        self.task.call_on_fit_task_end(estimator=self.transport)
        self._end(self.fit, lambda: dict(vars(self.transport)))

    def _end(self, task: Any, attributes: Callable[[], dict[str, Any]]) -> bool:
        hook = task.call_on_fit_task_end
        return bool(hook(estimator=self.transport, reconstruction_attributes=attributes, **self.given))
