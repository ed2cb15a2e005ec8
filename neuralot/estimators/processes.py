"""Fits that several processes share."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

from torch import Generator

from neuralot.estimators.checkpoints import digest
from neuralot.estimators.checks import check_device
from neuralot.estimators.laws import Laws
from neuralot.solve.distributed import current, joined, may_join

F = TypeVar("F", bound=Callable[..., Any])

COMPARED = (bool, int, float, str, type(None))
# parameters that may differ between processes
OWN = {"device", "verbose"}


def in_processes(fit: F) -> F:
    """Let the processes of a group share a fit."""

    @wraps(fit)
    def wrapper(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not may_join():
            return fit(self, *args, **kwargs)
        with joined(check_device(self.device)):
            return fit(self, *args, **kwargs)

    return cast(F, wrapper)


def agree(laws: Laws, params: dict[str, Any], generator: Generator) -> None:
    """Check that processes fit the same; seed them alike.

    `generator` takes the seed of the first process. Raises a ValueError, in all processes, if the rows, the weights or
    a parameter differ.
    """
    processes = current()
    if processes.size == 1:
        return
    values: dict[str, Any] = {name: value for name, value in params.items() if isinstance(value, COMPARED)}
    for name, law in zip(("X", "the target"), laws, strict=True):
        values[name] = f"rows with digest {digest(law.rows, law.weights)[:12]}"
    first, *others = processes.of_all(values)
    for rank, other in enumerate(others, start=1):
        for name in sorted((first.keys() | other.keys()) - OWN):
            if first.get(name) != other.get(name):
                raise ValueError(
                    f"{name} of process {rank} differs from that of process 0: {other.get(name)} instead of "
                    f"{first.get(name)}. All processes of a group fit one transport. Pass the same rows, weights and "
                    f"parameters in each; fit takes the share of each process itself. To fit one transport per "
                    f"process, call fit inside neuralot.solve.distributed.alone()."
                )
    generator.manual_seed(processes.from_first(generator.initial_seed()))
