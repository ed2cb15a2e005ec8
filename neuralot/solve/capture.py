"""CUDA graphs: all kernels of a step in one launch."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from typing import Generic, TypeVar

import torch
from torch import Generator

Result = TypeVar("Result")

WARM_UP = 3
# the host synchronises once per LEAD replays, so that the device is at most twice as many replays behind
LEAD = 16
# one stream for warm-up and capture per thread and device: torch keeps memory for every stream on which matrix products
# have run
_thread_streams = threading.local()


class Captured(Generic[Result]):
    """Step that is captured as a CUDA graph and replayed.

    The step has no arguments. It is captured after a few calls, and replayed from then on: for small networks,
    launching the kernels of a step one by one takes longer than running them. Tensors that the step reads must keep
    their memory and be modified in place. Host code in the step runs only once. A step that synchronises with the
    device, or cannot be captured for another reason, continues without a graph.

    Parameters
    ----------
    function : callable () -> result
        Runs on the device of `generator`.
    generator : torch.Generator
        The only generator, besides torch's own, from which the step draws.
    """

    def __init__(self, function: Callable[[], Result], generator: Generator) -> None:
        self.function, self.generator = function, generator
        self.graph: torch.cuda.CUDAGraph | None = None
        self.error: str | None = None  # as text, because an exception would keep the step's memory allocated
        self.waits = False
        self._stream = _side_stream(generator.device)
        self._reached = torch.cuda.Event()
        self._result: Result
        self._n_calls = 0

    def __call__(self) -> Result:
        self._n_calls += 1
        if self._n_calls < WARM_UP:
            return self._on_side_stream()
        if self._n_calls == WARM_UP:
            return self._check_waits()
        if self.graph is None and self.error is None and not self.waits:
            self._capture()
        if self.graph is None:
            return self.function()
        self.graph.replay()
        if self._n_calls % LEAD == 0:
            # launching a replay takes much less time than running it, and schedules in seconds must not run ahead
            self._reached.synchronize()
            self._reached.record(torch.cuda.current_stream(self.generator.device))
        return self._result

    def _on_side_stream(self) -> Result:
        """Run one step on the side stream, like captures.

        Libraries and optimisers then allocate their persistent memory before the capture.
        """
        current = torch.cuda.current_stream(self.generator.device)
        self._stream.wait_stream(current)
        try:
            with torch.cuda.stream(self._stream):
                return self.function()
        finally:
            current.wait_stream(self._stream)

    def _check_waits(self) -> Result:
        """Run one step, and set `waits`.

        A step that synchronises with the device cannot be captured.
        """
        before = torch.cuda.get_sync_debug_mode()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            try:
                return self._on_side_stream()
            finally:
                torch.cuda.set_sync_debug_mode(before)
                self.waits = any("synchronizing CUDA operation" in str(warning.message) for warning in caught)

    def _capture(self) -> None:
        device = self.generator.device
        # a failed capture leaves its stream current and its generators unusable, which is undone here; up to torch 2.12
        # the allocator can then no longer empty its cache, which cannot be undone: hence `_check_waits`
        with torch.cuda.device(device), torch.cuda.stream(torch.cuda.current_stream(device)):
            generators = [self.generator, torch.cuda.default_generators[torch.cuda.current_device()]]
            before = [generator.clone_state() for generator in generators]
            graph = torch.cuda.CUDAGraph()
            graph.register_generator_state(self.generator)
            try:
                with torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"):
                    self._result = self.function()
            except RuntimeError as error:
                self.error = str(error)
                for generator, state in zip(generators, before, strict=True):
                    generator.graphsafe_set_state(state)
            else:
                self.graph = graph


def _side_stream(device: torch.device) -> torch.cuda.Stream:
    streams: dict[str, torch.cuda.Stream] = vars(_thread_streams)
    return streams.get(str(device)) or streams.setdefault(str(device), torch.cuda.Stream(device))
