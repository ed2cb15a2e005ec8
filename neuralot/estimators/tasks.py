"""Support for scikit-learn's callbacks, `sklearn.callback`.

They require scikit-learn 1.9 or later. Each record of a fit is one task.
"""

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
        """Placeholder for scikit-learn's mixin."""

    def with_callbacks(method: Any) -> Any:
        """Return the method unchanged."""
        return method


class Tasks:
    """Callback of the training loop that calls scikit-learn's callbacks.

    These are the callbacks that are set on the transport. They are called at the beginning and end of the fit, and at
    each record.

    Parameters
    ----------
    transport : estimator
    X, y : array-like
        The samples, as passed to `fit`.
    metadata : dict
        The other arguments of `fit`, for callbacks that score.
    """

    def __init__(self, transport: Any, X: Any, y: Any, metadata: dict[str, Any]) -> None:
        self.transport = transport
        metadata = {name: value for name, value in metadata.items() if value is not None}
        if y is None:  # callbacks only score if there is a y
            y = metadata.pop("X_target", None)
        self.arguments = {"X": X, "y": y, "metadata": metadata}
        # one task per record, and one for the remaining fit after the last record
        self.fit = transport._init_callback_context(max_subtasks=N_RECORDS + 2)
        self.fit.call_on_fit_task_begin(estimator=transport, **self.arguments)
        self.fitted: dict[str, Any] = {}

    def begin(self, fitted: dict[str, Any]) -> Tasks:
        """Begin a task.

        `fitted` are the fitted attributes known so far.
        """
        self.fitted = fitted
        self.task = self.fit.subcontext(task_name="record")
        self.task.call_on_fit_task_begin(estimator=self.transport, **self.arguments)
        return self

    def __call__(self, step: int, problem: Problem, record: Record) -> bool:
        # a copy, because training continues to change the problem
        stop = self._end(self.task, lambda: self.fitted | {"problem_": copy.deepcopy(problem).requires_grad_(False)})
        self.begin(self.fitted)
        return stop

    def end(self) -> None:
        """End the fit, after the fitted attributes have been set."""
        self.task.call_on_fit_task_end(estimator=self.transport)
        self._end(self.fit, lambda: dict(vars(self.transport)))

    def _end(self, task: Any, attributes: Callable[[], dict[str, Any]]) -> bool:
        hook = task.call_on_fit_task_end
        return bool(hook(estimator=self.transport, reconstruction_attributes=attributes, **self.arguments))
