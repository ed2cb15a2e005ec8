"""Declaration of parameters: default, valid values, groups."""

from __future__ import annotations

import inspect
import math
import numbers
import os
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from enum import Enum
from typing import Any, Self, TypeVar, dataclass_transform

import numpy as np
import torch

T = TypeVar("T")


class InStreams(Enum):
    """How `partial_fit` uses a parameter after the first call."""

    FIXED = "The value must be that of the first call."
    TRAINING = "The value may change; the new one applies from the next call, or from the next new optimisers."
    UNUSED = "The value is not used."


@dataclass(frozen=True)
class Parameter:
    """Constructor parameter: its valid values and its use in fits.

    Attributes
    ----------
    is_valid : callable value -> bool
        Whether a value is valid.
    description : str
        Description of the valid values, for the error message.
    in_streams : InStreams
        How `partial_fit` uses the parameter after the first call.
    kept : bool
        Whether a warm start keeps the value that the first fit chose for ``'auto'``.
    group : type of Settings, optional
        The class of the group of further parameters that this parameter accepts.
    """

    is_valid: Callable[[Any], bool]
    description: str
    in_streams: InStreams = InStreams.FIXED
    kept: bool = False
    group: type[Settings] | None = None

    def check(self, name: str, value: Any) -> None:
        """Raise a ValueError for an invalid value.

        The message names the parameter and describes the valid values.
        """
        if not self.is_valid(value):
            raise ValueError(f"{name} must be {self.description}, got {value!r}")
        if isinstance(value, Settings):
            for group_name, declared in parameters_of(type(value)).items():
                declared.check(f"{name}__{group_name}", getattr(value, group_name))

    def or_settings(self, group: type[Settings]) -> Parameter:
        """Return a copy that also accepts a group."""
        is_valid = lambda value: isinstance(value, group) or self.is_valid(value)  # noqa: E731
        description = f"{self.description} or {group.__name__}(...)"
        return replace(self, is_valid=is_valid, description=description, group=group)

    def changeable_in_streams(self) -> Parameter:
        """Return a copy whose value may change in a stream."""
        return replace(self, in_streams=InStreams.TRAINING)

    def unused_in_streams(self) -> Parameter:
        """Return a copy whose value streams do not use."""
        return replace(self, in_streams=InStreams.UNUSED)

    def kept_by_warm_start(self) -> Parameter:
        """Return a copy whose automatic value a warm start keeps."""
        return replace(self, kept=True)


def parameter(declared: Parameter, *, default: Any) -> Any:
    """Return a dataclass field for a parameter."""
    return field(default=default, metadata={"parameter": declared})


@dataclass_transform(kw_only_default=True, eq_default=False, field_specifiers=(parameter,))
def estimator(cls: type[T]) -> type[T]:
    """Create the constructor of an estimator from its declared parameters.

    The constructor stores the parameters of the class and of its parents as attributes. In the signature, the
    parameters of the class precede those of its parents.
    """
    decorated = dataclass(kw_only=True, eq=False, repr=False)(cls)
    names = dict.fromkeys(name for base in cls.__mro__ for name in inspect.get_annotations(base))
    signature = inspect.signature(decorated.__init__)
    parameters = signature.parameters
    ordered = [parameters["self"], *(parameters[name] for name in names if name in parameters)]
    decorated.__init__.__signature__ = signature.replace(parameters=ordered)  # type: ignore[attr-defined]
    return decorated


def parameters_of(cls: type[Any]) -> dict[str, Parameter]:
    """Return the declared parameters of a class, by name."""
    return {each.name: each.metadata["parameter"] for each in fields(cls)}


