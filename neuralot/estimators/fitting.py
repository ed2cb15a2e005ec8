"""Base class that fits a method to two laws."""

from __future__ import annotations

import contextlib
import math
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch import Generator, Tensor

from neuralot.costs import Cost, as_cost
from neuralot.defaults import BATCH, default_rate
from neuralot.estimators.checkpoints import CheckpointFile
from neuralot.estimators.gap import dual_gaps
from neuralot.estimators.laws import Law, Laws, Standardised
from neuralot.estimators.reservoir import renewals
from neuralot.estimators.setup import Preparation
from neuralot.estimators.state import FitParams, Setup, is_built_in
from neuralot.estimators.tasks import Tasks
from neuralot.estimators.units import Units
from neuralot.forms.compiled import has_compiler
from neuralot.sampling import Sampler
from neuralot.solve.callbacks import EarlierWeights, ProgressBar
from neuralot.solve.distributed import current
from neuralot.solve.loop import Callback, Solution, agreed, resume, solve
from neuralot.solve.pace import LARGEST, batch_for, step_timer
from neuralot.solve.problem import Problem
from neuralot.solve.status import Record, Status

# seconds of a fit from which compilation of the step saves time
MIN_COMPILED_TIME = 300.0
# number of records from which every second one is dropped in a stream
MAX_RECORDS = 1_000


class Watch(Protocol):
    """Callback that may replace the weights after a fit."""

    def __call__(self, step: int, problem: Problem, record: Record) -> bool: ...

    def finish(self, problem: Problem, is_affine: bool = False) -> bool:
        """Load better weights, if any; return whether weights were loaded."""


Watched = tuple[Standardised, Standardised, Watch | None]


@dataclass(frozen=True)
class Outcome:
    """Result of a fit or of part of a stream.

    Attributes
    ----------
    setup : Setup
    solution : Solution
    own : dict
        Fitted attributes that only the class of the estimator has.
    history : list of Record
        Records of earlier parts of the stream.
    continuation : Solution, optional
        State from which the next part of the stream continues.
    earlier_changes : dict, optional
        Weights of earlier steps, minus the last ones, see `neuralot.solve.callbacks.EarlierWeights`.
    """

    setup: Setup
    solution: Solution
    own: dict[str, Any] = field(default_factory=dict)
    history: list[Record] = field(default_factory=list)
    continuation: Solution | None = None
    earlier_changes: dict[str, dict[str, Tensor]] | None = None

    @property
    def attributes(self) -> dict[str, Any]:
        """Fitted attributes by name."""
        return {
            **self.setup.attributes,
            **self.own,
            "problem_": self.solution.problem.requires_grad_(False),
            "status_": self.solution.status,
            "history_": thinned([*self.history, *self.solution.history]),
            "n_iter_": self.solution.n_iter,
            "_solution": self.continuation,
            "_earlier_changes": as_arrays(self.earlier_changes),
        }


