"""Valid values of the estimators' parameters."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

import numpy as np
import torch


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
    """

    holds: Callable[[Any], bool]
    words: str
    in_streams: InStreams = InStreams.FIXED
    kept: bool = False

    def check(self, name: str, value: Any) -> None:
        """Raise a ValueError for an invalid value."""
        if not self.holds(value):
            raise ValueError(f"{name} must be {self.words}, got {value!r}")

    def of_training(self) -> Parameter:
        """Return the same parameter, which may change in a stream."""
        return replace(self, in_streams=InStreams.TRAINING)

    def not_in_streams(self) -> Parameter:
        """Return the same parameter, unused in a stream."""
        return replace(self, in_streams=InStreams.UNUSED)

    def kept_when_warm(self) -> Parameter:
        """Return the same parameter, kept by a warm start."""
        return replace(self, kept=True)


def check_parameters(values: Mapping[str, Any], parameters: Mapping[str, Parameter]) -> None:
    """Raise a ValueError for the first invalid value.

    The message names the parameter and says what to pass.

    Raises
    ------
    KeyError
        If a value has no `Parameter`.
    """
    for name, value in values.items():
        parameters[name].check(name, value)


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
BOOL = Parameter(is_bool, "True or False")
SHARE = Parameter(lambda value: is_real(value) and 0 < value <= 1, "a number in (0, 1]")
DISTANCE = Parameter(_is_distance, "a number of at least 0, or inf")
SIZES = Parameter(_is_sizes, "a non-empty tuple of integers of at least 1")
FACTORY = Parameter(
    lambda value: callable(value) and not isinstance(value, torch.nn.Module),
    "a callable n_features -> torch.nn.Module, such as a class of networks and not one network",
)
COMPILE = Parameter(lambda value: is_bool(value) or value == "auto", "'auto', True or False")
VERBOSE = Parameter(lambda value: is_bool(value) or is_integer(value, 0), "True, False or an integer of at least 0")
CALLBACKS = none_or(Parameter(_is_callables, "a list of callables (step, problem, record) -> bool"))
