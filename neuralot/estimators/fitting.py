"""Fits: from parameters and two laws to fitted attributes."""

from __future__ import annotations

import contextlib
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import wraps
from types import SimpleNamespace
from typing import Any, ParamSpec, Protocol, TypeVar

import torch
from torch import Generator

from neuralot.costs import Cost, as_cost
from neuralot.defaults import BATCH, default_rate
from neuralot.estimators.laws import Law, Laws, Standardised
from neuralot.estimators.setup import Preparation, Setup, is_built_in
from neuralot.estimators.tasks import Tasks
from neuralot.estimators.units import Units
from neuralot.forms.compiled import has_compiler
from neuralot.sampling import Sampler
from neuralot.solve.callbacks import ProgressBar
from neuralot.solve.loop import Callback, Solution, resume, solve
from neuralot.solve.pace import LARGEST, batch_for, step_timer
from neuralot.solve.problem import Problem
from neuralot.solve.status import Record, Status

# seconds of a fit from which on a compiled step has made good for its compilation
WORTH_COMPILING = 300.0
# decay of the weight average per step, where a transport has no other
AVERAGING = 0.99


Given = ParamSpec("Given")
Result = TypeVar("Result")


def learning(function: Callable[Given, Result]) -> Callable[Given, Result]:
    """Enable gradients in a function, also in inference mode."""

    @wraps(function)
    def with_gradients(*args: Given.args, **kwargs: Given.kwargs) -> Result:
        with torch.inference_mode(False), torch.enable_grad():
            return function(*args, **kwargs)

    return with_gradients


class Watch(Protocol):
    """Callback that may replace the weights after a fit."""

    def __call__(self, step: int, problem: Problem, record: Record) -> bool: ...

    def finish(self, problem: Problem, is_affine: bool = False) -> bool:
        """Load better weights, if any; return whether it did."""


Watched = tuple[Standardised, Standardised, Watch | None]


