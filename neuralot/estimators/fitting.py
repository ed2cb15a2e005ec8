"""A fit: from an estimator's parameters and two weighted samples to the attributes of the fitted estimator."""

from __future__ import annotations

import contextlib
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial, wraps
from types import SimpleNamespace
from typing import Any, ClassVar, ParamSpec, Protocol, TypeVar

import numpy as np
import torch
from sklearn.base import BaseEstimator
from torch import Generator, Tensor

from neuralot.costs import Cost, as_cost
from neuralot.defaults import BATCH, default_rate, default_steps
from neuralot.estimators.checks import check_cost, check_device, check_random_state_of
from neuralot.estimators.laws import Law, Laws, Standardised, evenly
from neuralot.estimators.parameters import (
    ANYTHING,
    CALLBACKS,
    SIZES,
    VERBOSE,
    InStreams,
    Parameter,
    auto_or,
    check_parameters,
    integer,
    none_or,
    number,
    one_of,
)
from neuralot.estimators.tasks import Tasks
from neuralot.estimators.units import Units, bounds_of, clipped
from neuralot.estimators.warn import warn_of_other_units
from neuralot.forms.compiled import has_compiler
from neuralot.networks import ACTIVATIONS
from neuralot.sampling import Sampler
from neuralot.solve.callbacks import ProgressBar
from neuralot.solve.loop import Solution, resume, solve
from neuralot.solve.optimizers import OPTIMIZERS
from neuralot.solve.pace import LARGEST, batch_for, step_timer
from neuralot.solve.problem import Problem
from neuralot.solve.status import Record, Status

SOME_ROWS = 2_000
# seconds of a fit from which on a compiled step has made good for its compilation
WORTH_COMPILING = 300.0
# decay of the weight average per step, where a transport has no other
AVERAGING = 0.99
# parameters that are networks of the user's own
NETWORKS = ("map_network", "potential_network", "height_network")
# a stream is taken for at least so many rows, however few come first
ROWS_OF_A_STREAM = 4_096


Given = ParamSpec("Given")
Result = TypeVar("Result")


def learning(function: Callable[Given, Result]) -> Callable[Given, Result]:
    """Compute gradients in a function, whatever its caller has switched off."""

    @wraps(function)
    def with_gradients(*args: Given.args, **kwargs: Given.kwargs) -> Result:
        with torch.inference_mode(False), torch.enable_grad():
            return function(*args, **kwargs)

    return with_gradients


class Watch(Protocol):
    """A callback of the loop that has the last word on the problem."""

    def __call__(self, step: int, problem: Problem, record: Record) -> bool: ...

    def finish(self, problem: Problem, is_affine: bool = False) -> bool:
        """Load better weights than the problem's, which may be those of the affine map; return whether it did."""


Watched = tuple[Standardised, Standardised, Watch | None]