class Fitter(Preparation, ABC):
    """Base class that fits a problem to two laws.

    A subclass builds its method in `_method`, resolves ``'auto'`` in `_resolved`, and holds out rows in `_watch`.
    """

    @abstractmethod
    def _method(self, n_features: int, params: FitParams, cost: Cost, generator: Generator) -> Problem:
        """Build the method from the attributes of `params`."""

    @abstractmethod
    def _watch(self, problem: Problem, source: Standardised, target: Standardised, generator: Generator) -> Watched:
        """Hold out rows; return the training samples and a watch."""

    def _sizes_of_long_fits(self, n_features: int, n_rows: int, n_draws: float) -> tuple[int, ...] | None:
        """Return hidden layer sizes for a number of drawn rows.

        The result is None if the sizes do not depend on `max_time`.
        """
        return None

    def _sample_attributes(self, target: Law, setup: Setup) -> dict[str, Any]:
        """Return fitted attributes that depend on the samples only."""
        return {}

    def _fit(
        self,
        laws: Laws,
        generator: Generator,
        start: float,
        tasks: Tasks | None = None,
        checkpoint: CheckpointFile | None = None,
    ) -> Outcome:
        """Fit the problem to two laws.

        A warm start continues from the previous weights. `start` is the start time of the budget, and `tasks` is called
        at every record.
        """
        warm = self._continues
        setup = self._set_up(laws, generator, warm=warm)
        params = setup.params
        end = math.inf if params.max_time is None else start + params.max_time
        resumes = checkpoint is not None and checkpoint.choose(params)
        problem = self._build(setup.units, params, generator)
        if warm:
            _load_weights(problem, self.problem_)
        own = self._sample_attributes(laws[1], setup)
        source, target, watch = self._watch(problem, setup.source, setup.target, generator)
        samplers = source.sampler(self._stratified_from), target.sampler(self._stratified_from)
        self._start_at_affine_map(problem, samplers, generator, warm=warm)
        if self._adapts_to_budget() and not resumes:
            n_rows = min(len(source.distinct), len(target.distinct))
            problem = self._adapt_to_budget(end, problem, samplers, setup, n_rows, generator, warm=warm)
        if _compiles(params, generator) and problem.compile_step():
            # the first call compiles the step
            step_timer(problem, *samplers, params.optimizer, generator, is_built_in(params))(params.batch_size)
        # held-out rows would come again in later passes over a stream
        callbacks: list[Callback] = [*dual_gaps(setup, samplers), *([watch] if watch else renewals(laws, setup))]
        with contextlib.ExitStack() as stack:
            if self.verbose and current().is_first:
                callbacks.append(stack.enter_context(ProgressBar()))
            callbacks += [*(self.callbacks or ()), earlier := EarlierWeights()]
            if checkpoint is not None:
                checkpoint.store(params)
            if tasks is not None:
                callbacks.append(tasks.begin(setup.attributes | own))
            remaining = end - time.perf_counter()
            solution = solve(
                problem,
                *samplers,
                max_time=None if math.isinf(remaining) else max(remaining, 1e-3),
                capture=is_built_in(params),
                fallback=None if warm else problem.affine,
                callbacks=callbacks,
                checkpoint=checkpoint,
                **training_options(params, generator),
            )
        if watch is not None and current().is_first:
            _finish(watch, solution)
        return Outcome(setup, _checked(agreed(solution)), own, earlier_changes=earlier.changes(solution.problem))

    def _start_at_affine_map(
        self, problem: Problem, samplers: tuple[Sampler, Sampler], generator: Generator, *, warm: bool
    ) -> None:
        """Load the weights of the affine map under conditions.

        The units of a fit contain the shift between source and target, but not those of each condition.
        """
        state = None if warm or self._conditions is None else problem.affine(*samplers, generator)
        if state is not None:
            problem.load_state_dict(state, strict=False)

    def _adapts_to_budget(self) -> bool:
        """Return whether `max_time` determines the batch size."""
        return getattr(self, "batch_size", None) == "auto" and self.max_time is not None

    def _adapt_to_budget(
        self,
        end: float,
        problem: Problem,
        samplers: tuple[Sampler, Sampler],
        setup: Setup,
        n_rows: int,
        generator: Generator,
        *,
        warm: bool,
    ) -> Problem:
        """Choose batch size, learning rate and layer sizes.

        They depend on the time until `end`. Returns the problem, or a new problem with wider layers.
        """
        params, n_features = setup.params, setup.units.n_moved
        n_steps = _choose_batch(problem, samplers, params, n_rows, end, generator)
        sizes = self._sizes_of_long_fits(n_features, n_rows, n_steps * params.batch_size)
        if not warm and problem.invertible and sizes is not None and sizes != params.hidden_layer_sizes:
            params.hidden_layer_sizes = sizes
            problem = self._build(setup.units, params, generator)
            n_steps = _choose_batch(problem, samplers, params, n_rows, end, generator)
        if self.learning_rate_init == "auto":
            params.learning_rate_init = default_rate(n_features, n_steps)
        return problem

    def _fit_part(self, laws: Laws, generator: Generator) -> Outcome:
        """Train for one pass over the rows."""
        warm = hasattr(self, "problem_")
        setup = self._set_up(laws, generator, warm=warm, in_stream=True)
        source, target, params = setup.source, setup.target, setup.params
        n_steps = math.ceil(max(len(source.distinct), len(target.distinct)) / params.batch_size)
        samplers = source.sampler(self._stratified_from), target.sampler(self._stratified_from)
        options = training_options(params, generator) | {"n_steps": n_steps, "callbacks": self.callbacks or ()}
        if warm and params.max_time is not None and self.history_:
            # the schedules of a fit with max_time follow the time; this is the equivalent number of steps
            options["max_iter"] = max(1, round(self.n_iter_ / self.history_[-1]["progress"]))
        if not warm:
            problem = self._build(setup.units, params, generator)
            self._start_at_affine_map(problem, samplers, generator, warm=warm)
            solution = solve(problem, *samplers, **options)
        else:
            previous = self._solution
            if previous is None:
                problem = self._build(setup.units, params, generator)
                _load_weights(problem, self.problem_)
                previous = Solution(problem, self.status_, [], self.n_iter_)
            solution = resume(previous, *samplers, **options)
        continuation = solution if solution.training else None
        return Outcome(setup, _checked(solution), history=self.history_ if warm else [], continuation=continuation)

    def _build(self, units: Units, params: FitParams, generator: Generator) -> Problem:
        """Build the problem on the device of `generator`."""
        cost = units.cost(as_cost(params.cost), generator.device)
        problem = self._method(units.n_directions, params, cost, generator)
        return problem.to(generator.device, torch.float32).eval()


