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

# fits compute in float32, in which products of parameters must be finite; torch counts in int64, and an axis of more
# rows or columns does not fit into memory
LARGEST_REAL = 1e30
LARGEST_INTEGER, LARGEST_SIZE = 2**63 - 1, 2**31 - 1


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


def is_number(value: Any) -> bool:
    """Return whether a value is a real number.

    For Python, bools and durations of numpy are integers, too.
    """
    return isinstance(value, numbers.Real) and not isinstance(value, (bool, np.timedelta64))


def is_real(value: Any) -> bool:
    """Return whether a value is a number up to 1e30."""
    return is_number(value) and abs(_as_float(value)) <= LARGEST_REAL


def _as_float(value: numbers.Real) -> float:
    """Convert a number; infinity if it is too large."""
    try:
        return float(value)
    except OverflowError:
        return math.inf


def is_integer(value: Any, low: int, high: int = LARGEST_INTEGER) -> bool:
    """Return whether a value is an integer within bounds."""
    return is_number(value) and isinstance(value, numbers.Integral) and low <= int(value) <= high


def is_text(value: Any, *choices: str) -> bool:
    """Return whether a value is one of the strings `choices`.

    Arrays and other objects without a simple comparison are none of them.
    """
    return isinstance(value, str) and value in choices


def as_builtin(value: Any) -> Any:
    """Convert numbers and strings to Python's types.

    They are those of numpy, and fractions, also within tuples and lists. Other values are returned unchanged.
    """
    if isinstance(value, (tuple, list)):
        return type(value)(map(as_builtin, value)) if type(value) in (tuple, list) else value
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if is_number(value):
        is_int = isinstance(value, numbers.Integral) and abs(int(value)) <= LARGEST_INTEGER
        return int(value) if is_int else _as_float(value)
    return str(value) if isinstance(value, np.str_) else value


def is_bool(value: Any) -> bool:
    """Return whether a value is a bool."""
    return isinstance(value, (bool, np.bool_))


def as_generator(random_state: Any) -> np.random.Generator:
    """Return a numpy Generator.

    With a RandomState, the seed is drawn from it, which advances its state. Raises a ValueError for other values than
    None, seeds and generators.
    """
    try:
        if isinstance(random_state, np.random.RandomState):
            random_state = random_state.randint(2**31 - 1)
        if is_bool(random_state):
            raise ValueError("a bool is not a seed")
        return np.random.default_rng(random_state)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"random_state must be None, a non-negative integer, a RandomState or a Generator, got {random_state!r}"
        ) from error


def integer(low: int, high: int = LARGEST_INTEGER) -> Parameter:
    """Return a parameter that accepts integers between `low` and `high`."""
    upper = f" and at most {high}" if high < LARGEST_INTEGER else ""
    return Parameter(lambda value: is_integer(value, low, high), f"an integer of at least {low}{upper}")


def size(low: int) -> Parameter:
    """Return a parameter that accepts lengths of an axis."""
    return integer(low, LARGEST_SIZE)


def number(low: float, high: float = LARGEST_REAL, *, closed: bool = False) -> Parameter:
    """Return a parameter that accepts numbers between `low` and `high`.

    `high` is excluded; `low` is included if `closed`. The bounds hold for the value in float32, the precision of fits.
    """

    def is_valid(value: Any) -> bool:
        if not is_real(value):
            return False
        exact, rounded = float(value), float(np.float32(float(value)))
        return (low <= exact if closed else low < rounded) and exact < high

    bounds = f"{'at least' if closed else 'above'} {low:g} and below {high:g}"
    return Parameter(is_valid, f"a number {bounds}")


def one_of(*choices: str) -> Parameter:
    """Return a parameter that accepts the strings in `choices`."""
    return Parameter(lambda value: is_text(value, *choices), f"one of {', '.join(map(repr, choices))}")


def auto_or(parameter: Parameter) -> Parameter:
    """Return a copy of a parameter that also accepts ``'auto'``."""
    is_valid = lambda value: is_text(value, "auto") or parameter.is_valid(value)  # noqa: E731
    return replace(parameter, is_valid=is_valid, description=f"'auto' or {parameter.description}")


def none_or(parameter: Parameter) -> Parameter:
    """Return a copy of a parameter that also accepts None."""
    is_valid = lambda value: value is None or parameter.is_valid(value)  # noqa: E731
    return replace(parameter, is_valid=is_valid, description=f"None or {parameter.description}")


def _is_sizes(value: Any) -> bool:
    return (
        isinstance(value, (list, tuple)) and len(value) > 0 and all(is_integer(each, 1, LARGEST_SIZE) for each in value)
    )


def _are_columns(value: list[Any] | tuple[Any, ...]) -> bool:
    return len(value) > 0 and all(isinstance(each, str) or is_integer(each, -LARGEST_SIZE) for each in value)


def _is_distance(value: Any) -> bool:
    return is_number(value) and (0 <= _as_float(value) < LARGEST_REAL or value == math.inf)


def _is_list_of_callables(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(map(callable, value))


def _is_penalty(value: Any) -> bool:
    return number(0).is_valid(value) or (is_number(value) and value == math.inf)


# values are validated where they are used
ANYTHING = Parameter(lambda value: True, "anything")
NONE = Parameter(lambda value: value is None, "None")
BOOL = Parameter(is_bool, "True or False")
DISTANCE = Parameter(_is_distance, "a number of at least 0, or inf")
PENALTY = auto_or(Parameter(_is_penalty, f"a number above 0 and below {LARGEST_REAL:g}, or inf"))
SIZES = Parameter(_is_sizes, "a non-empty tuple of integers of at least 1")
FACTORY = Parameter(
    lambda value: callable(value) and not isinstance(value, torch.nn.Module),
    "a callable n_features -> torch.nn.Module (a class or function, not a network)",
)
FORM = Parameter(
    lambda value: FACTORY.is_valid(value) or is_text(value, "auto", "gradient", "network"),
    f"'auto', 'gradient', 'network' or {FACTORY.description}",
)
CONDITION = Parameter(
    lambda value: _are_columns(value if isinstance(value, (list, tuple)) else [value]),
    "the name or the integer position of a column, or a non-empty list (not an array or pandas Index) of them",
)
PATH = Parameter(lambda value: isinstance(value, (str, os.PathLike)) and str(value) != "", "a path")
COMPILE = Parameter(lambda value: is_bool(value) or is_text(value, "auto"), "'auto', True or False")
VERBOSE = Parameter(lambda value: is_bool(value) or is_integer(value, 0), "True, False or an integer of at least 0")
CALLBACKS = none_or(Parameter(_is_list_of_callables, "a list of callables (step, problem, record) -> bool"))
