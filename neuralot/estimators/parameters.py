"""What the parameters of the estimators may be."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from neuralot.methods.smoothing import NOISE_SHAPES, SCHEDULES
from neuralot.networks import ACTIVATIONS
from neuralot.solve.optimizers import OPTIMIZERS

Rule = tuple[Callable[[Any], bool], str]


def _is_real(value: Any) -> bool:
    return not isinstance(value, bool) and isinstance(value, numbers.Real) and math.isfinite(value)


def _is_integer(value: Any, low: int) -> bool:
    return not isinstance(value, bool) and isinstance(value, numbers.Integral) and int(value) >= low


def _integer(low: int) -> Rule:
    return lambda value: _is_integer(value, low), f"an integer of at least {low}"


def _number(low: float, high: float = math.inf, *, closed: bool = False) -> Rule:
    def holds(value: Any) -> bool:
        return _is_real(value) and (low <= value if closed else low < value) and value < high

    bounds = f"{'at least' if closed else 'above'} {low:g}" + (f" and below {high:g}" if math.isfinite(high) else "")
    return holds, f"a number {bounds}"


def _one_of(*choices: str) -> Rule:
    return lambda value: isinstance(value, str) and value in choices, f"one of {', '.join(map(repr, choices))}"


def _or(literal: str | None, rule: Rule) -> Rule:
    holds, words = rule
    if literal is None:
        return lambda value: value is None or holds(value), f"None or {words}"
    return lambda value: (isinstance(value, str) and value == literal) or holds(value), f"{literal!r} or {words}"


def _is_distance(value: Any) -> bool:
    return not isinstance(value, bool) and isinstance(value, numbers.Real) and float(value) >= 0


def _is_sizes(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and len(value) > 0 and all(_is_integer(size, 1) for size in value)


def _is_callables(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(map(callable, value))


_BOOL: Rule = (lambda value: isinstance(value, (bool, np.bool_)), "True or False")
_FACTORY: Rule = (
    lambda value: callable(value) and not isinstance(value, torch.nn.Module),
    "a callable n_features -> torch.nn.Module, such as a class of networks and not one network",
)


RULES: Mapping[str, Rule] = {
    "map_form": _one_of("auto", "gradient", "network"),
    "hidden_layer_sizes": _or("auto", (_is_sizes, "a non-empty tuple of integers of at least 1")),
    "activation": _one_of("auto", *ACTIVATIONS),
    "map_network": _or(None, _FACTORY),
    "potential_network": _or(None, _FACTORY),
    "height_network": _or(None, _FACTORY),
    "n_monte_carlo": _or("auto", _integer(1)),
    "mass_tol": _number(0, closed=True),
    "output": _one_of("hard", "smooth"),
    "crease_distance": _or("auto", (_is_distance, "a number of at least 0, or inf")),
    "n_map_steps": _or("auto", _integer(1)),
    "noise_dim": _integer(0),
    "bidirectional": _BOOL,
    "expectile": _number(0.5, 1.0, closed=True),
    "expectile_weight": _number(0, closed=True),
    "gap_weight": _or("auto", _number(0, closed=True)),
    "gradient_penalty": _number(0, closed=True),
    "noise_shape": _one_of("auto", *NOISE_SHAPES),
    "eps_max": _number(0),
    "eps_min": _or("auto", _number(0)),
    "schedule": _one_of(*SCHEDULES),
    "anneal_fraction": (lambda value: _is_real(value) and 0 < value <= 1, "a number in (0, 1]"),
    "n_transform_draws": _integer(1),
    "batch_size": _or("auto", _integer(1)),
    "max_iter": _or("auto", _integer(1)),
    "max_time": _or(None, _number(0)),
    "compile": (lambda value: _BOOL[0](value) or value == "auto", "'auto', True or False"),
    "learning_rate_init": _or("auto", _number(0)),
    "weight_decay": _or("auto", _number(0, closed=True)),
    "optimizer": _one_of(*OPTIMIZERS),
    "tol": _number(0, closed=True),
    "n_iter_no_change": _integer(1),
    "early_stopping": _BOOL,
    "validation_fraction": _number(0, 1),
    "warm_start": _BOOL,
    "verbose": (lambda value: _BOOL[0](value) or _is_integer(value, 0), "True, False or an integer of at least 0"),
    "callbacks": _or(None, (_is_callables, "a list of callables (step, problem, record) -> bool")),
}


def check_parameters(parameters: Mapping[str, Any]) -> None:
    """Raise a ValueError that names the first parameter outside of its range, and says what to pass."""
    for name, value in parameters.items():
        if name not in RULES:
            continue
        holds, words = RULES[name]
        if not holds(value):
            raise ValueError(f"{name} must be {words}, got {value!r}")