@dataclass(repr=False)
class Settings:
    """Group of parameters with `get_params` and `set_params`.

    Subclasses are dataclasses. In a grid search, ``critic_loss__expectile`` is the parameter `expectile` of the group
    `critic_loss`.
    """

    @classmethod
    def of(cls, value: Any) -> Self:
        """Convert the short form of a group to the group.

        None stands for the default group, and a string for its first parameter.
        """
        if isinstance(value, cls):
            return value
        return cls(*(() if value is None else (value,)))

    def __repr__(self) -> str:
        defaults = {each.name: each.default for each in fields(self)}
        changed = [f"{name}={value!r}" for name, value in vars(self).items() if value != defaults[name]]
        return f"{type(self).__name__}({', '.join(changed)})"

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters by name."""
        return dict(vars(self))

    def set_params(self, **params: Any) -> Self:
        """Set parameters by name.

        Raises
        ------
        ValueError
            If the group has no parameter of this name.
        """
        for name, value in params.items():
            if name not in vars(self):
                raise ValueError(
                    f"{type(self).__name__} has no parameter {name!r}; its parameters are {', '.join(vars(self))}"
                )
            setattr(self, name, value)
        return self


def is_real(value: Any) -> bool:
    """Return whether a value is a finite number."""
    return not isinstance(value, bool) and isinstance(value, numbers.Real) and math.isfinite(value)


def is_integer(value: Any, low: int) -> bool:
    """Return whether a value is an integer, at least `low`."""
    return not isinstance(value, bool) and isinstance(value, numbers.Integral) and int(value) >= low


def is_bool(value: Any) -> bool:
    """Return whether a value is a bool."""
    return isinstance(value, (bool, np.bool_))


def integer(low: int) -> Parameter:
    """Return a parameter that accepts integers of at least `low`."""
    return Parameter(lambda value: is_integer(value, low), f"an integer of at least {low}")


def number(low: float, high: float = math.inf, *, closed: bool = False) -> Parameter:
    """Return a parameter that accepts numbers between `low` and `high`.

    `high` is excluded; `low` is included if `closed`.
    """

    def is_valid(value: Any) -> bool:
        return is_real(value) and (low <= value if closed else low < value) and value < high

    bounds = f"{'at least' if closed else 'above'} {low:g}" + (f" and below {high:g}" if math.isfinite(high) else "")
    return Parameter(is_valid, f"a number {bounds}")


def one_of(*choices: str) -> Parameter:
    """Return a parameter that accepts the strings in `choices`."""
    is_valid = lambda value: isinstance(value, str) and value in choices  # noqa: E731
    return Parameter(is_valid, f"one of {', '.join(map(repr, choices))}")


def auto_or(parameter: Parameter) -> Parameter:
    """Return a copy of a parameter that also accepts ``'auto'``."""
    is_valid = lambda value: (isinstance(value, str) and value == "auto") or parameter.is_valid(value)  # noqa: E731
    return replace(parameter, is_valid=is_valid, description=f"'auto' or {parameter.description}")


def none_or(parameter: Parameter) -> Parameter:
    """Return a copy of a parameter that also accepts None."""
    is_valid = lambda value: value is None or parameter.is_valid(value)  # noqa: E731
    return replace(parameter, is_valid=is_valid, description=f"None or {parameter.description}")


def _is_sizes(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and len(value) > 0 and all(is_integer(size, 1) for size in value)


def _is_distance(value: Any) -> bool:
    return not isinstance(value, bool) and isinstance(value, numbers.Real) and float(value) >= 0


def _is_list_of_callables(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(map(callable, value))


# values are validated where they are used
ANYTHING = Parameter(lambda value: True, "anything")
NONE = Parameter(lambda value: value is None, "None")
BOOL = Parameter(is_bool, "True or False")
DISTANCE = Parameter(_is_distance, "a number of at least 0, or inf")
SIZES = Parameter(_is_sizes, "a non-empty tuple of integers of at least 1")
FACTORY = Parameter(
    lambda value: callable(value) and not isinstance(value, torch.nn.Module),
    "a callable n_features -> torch.nn.Module (a class or function, not a network)",
)
FORM = Parameter(
    lambda value: FACTORY.is_valid(value) or (isinstance(value, str) and value in ("auto", "gradient", "network")),
    f"'auto', 'gradient', 'network' or {FACTORY.description}",
)
PATH = Parameter(lambda value: isinstance(value, (str, os.PathLike)) and str(value) != "", "a path")
COMPILE = Parameter(lambda value: is_bool(value) or value == "auto", "'auto', True or False")
VERBOSE = Parameter(lambda value: is_bool(value) or is_integer(value, 0), "True, False or an integer of at least 0")
CALLBACKS = none_or(Parameter(_is_list_of_callables, "a list of callables (step, problem, record) -> bool"))