class Fitter(Preparation, ABC):
    """Fit of a problem to two laws, with hooks.

    A subclass stores its parameters, builds its method in `_method`, says in `_resolved` what ``'auto'`` means, and in
    `_watch` what a fit learns from.
    """

    @abstractmethod
    def _method(self, n_features: int, params: Any, cost: Cost, generator: Generator) -> Problem:
        """Build the method from the attributes of `params`."""

    @abstractmethod
    def _watch(self, problem: Problem, source: Standardised, target: Standardised, generator: Generator) -> Watched:
        """Hold rows out; return the rest, and a watch."""

    def _sizes_of_long_fits(self, n_features: int, n_rows: int, n_draws: float) -> tuple[int, ...] | None:
        """Return layer sizes for a number of draws, or None.

        None where the sizes do not depend on `max_time`.
        """
        return None

    def _of_target(self, law: Law, target: Standardised) -> dict[str, Any]:
        """Attributes that the target alone sets; most transports have none."""
        return {}

    @learning
    def _fit(self, laws: Laws, generator: Generator, start: float, tasks: Tasks | None = None) -> dict[str, Any]:
        """Return the fitted attributes.

        A warm start continues from the last weights. `start` is when the budget began, and `tasks` is called at every
        record.
        """
        warm = self._continues
        setup = self._set_up(laws, generator, warm=warm)
        params = setup.params
        end = math.inf if params["max_time"] is None else start + params["max_time"]
        problem = self._build(setup.units, params, generator)
        if warm:
            _load(problem, self.problem_)
        fitted = self._of_target(laws[1], setup.target)
        source, target, watch = self._watch(problem, setup.source, setup.target, generator)
        samplers = source.sampler(self._stratified_from), target.sampler(self._stratified_from)
        if self._follows_the_budget():
            n_rows = min(len(source.distinct), len(target.distinct))
            problem = self._within(end, problem, samplers, setup, n_rows, generator, warm=warm)
        if _compiles(params, generator) and problem.compile_step():
            # here it is compiled
            step_timer(problem, *samplers, params["optimizer"], generator, is_built_in(params))(params["batch_size"])
        callbacks: list[Callback] = [*([] if watch is None else [watch]), *(self.callbacks or ())]
        if tasks is not None:
            callbacks.append(tasks.begin(setup.attributes | fitted))
        with contextlib.ExitStack() as stack:
            if self.verbose:
                callbacks.insert(0 if watch is None else 1, stack.enter_context(ProgressBar()))
            left = end - time.perf_counter()
            solution = solve(
                problem,
                *samplers,
                max_time=None if math.isinf(left) else max(left, 1e-3),
                capture=is_built_in(params),
                fallback=None if warm else problem.affine,
                callbacks=callbacks,
                **settings(params, generator),
            )
        if watch is not None:
            _finish(watch, solution)
        return setup.attributes | fitted | _learned(solution) | {"_solution": None}

    def _follows_the_budget(self) -> bool:
        """Return whether the budget of seconds determines the batch size."""
        return getattr(self, "batch_size", None) == "auto" and self.max_time is not None

    def _within(
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
        """Choose batch, rate and layer sizes by the remaining time.

        Returns the problem, or one with wider layers.
        """
        params, n_features = setup.params, setup.source.rows.shape[1]
        n_steps = _choose_batch(problem, samplers, params, n_rows, end, generator)
        sizes = self._sizes_of_long_fits(n_features, n_rows, n_steps * params["batch_size"])
        if not warm and problem.invertible and sizes not in (None, params["hidden_layer_sizes"]):
            params["hidden_layer_sizes"] = sizes
            problem = self._build(setup.units, params, generator)
            n_steps = _choose_batch(problem, samplers, params, n_rows, end, generator)
        if self.learning_rate_init == "auto":
            params["learning_rate_init"] = default_rate(n_features, n_steps)
        return problem

    @learning
    def _fit_part(self, laws: Laws, generator: Generator) -> dict[str, Any]:
        """Make one pass over two samples; return the fitted attributes."""
        warm = hasattr(self, "problem_")
        setup = self._set_up(laws, generator, warm=warm, of_stream=True)
        source, target, params = setup.source, setup.target, setup.params
        n_steps = math.ceil(max(len(source.distinct), len(target.distinct)) / params["batch_size"])
        samplers = source.sampler(self._stratified_from), target.sampler(self._stratified_from)
        given = settings(params, generator) | {"n_steps": n_steps, "callbacks": self.callbacks or ()}
        if warm and params["max_time"] is not None and self.history_:
            # the schedules of a fit by the clock followed the time: as many steps as that would have been
            given["max_iter"] = max(1, round(self.n_iter_ / self.history_[-1]["progress"]))
        if not warm:
            solution = solve(self._build(setup.units, params, generator), *samplers, **given)
        else:
            last = self._solution
            if last is None:
                problem = self._build(setup.units, params, generator)
                _load(problem, self.problem_)
                last = Solution(problem, self.status_, [], self.n_iter_)
            solution = resume(last, *samplers, **given)
        before = self.history_ if warm else []
        return setup.attributes | _learned(solution, before) | {"_solution": solution if solution.training else None}

    def _build(self, units: Units, params: Mapping[str, Any], generator: Generator) -> Problem:
        """Build the problem on the device of `generator`."""
        cost = units.cost(as_cost(params.get("cost", self._cost)), generator.device)
        problem = self._method(units.n_directions, SimpleNamespace(**params), cost, generator)
        return problem.to(generator.device, torch.float32).eval()


def _choose_batch(
    problem: Problem,
    samplers: tuple[Sampler, Sampler],
    params: dict[str, Any],
    n_rows: int,
    end: float,
    generator: Generator,
) -> float:
    """Set the batch size; return the expected number of steps.

    A few steps are timed for it.
    """
    timer = step_timer(problem, *samplers, params["optimizer"], generator, is_built_in(params))
    largest = max(BATCH, min(LARGEST, n_rows))
    params["batch_size"] = batch_for(end - time.perf_counter(), timer, largest)
    return float(min(params["max_iter"], (end - time.perf_counter()) / timer(params["batch_size"])))


def _compiles(params: Mapping[str, Any], generator: Generator) -> bool:
    """Return whether to compile the step.

    ``'auto'`` never compiles on a GPU, where a captured step of many rows gains little.
    """
    asked = params.get("compile", False)
    if asked == "auto":
        is_long = (params["max_time"] or 0.0) >= WORTH_COMPILING
        asked = is_long and generator.device.type == "cpu" and has_compiler()
    return bool(asked)


def settings(params: Mapping[str, Any], generator: Generator) -> dict[str, Any]:
    """What `solve` and `resume` take alike."""
    return {
        "max_iter": params["max_iter"],
        "batch_size": params["batch_size"],
        "optimizer": params["optimizer"],
        "learning_rate": params["learning_rate_init"],
        "weight_decay": params["weight_decay"],
        "averaging": params.get("averaging", AVERAGING),
        "generator": generator,
    }


def _finish(watch: Watch, solution: Solution) -> None:
    """Give the watch of a fit its last word."""
    if solution.status is Status.INTERRUPTED and solution.history:
        watch(solution.n_iter, solution.problem, dict(solution.history[-1]))  # the last weights count, too
    if solution.status not in (Status.DIVERGED, Status.FAILED):
        last = solution.history[-1] if solution.history else {}
        if watch.finish(solution.problem, "affine" in last):
            last.pop("affine", None)


def _learned(solution: Solution, before: list[Any] | None = None) -> dict[str, Any]:
    if solution.status is Status.FAILED:
        raise FloatingPointError(solution.status.message)
    return {
        "problem_": solution.problem.requires_grad_(False),
        "status_": solution.status,
        "history_": [*(before or []), *solution.history],
        "n_iter_": solution.n_iter,
    }


def _load(problem: Problem, previous: Problem) -> None:
    try:
        problem.load_state_dict(previous.state_dict())
    except RuntimeError as error:
        raise ValueError(
            "warm_start=True needs the networks of the previous fit; pass warm_start=False, or its sizes and form"
        ) from error