class Fitter(BaseEstimator, ABC):
    """Learns a problem from two laws, in steps that all estimators share, with hooks for what they do not.

    A subclass stores its parameters, builds its method in `_method`, says in `_resolved` what ``'auto'`` means, and in
    `_watch` what a fit learns from.
    """

    units_: Units
    problem_: Problem
    status_: Status
    history_: list[Record]
    n_iter_: int
    _fitted_params: dict[str, Any]
    _solution: Solution | None

    # what a fit asks of every transport, and not all have as a parameter
    cost: Any = "sqeuclidean"
    warm_start: bool = False
    # what each parameter of the constructor may be
    _parameters: ClassVar[dict[str, Parameter]] = {
        "hidden_layer_sizes": auto_or(SIZES).kept_when_warm(),
        "activation": one_of("auto", *ACTIVATIONS).kept_when_warm(),
        "max_iter": auto_or(integer(1)).of_training(),
        "max_time": none_or(number(0)).not_in_streams(),
        "learning_rate_init": auto_or(number(0)).of_training(),
        "optimizer": one_of(*OPTIMIZERS).of_training(),
        "validation_fraction": number(0, 1).not_in_streams(),
        "device": ANYTHING.not_in_streams(),
        "random_state": ANYTHING.not_in_streams(),
        "verbose": VERBOSE.not_in_streams(),
        "callbacks": CALLBACKS.not_in_streams(),
    }
    # what `_resolved` adds, and a warm start keeps
    _kept: frozenset[str] = frozenset()
    # whether rows very far outside are moved in; a target that images must be rows of stays as it is
    _clips: bool = False
    # of so many distinct rows on its batches are stratified samples
    _stratified_from: float = math.inf

    @abstractmethod
    def _method(self, n_features: int, params: Any, cost: Cost, generator: Generator) -> Problem:
        """Build the method from the parameters of a fit (attributes of `params`)."""

    @abstractmethod
    def _resolved(self, rows: Tensor, n_source: int, n_target: int) -> dict[str, Any]:
        """Values of the parameters given as ``'auto'``, and of those that every fit needs.

        `rows` are at most 2000 distinct standardised rows of the source, which has `n_source` of them, and the target
        has `n_target`.
        """

    @abstractmethod
    def _watch(self, problem: Problem, source: Standardised, target: Standardised, generator: Generator) -> Watched:
        """What a fit learns from, and what watches it on rows that were held out."""

    def _sizes_of_long_fits(self, n_features: int, n_rows: int, n_draws: float) -> tuple[int, ...] | None:
        """Layer sizes where `max_time` allows so many draws; None if they do not depend on it."""
        return None

    def _of_target(self, law: Law, target: Standardised) -> dict[str, Any]:
        """Attributes that the target alone sets; most transports have none."""
        return {}

    def _given_or(self, auto: dict[str, Any]) -> dict[str, Any]:
        """The values of these parameters, and those of `auto` where they are ``'auto'``."""
        given = {name: getattr(self, name) for name in auto}
        is_auto = {name: isinstance(value, str) and value == "auto" for name, value in given.items()}
        return {name: auto[name] if is_auto[name] else value for name, value in given.items()}

    def _generator(self, steps_before: int = 0) -> Generator:
        """A generator seeded by `random_state`; another for each part of a stream."""
        return seeded_generator(self.random_state, check_device(self.device), steps_before)

    def _check_parameters(self, *names: str) -> None:
        """Check some parameters, or all."""
        params = self.get_params(deep=False)
        check_parameters({name: params[name] for name in names or params}, self._parameters)

    @learning
    def _fit(self, laws: Laws, generator: Generator, start: float, tasks: Tasks | None = None) -> dict[str, Any]:
        """Fit, from the last weights if it is a warm start; return the fitted attributes.

        `start` is when its time began, and `tasks` is told of every record.
        """
        warm = self.warm_start and hasattr(self, "problem_")
        source, target, fitted = self._prepared(laws, generator, warm=warm)
        problem = self._build(fitted, generator)
        if warm:
            _load(problem, self.problem_)
        fitted |= self._of_target(laws[1], target)
        source, target, watch = self._watch(problem, source, target, generator)
        samplers = source.sampler(self._stratified_from), target.sampler(self._stratified_from)
        callbacks = [*([] if watch is None else [watch]), *(self.callbacks or ())]
        params = fitted["_fitted_params"]
        end = math.inf if params["max_time"] is None else start + params["max_time"]
        if self._follows_the_budget():
            n_rows, n_features = min(len(source.distinct), len(target.distinct)), source.rows.shape[1]
            n_steps = _choose_batch(problem, samplers, params, n_rows, end, generator)
            sizes = self._sizes_of_long_fits(n_features, n_rows, n_steps * params["batch_size"])
            if not warm and problem.invertible and sizes not in (None, params["hidden_layer_sizes"]):
                params["hidden_layer_sizes"] = sizes
                problem = self._build(fitted, generator)
                n_steps = _choose_batch(problem, samplers, params, n_rows, end, generator)
            if self.learning_rate_init == "auto":
                params["learning_rate_init"] = default_rate(n_features, n_steps)
        if _compiles(params, generator) and problem.compile_step():
            # here it is compiled
            step_timer(problem, *samplers, params["optimizer"], generator, is_ours(params))(params["batch_size"])
        if tasks is not None:
            callbacks.append(tasks.begin(fitted))
        with contextlib.ExitStack() as stack:
            if self.verbose:
                callbacks.insert(0 if watch is None else 1, stack.enter_context(ProgressBar()))
            left = end - time.perf_counter()
            solution = solve(
                problem,
                *samplers,
                max_time=None if math.isinf(left) else max(left, 1e-3),
                capture=is_ours(params),
                fallback=None if warm else problem.affine,
                callbacks=callbacks,
                **settings(params, generator),
            )
        if watch is not None and solution.status is Status.INTERRUPTED and solution.history:
            watch(solution.n_iter, solution.problem, dict(solution.history[-1]))  # the last weights count, too
        if watch is not None and solution.status not in (Status.DIVERGED, Status.FAILED):
            last = solution.history[-1] if solution.history else {}
            if watch.finish(solution.problem, "affine" in last):
                last.pop("affine", None)
        return fitted | _learned(solution) | {"_solution": None}

    def _follows_the_budget(self) -> bool:
        """Whether the batch is ours to choose, by how many steps a budget of seconds allows."""
        return getattr(self, "batch_size", None) == "auto" and self.max_time is not None

    @learning
    def _fit_part(self, laws: Laws, generator: Generator) -> dict[str, Any]:
        """Make one pass over two samples, whether fitted or not; return the fitted attributes."""
        warm = hasattr(self, "problem_")
        source, target, fitted = self._prepared(laws, generator, warm=warm, of_stream=True)
        params = fitted["_fitted_params"]
        n_steps = math.ceil(max(len(source.distinct), len(target.distinct)) / params["batch_size"])
        samplers = source.sampler(self._stratified_from), target.sampler(self._stratified_from)
        given = settings(params, generator) | {"n_steps": n_steps, "callbacks": self.callbacks or ()}
        if warm and params["max_time"] is not None and self.history_:
            # of a fit by the clock, the schedules went on with the time: as many steps as that would have been
            given["max_iter"] = max(1, round(self.n_iter_ / self.history_[-1]["progress"]))
        if not warm:
            solution = solve(self._build(fitted, generator), *samplers, **given)
        else:
            last = self._solution
            if last is None:
                problem = self._build(fitted, generator)
                _load(problem, self.problem_)
                last = Solution(problem, self.status_, [], self.n_iter_)
            solution = resume(last, *samplers, **given)
        before = self.history_ if warm else []
        return fitted | _learned(solution, before) | {"_solution": solution if solution.training else None}

    def _build(self, fitted: Mapping[str, Any], generator: Generator) -> Problem:
        """Build the problem of fitted attributes, on the device of `generator`."""
        units: Units = fitted["units_"]
        params = SimpleNamespace(**fitted["_fitted_params"])
        cost = units.cost(as_cost(getattr(params, "cost", self.cost)), generator.device)
        problem = self._method(units.n_directions, params, cost, generator)
        return problem.to(generator.device, torch.float32).eval()

    def _prepared(
        self, laws: Laws, generator: Generator, *, warm: bool, of_stream: bool = False
    ) -> tuple[Standardised, Standardised, dict[str, Any]]:
        """Both laws in their units, and the attributes that are known before a fit: units and resolved parameters."""
        units = self._units_of_the_last_fit(laws) if warm else self._units_of(laws)
        source, target = (
            Standardised.of(law, enter, units.n_directions, generator)
            for law, enter in zip(laws, (units.from_source, units.from_target), strict=True)
        )
        some = source.rows[source.distinct[evenly(len(source.distinct), SOME_ROWS)]]
        n_source, n_target = (max(len(law.distinct), ROWS_OF_A_STREAM * of_stream) for law in (source, target))
        chosen = self._resolved(some, n_source, n_target)
        # what the networks of this fit are made from; a later set_params must not change them
        params = {**self.get_params(deep=False), **chosen, "random_state": None, "callbacks": None}
        params["max_iter"] = default_steps(params["max_iter"], None if of_stream else params["max_time"])
        if warm and of_stream:  # its networks and laws stay what they were
            params = self._of_next_part()
        elif warm:  # the weights belong to the networks of the first fit
            is_kept = {name for name, parameter in self._parameters.items() if parameter.kept} | self._kept
            kept = [name for name in is_kept & chosen.keys() if getattr(self, name, "auto") == "auto"]
            params |= {name: self._fitted_params[name] for name in kept}
        return source, target, {"units_": units, "_fitted_params": params}

    def _of_next_part(self) -> dict[str, Any]:
        """Parameters of the first part of a stream, with those that may change."""
        params = dict(self._fitted_params)
        for name, value in self.get_params(deep=False).items():
            in_streams = self._parameters[name].in_streams
            is_auto = isinstance(value, str) and value == "auto"
            if in_streams is InStreams.UNUSED or is_auto or repr(value) == repr(params[name]):
                continue
            if in_streams is InStreams.FIXED:
                raise ValueError(
                    f"{name} must stay {params[name]!r}, as in the first part of the stream, got {value!r}; begin anew "
                    f"with fit"
                )
            params[name] = value
        return params

    def _units_of(self, laws: Laws) -> Units:
        source, target = laws
        cost = as_cost(self.cost)
        check_cost(cost, source.rows, target.rows)
        reduce = not _has_networks(self.get_params(deep=False))
        of = partial(Units.of, v=source.weights, w=target.weights, cost=cost, reduce=reduce)
        units = of(source.rows, target.rows)
        bounds = [bounds_of(law.rows, law.order, units.scale) for law in laws]
        if not self._clips or all(each is None for each in bounds):
            return units
        units = of(*(clipped(law.rows, each) for law, each in zip(laws, bounds, strict=True)))
        return replace(units, source_bounds=bounds[0], target_bounds=bounds[1])

    def _units_of_the_last_fit(self, laws: Laws) -> Units:
        units, n_features = self.units_, laws[0].rows.shape[1]
        if len(units.source_centre) != n_features:
            raise ValueError(
                f"warm_start=True needs the {len(units.source_centre)} columns of the previous fit, got {n_features}; "
                f"pass warm_start=False"
            )
        check_cost(as_cost(self.cost), *(law.rows for law in laws))
        if not units.cover(*(law.some().rows for law in laws)):
            raise ValueError(
                "warm_start=True and partial_fit need rows in the directions in which those of the previous fit "
                "varied, and the same centre beside them; pass warm_start=False and call fit"
            )
        source, target = (law.some().rows for law in laws)
        warn_of_other_units(units.from_source(source), units.from_target(target))
        return units


