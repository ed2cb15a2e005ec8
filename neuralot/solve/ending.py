"""Whether and how a run ends, from what was monitored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from neuralot.solve.clock import Clock
from neuralot.solve.guard import Guard
from neuralot.solve.problem import Problem
from neuralot.solve.status import Record, Status


def status_of_budget(clock: Clock, guard: Guard, history: list[Record]) -> Status:
    """Return the status of a run without budget left."""
    if not clock.is_stream and guard.is_off and ("affine" in history[-1] or _is_falling(history)):
        return Status.SHORT
    return clock.status


def status_of_early_end(guard: Guard, interrupted: bool, lost: bool, stopped: bool) -> Status | None:
    """Return the status of an early end, or None."""
    if not (interrupted or lost or stopped):
        return None
    if guard.failed:
        return Status.FAILED
    return Status.INTERRUPTED if interrupted else Status.DIVERGED if lost else Status.STOPPED


def _is_falling(history: list[Record]) -> bool:
    """Whether the discrepancy was falling at the end.

    It was if it fell by at least a tenth in the last third of the run, or if there are too few records to tell.
    """
    last = history[-1]
    earlier = min(history, key=lambda record: abs(record["progress"] - 2 / 3 * last["progress"]))
    return earlier is last or last["discrepancy"] < 0.9 * earlier["discrepancy"]


def judge(
    record: Record,
    step: int,
    guard: Guard,
    callbacks: Sequence[Callable[[int, Problem, Record], bool]],
    in_step: Callable[[], Any],
) -> tuple[bool, bool]:
    """Complete a record.

    Returns whether the fit is lost, and whether a callback stops it.
    """
    with in_step():
        record["discrepancy"] = guard.discrepancy()
    lost = guard.lost(record.values())
    # a list, so that every callback is called, even if an earlier one returns True
    return lost, any([callback(step, guard.problem, record) for callback in callbacks])
