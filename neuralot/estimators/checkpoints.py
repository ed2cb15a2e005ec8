"""Checkpoint files, from which an interrupted fit continues."""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from neuralot.estimators.archive import check_folder, read_archive, write_archive
from neuralot.estimators.encoding import decoded, encoded, with_arrays, without_arrays
from neuralot.estimators.laws import Law, Laws
from neuralot.estimators.state import FitParams
from neuralot.estimators.warn import warn_user
from neuralot.exceptions import CheckpointWarning
from neuralot.solve.checkpoint import State
from neuralot.solve.distributed import current

FORMAT = "1"
# parameters that do not change a fit; the device is compared as that of the generator
IGNORED = {"callbacks", "checkpoint", "checkpoint_interval", "device", "verbose"}
# parameters that a fit with `max_time` chooses by timing
CHOSEN = ("batch_size", "hidden_layer_sizes", "learning_rate_init")
ADDRESS = re.compile(" at 0x[0-9a-f]+")


class CheckpointFile:
    """Checkpoint of a fit in a file.

    Parameters
    ----------
    path : path-like
    interval : float
        Seconds between two writes.
    identity : dict of str to JSON values
        What must be equal when a fit continues: parameters, device, and digests of the samples.
    generator : torch.Generator
        The generator of the fit. It takes the seed of the fit that wrote the file, if any.

    Raises
    ------
    FileNotFoundError
        If the folder does not exist.
    ValueError
        If the file is damaged or not a checkpoint, or was written by a fit with another identity.
    """

    def __init__(self, path: str | os.PathLike[str], interval: float, identity: State, generator: Generator) -> None:
        self.path, self.interval = Path(path), interval
        self.identity, self.device = identity, generator.device
        self.values: dict[str, Any] = {"identity": identity, "seed": generator.initial_seed(), "chosen": {}}
        self._state: State | None = None
        # of the processes that share a fit, only the first reads and writes
        processes = current()
        self._last_write, self._writes = time.perf_counter(), processes.is_first
        if processes.is_first:
            check_folder(self.path, "checkpoint")
            if self.path.exists():
                self._load()
        self.values, self._state = processes.from_first((self.values, self._state))
        generator.manual_seed(self.values["seed"])

    def choose(self, params: FitParams) -> bool:
        """Set the parameters that the interrupted fit had chosen.

        Returns whether there was one. Otherwise they are not changed.
        """
        vars(params).update(decoded(self.values["chosen"], {}))
        return bool(self.values["chosen"])

    def store(self, params: FitParams) -> None:
        """Store the parameters that the fit has chosen."""
        self.values["chosen"] = encoded({name: getattr(params, name) for name in CHOSEN})

    def read(self) -> State | None:
        return None if self._state is None else _to_torch(self._state, self.device)

    def write(self, state: Callable[[], State], *, at_once: bool = False) -> None:
        is_due = at_once or time.perf_counter() - self._last_write >= self.interval
        if not (is_due and self._writes):
            return
        arrays: dict[str, np.ndarray] = {}
        tree = without_arrays(_to_numpy({**self.values, "state": state()}), "", arrays)
        try:
            write_archive(self.path, {"neuralot checkpoint": FORMAT, "values": json.dumps(tree)}, arrays)
        except (OSError, TypeError) as error:
            self._writes = False
            warn_user(
                f"The checkpoint {self.path} cannot be written: {error}. The fit continues without checkpoints.",
                CheckpointWarning,
            )
        self._last_write = time.perf_counter()

    def remove(self) -> None:
        """Remove the file, at the end of a fit."""
        if not current().is_first:
            return
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            warn_user(f"The checkpoint {self.path} cannot be removed: {error}.", CheckpointWarning)

    def _load(self) -> None:
        if not self.path.is_file():
            raise ValueError(f"checkpoint must be the path of a file, got {self.path}, which is a folder or a device")
        try:
            metadata, arrays = read_archive(self.path, self._is_checkpoint)
        except ValueError as error:
            raise ValueError(
                f"checkpoint {self.path} cannot be read: {error}; delete the file to begin anew, or pass another path"
            ) from error
        try:
            values = with_arrays(json.loads(metadata["values"]), arrays)
            self._check_identity(values["identity"])
            self._state = values.pop("state")
        except (KeyError, TypeError) as error:
            raise ValueError(f"checkpoint {self.path} cannot be read: missing {error}; delete the file") from error
        self.values = values

    def _is_checkpoint(self, metadata: Mapping[str, str]) -> bool:
        version = metadata.get("neuralot checkpoint")
        if version is None:
            what = "a saved transport" if "neuralot" in metadata else "another safetensors file"
            raise ValueError(f"it is not a checkpoint but {what}")
        if version != FORMAT:
            raise ValueError(f"it has format {version}, and this version of neuralot reads format {FORMAT}")
        return True

    def _check_identity(self, stored: Mapping[str, Any]) -> None:
        """Raise a ValueError that says what differs."""
        names = [name for name in {**self.identity, **stored} if self.identity.get(name) != stored.get(name)]
        if "estimator" in names:  # its parameters differ, too
            names = ["estimator"]
        if names:
            differences = ", ".join(_difference(name, stored.get(name), self.identity.get(name)) for name in names)
            raise ValueError(
                f"checkpoint {self.path} was written by a fit with {differences}; pass the same samples and "
                f"parameters to continue it, or another path, or delete the file"
            )


