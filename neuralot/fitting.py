"""A fit: from an estimator's parameters and two weighted samples to the attributes of the fitted estimator."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from sklearn.utils import gen_batches
from torch import Generator, Tensor

from neuralot.callbacks import ProgressBar
from neuralot.compiled import has_compiler
from neuralot.costs import as_cost
from neuralot.defaults import BATCH, default_rate, default_steps
from neuralot.mapping import Change
from neuralot.pace import LARGEST, batch_for, step_timer
from neuralot.sampling import ArraySampler, Sampler, canonical_order, distinct, hold_out, spaced
from neuralot.scaling import NUMBERS_PER_BLOCK, Units, bounds_of, clipped
from neuralot.semidual import SemiDual
from neuralot.solve import Record, Solution, Status, go_on, solve
from neuralot.validation import check_cost, check_random_state_of, warn_of_other_units

if TYPE_CHECKING:
    from neuralot.base import BaseTransport
    from neuralot.tasks import Tasks

SOME_ROWS = 2_000
# what a warm start takes over from the first fit where it is 'auto'
KEPT = {"hidden_layer_sizes", "activation", "noise_shape", "affine_base"}
# what may change from part to part of a stream; the last three count where its optimisers begin anew, as after a
# divergence
OF_TRAINING = ("max_iter", "batch_size", "optimizer", "learning_rate_init", "weight_decay")
# what has no part in a stream, or none in the networks
BESIDE = {
    "callbacks",
    "compile",
    "device",
    "early_stopping",
    "max_time",
    "n_iter_no_change",
    "random_state",
    "tol",
    "validation_fraction",
    "verbose",
    "warm_start",
}
# seconds of a fit from which on a compiled step has made good for its compilation
WORTH_COMPILING = 300.0
# decay of the weight average per step, where a transport has no other
AVERAGING = 0.99
# parameters that are networks of the user's own
NETWORKS = ("map_network", "potential_network", "height_network")
# a stream is taken for at least so many rows, however few come first
ROWS_OF_A_STREAM = 4_096


@dataclass(frozen=True)
class Law:
    """A sample: rows of shape (n, n_features) and their weights, float64 of shape (n,)."""

    rows: np.ndarray
    weights: np.ndarray

    @cached_property
    def order(self) -> np.ndarray:
        """Where the rows stand in an order of their own; those of no weight do not."""
        return canonical_order(self.rows, self.weights)

    def some(self, n_rows: int = SOME_ROWS) -> Law:
        """At most `n_rows` rows of them, evenly in their order."""
        some = self.order[evenly(len(self.order), n_rows)]
        return Law(self.rows[some], self.weights[some])

    def few(self, n_rows: int = SOME_ROWS) -> Law:
        """The law itself, or `n_rows` of its rows that count alike if it has more."""
        if len(self.rows) <= n_rows:
            return self
        return Law(self.rows[spaced(self.weights, n_rows)], np.ones(n_rows))

    def repeated(self) -> Law:
        """The same law as about as many rows that count about alike: heavy ones stand there several times."""
        times = np.rint(self.weights / self.weights.mean()).astype(int)
        times = np.maximum(times, self.weights > 0)
        return Law(self.rows.repeat(times, axis=0), (self.weights / np.maximum(times, 1)).repeat(times))


@dataclass(frozen=True)
class Standardised:
    """A law as networks see it: float32 rows on the device, in their own order, and their weights."""

    rows: Tensor
    weights: np.ndarray

    @classmethod
    def of(cls, law: Law, enter: Change, n_columns: int, generator: Generator) -> Standardised:
        """Bring a law into its units; the one copy that a fit keeps."""
        x = np.empty((len(law.order), n_columns), dtype=np.float32)
        for block in gen_batches(len(x), max(1, NUMBERS_PER_BLOCK // law.rows.shape[1])):
            x[block] = enter(law.rows[law.order[block]])
        return cls(torch.from_numpy(x).to(generator.device), law.weights[law.order])

    @cached_property
    def distinct(self) -> Tensor:
        """Indices of rows without repetitions."""
        return distinct(self.rows)

    def sampler(self, stratified_from: float = math.inf) -> ArraySampler:
        """Draws rows in proportion to their weights; from so many distinct rows on in stratified samples."""
        uniform = bool((self.weights == self.weights[0]).all())
        weights = None if uniform else torch.as_tensor(self.weights)
        return ArraySampler(self.rows, weights, stratified=len(self.distinct) >= stratified_from)

    def alike(self, n_rows: int) -> Tensor:
        """At most `n_rows` rows that count alike."""
        return self.rows[torch.from_numpy(spaced(self.weights, min(int(np.count_nonzero(self.weights)), n_rows)))]

    def distinct_rows(self, n_rows: int) -> tuple[Tensor, Tensor]:
        """Rows without repetitions and their shares of the weight; of more than `n_rows`, some that count alike."""
        chosen, shares = self.sampler().distinct()
        if len(chosen) <= n_rows:
            return self.rows[chosen], shares.to(self.rows)
        rows = self.alike(n_rows)
        return rows, rows.new_full((len(rows),), 1 / len(rows))

    def hold_out(self, fraction: float, generator: Generator) -> tuple[Standardised, Tensor]:
        """Split off a fraction of the weight; return what is left, and some rows of that fraction."""
        left, held = self.split(fraction, generator)
        return left, held.alike(SOME_ROWS)

    def split(self, fraction: float, generator: Generator) -> tuple[Standardised, Standardised]:
        """Split a fraction of the weight off; return what is left, and that fraction."""
        weights, held = hold_out(self.weights, len(self.distinct), fraction, generator)
        if not weights.any():
            raise ValueError(
                f"early_stopping=True needs at least 2 rows in each sample and a validation_fraction that leaves "
                f"some, got {len(self.rows)} rows and {fraction}"
            )
        return Standardised(self.rows, weights), Standardised(self.rows, held)


Laws = tuple[Law, Law]


class Watch(Protocol):
    """A callback of the loop that has the last word on the problem."""

    def __call__(self, step: int, problem: SemiDual, record: Record) -> bool: ...

    def finish(self, problem: SemiDual, is_affine: bool = False) -> bool:
        """Load better weights than the problem's, which may be those of the affine map; return whether it did."""


