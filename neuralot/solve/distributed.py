"""Processes that share one fit, on torch.distributed.

Every process has all rows and draws the same batches. It computes the gradients on its share of each batch, and they
are averaged. The decisions of a fit are those of the first process.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Generator, Tensor, nn

from neuralot._torch import SharedGenerator
from neuralot.exceptions import LostProcessError
from neuralot.forms.losses import Gradients

T = TypeVar("T")

# of a group made by `joined`; torch's default is 30 minutes
TIMEOUT = timedelta(minutes=10)
# environment variables set by torchrun
LAUNCHED = {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"}


@dataclass(frozen=True)
class Processes:
    """Processes that share a fit.

    With one process, all methods return their arguments.

    Attributes
    ----------
    rank, size : int
        Number of this process, from 0 on, and of all processes.
    device : torch.device or None
        Device of this process; None with one process.
    """

    rank: int = 0
    size: int = 1
    device: torch.device | None = None

    @property
    def is_first(self) -> bool:
        """Whether this process decides, shows progress and warns."""
        return self.rank == 0

    def share(self, rows: Tensor) -> Tensor:
        """Return the rows of this process.

        The number of rows must be a multiple of the number of processes.
        """
        return rows if self.size == 1 else rows.chunk(self.size)[self.rank]

    def shared(self, generator: Generator) -> Generator:
        """Return a generator for the rows of this process."""
        return generator if self.size == 1 else SharedGenerator.of(generator, self.rank, self.size)

    def batch_size(self, n_rows: int) -> int:
        """Round a batch size down to a multiple of `size`."""
        if n_rows < self.size:
            raise ValueError(
                f"a batch must have at least one row for each of the {self.size} processes, got {n_rows} rows; pass a "
                f"larger batch_size (n_monte_carlo for OTNetTransport)"
            )
        return n_rows - n_rows % self.size

    def mean(self, tensor: Tensor) -> Tensor:
        """Return the mean of a tensor over the processes."""
        if self.size == 1:
            return tensor
        total = tensor.detach().clone(memory_format=torch.contiguous_format)
        with self._communicating():
            dist.all_reduce(total)
        return total / self.size

    def average(self, gradients: Gradients) -> Gradients:
        """Average losses and gradients in one message."""
        if self.size == 1:
            return gradients
        losses, of_players = gradients
        tensors = [*losses.values(), *(g for each in of_players.values() for g in each if g is not None)]
        means = iter(_parts(self.mean(_flat(tensors)), tensors))
        mean_losses = {name: next(means) for name in losses}
        return mean_losses, {
            name: [None if g is None else next(means) for g in each] for name, each in of_players.items()
        }

    def gather(self, rows: Tensor) -> Tensor:
        """Return the rows of all processes, in order."""
        if self.size == 1:
            return rows
        parts = [torch.empty_like(rows, memory_format=torch.contiguous_format) for _ in range(self.size)]
        with self._communicating():
            dist.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    def from_first(self, value: T) -> T:
        """Return the value of the first process."""
        if self.size == 1:
            return value
        values = [value]
        with self._communicating():
            dist.broadcast_object_list(values, src=0)
        return values[0]

    def of_all(self, value: T) -> list[T]:
        """Return the values of all processes."""
        values: list[Any] = [value] * self.size
        if self.size > 1:
            with self._communicating():
                dist.all_gather_object(values, value)
        return values

    def any(self, flag: bool) -> bool:
        """Return whether the flag of any process is set."""
        if self.size == 1:
            return flag
        # NCCL sends no tensors of a CPU; elsewhere a CPU tensor does not wait for the GPU
        total = torch.full((), float(flag), device=self.device if dist.get_backend() == "nccl" else "cpu")
        with self._communicating():
            dist.all_reduce(total, dist.ReduceOp.MAX)
        return bool(total)

    def copy_first(self, *modules: nn.Module) -> None:
        """Copy weights and buffers of the first process, in place."""
        if self.size == 1:
            return
        of_dtype: dict[torch.dtype, list[Tensor]] = {}
        values = [value for module in modules for value in module.state_dict().values()]
        for tensor in values:
            if isinstance(tensor, Tensor):
                of_dtype.setdefault(tensor.dtype, []).append(tensor)
        for tensors in of_dtype.values():  # in one message each
            flat = _flat(tensors)
            with self._communicating():
                dist.broadcast(flat, src=0)
            for tensor, part in zip(tensors, _parts(flat, tensors), strict=True):
                tensor.copy_(part)

    @contextmanager
    def _communicating(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            raise _lost(self.rank, self.size, error) from error


def _flat(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([tensor.detach().reshape(-1) for tensor in tensors])


def _parts(flat: Tensor, tensors: Sequence[Tensor]) -> list[Tensor]:
    parts = flat.split([tensor.numel() for tensor in tensors])
    return [part.view_as(tensor) for part, tensor in zip(parts, tensors, strict=True)]


ALONE = Processes()
_current: ContextVar[Processes | None] = ContextVar("processes", default=None)


def current() -> Processes:
    """Return the processes that share the current fit."""
    return _current.get() or ALONE


@contextmanager
def joined(device: torch.device) -> Iterator[Processes]:
    """Context in which a group of processes shares fits.

    The group is torch's default group. If there is none, but torchrun has started this process, a group is made for the
    duration of the context, with NCCL on a GPU and Gloo on a CPU. Without either, and in `alone`, a process fits by
    itself. All processes must enter the context and make the same fits.

    Parameters
    ----------
    device : torch.device
        A CUDA device without an index stands for that of ``LOCAL_RANK``.

    Yields
    ------
    Processes

    Raises
    ------
    LostProcessError
        If another process ends or does not answer, in all others.
    ValueError
        If the group cannot use the device.

    Examples
    --------
    >>> import torch
    >>> from neuralot.solve.distributed import joined
    >>> with joined(torch.device("cpu")) as processes:
    ...     processes.size
    1
    """
    if _current.get() is not None or not may_join():
        yield current()
        return
    device = _local(device)
    made = not dist.is_initialized()
    if made:
        _make_group(device)
    try:
        processes = _members(device)
        token = _current.set(processes)
        try:
            # NCCL sends objects from the current device
            with torch.cuda.device(device) if device.type == "cuda" else nullcontext():
                yield processes
        finally:
            _current.reset(token)
    finally:
        if made:
            dist.destroy_process_group()


@contextmanager
def alone() -> Iterator[None]:
    """Context in which this process fits by itself.

    Examples
    --------
    >>> from neuralot.solve.distributed import alone, current
    >>> with alone():
    ...     current().size
    1
    """
    token = _current.set(ALONE)
    try:
        yield
    finally:
        _current.reset(token)


def may_join() -> bool:
    """Return whether there may be a group of processes.

    There is one already, or torchrun has started this process. A child of such a process, as joblib starts, has its
    environment but does not belong to the group.
    """
    if not dist.is_available():
        return False
    is_launched = os.environ.keys() >= LAUNCHED and int(os.environ["WORLD_SIZE"]) > 1
    return dist.is_initialized() or (is_launched and multiprocessing.parent_process() is None)


def _local(device: torch.device) -> torch.device:
    """Return the device of this process on its machine."""
    if device.type != "cuda" or device.index is not None or "LOCAL_RANK" not in os.environ:
        return device
    index, n_devices = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
    if index >= n_devices:
        raise ValueError(
            f"device='cuda' needs one CUDA device per process of a machine, but process {index} found {n_devices}; "
            f"start {n_devices} processes per machine, or pass device='cpu'"
        )
    return torch.device("cuda", index)


_n_groups = itertools.count()


@cache
def _store() -> Any:
    """Return the store at which the processes meet."""
    from torch.distributed.rendezvous import rendezvous

    return next(rendezvous("env://", timeout=TIMEOUT))[0]


def _make_group(device: torch.device) -> None:
    from torch.distributed.distributed_c10d import PrefixStore

    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" and dist.is_nccl_available() else "gloo"
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    try:
        # each group has its own keys in the store, which keeps those of earlier groups
        store = PrefixStore(f"neuralot/{next(_n_groups)}", _store())
        dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=TIMEOUT)
    except RuntimeError as error:
        raise _lost(rank, size, error) from error


def _members(device: torch.device) -> Processes:
    if device.type == "cpu" and dist.get_backend() == "nccl":
        raise ValueError(
            "device='cpu' needs a process group with Gloo, but this one has NCCL only; pass device='cuda', or no "
            "backend to init_process_group"
        )
    return Processes(dist.get_rank(), dist.get_world_size(), device)


def _lost(rank: int, size: int, error: RuntimeError) -> LostProcessError:
    return LostProcessError(
        f"Process {rank} of {size} lost another one, which ended or did not answer in time. The fit was not completed. "
        f"See the error of the process that ended first. ({error})"
    )