def _difference(name: str, stored: Any, now: Any) -> str:
    """Return how a part of the identity differs, as text."""
    if " " not in name:
        return f"{name}={stored!r}, not {now!r}"
    kinds = [" ".join(str(each).split()[:-1]) for each in (stored, now)]  # without the digest
    return f"other {name}" + (f" ({kinds[0]}, not {kinds[1]})" if kinds[0] != kinds[1] else "")


def open_checkpoint(transport: Any, laws: Laws, generator: Generator) -> CheckpointFile | None:
    """Open the checkpoint of a fit, if it has one.

    `generator` then takes the seed of the interrupted fit, if any.
    """
    if transport.checkpoint is None:
        return None
    params = {name: value for name, value in transport.get_params(deep=False).items() if name not in IGNORED}
    identity = {
        "estimator": type(transport).__qualname__,
        **{name: _without_address(value) for name, value in encoded(params).items()},
        "device": generator.device.type,
        **identity_of(laws[0], "source"),
        **identity_of(laws[1], "target"),
    }
    return CheckpointFile(transport.checkpoint, transport.checkpoint_interval, identity, generator)


def identity_of(law: Law, name: str) -> dict[str, str]:
    """Return what identifies a sample, by names for the reader."""
    rows, weights = law.rows, law.weights
    kind = f"{rows.shape[0]} x {rows.shape[1]} {rows.dtype}"
    return {f"{name} rows": f"{kind} {digest(rows)}", f"{name} weights": digest(weights)}


def digest(*arrays: np.ndarray) -> str:
    """Return a digest of arrays."""
    content = hashlib.sha256()
    for array in arrays:
        content.update(f"{array.shape} {array.dtype}".encode())
        content.update(np.ascontiguousarray(array).data)
    return content.hexdigest()


def _without_address(value: Any) -> Any:
    """Return JSON values that are the same in each process."""
    if isinstance(value, dict) and "function" in value:
        return ADDRESS.sub("", value["function"])
    return json.loads(json.dumps(value))  # tuples as lists


def _to_numpy(state: Any) -> Any:
    """Replace tensors by arrays in a tree of dicts."""
    if isinstance(state, Mapping):
        return {name: _to_numpy(value) for name, value in state.items()}
    return state.detach().cpu().numpy() if isinstance(state, Tensor) else state


def _to_torch(state: Any, device: torch.device) -> Any:
    """Replace arrays by tensors in a tree of dicts."""
    if isinstance(state, Mapping):
        return {name: _to_torch(value, device) for name, value in state.items()}
    # a clone, because the alignment of memory may change the bits of products
    return torch.from_numpy(np.array(state)).clone().to(device) if isinstance(state, np.ndarray) else state
