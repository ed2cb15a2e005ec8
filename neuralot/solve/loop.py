"""The training loop that all methods share."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Generator, Tensor

from neuralot.sampling import ArraySampler, Sampler, as_sampler
from neuralot.solve.capture import Captured
from neuralot.solve.checkpoint import Checkpoint, Keeper, Randomness, Records
from neuralot.solve.clock import Clock
from neuralot.solve.distributed import current
from neuralot.solve.ending import judge, status_of_budget, status_of_early_end
from neuralot.solve.environment import training_context
from neuralot.solve.guard import Guard
from neuralot.solve.optimizers import OPTIMIZERS
from neuralot.solve.problem import Batch, Problem
from neuralot.solve.signals import EndingSignals
from neuralot.solve.status import Record, Status
from neuralot.solve.training import Training

Callback = Callable[[int, Problem, Record], bool]
Fallback = Callable[[Sampler, Sampler, Generator], dict[str, Tensor] | None]


@dataclass(frozen=True)
class Solution:
    """Result of `solve` and `resume`.

    Attributes
    ----------
    problem : Problem
        Copy with the averaged weights. The problem passed to `solve` is trained in place and has the last weights,
        without averaging.
    status : Status
    history : list of dict
        About 50 records: ``step``, ``seconds``, ``progress``, ``discrepancy``, ``<player>_loss`` for each player, and
        values of the method such as ``eps``.
    n_iter : int
        Number of steps, including those before `resume`.
    training : Training or None
        State from which `resume` continues; None after a divergence, or if the weights of `fallback` were used.

    Examples
    --------
    >>> import torch
    >>> from neuralot.methods import SNOT
    >>> from neuralot.solve import solve
    >>> x = torch.randn(100, 2, generator=torch.Generator().manual_seed(0))
    >>> solution = solve(SNOT(n_features=2), x, x + 1, max_iter=10)
    >>> solution.n_iter, solution.history[-1]["step"]
    (10, 10)
    """

    problem: Problem
    status: Status
    history: list[Record]
    n_iter: int
    training: Training | None = None


def solve(
    problem: Problem,
    source: Sampler | Any,
    target: Sampler | Any,
    *,
    max_iter: int = 1200,
    max_time: float | None = None,
    n_steps: int | None = None,
    batch_size: int = 256,
    optimizer: str = "muon",
    learning_rate: float | None = None,
    weight_decay: float = 0.0,
    averaging: float = 0.99,
    generator: Generator | None = None,
    callbacks: Sequence[Callback] = (),
    capture: bool = False,
    fallback: Fallback | None = None,
    checkpoint: Checkpoint | None = None,
) -> Solution:
    """Train the players of a problem within a budget.

    Learning rates follow a cosine from their initial value to zero, and the weights are averaged exponentially. The
    estimators choose rate, decay and batch size from the data, see `neuralot.defaults`.

    Parameters
    ----------
    problem : Problem
        Its networks live on the device of `generator`.
    source, target : rows, DataLoader, or callable (n, generator) -> Tensor of shape (n, n_features)
        See `neuralot.sampling.as_sampler`.
    max_iter : int
        Number of steps. In each step, every player makes its number of updates, each on newly drawn rows.
    max_time : float, optional
        Budget in seconds. Schedules then follow the budget that is used up first, and runs are not reproducible bit by
        bit.
    n_steps : int, optional
        End after this number of steps, while schedules follow `max_iter`: the first part of a stream, see `resume`.
    batch_size : int
    optimizer : {'adam', 'muon'}
    learning_rate : float, optional
    weight_decay : float
        See `neuralot.solve.optimizers.make_optimizers`.
    averaging : float
        Decay per step of the weight average.
    generator : torch.Generator, optional
        The only source of randomness; seeded with 0 when None.
    callbacks : sequence of callable (step, problem, record) -> bool
        Called at every record with the averaged problem; True ends the fit.
    capture : bool
        Whether to capture the step as a CUDA graph, on a GPU. No effect unless both samplers are `ArraySampler` and
        `n_steps` is None. Host code of networks and costs then runs only once.
    fallback : callable (source, target, generator) -> dict of str to Tensor, or None, optional
        Called at the end of the fit if the distance of the images to the target exceeds sampling error. Returns
        weights, such as those of an affine map, which replace the learned ones if their images are closer to the
        target.
    checkpoint : Checkpoint, optional
        Storage of the state of the run. If it has a state, the run continues from it. The state is complete if the
        samplers have none, as `ArraySampler`: the run then has the bits of an uninterrupted one.

    Returns
    -------
    Solution

    Raises
    ------
    ValueError
        If a budget or the batch size is not positive, or the optimiser is unknown.

    Examples
    --------
    >>> import torch
    >>> from neuralot.methods import SNOT
    >>> from neuralot.sampling import as_sampler
    >>> from neuralot.solve import solve
    >>> x = torch.randn(100, 2, generator=torch.Generator().manual_seed(0))
    >>> solution = solve(SNOT(n_features=2), as_sampler(x), as_sampler(x + 1), max_iter=10)
    >>> solution.problem.map(x).shape, solution.status.name
    (torch.Size([100, 2]), 'SHORT')
    """
    _check_arguments(max_iter, max_time, batch_size, optimizer)
    generator = current().shared(torch.Generator().manual_seed(0) if generator is None else generator)
    source, target = as_sampler(source, device=generator.device), as_sampler(target, device=generator.device)
    clock = Clock(max_iter, max_time, n_steps)
    problem.train().prepare(source, target, generator)
    # optimisers of a stream are not captured, because its next part continues with them
    capture = capture and n_steps is None and can_capture(problem, source, target, generator)
    training = Training(problem, optimizer, learning_rate, weight_decay, averaging)
    return _run(training, source, target, clock, batch_size, generator, callbacks, capture, fallback, checkpoint)


def can_capture(problem: Problem, source: Sampler, target: Sampler, generator: Generator) -> bool:
    """Whether a step can be captured as a CUDA graph.

    Both samplers must be `ArraySampler`, the problem capturable, the device a GPU, and the fit not shared by several
    processes.
    """
    if current().size > 1:
        return False
    are_arrays = isinstance(source, ArraySampler) and isinstance(target, ArraySampler)
    return are_arrays and problem.capturable and generator.device.type == "cuda"


def resume(
    solution: Solution,
    source: Sampler | Any,
    target: Sampler | Any,
    *,
    n_steps: int,
    max_iter: int = 1200,
    batch_size: int = 256,
    optimizer: str = "muon",
    learning_rate: float | None = None,
    weight_decay: float = 0.0,
    averaging: float = 0.99,
    generator: Generator | None = None,
    callbacks: Sequence[Callback] = (),
) -> Solution:
    """Continue a run on other rows, as in a stream.

    The state of the optimisers and of the weight average is taken from `solution`. If it has none, as after a
    divergence, they are initialised from its weights. Schedules follow `max_iter` over all parts; beyond it, smoothing
    stays at its last level, and learning rates at a tenth of their initial value. `solution` is not modified.

    Parameters
    ----------
    solution : Solution
    source, target : rows, DataLoader, or callable (n, generator) -> Tensor of shape (n, n_features)
    n_steps : int
        Number of steps of this part.
    max_iter, batch_size, optimizer, learning_rate, weight_decay, averaging, generator, callbacks
        As in `solve`.

    Returns
    -------
    Solution
        With the records of this part.

    Examples
    --------
    >>> import torch
    >>> from neuralot.methods import SNOT
    >>> from neuralot.solve import resume, solve
    >>> x = torch.randn(100, 2, generator=torch.Generator().manual_seed(0))
    >>> first = solve(SNOT(n_features=2), x, x + 1, max_iter=20, n_steps=10)
    >>> resume(first, x, x + 1, max_iter=20, n_steps=5).n_iter
    15
    """
    _check_arguments(max_iter, None, batch_size, optimizer)
    generator = current().shared(torch.Generator().manual_seed(0) if generator is None else generator)
    source, target = as_sampler(source, device=generator.device), as_sampler(target, device=generator.device)
    clock = Clock(max_iter, None, n_steps, solution.n_iter)
    training = copy.deepcopy(solution.training)
    if training is None:
        problem = copy.deepcopy(solution.problem).requires_grad_(True)
        training = Training(problem, optimizer, learning_rate, weight_decay, averaging)
    return _run(training, source, target, clock, batch_size, generator, callbacks)


def _run(
    training: Training,
    source: Sampler,
    target: Sampler,
    clock: Clock,
    batch_size: int,
    generator: Generator,
    callbacks: Sequence[Callback],
    capture: bool = False,
    fallback: Fallback | None = None,
    checkpoint: Checkpoint | None = None,
) -> Solution:
    problem, learned, processes = training.problem, training.learned, current()
    history, signals = Records(), EndingSignals()
    training.agree()
    guard = Guard(learned, source, target, generator)
    step = _make_step(training, source, target, batch_size, generator, capture)
    lost = stopped = interrupted = is_affine = False
    try:
        with training_context(problem, generator) as in_step, signals:
            keeper = Keeper(checkpoint, [clock, training, guard, history, Randomness(generator), in_step, *callbacks])
            while not (clock.is_over or lost or stopped):
                with in_step():
                    problem.follow(clock.progress)
                    losses = step(clock.progress, max((1 + math.cos(math.pi * clock.progress)) / 2, clock.min_rate))
                clock.tick()
                if clock.record_due:
                    with in_step():
                        history.append(record := _record(clock, training, losses))
                    if processes.is_first:
                        lost, stopped = judge(record, clock.step, guard, callbacks, in_step)
                    history[-1], lost, stopped = processes.from_first((record, lost, stopped))
                keeper.keep(at_once=signals.agree(processes))  # all end after the same step
                signals.check()
        if fallback and processes.is_first and not (lost or stopped):
            is_affine = _take_fallback(fallback, guard, source, target, generator)
    except KeyboardInterrupt:
        if signals.insisted or (processes.size > 1 and not signals.ends):  # the others go on
            raise
        interrupted = True
        training.copy_buffers()
        guard.discrepancy()
    # not checked in a stream, whose next part has other rows
    lost = lost or guard.failed or (not clock.is_stream and guard.left_the_target())
    if lost:
        guard.restore()
    if is_affine:
        history[-1]["affine"] = guard.last
    status = status_of_early_end(guard, interrupted, lost, stopped) or status_of_budget(clock, guard, history)
    return agreed(Solution(learned, status, history, clock.step, None if lost or is_affine else training))


def agreed(solution: Solution) -> Solution:
    """Return the solution of the first process."""
    processes, training = current(), solution.training
    status, history, continues = processes.from_first((solution.status, solution.history, training is not None))
    processes.copy_first(solution.problem)
    return replace(solution, status=status, history=history, training=training if continues else None)


def _make_step(
    training: Training, source: Sampler, target: Sampler, batch_size: int, generator: Generator, capture: bool
) -> Callable[[float, float], dict[str, Tensor]]:
    """Return the step as a function of progress and rate."""
    # on the device, where a captured step reads them
    progress, rate = torch.zeros(2, dtype=torch.float32, device=generator.device)
    processes = current()
    batch_size = processes.batch_size(batch_size)

    def batches(times: int) -> Batch:
        x, y = (processes.share(law(times * batch_size, generator)) for law in (source, target))
        return Batch(x, y, progress, generator)

    def step() -> dict[str, Tensor]:
        return training.step(batches, rate)

    if capture:
        step = Captured(step, generator)

    def step_at(at: float, factor: float) -> dict[str, Tensor]:
        progress.fill_(at)
        rate.fill_(factor)
        return step()

    return step_at


def _record(clock: Clock, training: Training, losses: dict[str, Tensor]) -> Record:
    """Return the record of the current step, without the discrepancy."""
    training.copy_buffers()
    record = clock.record() | {f"{name}_loss": float(loss) for name, loss in losses.items()}
    return record | training.problem.follow(clock.progress)


def _take_fallback(fallback: Fallback, guard: Guard, source: Sampler, target: Sampler, generator: Generator) -> bool:
    """Load the weights of `fallback` if they are better.

    Returns whether they are.
    """
    if guard.left_the_target() or guard.last <= guard.chance:
        return False
    state = fallback(source, target, generator)
    return state is not None and guard.try_instead(state)


def _check_arguments(max_iter: int, max_time: float | None, batch_size: int, optimizer: str) -> None:
    if max_iter < 1 or batch_size < 1:
        raise ValueError(f"max_iter and batch_size must be at least 1, got {max_iter} and {batch_size}")
    if max_time is not None and not max_time > 0:
        raise ValueError(f"max_time must be None or a positive number of seconds, got {max_time}")
    if optimizer not in OPTIMIZERS:
        raise ValueError(f"optimizer must be one of {', '.join(OPTIMIZERS)}, got {optimizer!r}")
