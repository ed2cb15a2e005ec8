"""Choice of the batch size for a time budget."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable

import torch
from torch import Generator

from neuralot.sampling import Sampler
from neuralot.solve.capture import Captured
from neuralot.solve.distributed import current
from neuralot.solve.environment import training_context
from neuralot.solve.loop import can_capture
from neuralot.solve.problem import Batch, Problem
from neuralot.solve.training import Training

SMALLEST, LARGEST = 64, 4096
PROBE = 512
N_TIMED = 3
# untimed calls before these; with capture they include the capture itself, so that the timed calls are replays
N_WARM_UP, N_WARM_UP_CAPTURED = 1, 5
# a map needs about this many steps; with more, larger batches improve it, if the number of steps grows with them
MIN_STEPS = 1000
STEPS_PER_ROW = 2.5


def batch_for(budget: float, seconds: Callable[[int], float], largest: int = LARGEST) -> int:
    """Largest batch for which a budget allows enough steps.

    The batch size is a power of two from 64 to 4096. It requires 1000 steps, and at least 2.5 per row of a batch.

    Parameters
    ----------
    budget : float
        Budget in seconds.
    seconds : callable batch_size -> float
        Duration of one step in seconds. It is called for at most two sizes, because the duration is modelled as a
        linear function of the batch size.
    largest : int
        Upper bound on the batch size, ignored below 64. The estimators pass the number of distinct rows of the smaller
        sample.

    Examples
    --------
    >>> from neuralot.solve.pace import batch_for
    >>> [batch_for(budget, lambda n_rows: 0.001 + 1e-5 * n_rows) for budget in (1.0, 5.0, 60.0)]
    [64, 256, 1024]
    """
    smallest_seconds = seconds(SMALLEST)
    if budget < MIN_STEPS * smallest_seconds:
        return SMALLEST
    row_seconds = max(0.0, seconds(PROBE) - smallest_seconds) / (PROBE - SMALLEST)

    def fits(batch: int) -> bool:
        return budget >= n_steps_for(batch) * (smallest_seconds + row_seconds * (batch - SMALLEST))

    batch = SMALLEST
    while 2 * batch <= largest and fits(2 * batch):
        batch *= 2
    return batch


def n_steps_for(batch: int) -> float:
    """Number of steps that a batch size requires."""
    return max(MIN_STEPS, STEPS_PER_ROW * batch)


def step_timer(
    problem: Problem, source: Sampler, target: Sampler, optimizer: str, generator: Generator, capture: bool = False
) -> Callable[[int], float]:
    """Return a function that times one step.

    The function takes the number of rows and returns seconds. `problem` is not modified. Processes that share the fit
    also share the rows, and all return the seconds of the first one.
    """
    training = Training(copy.deepcopy(problem), optimizer, None, 0.0, 0.99)
    device, processes = generator.device, current()
    probe_generator = Generator(device).manual_seed(0)
    progress, rate = torch.zeros(2, dtype=torch.float32, device=device)
    capture = capture and can_capture(problem, source, target, generator)

    def seconds(n_rows: int) -> float:
        def batches(times: int) -> Batch:
            n = times * processes.batch_size(n_rows)
            x, y = (processes.share(law(n, probe_generator)) for law in (source, target))
            return Batch(x, y, progress, probe_generator)

        def step() -> object:
            return training.step(batches, rate)

        with training_context(problem, generator) as in_step, in_step():
            call = Captured(step, probe_generator) if capture else step
            for _ in range(N_WARM_UP_CAPTURED if capture else N_WARM_UP):
                call()
            return processes.from_first(min(_duration(call, device) for _ in range(N_TIMED)))

    return seconds


def _duration(call: Callable[[], object], device: torch.device) -> float:
    """Return the duration of a call in seconds.

    On a GPU, it includes the time until the device has finished.
    """
    _synchronize(device)
    start = time.perf_counter()
    call()
    _synchronize(device)
    return time.perf_counter() - start


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
