"""The loop: one for every method."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from itertools import islice
from typing import Any, cast

import torch
from torch import Generator, Tensor
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from neuralot.capture import Captured, tensor_cores
from neuralot.optimizers import OPTIMIZERS, make_optimizers
from neuralot.sampling import ArraySampler, Sampler, as_sampler
from neuralot.semidual import Batch, SemiDual, energy_distance

Record = dict[str, float]
Callback = Callable[[int, SemiDual, Record], bool]

N_MONITORED = 512
N_RECORDS = 50
SMALL_NETWORK = 1_000_000


class Status(Enum):
    """How a fit ended; the value is the sentence that a user reads."""

    MAX_ITER = "The fit made all of its max_iter steps."
    MAX_TIME = "The fit used all of its max_time seconds."
    STOPPED = "The fit ended early, by early_stopping or a callback."
    DIVERGED = (
        "The fit diverged: its weights were no longer finite, or its images left the target's law. The best weights "
        "were restored. Lower learning_rate_init or keep expectile_weight above 0; where the source lies on a thin "
        "set, SNOT has spurious solutions, and OTP is the method to use."
    )
    FAILED = "The fit never had finite weights. Check the networks and the cost, or lower learning_rate_init."

    @property
    def sentence(self) -> str:
        """The value, as text for a user."""
        return self.value

    @property
    def ok(self) -> bool:
        """Whether the weights are those of the fit's end."""
        return self not in (Status.DIVERGED, Status.FAILED)


@dataclass(frozen=True)
class Solution:
    """What `solve` returns.

    Attributes
    ----------
    problem : SemiDual
        With the averaged weights; the one that was passed is trained in place and keeps its last raw weights.
    status : Status
    history : list of dict
        About one record per fiftieth of the run: ``step``, ``seconds``, ``progress``, ``discrepancy``, one
        ``<player>_loss`` each, and what the method adds (``eps``).
    n_iter : int
        Steps made.
    """

    problem: SemiDual
    status: Status
    history: list[Record]
    n_iter: int


