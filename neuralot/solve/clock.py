"""Budgets of a run."""

from __future__ import annotations

import math
import time

from neuralot.solve.status import Record, Status

N_RECORDS = 50
LEAST_RATE = 0.1


class Clock:
    """Progress of a run through its budgets.

    The clock also tells whether a record is due. With `n_steps`, the run is one part of a stream: it begins at `step`
    and may continue beyond `max_iter`.
    """

    def __init__(self, max_iter: int, max_time: float | None, n_steps: int | None = None, step: int = 0) -> None:
        self.max_iter, self.max_time = max_iter, max_time or math.inf
        self.of_stream = n_steps is not None
        self.last_step = max_iter if n_steps is None else step + n_steps
        self.step = step
        self.start = time.perf_counter()
        self.progress = self._progress()
        self._next_record = self.progress + 1 / N_RECORDS if step else 0.0

    def tick(self) -> None:
        self.step += 1
        self.progress = self._progress()

    def _progress(self) -> float:
        return min(max(self.step / self.max_iter, self.seconds / self.max_time), 1.0)

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self.start

    @property
    def over(self) -> bool:
        return self.step >= self.last_step or (self.progress >= 1 and not self.of_stream)

    @property
    def status(self) -> Status:
        if self.of_stream:
            return Status.PASSED
        return Status.MAX_ITER if self.step >= self.max_iter else Status.MAX_TIME

    @property
    def record_due(self) -> bool:
        if self.progress < self._next_record and not self.over:
            return False
        self._next_record = self.progress + 1 / N_RECORDS
        return True

    def record(self) -> Record:
        return {"step": self.step, "seconds": self.seconds, "progress": self.progress}

    @property
    def least_rate(self) -> float:
        """Smallest share of the initial learning rates.

        It is 0, or 0.1 in a stream.
        """
        return LEAST_RATE if self.of_stream else 0.0
