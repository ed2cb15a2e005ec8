"""Parameters: their defaults, valid values and groups."""

from __future__ import annotations

import inspect
import math
import numbers
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from enum import Enum
from typing import Any, Self, TypeVar, dataclass_transform

import numpy as np
import torch

T = TypeVar("T")


class InStreams(Enum):
    """Use of a parameter in the parts of a stream."""

    FIXED = "It keeps the value of the first part."
    TRAINING = "It may change, and counts from the next part on, or from new optimisers on."
    UNUSED = "It has no part in a stream."


@dataclass(frozen=True)
class Parameter:
    """A parameter of a constructor.

    Attributes
    ----------
    holds : callable value -> bool
        Whether a value is valid.
    words : str
        What is valid, for the error.
    in_streams : InStreams
    kept : bool
        Whether a warm start keeps the value that the first fit chose for ``'auto'``.
    group : type of Settings, optional
        The class that groups further parameters under this one.
    """

    holds: Callable[[Any], bool]
    words: str
    in_streams: InStreams = InStreams.FIXED
    kept: bool = False
    group: type[Settings] | None = None

    def check(self, name: str, value: Any) -> None:
        """Raise a ValueError for an invalid value.

        The message names the parameter and says what to pass.
        """
        if not self.holds(value):
            raise ValueError(f"{name} must be {self.words}, got {value!r}")
        if isinstance(value, Settings):
            for each, valid in parameters_of(type(value)).items():
                valid.check(f"{name}__{each}", getattr(value, each))

    def or_settings(self, group: type[Settings]) -> Parameter:
        """Return the same parameter, which may also be a group."""
        holds = lambda value: isinstance(value, group) or self.holds(value)  # noqa: E731
        return replace(self, holds=holds, words=f"{self.words} or {group.__name__}(...)", group=group)

    def of_training(self) -> Parameter:
        """Return the same parameter, which may change in a stream."""
        return replace(self, in_streams=InStreams.TRAINING)

    def not_in_streams(self) -> Parameter:
        """Return the same parameter, unused in a stream."""
        return replace(self, in_streams=InStreams.UNUSED)

    def kept_when_warm(self) -> Parameter:
        """Return the same parameter, kept by a warm start."""
        return replace(self, kept=True)


def parameter(valid: Parameter, *, default: Any) -> Any:
    """Return a dataclass field for a parameter."""
    return field(default=default, metadata={"valid": valid})


@dataclass_transform(kw_only_default=True, eq_default=False, field_specifiers=(parameter,))
def estimator(cls: type[T]) -> type[T]:
    """Write the constructor of an estimator from its parameters.

    It stores each parameter, and those of the parent classes, under its name. In the signature the parameters of the
    class stand before those of its parents.
    """
    made = dataclass(kw_only=True, eq=False, repr=False)(cls)
    names = dict.fromkeys(name for each in cls.__mro__ for name in inspect.get_annotations(each))
    signature = inspect.signature(made.__init__)
    parameters = signature.parameters
    ordered = [parameters["self"], *(parameters[name] for name in names if name in parameters)]
    made.__init__.__signature__ = signature.replace(parameters=ordered)  # type: ignore[attr-defined]
    return made


def parameters_of(cls: type[Any]) -> dict[str, Parameter]:
    """Return the parameters that a class declares, by name."""
    return {each.name: each.metadata["valid"] for each in fields(cls)}


@dataclass(repr=False)
class Settings:
    """Group of parameters, a dataclass, with scikit-learn's protocol.

    In a grid, ``critic_loss__expectile`` is the parameter `expectile` of the group `critic_loss`.
    """

    @classmethod
    def of(cls, value: Any) -> Self:
        """Return a group from its short form.

        None is the default group, and a string is its first parameter.
        """
        if isinstance(value, cls):
            return value
        return cls(*(() if value is None else (value,)))

    def __repr__(self) -> str:
        defaults = {each.name: each.default for each in fields(self)}
        given = [f"{name}={value!r}" for name, value in vars(self).items() if value != defaults[name]]
        return f"{type(self).__name__}({', '.join(given)})"

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
                raise ValueError(f"{type(self).__name__} has no parameter {name!r}; it has {', '.join(vars(self))}")
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
    """Return a parameter for integers of at least `low`."""
    return Parameter(lambda value: is_integer(value, low), f"an integer of at least {low}")


def number(low: float, high: float = math.inf, *, closed: bool = False) -> Parameter:
    """Return a parameter for numbers between `low` and `high`.

    `high` is excluded; `low` is included if `closed`.
    """

    def holds(value: Any) -> bool:
        return is_real(value) and (low <= value if closed else low < value) and value < high

    bounds = f"{'at least' if closed else 'above'} {low:g}" + (f" and below {high:g}" if math.isfinite(high) else "")
    return Parameter(holds, f"a number {bounds}")


def one_of(*choices: str) -> Parameter:
    """Return a parameter for one of some strings."""
    holds = lambda value: isinstance(value, str) and value in choices  # noqa: E731
    return Parameter(holds, f"one of {', '.join(map(repr, choices))}")


def auto_or(parameter: Parameter) -> Parameter:
    """Return a parameter that may also be ``'auto'``."""
    holds = lambda value: (isinstance(value, str) and value == "auto") or parameter.holds(value)  # noqa: E731
    return replace(parameter, holds=holds, words=f"'auto' or {parameter.words}")


def none_or(parameter: Parameter) -> Parameter:
    """Return a parameter that may also be None."""
    holds = lambda value: value is None or parameter.holds(value)  # noqa: E731
    return replace(parameter, holds=holds, words=f"None or {parameter.words}")


def _is_sizes(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and len(value) > 0 and all(is_integer(size, 1) for size in value)


def _is_distance(value: Any) -> bool:
    return not isinstance(value, bool) and isinstance(value, numbers.Real) and float(value) >= 0


def _is_callables(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(map(callable, value))


# checked where they are used
ANYTHING = Parameter(lambda value: True, "anything")
NONE = Parameter(lambda value: value is None, "None")
BOOL = Parameter(is_bool, "True or False")
DISTANCE = Parameter(_is_distance, "a number of at least 0, or inf")
SIZES = Parameter(_is_sizes, "a non-empty tuple of integers of at least 1")
FACTORY = Parameter(
    lambda value: callable(value) and not isinstance(value, torch.nn.Module),
    "a callable n_features -> torch.nn.Module, such as a class of networks and not one network",
)
FORM = Parameter(
    lambda value: FACTORY.holds(value) or (isinstance(value, str) and value in ("auto", "gradient", "network")),
    f"'auto', 'gradient', 'network' or {FACTORY.words}",
)
COMPILE = Parameter(lambda value: is_bool(value) or value == "auto", "'auto', True or False")
VERBOSE = Parameter(lambda value: is_bool(value) or is_integer(value, 0), "True, False or an integer of at least 0")
CALLBACKS = none_or(Parameter(_is_callables, "a list of callables (step, problem, record) -> bool"))
