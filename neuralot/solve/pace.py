"""Choice of the batch size for a time budget."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable

import torch
from torch import Generator

from neuralot.sampling import Sampler
from neuralot.solve.capture import Captured
from neuralot.solve.environment import at_work
from neuralot.solve.loop import can_capture
from neuralot.solve.problem import Batch, Problem
from neuralot.solve.training import Training

SMALLEST, LARGEST = 64, 4096
PROBE = 512
N_TIMED = 3
# untimed calls before these; with capture, the graph is made in them, and the timed calls are replays
N_BEFORE, N_BEFORE_CAPTURED = 1, 5
# a map needs about this many steps; beyond, larger batches improve it, if the number of steps grows with them
ENOUGH_STEPS = 1000
STEPS_PER_ROW = 2.5


def batch_for(budget: float, seconds: Callable[[int], float], largest: int = LARGEST) -> int:
    """Largest batch for which a budget allows enough steps.

    The batch is a power of two from 64 to 4096. Enough steps are 1000, and at least 2.5 per row of the batch.

    Parameters
    ----------
    budget : float
        Seconds.
    seconds : callable batch_size -> float
        Seconds of one step. It is called for at most two sizes: a step takes a constant time, plus a time proportional
        to its rows.
    largest : int
        Upper bound of the batch, which has at least 64 rows. The estimators pass the number of distinct rows of the
        smaller sample.

    Examples
    --------
    >>> from neuralot.solve.pace import batch_for
    >>> [batch_for(budget, lambda n_rows: 0.001 + 1e-5 * n_rows) for budget in (1.0, 5.0, 60.0)]
    [64, 256, 1024]
    """
    each = seconds(SMALLEST)
    if budget < ENOUGH_STEPS * each:
        return SMALLEST
    of_a_row = max(0.0, seconds(PROBE) - each) / (PROBE - SMALLEST)
    batch = SMALLEST
    while 2 * batch <= largest and budget >= n_steps_for(2 * batch) * (each + of_a_row * (2 * batch - SMALLEST)):
        batch *= 2
    return batch


def n_steps_for(batch: int) -> float:
    """Number of steps that a batch size needs."""
    return max(ENOUGH_STEPS, STEPS_PER_ROW * batch)


def step_timer(
    problem: Problem, source: Sampler, target: Sampler, optimizer: str, generator: Generator, capture: bool = False
) -> Callable[[int], float]:
    """Return a function that times one step.

    The function takes the number of rows and returns seconds. `problem` is not modified.
    """
    training = Training(copy.deepcopy(problem), optimizer, None, 0.0, 0.99)
    device = generator.device
    of_its_own = Generator(device).manual_seed(0)
    progress, rate = torch.zeros(2, dtype=torch.float32, device=device)
    capture = capture and can_capture(problem, source, target, generator)

    def seconds(n_rows: int) -> float:
        def batches(times: int) -> Batch:
            n = times * n_rows
            return Batch(source(n, of_its_own), target(n, of_its_own), progress, of_its_own)

        def step() -> object:
            return training.step(batches, rate)

        with at_work(problem, generator):
            call = Captured(step, of_its_own) if capture else step
            for _ in range(N_BEFORE_CAPTURED if capture else N_BEFORE):
                call()
            return min(_seconds_of(call, device) for _ in range(N_TIMED))

    return seconds


def _seconds_of(call: Callable[[], object], device: torch.device) -> float:
    """Seconds that a call takes.

    On a GPU, the time until the device has finished is included.
    """
    _wait_for(device)
    start = time.perf_counter()
    call()
    _wait_for(device)
    return time.perf_counter() - start


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