def _choose_batch(
    problem: Problem,
    samplers: tuple[Sampler, Sampler],
    params: dict[str, Any],
    n_rows: int,
    end: float,
    generator: Generator,
) -> float:
    """Set the batch size by timing a few steps; return about how many there will be until `end`."""
    timer = step_timer(problem, *samplers, params["optimizer"], generator, is_ours(params))
    largest = max(BATCH, min(LARGEST, n_rows))
    params["batch_size"] = batch_for(end - time.perf_counter(), timer, largest)
    return float(min(params["max_iter"], (end - time.perf_counter()) / timer(params["batch_size"])))


def _compiles(params: Mapping[str, Any], generator: Generator) -> bool:
    """Whether the step is to be compiled; by itself not on a GPU, where a captured step of many rows gains little."""
    asked = params.get("compile", False)
    if asked == "auto":
        is_long = (params["max_time"] or 0.0) >= WORTH_COMPILING
        asked = is_long and generator.device.type == "cpu" and has_compiler()
    return bool(asked)


def is_ours(params: Mapping[str, Any]) -> bool:
    """Whether networks and cost are this package's: they work in double precision, and on the device alone."""
    return not _has_networks(params) and as_cost(params.get("cost", "sqeuclidean")).homogeneous


def _has_networks(params: Mapping[str, Any]) -> bool:
    """Whether any network is the user's own."""
    return any(params.get(name) is not None for name in NETWORKS)


def seeded_generator(random_state: Any, device: torch.device, steps_before: int = 0) -> Generator:
    """Return a generator on a device; another for each part of a stream."""
    seed = int(check_random_state_of(random_state).randint(np.iinfo(np.int32).max))
    return Generator(device).manual_seed(seed + steps_before)


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
