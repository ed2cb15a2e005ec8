"""Conversion of parameters and weights from early files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from neuralot.parameters import parameters_of


def current_name(name: str) -> str:
    """Convert the name of a weight in an early file."""
    return name.replace("lens", "preconditioner")


def convert_names(params: Mapping[str, Any]) -> dict[str, Any]:
    """Convert the names of parameters from format 1.

    Former parameters without a successor, such as `anneal_fraction`, keep the values of the fit.
    """
    params = dict(params)
    map_network = params.pop("map_network", None)
    if map_network is not None:
        params["map_form"] = map_network
    return params | ({"optimizer": "muon"} if params["optimizer"] == "auto" else {})


def convert_params(params: Mapping[str, Any], cls: type[Any]) -> dict[str, Any]:
    """Convert the constructor's parameters from format 1."""
    params, declared = convert_names(params), parameters_of(cls)
    converted = {name: value for name, value in params.items() if name in declared}
    for name, group in ((name, each.group) for name, each in declared.items() if each.group is not None):
        flat = {each: name if each == "name" else each for each in parameters_of(group)}
        settings, short = group(**{each: params[flat[each]] for each in flat}), params.get(name)
        converted[name] = short if settings == group.of(short) else settings
    return converted
