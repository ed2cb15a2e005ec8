"""Budgets of a run."""

from __future__ import annotations

import math
import time

from neuralot.solve.distributed import current
from neuralot.solve.status import Record, Status

N_RECORDS = 50
MIN_RATE = 0.1


class Clock:
    """Progress of a run through its budgets.

    The clock also determines when records are due. With `n_steps`, the run is one part of a stream: it begins at `step`
    and may continue beyond `max_iter`.
    """

    def __init__(self, max_iter: int, max_time: float | None, n_steps: int | None = None, step: int = 0) -> None:
        self.max_iter, self.max_time = max_iter, max_time or math.inf
        self.is_stream = n_steps is not None
        self.last_step = max_iter if n_steps is None else step + n_steps
        self.step = step
        self.start = time.perf_counter()
        self.progress = self._progress()
        self._next_record = self.progress + 1 / N_RECORDS if step else 0.0

    def tick(self) -> None:
        self.step += 1
        self.progress = self._progress()

    def _progress(self) -> float:
        progress = min(max(self.step / self.max_iter, self.seconds / self.max_time), 1.0)
        return progress if math.isinf(self.max_time) else current().from_first(progress)

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self.start

    @property
    def is_over(self) -> bool:
        return self.step >= self.last_step or (self.progress >= 1 and not self.is_stream)

    @property
    def status(self) -> Status:
        if self.is_stream:
            return Status.PASSED
        return Status.MAX_ITER if self.step >= self.max_iter else Status.MAX_TIME

    @property
    def record_due(self) -> bool:
        if self.progress < self._next_record and not self.is_over:
            return False
        self._next_record = self.progress + 1 / N_RECORDS
        return True

    def record(self) -> Record:
        return {"step": self.step, "seconds": self.seconds, "progress": self.progress}

    def state_dict(self) -> dict[str, float]:
        """Return the state, for a checkpoint."""
        state = {"step": self.step, "seconds": self.seconds, "max_time": self.max_time}
        return state | {"next_record": self._next_record}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Load a state, whose time counts as spent."""
        self.step, self.max_time, self._next_record = int(state["step"]), state["max_time"], state["next_record"]
        self.start = time.perf_counter() - state["seconds"]
        self.progress = self._progress()

    @property
    def min_rate(self) -> float:
        """Lower bound on the share of the initial learning rates.

        It is 0, or 0.1 in a stream.
        """
        return MIN_RATE if self.is_stream else 0.0
