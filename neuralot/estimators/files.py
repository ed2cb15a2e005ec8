"""Conversion of fitted transports to plain data and safetensors files.

Pickles contain the plain data. The files contain no code.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import sklearn
import torch
from torch import Generator

from neuralot._torch import isolated
from neuralot.estimators.archive import read_archive, write_archive
from neuralot.estimators.checks import check_device
from neuralot.estimators.conditional_units import units_of
from neuralot.estimators.conditions import Conditions
from neuralot.estimators.encoding import decoded, encoded, with_arrays, without_arrays
from neuralot.estimators.fitting import Fitter
from neuralot.estimators.formats import convert_names, convert_params, current_name
from neuralot.estimators.points import PointPlan
from neuralot.estimators.setup import attributes_of
from neuralot.estimators.state import FitParams
from neuralot.estimators.units import Units
from neuralot.estimators.warn import warn_user
from neuralot.exceptions import VersionWarning
from neuralot.forms import NetworkFactory
from neuralot.parameters import parameters_of
from neuralot.solve.problem import Problem
from neuralot.solve.status import Status

FORMAT, READABLE = "3", ("1", "2", "3")
WITHOUT_CHECKSUM = ("1", "2")
PACKAGES = {"neuralot": "neuralot", "numpy": "numpy", "scikit-learn": "sklearn", "torch": "torch"}
# attributes of every fitted transport, and those that it may have
OPTIONAL = {"_conditions", "_earlier_changes", "_point_plan", "feature_names_in_", "target_sample_"}
REQUIRED = {
    "_fitted_params",
    "history_",
    "n_features_in_",
    "n_iter_",
    "problem_",
    "status_",
    "transport_cost_",
    "units_",
}


def plain(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes of a transport as plain data.

    Networks, units and status become arrays, numbers and names.
    """
    if "problem_" not in state:
        return dict(state)
    conditions = state.get("_conditions")
    return {
        **state,
        **({} if conditions is None else {"_conditions": vars(conditions)}),
        "problem_": {name: weight.cpu().numpy() for name, weight in _weights(state["problem_"]).items()},
        "units_": asdict(state["units_"]),
        "status_": state["status_"].name,
        "_fitted_params": vars(state["_fitted_params"]),
        "_solution": None,
        "_point_plan": None if state.get("_point_plan") is None else asdict(state["_point_plan"]),
    }


@isolated
def revive(transport: Any, build: Callable[[Units, FitParams, Generator], Problem]) -> None:
    """Restore networks, units and status from plain data.

    The attributes of `transport` are those that `plain` returns.
    """
    state = vars(transport)
    if "problem_" not in state:
        return
    weights = {current_name(name): torch.as_tensor(array) for name, array in state["problem_"].items()}
    params = FitParams(**state["_fitted_params"])
    for name, kind in (("_conditions", Conditions), ("_point_plan", PointPlan)):
        if state.get(name) is not None:
            state[name] = kind(**state[name])
    state |= {"units_": units_of(state["units_"]), "status_": Status[state["status_"]], "_fitted_params": params}
    try:
        device = check_device(transport.device)
    except ValueError:  # fitted on a GPU that is not available
        device = torch.device("cpu")
    problem = build(transport.units_, params, Generator(device).manual_seed(0))
    # older versions saved buffers that are empty now
    not_saved = dict(problem.named_buffers()).keys() - problem.state_dict().keys()
    saved_shapes = {name: tuple(weight.shape) for name, weight in weights.items() if name not in not_saved}
    with contextlib.suppress(RuntimeError):  # shapes are compared below
        problem.load_state_dict(weights, strict=False)  # a weight with two names is saved once
    shapes = {name: tuple(weight.shape) for name, weight in _weights(problem).items()}
    for name in sorted(shapes.keys() | saved_shapes.keys()):
        if shapes.get(name) != saved_shapes.get(name):
            raise ValueError(
                f"the networks must be those of the fit, but {name} has shape {shapes.get(name)} instead of "
                f"{saved_shapes.get(name)}"
            )
    transport.problem_ = problem.requires_grad_(False).to(device)


