"""CUDA graphs: a step of many small kernels, launched as one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

import torch
from torch import Generator

Result = TypeVar("Result")

WARM_UP = 3


class Captured(Generic[Result]):
    """A step without arguments that, after a few calls, is captured as a CUDA graph and replayed from then on.

    The networks here are small: launching the kernels of a step one by one takes longer than they run. What the step
    reads must stay where it is, in tensors that are written in place; what it computes on the host is computed once.
    Where a step cannot be captured, it goes on as it began.

    Parameters
    ----------
    function : callable () -> result
        Works on the device of `generator`, without waiting for it.
    generator : torch.Generator
        The only one, beside torch's own, that the step draws from.
    """

    def __init__(self, function: Callable[[], Result], generator: Generator) -> None:
        self.function, self.generator = function, generator
        self.graph: torch.cuda.CUDAGraph | None = None
        self.error: RuntimeError | None = None
        self._result: Result
        self._n_calls = 0

    def __call__(self) -> Result:
        self._n_calls += 1
        if self._n_calls <= WARM_UP:
            return self._on_a_stream_of_its_own()
        if self.graph is None and self.error is None:
            self._capture()
        if self.graph is None:
            return self.function()
        self.graph.replay()
        return self._result

    def _on_a_stream_of_its_own(self) -> Result:
        """Make one step as a capture will make it: libraries and optimisers then have allocated what they keep."""
        stream = torch.cuda.Stream(self.generator.device)
        stream.wait_stream(torch.cuda.current_stream(self.generator.device))
        with torch.cuda.stream(stream):
            result = self.function()
        torch.cuda.current_stream(self.generator.device).wait_stream(stream)
        return result

    def _capture(self) -> None:
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(self.generator)
        try:
            with torch.cuda.device(self.generator.device), torch.cuda.graph(graph):
                self._result = self.function()
        except RuntimeError as error:
            self.error = error
        else:
            self.graph = graph


@contextmanager
def tensor_cores(device: torch.device) -> Iterator[None]:
    """Allow TF32 for matrix products on a GPU, and give the setting back afterwards."""
    if device.type != "cuda":
        yield
        return
    matmul = torch.backends.cuda.matmul
    before = matmul.fp32_precision
    matmul.fp32_precision = "tf32"
    try:
        yield
    finally:
        matmul.fp32_precision = before
