"""State of a run, from which an interrupted run continues."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Generator, Tensor

State = dict[str, Any]


class Checkpoint(Protocol):
    """Storage of the state of a run.

    A state is a tree of dicts with text keys. Its leaves are tensors, numbers, text, None, or lists of records.
    """

    def read(self) -> State | None:
        """Return the stored state, or None if there is none."""

    def write(self, state: Callable[[], State], *, at_once: bool = False) -> None:
        """Store a state if a write is due, or `at_once`."""


class Stateful(Protocol):
    """Part of a run with a changing state."""

    def state_dict(self) -> State:
        """Return the state."""

    def load_state_dict(self, state: State) -> Any:
        """Load a state that `state_dict` has returned."""


class Keeper:
    """Restores the state of a run, and stores it again.

    Parameters
    ----------
    checkpoint : Checkpoint or None
        Nothing is stored when None. If it has a state, the parts load it.
    parts : sequence of object
        The parts of the run. Those without the methods of `Stateful` are omitted.
    """

    def __init__(self, checkpoint: Checkpoint | None, parts: Sequence[Any]) -> None:
        self.checkpoint = checkpoint
        stateful: list[Stateful] = [part for part in parts if hasattr(part, "state_dict")]
        self.parts = {f"{i} {type(part).__name__}": part for i, part in enumerate(stateful)}
        state = None if checkpoint is None else checkpoint.read()
        if state is not None:
            for name in self.parts.keys() & state.keys():
                self.parts[name].load_state_dict(state[name])

    def keep(self, *, at_once: bool = False) -> None:
        """Store the current state if a write is due."""
        if self.checkpoint is not None:
            self.checkpoint.write(self._state, at_once=at_once)

    def _state(self) -> State:
        return {name: part.state_dict() for name, part in self.parts.items()}


class Randomness:
    """State of a generator."""

    def __init__(self, generator: Generator) -> None:
        self.generator = generator

    def state_dict(self) -> State:
        return {"generator": self.generator.get_state()}

    def load_state_dict(self, state: State) -> None:
        self.generator.set_state(state["generator"].cpu())


class Records(list[dict[str, float]]):
    """History of a run."""

    def state_dict(self) -> State:
        return {"records": list(self)}

    def load_state_dict(self, state: State) -> None:
        self[:] = state["records"]


@torch.no_grad()
def copy_tensors(old: Mapping[str, Tensor], new: Mapping[str, Tensor]) -> None:
    """Copy tensors in place, by name.

    Their memory is unchanged, because a captured step reads it.
    """
    for name, tensor in old.items():
        tensor.copy_(new[name])