class Chain(ABC):
    """Base class of estimators that consist of fitted transports."""

    transports_: list[Any]

    @abstractmethod
    def _chain_state(self) -> dict[str, Any]:
        """Return the other fitted attributes: arrays and numbers."""

    @classmethod
    @abstractmethod
    def _of_chain(cls, transports: list[Any], state: dict[str, Any]) -> Any:
        """Return the estimator with these transports and attributes."""


def write(path: str | os.PathLike[str], transport: Any) -> None:
    """Write a fitted transport or chain to a file.

    If the process crashes, an existing file is unchanged.
    """
    arrays: dict[str, np.ndarray] = {}
    if isinstance(transport, Chain):
        parts = {str(k): {"class": _name(type(each)), **_state(each)} for k, each in enumerate(transport.transports_)}
        state = {"transports": parts, "chain": transport._chain_state()}
    else:
        state = _state(transport)
    metadata = {
        "neuralot": FORMAT,
        "class": _name(type(transport)),
        "versions": json.dumps({name: _installed(name) for name in PACKAGES}),
        "state": json.dumps(without_arrays(state, "", arrays)),
    }
    write_archive(Path(path), metadata, arrays)


def _name(cls: type[Any]) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def _state(transport: Any) -> dict[str, Any]:
    """Return parameters and attributes of a fitted transport."""
    names = REQUIRED | attributes_of(type(transport)) | OPTIONAL
    state = {name: value for name, value in transport.__getstate__().items() if name in names}
    state["params"] = encoded(transport.get_params(deep=False))
    state["_fitted_params"] = encoded(state["_fitted_params"])
    # as bytes, because a long history would exceed the size limit of the header
    state["history_"] = np.frombuffer(json.dumps(state["history_"]).encode(), dtype=np.uint8)
    return state


def read(path: str | os.PathLike[str], functions: Mapping[str, Any]) -> Any:
    """Read a transport or chain written by `write`.

    `functions` has the custom functions by parameter name.
    """
    metadata, arrays = read_archive(Path(path), partial(_check_format, path))
    known: dict[Any, Any] = {_name(cls): cls for base in (Fitter, Chain) for cls in _subclasses(base)}
    name = metadata.get("class")
    if name not in known:
        raise ValueError(f"{path} contains a {name}, which is not an imported transport class; import its module first")
    try:
        state = with_arrays(json.loads(metadata["state"]), arrays)
        if issubclass(known[name], Chain):
            parts = [state["transports"][str(k)] for k in range(len(state["transports"]))]
            transports = [_revived(known[part.pop("class")], part, functions, FORMAT) for part in parts]
            transport = known[name]._of_chain(transports, state["chain"])
        else:
            transport = _revived(known[name], state, functions, metadata["neuralot"])
    except KeyError as error:
        raise ValueError(f"{path} cannot be loaded: missing entry {error}") from error
    except (AttributeError, RecursionError, TypeError, ValueError) as error:
        raise ValueError(f"{path} cannot be loaded: {error}") from error
    _warn_of_versions(path, _saved_versions(metadata))
    return transport


def _revived(cls: type[Any], state: dict[str, Any], functions: Mapping[str, Any], version: str) -> Any:
    """Return the fitted transport with a state of some format."""
    if missing := (REQUIRED | attributes_of(cls) | {"params"}) - state.keys():
        raise ValueError(f"missing entries {', '.join(sorted(missing))}")
    params, fitted_params = state.pop("params"), state["_fitted_params"]
    if version == "1":
        params, fitted_params = convert_params(params, cls), convert_names(fitted_params)
    params, state["_fitted_params"] = decoded(params, functions), decoded(fitted_params, functions)
    state["history_"] = json.loads(state["history_"].tobytes())
    _check_unused(functions, state["_fitted_params"])
    declared = parameters_of(cls)
    for param, value in params.items():
        declared[param].check(param, value)
    transport = cls(**params)
    transport.__setstate__({**vars(transport), **state, "_solution": None, "_sklearn_version": sklearn.__version__})
    return transport


def _installed(name: str) -> str:
    """Return the installed version of a package."""
    return str(sys.modules[PACKAGES[name]].__version__)