def as_arrays(changes: dict[str, dict[str, Tensor]] | None) -> dict[str, dict[str, np.ndarray]] | None:
    """Return the changes of weights as arrays."""
    if changes is None:
        return None
    return {key: {name: each.numpy() for name, each in weights.items()} for key, weights in changes.items()}


def thinned(history: list[Record]) -> list[Record]:
    """Return every second record of a long history."""
    return history if len(history) <= MAX_RECORDS else [*history[:-1:2], history[-1]]


def _choose_batch(
    problem: Problem,
    samplers: tuple[Sampler, Sampler],
    params: FitParams,
    n_rows: int,
    end: float,
    generator: Generator,
) -> float:
    """Set the batch size; return the expected number of steps.

    A few steps are timed to estimate their duration.
    """
    timer = step_timer(problem, *samplers, params.optimizer, generator, is_built_in(params))
    largest = max(BATCH, min(LARGEST, n_rows))
    params.batch_size = batch_for(_remaining(end), timer, largest)
    return float(min(params.max_iter, _remaining(end) / timer(params.batch_size)))


def _remaining(end: float) -> float:
    """Seconds until `end`, by the clock of the first process."""
    return current().from_first(end - time.perf_counter())


def _compiles(params: FitParams, generator: Generator) -> bool:
    """Return whether to compile the step.

    ``'auto'`` never compiles on a GPU, where compilation hardly speeds up a captured step of many rows.
    """
    value = params.compile
    if value == "auto":
        is_long = (params.max_time or 0.0) >= MIN_COMPILED_TIME
        value = is_long and generator.device.type == "cpu" and has_compiler()
    return current().from_first(bool(value))


def training_options(params: FitParams, generator: Generator) -> dict[str, Any]:
    """Return the options that `solve` and `resume` have in common."""
    return {
        "max_iter": params.max_iter,
        "batch_size": params.batch_size,
        "optimizer": params.optimizer,
        "learning_rate": params.learning_rate_init,
        "weight_decay": params.weight_decay,
        "averaging": params.averaging,
        "generator": generator,
    }


def _finish(watch: Watch, solution: Solution) -> None:
    """Load the weights that the watch of a fit prefers."""
    if solution.status is Status.INTERRUPTED and solution.history:
        watch(solution.n_iter, solution.problem, dict(solution.history[-1]))  # includes the current weights
    if solution.status not in (Status.DIVERGED, Status.FAILED):
        last = solution.history[-1] if solution.history else {}
        if watch.finish(solution.problem, "affine" in last):
            last.pop("affine", None)


def _checked(solution: Solution) -> Solution:
    """Raise a FloatingPointError if the weights were never finite."""
    if solution.status is Status.FAILED:
        raise FloatingPointError(solution.status.message)
    return solution


def _load_weights(problem: Problem, previous: Problem) -> None:
    try:
        problem.load_state_dict(previous.state_dict())
    except RuntimeError as error:
        raise ValueError(
            "warm_start=True requires the networks of the previous fit; pass warm_start=False, or the same "
            "hidden_layer_sizes and map_form"
        ) from error
