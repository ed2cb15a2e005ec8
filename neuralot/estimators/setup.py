"""What a fit starts from."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, Self, TypeVar

import numpy as np
import torch
from sklearn.base import BaseEstimator
from torch import Generator, Tensor

from neuralot.costs import Cost, as_cost
from neuralot.defaults import default_steps
from neuralot.estimators.checks import check_cost, check_device, check_random_state_of
from neuralot.estimators.laws import SOME_ROWS, Laws, Standardised, evenly
from neuralot.estimators.units import Units, bounds_of, clipped
from neuralot.estimators.warn import warn_of_other_units
from neuralot.networks import ACTIVATIONS
from neuralot.parameters import (
    ANYTHING,
    CALLBACKS,
    SIZES,
    VERBOSE,
    InStreams,
    Parameter,
    Settings,
    auto_or,
    estimator,
    integer,
    none_or,
    number,
    one_of,
    parameter,
    parameters_of,
)
from neuralot.solve.loop import Callback, Solution
from neuralot.solve.problem import Problem
from neuralot.solve.status import Record, Status

T = TypeVar("T")

# a stream is taken for at least so many rows, however few come first
ROWS_OF_A_STREAM = 4_096
# parameters that are networks of the user's own
NETWORKS = ("map_form", "potential_network", "height_network")


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


class Fitted:
    """Attributes of every fitted transport."""

    units_: Units
    problem_: Problem
    status_: Status
    history_: list[Record]
    n_iter_: int
    _fitted_params: dict[str, Any]
    _solution: Solution | None


@estimator
class Preparation(Fitted, BaseEstimator, ABC):
    """Standardises the laws of a fit, and resolves its parameters."""

    hidden_layer_sizes: Sequence[int] | str = parameter(auto_or(SIZES).kept_when_warm(), default="auto")
    activation: str = parameter(one_of("auto", *ACTIVATIONS).kept_when_warm(), default="auto")
    max_iter: int | str = parameter(auto_or(integer(1)).of_training(), default="auto")
    max_time: float | None = parameter(none_or(number(0)).not_in_streams(), default=None)
    learning_rate_init: float | str = parameter(auto_or(number(0)).of_training(), default="auto")
    validation_fraction: float = parameter(number(0, 1).not_in_streams(), default=0.1)
    device: str | torch.device = parameter(ANYTHING.not_in_streams(), default="auto")
    random_state: int | np.random.RandomState | None = parameter(ANYTHING.not_in_streams(), default=None)
    verbose: bool | int = parameter(VERBOSE.not_in_streams(), default=False)
    callbacks: Sequence[Callback] | None = parameter(CALLBACKS.not_in_streams(), default=None)

    # fitted attributes that a class has beside those of all
    _own_attributes: ClassVar[frozenset[str]] = frozenset()
    # what `_resolved` adds, and a warm start keeps
    _kept: ClassVar[frozenset[str]] = frozenset()
    # what else to do where the budget was too short or the fit diverged
    _advice: ClassVar[str] = ""
    # whether rows very far outside are moved in; a target that images must be rows of stays as it is
    _clips: ClassVar[bool] = False
    # of so many distinct rows on its batches are stratified samples
    _stratified_from: ClassVar[float] = math.inf

    @property
    def _cost(self) -> Cost:
        """Cost of the fit, squared Euclidean without a parameter `cost`."""
        return as_cost(getattr(self, "cost", "sqeuclidean"))

    @property
    def _continues(self) -> bool:
        """Whether the next fit continues from the last one."""
        return bool(getattr(self, "warm_start", False)) and hasattr(self, "problem_")

    @abstractmethod
    def _resolved(self, rows: Tensor, n_source: int, n_target: int) -> dict[str, Any]:
        """Return values for the parameters given as ``'auto'``.

        And for those that every fit needs.

        `rows` are at most 2000 distinct standardised rows of the source, which has `n_source` of them, and the target
        has `n_target`.
        """

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters by name.

        Parameters
        ----------
        deep : bool
            Whether parameters of groups are returned, too: ``critic_loss__expectile``.
        """
        params = super().get_params(deep)
        for name, group in self._groups().items() if deep else ():
            values = group.of(params[name]).get_params()
            params |= {f"{name}__{each}": value for each, value in values.items()}
        return params

    def set_params(self, **params: Any) -> Self:
        """Set parameters by name.

        Those of groups have names such as ``critic_loss__expectile``.
        """
        for name, group in self._groups().items():
            if any(each.startswith(f"{name}__") for each in params):
                params[name] = group.of(params.get(name, getattr(self, name)))
        return super().set_params(**params)

    @classmethod
    def _groups(cls) -> dict[str, type[Settings]]:
        """The class of each parameter that groups others."""
        return {name: each.group for name, each in parameters_of(cls).items() if each.group is not None}

    def _values(self) -> dict[str, Any]:
        """Return all parameters, those of groups by flat names."""
        params = self.get_params(deep=False)
        for name, group in self._groups().items():
            params |= named(name, group.of(params.pop(name)).get_params())
        return params

    @classmethod
    def _valid(cls) -> dict[str, Parameter]:
        """What each of `_values` may be."""
        valid = parameters_of(cls)
        for name, group in cls._groups().items():
            valid |= named(name, parameters_of(group))
        return valid

    def _given_or(self, auto: dict[str, Any]) -> dict[str, Any]:
        """Return parameters, with values of `auto` in place of ``'auto'``."""
        values = self._values()
        is_auto = {name: isinstance(values[name], str) and values[name] == "auto" for name in auto}
        return {name: auto[name] if is_auto[name] else values[name] for name in auto}

    def _generator(self, steps_before: int = 0) -> Generator:
        """Return a generator seeded by `random_state`."""
        return seeded_generator(self.random_state, check_device(self.device), steps_before)

    def _check_parameters(self, *names: str) -> None:
        """Check some parameters, or all."""
        params, valid = self.get_params(deep=False), parameters_of(type(self))
        for name in names or params:
            if name not in valid:
                raise TypeError(
                    f"{type(self).__name__} does not say what {name} may be; declare it as a parameter(...) of a class "
                    f"with the decorator estimator"
                )
            valid[name].check(name, params[name])

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
        params = {**self._values(), **chosen, "random_state": None, "callbacks": None}
        params["max_iter"] = default_steps(params["max_iter"], None if of_stream else params["max_time"])
        if warm and of_stream:  # its networks and laws stay what they were
            params = self._of_next_part()
        elif warm:  # the weights belong to the networks of the first fit
            is_kept = {name for name, valid in self._valid().items() if valid.kept} | self._kept
            kept = [name for name in is_kept & chosen.keys() if getattr(self, name, "auto") == "auto"]
            params |= {name: self._fitted_params[name] for name in kept}
        return Setup(units, params, source, target)

    def _of_next_part(self) -> dict[str, Any]:
        """Return the parameters of the next part of a stream."""
        params, valid = dict(self._fitted_params), self._valid()
        for name, value in self._values().items():
            in_streams = valid[name].in_streams
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
        check_cost(self._cost, source.rows, target.rows)
        reduce = not _has_networks(self.get_params(deep=False))
        of = partial(Units.of, v=source.weights, w=target.weights, cost=self._cost, reduce=reduce)
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
        check_cost(self._cost, *(law.rows for law in laws))
        if not units.cover(*(law.some().rows for law in laws)):
            raise ValueError(
                "warm_start=True and partial_fit need rows in the directions in which those of the previous fit "
                "varied, and the same centre beside them; pass warm_start=False and call fit"
            )
        source, target = (law.some().rows for law in laws)
        warn_of_other_units(units.from_source(source), units.from_target(target))
        return units


def attributes_of(cls: type[Preparation]) -> frozenset[str]:
    """Return the fitted attributes that only this estimator has."""
    return cls._own_attributes


def named(name: str, group: Mapping[str, T]) -> dict[str, T]:
    """Return the entries of a group by flat names.

    What a group calls ``name`` has the name of the group's parameter.
    """
    return {name if each == "name" else each: value for each, value in group.items()}


def _has_networks(params: Mapping[str, Any]) -> bool:
    """Whether any network is the user's own."""
    return any(callable(params.get(name)) for name in NETWORKS)


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
