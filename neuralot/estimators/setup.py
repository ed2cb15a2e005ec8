"""What a fit starts from."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from sklearn.base import BaseEstimator
from torch import Generator, Tensor

from neuralot.costs import as_cost
from neuralot.defaults import default_steps
from neuralot.estimators.checks import check_cost, check_device, check_random_state_of
from neuralot.estimators.laws import SOME_ROWS, Laws, Standardised, evenly
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
from neuralot.estimators.units import Units, bounds_of, clipped
from neuralot.estimators.warn import warn_of_other_units
from neuralot.networks import ACTIVATIONS
from neuralot.solve.loop import Solution
from neuralot.solve.optimizers import OPTIMIZERS
from neuralot.solve.problem import Problem
from neuralot.solve.status import Record, Status

# a stream is taken for at least so many rows, however few come first
ROWS_OF_A_STREAM = 4_096
# parameters that are networks of the user's own
NETWORKS = ("map_network", "potential_network", "height_network")


@dataclass(frozen=True)
class Setup:
    """What a fit starts from.

    Attributes
    ----------
    units : Units
    params : dict
        The constructor's parameters, with values in place of ``'auto'``; a budget of seconds changes some of them.
    source, target : Standardised
    """

    units: Units
    params: dict[str, Any]
    source: Standardised
    target: Standardised

    @property
    def attributes(self) -> dict[str, Any]:
        """Fitted attributes that are known before the first step."""
        return {"units_": self.units, "_fitted_params": self.params}


class Preparation(BaseEstimator, ABC):
    """Standardises the laws of a fit, and resolves its parameters."""

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
    # fitted attributes that a class has beside those of all
    _own_attributes: frozenset[str] = frozenset()
    # what `_resolved` adds, and a warm start keeps
    _kept: frozenset[str] = frozenset()
    # what else to do where the budget was too short or the fit diverged
    _advice: str = ""
    # whether rows very far outside are moved in; a target that images must be rows of stays as it is
    _clips: bool = False
    # of so many distinct rows on its batches are stratified samples
    _stratified_from: float = math.inf

    @abstractmethod
    def _resolved(self, rows: Tensor, n_source: int, n_target: int) -> dict[str, Any]:
        """Return values for the parameters given as ``'auto'``.

        And for those that every fit needs.

        `rows` are at most 2000 distinct standardised rows of the source, which has `n_source` of them, and the target
        has `n_target`.
        """

    def _given_or(self, auto: dict[str, Any]) -> dict[str, Any]:
        """Return parameters, with values of `auto` in place of ``'auto'``."""
        given = {name: getattr(self, name) for name in auto}
        is_auto = {name: isinstance(value, str) and value == "auto" for name, value in given.items()}
        return {name: auto[name] if is_auto[name] else value for name, value in given.items()}

    def _generator(self, steps_before: int = 0) -> Generator:
        """Return a generator seeded by `random_state`."""
        return seeded_generator(self.random_state, check_device(self.device), steps_before)

    def _check_parameters(self, *names: str) -> None:
        """Check some parameters, or all."""
        params = self.get_params(deep=False)
        check_parameters({name: params[name] for name in names or params}, self._parameters)

    def _set_up(self, laws: Laws, generator: Generator, *, warm: bool, of_stream: bool = False) -> Setup:
        """Standardise both laws and resolve the parameters."""
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
        return Setup(units, params, source, target)

    def _of_next_part(self) -> dict[str, Any]:
        """Return the parameters of the next part of a stream."""
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


def parameters_of(cls: type[Preparation]) -> dict[str, Parameter]:
    """Return what each parameter of an estimator may be."""
    return cls._parameters


def attributes_of(cls: type[Preparation]) -> frozenset[str]:
    """Return the fitted attributes that only this estimator has."""
    return cls._own_attributes


def _has_networks(params: Mapping[str, Any]) -> bool:
    """Whether any network is the user's own."""
    return any(params.get(name) is not None for name in NETWORKS)


def is_built_in(params: Mapping[str, Any]) -> bool:
    """Return whether networks and cost are this package's.

    These work in double precision, and compute nothing on the host.
    """
    return not _has_networks(params) and as_cost(params.get("cost", "sqeuclidean")).homogeneous


def seeded_generator(random_state: Any, device: torch.device, steps_before: int = 0) -> Generator:
    """Return a seeded generator on a device.

    Each part of a stream gets another one.
    """
    seed = int(check_random_state_of(random_state).randint(np.iinfo(np.int32).max))
    return Generator(device).manual_seed(seed + steps_before)
