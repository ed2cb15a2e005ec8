"""Threads, memory and randomness of a step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Generator

from neuralot._torch import matmul_precision
from neuralot.solve.problem import Problem

SMALL_NETWORK = 1_000_000


@contextmanager
def at_work(problem: Problem, generator: Generator) -> Iterator[None]:
    """Context in which steps are made.

    It limits the number of threads for small networks, takes random numbers from `generator`, and uses TF32 products on
    a GPU.
    """
    keep_freed_memory()
    with _threads_for(problem), _randomness_of(generator), matmul_precision(generator.device, "tf32"):
        yield


@contextmanager
def _threads_for(problem: Problem) -> Iterator[None]:
    """Run small networks on one CPU thread.

    More threads do not make them faster, and wait for each other if another process is busy.
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

    Other allocators are not affected. The thresholds of malloc follow the largest block that was ever freed, up to 32
    MiB. Freeing such a block, without writing to it, raises them to their bounds at once, and up to 64 MiB stay with
    the process. With lower thresholds, every step would return its memory to the system and fault it in again, page by
    page.
    """
    torch.empty(31 * 2**20, dtype=torch.uint8)


@contextmanager
def _randomness_of(generator: Generator) -> Iterator[None]:
    """Seed torch's global generators from `generator`, temporarily.

    Layers that draw from them, such as dropout, then follow `generator`. Their states are restored at the end.
    """
    cuda = generator.device.type == "cuda"
    with torch.random.fork_rng(devices=[generator.device] if cuda else []):
        torch.default_generator.manual_seed(generator.initial_seed())
        if cuda:
            with torch.cuda.device(generator.device):
                torch.cuda.manual_seed(generator.initial_seed())
        yield