def solve(
    problem: SemiDual,
    source: Sampler | Any,
    target: Sampler | Any,
    *,
    max_iter: int = 1200,
    max_time: float | None = None,
    batch_size: int = 256,
    optimizer: str = "auto",
    learning_rate: float | None = None,
    weight_decay: float = 0.0,
    averaging: float = 0.99,
    generator: Generator | None = None,
    callbacks: Sequence[Callback] = (),
    capture: bool = False,
) -> Solution:
    """Let the players of a problem play until a budget is used up.

    Rates follow a cosine from their first value to zero, and the weights are averaged exponentially. The estimators
    choose rate, decay and batch by the data, see `neuralot.defaults`.

    Parameters
    ----------
    problem : SemiDual
        Its networks live on the device of `generator`.
    source, target : rows, DataLoader, or callable (n, generator) -> Tensor of shape (n, n_features)
        See `neuralot.sampling.as_sampler`.
    max_iter : int
        Steps: in each, every player makes its number of updates, on fresh rows each time.
    max_time : float, optional
        Seconds. The schedules then follow whichever budget is used up first, and two runs are not bit-equal.
    batch_size : int
    optimizer : {'auto', 'adam', 'muon'}
    learning_rate : float, optional
    weight_decay : float
        See `neuralot.optimizers.make_optimizers` for these three.
    averaging : float
        Decay per step of the weight average.
    generator : torch.Generator, optional
        The only source of randomness; seeded with 0 when None.
    callbacks : sequence of callable (step, problem, record) -> bool
        Called at every record with the averaged problem; True ends the fit.
    capture : bool
        On a GPU, capture the step as a CUDA graph where both samplers are `ArraySampler`. What networks and costs
        compute on the host is then computed once.

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
    >>> solution.problem.transport(x).shape, solution.status.sentence
    (torch.Size([100, 2]), 'The fit made all of its max_iter steps.')
    """
    _check_arguments(max_iter, max_time, batch_size, optimizer)
    generator = torch.Generator().manual_seed(0) if generator is None else generator
    source, target = as_sampler(source, device=generator.device), as_sampler(target, device=generator.device)
    clock = _Clock(max_iter, max_time)
    problem.train().prepare(source, target, generator)
    players = []
    for name in problem.players:
        critic = name in problem.critics
        optimizers = make_optimizers(problem.networks[name], optimizer, learning_rate, weight_decay, critic=critic)
        players.append(_Player(problem, name, optimizers))
    play = _play_together if problem.together else _play_in_turn
    # what a step reads of the clock, on the device
    progress, rate = torch.zeros(2, device=generator.device)

    def draw() -> Batch:
        return Batch(source(batch_size, generator), target(batch_size, generator), progress, generator)

    def step() -> dict[str, Tensor]:
        losses = play(problem, players, draw, rate)
        averaged.update_parameters(problem)
        return losses

    averaged = AveragedModel(problem, multi_avg_fn=get_ema_multi_avg_fn(averaging))
    learned = cast(SemiDual, averaged.module.eval())
    guard = _Guard(learned, source, target, generator)
    history: list[Record] = []
    diverged = stopped = False
    of_arrays = isinstance(source, ArraySampler) and isinstance(target, ArraySampler)
    if capture and of_arrays and generator.device.type == "cuda":
        step = Captured(step, generator)
    with _threads_for(problem), _randomness_of(generator), tensor_cores(generator.device):
        while not (clock.over or diverged or stopped):
            problem.follow(clock.progress)
            progress.fill_(clock.progress)
            rate.fill_(clock.rate)
            losses = step()
            clock.tick()
            if clock.record_due:
                record = clock.record() | {f"{name}_loss": float(loss) for name, loss in losses.items()}
                record |= problem.levels(clock.progress) | {"discrepancy": guard.discrepancy()}
                history.append(record)
                diverged = guard.diverged(record)
                # every callback hears of every record, also when an earlier one wants to stop
                stopped = any([callback(clock.step, learned, record) for callback in callbacks])
    status = guard.settle(diverged, Status.STOPPED if stopped else clock.status)
    return Solution(learned, status, history, clock.step)


@contextmanager
def _threads_for(problem: SemiDual) -> Iterator[None]:
    """Run small networks on one CPU thread.

    Measured on two cores, 256 rows: two threads gain nothing up to 128 wide, and where another process is busy they
    wait for each other, at 10 to 30 times the time per step.
    """
    before = torch.get_num_threads()
    small = sum(weight.numel() for weight in problem.parameters()) < SMALL_NETWORK
    if small:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        if small:
            torch.set_num_threads(before)


@contextmanager
def _randomness_of(generator: Generator) -> Iterator[None]:
    """Let layers that draw from torch's global generators, such as dropout, follow `generator` and leave no trace."""
    cuda = generator.device.type == "cuda"
    with torch.random.fork_rng(devices=[generator.device] if cuda else []):
        torch.default_generator.manual_seed(generator.initial_seed())
        if cuda:
            with torch.cuda.device(generator.device):
                torch.cuda.manual_seed(generator.initial_seed())
        yield


def _check_arguments(max_iter: int, max_time: float | None, batch_size: int, optimizer: str) -> None:
    if max_iter < 1 or batch_size < 1:
        raise ValueError(f"max_iter and batch_size must be at least 1, got {max_iter} and {batch_size}")
    if max_time is not None and not max_time > 0:
        raise ValueError(f"max_time must be None or above 0 seconds, got {max_time}")
    if optimizer not in OPTIMIZERS:
        raise ValueError(f"optimizer must be one of {', '.join(OPTIMIZERS)}, got {optimizer!r}")


class _Clock:
    """Budgets: how much of the run is over, and whether a record is due."""

    def __init__(self, max_iter: int, max_time: float | None) -> None:
        self.max_iter, self.max_time = max_iter, max_time or math.inf
        self.step = 0
        self.progress = 0.0
        self.start = time.perf_counter()
        self._next_record = 0.0

    def tick(self) -> None:
        self.step += 1
        self.progress = min(max(self.step / self.max_iter, self.seconds / self.max_time), 1.0)

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self.start

    @property
    def over(self) -> bool:
        return self.progress >= 1

    @property
    def status(self) -> Status:
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
    def rate(self) -> float:
        """Share of the first learning rate, a cosine from 1 to 0."""
        return (1 + math.cos(math.pi * self.progress)) / 2