def _saved_versions(metadata: Mapping[str, str]) -> dict[str, str]:
    """Return the versions of packages in a file."""
    try:
        return {name: str(version) for name, version in json.loads(metadata.get("versions", "{}")).items()}
    except (AttributeError, RecursionError, ValueError):
        return {}


def _warn_of_versions(path: str | os.PathLike[str], saved: Mapping[str, str]) -> None:
    """Warn of packages whose first two version numbers differ."""
    others = [
        f"{name} {saved[name]} (installed: {_installed(name)})"
        for name in PACKAGES.keys() & saved.keys()
        if saved[name].split(".")[:2] != _installed(name).split(".")[:2]
    ]
    if others:
        warn_user(
            f"{path} was saved with {', '.join(sorted(others))}. Its images may differ from those before by more than "
            "rounding errors. Compare the images of a few rows, and save the transport again.",
            VersionWarning,
        )


def _check_unused(functions: Mapping[str, Any], params: Mapping[str, Any]) -> None:
    """Raise a ValueError for functions not used in the fit."""
    for name, function in functions.items():
        if function is not None and params.get(name) is not function:
            raise ValueError(f"{name} must be omitted, because the file contains {name}={params.get(name)!r}")


def _check_format(path: str | os.PathLike[str], metadata: Mapping[str, str]) -> bool:
    """Raise a ValueError unless the format is readable.

    Returns whether files of the format have a checksum.
    """
    if "neuralot checkpoint" in metadata:
        raise ValueError(f"{path} is a checkpoint; pass it as checkpoint to the estimator of the interrupted fit")
    if "neuralot" not in metadata:
        raise ValueError(f"{path} is a safetensors file, but was not saved by a transport")
    if metadata["neuralot"] not in READABLE:
        raise ValueError(
            f"{path} has format {metadata['neuralot']}, but this version of neuralot reads formats "
            f"{', '.join(READABLE)}; load it with the version that saved it, which is "
            f"{_saved_versions(metadata).get('neuralot', 'unknown')}"
        )
    return metadata["neuralot"] not in WITHOUT_CHECKSUM


def _weights(problem: Problem) -> dict[str, torch.Tensor]:
    """Return parameters and buffers of the state, without duplicates."""
    state = problem.state_dict()
    named = dict([*problem.named_parameters(), *problem.named_buffers()])
    return {name: weight.detach() for name, weight in named.items() if name in state}


def load(
    path: str | os.PathLike[str],
    *,
    cost: Any = None,
    map_form: NetworkFactory | None = None,
    potential_network: NetworkFactory | None = None,
    height_network: NetworkFactory | None = None,
) -> Any:
    """Load a transport from a file written by `save`.

    No code from the file is executed.

    Parameters
    ----------
    path : str or path-like
    cost : Cost or callable, optional
        The cost of the fit, if it is not a cost of this package.
    map_form, potential_network, height_network : callable ``n_features -> torch.nn.Module``, optional
        The custom networks of the fit, if any. Their weights are read from the file.

    Returns
    -------
    estimator
        Fitted transport of the saved class, on its `device` if available, and otherwise on the CPU.

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    ValueError
        If the file is truncated, damaged or was not saved by a transport, if a custom function is missing or was not
        used in the fit, or if the shapes of the networks differ. A cost that differs from that of the fit is not
        detected.

    Warns
    -----
    VersionWarning
        If the file was saved with another version of neuralot, numpy, scikit-learn or torch. Versions that differ only
        in their third number are not reported. The class is in `neuralot.exceptions`.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> import neuralot
    >>> X = np.random.default_rng(0).normal(size=(100, 2))
    >>> transport = neuralot.SNOTTransport(max_iter=5, random_state=0).fit(X, X + 1)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     transport.save(f"{folder}/transport.safetensors")
    ...     loaded = neuralot.load(f"{folder}/transport.safetensors")
    >>> bool((loaded.transform(X) == transport.transform(X)).all())
    True
    """
    functions = {
        "cost": cost,
        "map_form": map_form,
        "potential_network": potential_network,
        "height_network": height_network,
    }
    return read(path, functions)


def _subclasses(cls: type[Any]) -> Iterator[type[Any]]:
    for each in cls.__subclasses__():
        yield each
        yield from _subclasses(each)
