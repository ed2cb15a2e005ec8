"""Whether and how a run ends, from what was monitored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from neuralot.solve.clock import Clock
from neuralot.solve.guard import Guard
from neuralot.solve.problem import Problem
from neuralot.solve.status import Record, Status

# below this number of steps, more of them would bring images closer if this share of the first discrepancy is left
FEW_STEPS, FAR = 300, 0.5
# fewer steps are never enough, even if the discrepancy cannot tell
TOO_FEW_STEPS = 100


def status_of_budget(clock: Clock, guard: Guard, history: list[Record]) -> Status:
    """Return the status of a run without budget left."""
    if clock.is_stream or guard.is_exact:
        return clock.status
    n_steps, is_affine = history[-1]["step"], "affine" in history[-1]
    was_approaching = is_affine or _is_falling(history) or (n_steps < FEW_STEPS and _is_far(history))
    # a brief fit whose map is replaced was short, even if the affine map is near the target
    was_short = n_steps < TOO_FEW_STEPS or (is_affine and n_steps < FEW_STEPS)
    return Status.SHORT if (guard.is_off and was_approaching) or was_short else clock.status


def status_of_early_end(guard: Guard, interrupted: bool, lost: bool, stopped: bool) -> Status | None:
    """Return the status of an early end, or None."""
    if not (interrupted or lost or stopped):
        return None
    if guard.failed:
        return Status.FAILED
    return Status.INTERRUPTED if interrupted else Status.DIVERGED if lost else Status.STOPPED


def _is_far(history: list[Record]) -> bool:
    """Whether most of the first discrepancy is left."""
    return history[-1]["discrepancy"] > FAR * history[0]["discrepancy"]


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