class _Player:
    """One player's weights and their optimisers."""

    def __init__(self, problem: SemiDual, name: str, optimizers: list[Optimizer]) -> None:
        self.name = name
        self.weights = [p for p in problem.networks[name].parameters() if p.requires_grad]
        self.optimizers = optimizers

    def move(self, gradients: Sequence[Tensor | None], rate: Tensor) -> None:
        """Make the share `rate` of an update.

        The update of every optimiser used here is its learning rate times what does not depend on it, so that this is
        an update with another rate; one set on the host would be fixed by a capture.
        """
        before = [weight.detach().clone() for weight in self.weights]
        for weight, gradient in zip(self.weights, gradients, strict=True):
            weight.grad = gradient
        for optimizer in self.optimizers:
            optimizer.step()
        with torch.no_grad():
            for weight, old in zip(self.weights, before, strict=True):
                weight.copy_(old.lerp_(weight, rate))


def _play_in_turn(
    problem: SemiDual, players: list[_Player], draw: Callable[[], Batch], rate: Tensor
) -> dict[str, Tensor]:
    """Let each player make its updates, each on a batch of its own; return the last losses."""
    losses = {}
    for player in players:
        for _ in range(problem.players[player.name]):
            loss = problem.loss(player.name, draw())
            # gradients of this player alone: the others' weights are neither moved nor differentiated
            player.move(torch.autograd.grad(loss, player.weights, allow_unused=True), rate)
        losses[player.name] = loss.detach()
    return losses


def _play_together(
    problem: SemiDual, players: list[_Player], draw: Callable[[], Batch], rate: Tensor
) -> dict[str, Tensor]:
    """Let all players make one update on the same batch."""
    losses = problem.losses(draw())
    total = torch.stack([losses[player.name] for player in players]).sum()
    weights = [weight for player in players for weight in player.weights]
    gradients = iter(torch.autograd.grad(total, weights, allow_unused=True))
    for player in players:
        player.move(list(islice(gradients, len(player.weights))), rate)
    return {name: loss.detach() for name, loss in losses.items()}


class _Guard:
    """Watches the law of the images on a few fixed rows, keeps the best weights, and restores them on divergence."""

    def __init__(self, problem: SemiDual, source: Sampler, target: Sampler, generator: Generator) -> None:
        # a generator of its own: what is watched must not change what is learned
        self.generator = torch.Generator(generator.device)
        self.problem = problem
        self.x, self.y = source(N_MONITORED, generator), target(N_MONITORED, generator)
        self.best = math.inf
        self.best_weights: dict[str, Tensor] | None = None
        self.first = self.last = self.discrepancy()
        within = max(float(torch.cdist(rows, rows).mean()) for rows in (self.x, self.y))
        # the size of what can be told apart; the floor is for laws of one point, in standardised units
        self.spread = max(within + self.first, 1e-2)

    def discrepancy(self) -> float:
        """Energy distance between images, at the last smoothing level and under the same noise every time, and y."""
        self.generator.manual_seed(0)
        with torch.no_grad():
            image = self.problem.draw(self.x, self.generator)
            self.last = float(energy_distance(image, self.y))
        if self.last < self.best:
            self.best, self.best_weights = self.last, copy.deepcopy(self.problem.state_dict())
        return self.last

    def diverged(self, record: Record) -> bool:
        finite = all(math.isfinite(value) for value in record.values())
        return not finite or record["discrepancy"] > 4 * self.spread

    def settle(self, diverged: bool, status: Status) -> Status:
        if self.best_weights is None:
            return Status.FAILED
        if diverged or self.last > self.best + 0.1 * self.spread:
            self.problem.load_state_dict(self.best_weights)
            return Status.DIVERGED
        return status
