"""Conversion of parameters and attributes to JSON values and arrays."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from neuralot.costs import Lp, SquaredEuclidean
from neuralot.estimators.state import NETWORKS
from neuralot.parameters import Settings, as_builtin

# parameters that accept custom functions, which are not in the file but passed to `load`
FUNCTIONS = ("cost", *NETWORKS)
BUILT_IN_COSTS = {cost.__name__: cost for cost in (SquaredEuclidean, Lp)}


def encoded(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters as JSON values.

    Custom functions are replaced by a description.
    """
    return {name: _encoded_value(name, value) for name, value in params.items()}


def _encoded_value(name: str, value: Any) -> Any:
    if name == "callbacks" or isinstance(value, np.random.RandomState):
        return None
    if isinstance(value, (torch.device, os.PathLike)):
        return str(value)
    value = as_builtin(value)
    if isinstance(value, tuple):
        return list(value)
    if type(value) in BUILT_IN_COSTS.values():
        return {"cost": type(value).__name__, **vars(value)}
    if isinstance(value, Settings):
        return {"settings": type(value).__name__, **encoded(value.get_params())}
    if name in FUNCTIONS and not isinstance(value, str) and value is not None:
        return {"function": repr(value)}
    return value


def decoded(params: Mapping[str, Any], functions: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters that `encoded` has converted.

    `functions` has the custom functions by parameter name.
    """
    values = {}
    for name, value in params.items():
        if isinstance(value, dict) and "function" in value:
            if functions.get(name) is None:
                raise ValueError(f"the fit used the custom function {value['function']}; pass it as {name}")
            value = functions[name]
        elif isinstance(value, dict):
            kind, *options = value.values()
            value = (BUILT_IN_COSTS | {each.__name__: each for each in Settings.__subclasses__()})[kind](*options)
        elif isinstance(value, list):
            value = tuple(value)
        values[name] = value
    return values


def without_arrays(state: Any, prefix: str, arrays: dict[str, np.ndarray]) -> Any:
    """Return a tree of dicts as JSON values, without arrays.

    Numeric arrays are stored in `arrays`, by their path in the tree.
    """
    if isinstance(state, np.ndarray) and state.dtype == object:
        return {"names": state.tolist()}
    if isinstance(state, np.ndarray):
        arrays[prefix] = state
        return {"array": prefix}
    if isinstance(state, Mapping):
        return {name: without_arrays(value, f"{prefix}/{name}", arrays) for name, value in state.items()}
    return state.item() if isinstance(state, np.generic) else state


def with_arrays(state: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    """Return the tree of dicts that `without_arrays` has converted."""
    if not isinstance(state, dict):
        return state
    if state.keys() == {"array"}:
        return arrays[state["array"]]
    if state.keys() == {"names"}:
        return np.array(state["names"], dtype=object)
    return {name: with_arrays(value, arrays) for name, value in state.items()}
