"""Preparation of a fit: standardised samples and resolved parameters."""

from __future__ import annotations

import math
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar, Self, TypeVar

import numpy as np
import torch
from sklearn.base import BaseEstimator
from torch import Generator, Tensor

from neuralot.costs import Cost, as_cost
from neuralot.defaults import default_steps
from neuralot.estimators.checks import as_random_state, check_cost, check_device
from neuralot.estimators.conditional_units import ConditionalUnits
from neuralot.estimators.laws import (
    SUBSAMPLE_ROWS,
    Laws,
    Standardised,
    evenly_spaced,
    of_columns,
    range_of,
    within_conditions,
)
from neuralot.estimators.processes import agree
from neuralot.estimators.state import FitParams, Fitted, Setup, has_custom_networks
from neuralot.estimators.units import Units, clipped
from neuralot.estimators.warn import warn_of_few_rows, warn_of_other_units, warn_of_split, warn_of_thin_source
from neuralot.networks.perceptrons import ACTIVATIONS
from neuralot.outliers import outlier_bounds
from neuralot.parameters import (
    ANYTHING,
    CALLBACKS,
    PATH,
    SIZES,
    VERBOSE,
    InStreams,
    Parameter,
    Settings,
    as_builtin,
    auto_or,
    estimator,
    integer,
    none_or,
    number,
    one_of,
    parameter,
    parameters_of,
)
from neuralot.solve.distributed import current
from neuralot.solve.loop import Callback

T = TypeVar("T")

# minimum number of rows assumed for a stream, because its first part may be small
MIN_STREAM_ROWS = 4_096