Watched = tuple[Standardised, Standardised, Watch | None]


def fit(
    transport: BaseTransport, laws: Laws, generator: Generator, start: float, tasks: Tasks | None = None
) -> dict[str, Any]:
    """Fit a transport, from its last weights if it is a warm start; return the fitted attributes.

    `start` is when its time began, and `tasks` is told of every record.
    """
    warm = transport.warm_start and hasattr(transport, "problem_")
    source, target, fitted = _prepared(transport, laws, generator, warm=warm)
    problem = build(transport, fitted, generator)
    if warm:
        _load(problem, transport.problem_)
    fitted |= transport._of_target(laws[1], target)
    source, target, watch = transport._watch(problem, source, target, generator)
    samplers = source.sampler(transport._stratified_from), target.sampler(transport._stratified_from)
    callbacks = [*([] if watch is None else [watch]), *(transport.callbacks or ())]
    params = fitted["_fitted_params"]
    end = math.inf if params["max_time"] is None else start + params["max_time"]
    if _follows_the_budget(transport):
        n_rows, n_features = min(len(source.distinct), len(target.distinct)), source.rows.shape[1]
        n_steps = _choose_batch(problem, samplers, params, n_rows, end, generator)
        sizes = transport._sizes_of_long_fits(n_features, n_rows, n_steps * params["batch_size"])
        if not warm and problem.invertible and sizes not in (None, params["hidden_layer_sizes"]):
            params["hidden_layer_sizes"] = sizes
            problem = build(transport, fitted, generator)
            n_steps = _choose_batch(problem, samplers, params, n_rows, end, generator)
        if transport.learning_rate_init == "auto":
            params["learning_rate_init"] = default_rate(n_features, n_steps)
    if _compiles(params, generator) and problem.compile_step():
        # here it is compiled
        step_timer(problem, *samplers, params["optimizer"], generator, is_ours(params))(params["batch_size"])
    if tasks is not None:
        callbacks.append(tasks.begin(fitted))
    with contextlib.ExitStack() as stack:
        if transport.verbose:
            callbacks.insert(0 if watch is None else 1, stack.enter_context(ProgressBar()))
        left = end - time.perf_counter()
        solution = solve(
            problem,
            *samplers,
            max_time=None if math.isinf(left) else max(left, 1e-3),
            capture=is_ours(params),
            or_affine=not warm,
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


def _follows_the_budget(transport: BaseTransport) -> bool:
    """Whether the batch is ours to choose, by how many steps a budget of seconds allows."""
    return getattr(transport, "batch_size", None) == "auto" and transport.max_time is not None


def _choose_batch(
    problem: SemiDual,
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


def fit_part(transport: BaseTransport, laws: Laws, generator: Generator) -> dict[str, Any]:
    """Let a transport, fitted or not, make one pass over two samples; return the fitted attributes."""
    warm = hasattr(transport, "problem_")
    source, target, fitted = _prepared(transport, laws, generator, warm=warm, of_stream=True)
    params = fitted["_fitted_params"]
    n_steps = math.ceil(max(len(source.distinct), len(target.distinct)) / params["batch_size"])
    samplers = source.sampler(transport._stratified_from), target.sampler(transport._stratified_from)
    given = settings(params, generator) | {"n_steps": n_steps, "callbacks": transport.callbacks or ()}
    if warm and params["max_time"] is not None and transport.history_:
        # of a fit by the clock, the schedules went on with the time: as many steps as that would have been
        given["max_iter"] = max(1, round(transport.n_iter_ / transport.history_[-1]["progress"]))
    if not warm:
        solution = solve(build(transport, fitted, generator), *samplers, **given)
    else:
        last = transport._solution
        if last is None:
            problem = build(transport, fitted, generator)
            _load(problem, transport.problem_)
            last = Solution(problem, transport.status_, [], transport.n_iter_)
        solution = go_on(last, *samplers, **given)
    before = transport.history_ if warm else []
    return fitted | _learned(solution, before) | {"_solution": solution if solution.training else None}


def build(transport: BaseTransport, fitted: Mapping[str, Any], generator: Generator) -> SemiDual:
    """Build the problem of fitted attributes, on the device of `generator`."""
    units: Units = fitted["units_"]
    params = SimpleNamespace(**fitted["_fitted_params"])
    cost = units.cost(as_cost(getattr(params, "cost", transport.cost)), generator.device)
    problem = transport._method(units.n_directions, params, cost, generator)
    return problem.to(generator.device, torch.float32).eval()


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


def evenly(n_rows: int, at_most: int) -> np.ndarray:
    """Indices of at most so many of the rows, at equal distances."""
    return np.linspace(0, n_rows - 1, min(n_rows, at_most)).astype(int)


def _prepared(
    transport: BaseTransport, laws: Laws, generator: Generator, *, warm: bool, of_stream: bool = False
) -> tuple[Standardised, Standardised, dict[str, Any]]:
    """Both laws in their units, and the attributes that are known before a fit: units and resolved parameters."""
    units = _units_of_the_last_fit(transport, laws) if warm else _units(transport, laws)
    source, target = (
        Standardised.of(law, enter, units.n_directions, generator)
        for law, enter in zip(laws, (units.from_source, units.from_target), strict=True)
    )
    some = source.rows[source.distinct[evenly(len(source.distinct), SOME_ROWS)]]
    n_source, n_target = (max(len(law.distinct), ROWS_OF_A_STREAM * of_stream) for law in (source, target))
    chosen = transport._resolved(some, n_source, n_target)
    # what the networks of this fit are made from; a later set_params must not change them
    params = {**transport.get_params(deep=False), **chosen, "random_state": None, "callbacks": None}
    params["max_iter"] = default_steps(params["max_iter"], None if of_stream else params["max_time"])
    if warm and of_stream:  # its networks and laws stay what they were
        params = _of_next_part(transport)
    elif warm:  # the weights belong to the networks of the first fit
        kept = [name for name in KEPT & chosen.keys() if getattr(transport, name, "auto") == "auto"]
        params |= {name: transport._fitted_params[name] for name in kept}
    return source, target, {"units_": units, "_fitted_params": params}


def _of_next_part(transport: BaseTransport) -> dict[str, Any]:
    """Parameters of the first part of a stream, with those that may change."""
    params = dict(transport._fitted_params)
    given = {name: value for name, value in transport.get_params(deep=False).items() if name not in BESIDE}
    for name, value in given.items():
        if (isinstance(value, str) and value == "auto") or repr(value) == repr(params[name]):
            continue
        if name not in OF_TRAINING:
            raise ValueError(
                f"{name} must stay {params[name]!r}, as in the first part of the stream, got {value!r}; begin anew "
                f"with fit"
            )
        params[name] = value
    return params


def _units(transport: BaseTransport, laws: Laws) -> Units:
    source, target = laws
    cost = as_cost(transport.cost)
    check_cost(cost, source.rows, target.rows)
    reduce = not _has_networks(transport.get_params(deep=False))
    of = partial(Units.of, v=source.weights, w=target.weights, cost=cost, reduce=reduce)
    units = of(source.rows, target.rows)
    bounds = [bounds_of(law.rows, law.order, units.scale) for law in laws]
    if not transport._clips or all(each is None for each in bounds):
        return units
    units = of(*(clipped(law.rows, each) for law, each in zip(laws, bounds, strict=True)))
    return replace(units, source_bounds=bounds[0], target_bounds=bounds[1])


def _units_of_the_last_fit(transport: BaseTransport, laws: Laws) -> Units:
    units, n_features = transport.units_, laws[0].rows.shape[1]
    if len(units.source_centre) != n_features:
        raise ValueError(
            f"warm_start=True needs the {len(units.source_centre)} columns of the previous fit, got {n_features}; pass "
            f"warm_start=False"
        )
    check_cost(as_cost(transport.cost), *(law.rows for law in laws))
    if not units.cover(*(law.some().rows for law in laws)):
        raise ValueError(
            "warm_start=True and partial_fit need rows in the directions in which those of the previous fit varied, "
            "and the same centre beside them; pass warm_start=False and call fit"
        )
    source, target = (law.some().rows for law in laws)
    warn_of_other_units(units.from_source(source), units.from_target(target))
    return units


def settings(params: Mapping[str, Any], generator: Generator) -> dict[str, Any]:
    """What `solve` and `go_on` take alike."""
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
        raise FloatingPointError(solution.status.sentence)
    return {
        "problem_": solution.problem.requires_grad_(False),
        "status_": solution.status,
        "history_": [*(before or []), *solution.history],
        "n_iter_": solution.n_iter,
    }


def _load(problem: SemiDual, previous: SemiDual) -> None:
    try:
        problem.load_state_dict(previous.state_dict())
    except RuntimeError as error:
        raise ValueError(
            "warm_start=True needs the networks of the previous fit; pass warm_start=False, or its sizes and form"
        ) from error
