"""Number of threads, memory and randomness during training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Generator

from neuralot._torch import matmul_precision
from neuralot.solve.problem import Problem

SMALL_NETWORK = 1_000_000


@contextmanager
def training_context(problem: Problem, generator: Generator) -> Iterator[None]:
    """Context for training steps.

    It limits the number of threads for small networks, seeds torch's global generators from `generator`, and enables
    TF32 matrix products on a GPU.
    """
    keep_freed_memory()
    with _threads_for(problem), _seeded_from(generator), matmul_precision(generator.device, "tf32"):
        yield


@contextmanager
def _threads_for(problem: Problem) -> Iterator[None]:
    """Run small networks on one CPU thread.

    Several threads are not faster, and slow each other down if another process uses the cores.
    """
    before = torch.get_num_threads()
    small = sum(weight.numel() for weight in problem.parameters()) < SMALL_NETWORK
    if small:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        if small:
            torch.set_num_threads(before)


def keep_freed_memory() -> None:
    """Make glibc's malloc keep freed memory for the next step.

    Other allocators are not affected. The thresholds of malloc follow the largest block freed so far, up to 32 MiB.
    Freeing such a block, which is never written to, raises them to their maximum at once, and the process keeps up to
    64 MiB. With lower thresholds, every step would return its memory to the system and cause page faults for it again.
    """
    torch.empty(31 * 2**20, dtype=torch.uint8)


@contextmanager
def _seeded_from(generator: Generator) -> Iterator[None]:
    """Seed torch's global generators from `generator`, temporarily.

    Layers that draw from them, such as dropout, are then reproducible. Their states are restored at the end.
    """
    cuda = generator.device.type == "cuda"
    with torch.random.fork_rng(devices=[generator.device] if cuda else []):
        torch.default_generator.manual_seed(generator.initial_seed())
        if cuda:
            with torch.cuda.device(generator.device):
                torch.cuda.manual_seed(generator.initial_seed())
        yield