@estimator
class Preparation(Fitted, BaseEstimator, ABC):
    """Prepares a fit: standardises the samples and resolves the parameters."""

    hidden_layer_sizes: Sequence[int] | str = parameter(auto_or(SIZES).kept_by_warm_start(), default="auto")
    activation: str = parameter(one_of("auto", *ACTIVATIONS).kept_by_warm_start(), default="auto")
    max_iter: int | str = parameter(auto_or(integer(1)).changeable_in_streams(), default="auto")
    max_time: float | None = parameter(none_or(number(0)).unused_in_streams(), default=None)
    learning_rate_init: float | str = parameter(auto_or(number(0)).changeable_in_streams(), default="auto")
    validation_fraction: float = parameter(number(0, 1).unused_in_streams(), default=0.1)
    device: str | torch.device = parameter(ANYTHING.unused_in_streams(), default="auto")
    random_state: int | np.random.RandomState | None = parameter(ANYTHING.unused_in_streams(), default=None)
    verbose: bool | int = parameter(VERBOSE.unused_in_streams(), default=False)
    callbacks: Sequence[Callback] | None = parameter(CALLBACKS.unused_in_streams(), default=None)
    checkpoint: str | os.PathLike[str] | None = parameter(none_or(PATH).unused_in_streams(), default=None)
    checkpoint_interval: float = parameter(number(0, closed=True).unused_in_streams(), default=300.0)

    # fitted attributes that only this class has
    _own_attributes: ClassVar[frozenset[str]] = frozenset()
    # values returned by `_resolved` that are not parameters and that a warm start keeps
    _kept: ClassVar[frozenset[str]] = frozenset()
    # further advice in the warning about a short budget or a divergence
    _advice: ClassVar[str] = ""
    # whether the method may have spurious solutions for a source without a density
    _needs_density: ClassVar[bool] = False
    # whether outliers are clipped; not possible if images must be target rows
    _clips: ClassVar[bool] = False
    # number of distinct rows from which batches are stratified
    _stratified_from: ClassVar[float] = math.inf

    @property
    def _cost(self) -> Cost:
        """Cost of the fit; squared Euclidean without a parameter `cost`."""
        return as_cost(getattr(self, "cost", "sqeuclidean"))

    @property
    def _changes_masses(self) -> bool:
        """Whether the transport is unbalanced."""
        return False

    @property
    def _continues(self) -> bool:
        """Whether the next fit continues from the last one."""
        return bool(getattr(self, "warm_start", False)) and hasattr(self, "problem_")

    @abstractmethod
    def _resolved(self, rows: Tensor, n_source: int, n_target: int) -> dict[str, Any]:
        """Return values for the parameters that are ``'auto'``.

        The result also contains values that are not parameters but are needed by every fit. `rows` are at most 2000
        distinct standardised rows of the source. `n_source` and `n_target` are the numbers of distinct rows, or, with
        categories, their means per combination of categories.
        """

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters by name.

        Parameters
        ----------
        deep : bool
            Whether to include the parameters of groups, such as ``critic_loss__expectile``.
        """
        params = super().get_params(deep)
        for name, group in self._groups().items() if deep else ():
            values = group.of(params[name]).get_params()
            params |= {f"{name}__{key}": value for key, value in values.items()}
        return params

    def set_params(self, **params: Any) -> Self:
        """Set parameters by name.

        Parameters of groups have names such as ``critic_loss__expectile``.
        """
        for name, group in self._groups().items():
            if any(key.startswith(f"{name}__") for key in params):
                params[name] = group.of(params.get(name, getattr(self, name)))
        return super().set_params(**params)

    @classmethod
    def _groups(cls) -> dict[str, type[Settings]]:
        """Return the parameters that accept groups, with the groups' classes."""
        declared = parameters_of(cls).items()
        return {name: parameter.group for name, parameter in declared if parameter.group is not None}

    def _flat_values(self) -> dict[str, Any]:
        """Return the values of all parameters by flat names.

        Numbers have Python's types.
        """
        params = self.get_params(deep=False)
        for name, group in self._groups().items():
            params |= flat_names(name, group.of(params.pop(name)).get_params())
        return {name: as_builtin(value) for name, value in params.items()}

    @classmethod
    def _flat_parameters(cls) -> dict[str, Parameter]:
        """Return the declarations of all parameters by flat names."""
        declared = parameters_of(cls)
        for name, group in cls._groups().items():
            declared |= flat_names(name, parameters_of(group))
        return declared

    def _resolve_auto(self, auto: dict[str, Any]) -> dict[str, Any]:
        """Return parameters, with values of `auto` in place of ``'auto'``."""
        values = self._flat_values()
        is_auto = {name: isinstance(values[name], str) and values[name] == "auto" for name in auto}
        return {name: auto[name] if is_auto[name] else values[name] for name in auto}

    def _generator(self, laws: Laws, steps_before: int = 0) -> Generator:
        """Return a generator seeded by `random_state`.

        Processes that share the fit have the same seed. Raises a ValueError if they do not fit the same.
        """
        device = current().device or check_device(self.device)
        generator = seeded_generator(self.random_state, device, steps_before)
        agree(laws, {"class": type(self).__name__, **self._flat_values()}, generator)
        return generator

    def _check_parameters(self, *names: str) -> None:
        """Check the parameters `names`, or all parameters."""
        params, declared = self.get_params(deep=False), parameters_of(type(self))
        for name in names or params:
            if name not in declared:
                raise TypeError(
                    f"{type(self).__name__} does not declare its parameter {name}; declare it with parameter(...) in a "
                    f"class with the decorator estimator"
                )
            declared[name].check(name, params[name])

    def _set_up(self, laws: Laws, generator: Generator, *, warm: bool, in_stream: bool = False) -> Setup:
        """Standardise both laws and resolve the parameters."""
        units = self._units_of_last_fit(laws) if warm else self._units_of(laws, in_stream)
        source, target = (
            Standardised.of(law, standardise, units.n_directions, generator)
            for law, standardise in zip(laws, (units.from_source, units.from_target), strict=True)
        )
        rows = source.rows[source.distinct[evenly_spaced(len(source.distinct), SUBSAMPLE_ROWS)]]
        rows = within_conditions(rows, units.n_moved)
        # each combination of categories has a map of its own
        n_categories = 1 if self._conditions is None else self._conditions.n_combinations(laws[0].rows)
        n_source, n_target = (
            max(len(law.distinct) // n_categories, MIN_STREAM_ROWS * in_stream, 1) for law in (source, target)
        )
        if not (warm or in_stream):
            warn_of_few_rows(laws, units)
        if self._needs_density and not warm:
            warn_of_thin_source(*(within_conditions(law.rows[law.distinct], units.n_moved) for law in (source, target)))
            warn_of_split(source, target)
        resolved = {name: as_builtin(value) for name, value in self._resolved(rows, n_source, n_target).items()}
        # a copy of the parameters that define the networks, so that a later set_params does not change them
        params = FitParams(**{**self._flat_values(), **resolved, "random_state": None, "callbacks": None})
        params.max_iter = default_steps(params.max_iter, None if in_stream else params.max_time)
        if warm and in_stream:  # the networks are those of the first part
            params = self._parameters_of_next_part()
        elif warm:  # the weights belong to the networks of the first fit
            names = {name for name, declared in self._flat_parameters().items() if declared.kept} | self._kept
            kept = [name for name in names & resolved.keys() if getattr(self, name, "auto") == "auto"]
            vars(params).update({name: getattr(self._fitted_params, name) for name in kept})
        return Setup(units, params, source, target)

    def _parameters_of_next_part(self) -> FitParams:
        """Return the parameters of the next part of a stream."""
        params, declared = FitParams(**vars(self._fitted_params)), self._flat_parameters()
        for name, value in self._flat_values().items():
            in_streams = declared[name].in_streams
            is_auto = isinstance(value, str) and value == "auto"
            previous = getattr(params, name)
            if in_streams is InStreams.UNUSED or is_auto or repr(value) == repr(previous):
                continue
            if in_streams is InStreams.FIXED:
                raise ValueError(
                    f"{name} must remain {previous!r}, its value in the first call of partial_fit, got {value!r}; "
                    f"call fit to train with another value"
                )
            setattr(params, name, value)
        return params

    def _units_of(self, laws: Laws, in_stream: bool) -> Units:
        if self._conditions is None:
            return self._units_of_moved(laws, in_stream)
        moved = of_columns(laws, self._conditions.moved)
        return ConditionalUnits.around(self._units_of_moved(moved, in_stream), self._conditions, laws[0])

    def _units_of_moved(self, laws: Laws, in_stream: bool) -> Units:
        source, target = laws
        check_cost(self._cost, source.rows, target.rows, map_form=getattr(self, "map_form", None))
        reduce = not has_custom_networks(self.get_params(deep=False))
        # the first part of a stream may have few rows
        principal = self._clips and not in_stream
        units_of = partial(
            Units.of,
            v=source.weights,
            w=target.weights,
            cost=self._cost,
            reduce=reduce,
            principal=principal,
            common_centre=self._changes_masses,
        )
        units = units_of(source.rows, target.rows)
        source_bounds, target_bounds = (outlier_bounds(law.rows, law.order, units.scale) for law in laws)
        if self._clips and not (source_bounds is None and target_bounds is None):
            units = units_of(clipped(source.rows, source_bounds), clipped(target.rows, target_bounds))
            units = replace(units, source_bounds=source_bounds, target_bounds=target_bounds)
        return replace(units, source_range=range_of(source))

    def _units_of_last_fit(self, laws: Laws) -> Units:
        units, n_features = self.units_, laws[0].rows.shape[1]
        if units.n_columns != n_features or not units.has_conditions(self._conditions):
            raise ValueError(
                f"warm_start=True requires the {units.n_columns} columns and the condition of the previous fit, got "
                f"{n_features} columns and condition={getattr(self, 'condition', None)!r}; pass warm_start=False"
            )
        if self._changes_masses != self._fitted_params.changes_masses:
            raise ValueError(
                "unbalanced must not change from or to None, and its penalties not from or to inf, if a fit continues "
                "from the previous one; pass warm_start=False and call fit"
            )
        x, y = (units.moved_rows(law.rows[[0, -1]]) for law in laws)
        check_cost(self._cost, x, y, map_form=getattr(self, "map_form", None))
        source, target = (law.subsample().rows for law in laws)
        if not units.cover(source, target):
            raise ValueError(
                "warm_start=True and partial_fit require rows that vary only in the directions of the previous fit and "
                "are unchanged in all other directions; pass warm_start=False and call fit"
            )
        n = units.n_moved
        warn_of_other_units(units.from_source(source)[:, :n], units.from_target(target)[:, :n])
        return replace(units, source_range=range_of(laws[0], units.source_range))


def attributes_of(cls: type[Preparation]) -> frozenset[str]:
    """Return the fitted attributes that only this estimator has."""
    return cls._own_attributes


def flat_names(name: str, group: Mapping[str, T]) -> dict[str, T]:
    """Return the entries of a group by flat names.

    The entry ``name`` of a group takes the name of the grouping parameter; the other entries keep their names.
    """
    return {name if key == "name" else key: value for key, value in group.items()}


def seeded_generator(random_state: Any, device: torch.device, steps_before: int = 0) -> Generator:
    """Return a seeded generator on a device.

    The seed of each part of a stream is different, because it depends on `steps_before`.
    """
    seed = int(as_random_state(random_state).randint(np.iinfo(np.int32).max))
    return Generator(device).manual_seed(seed + steps_before)
