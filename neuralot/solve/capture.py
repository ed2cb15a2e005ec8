"""CUDA graphs: a step of many small kernels, launched as one."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from typing import Generic, TypeVar

import torch
from torch import Generator

Result = TypeVar("Result")

WARM_UP = 3
# replays after which the host sees to it that the device is no more than twice as many behind
LEAD = 16
# each thread's stream for warm-up and capture, of each device: for every stream that products have run on torch keeps
# memory, 32 MiB on an H100
_of_thread = threading.local()


class Captured(Generic[Result]):
    """A step without arguments that, after a few calls, is captured as a CUDA graph and replayed from then on.

    The networks here are small: launching the kernels of a step one by one takes longer than they run. What the step
    reads must stay where it is, in tensors that are written in place; what it computes on the host is computed once.
    A step that waits for the device, or cannot be captured for another reason, goes on as it began.

    Parameters
    ----------
    function : callable () -> result
        Works on the device of `generator`.
    generator : torch.Generator
        The only one, beside torch's own, that the step draws from.
    """

    def __init__(self, function: Callable[[], Result], generator: Generator) -> None:
        self.function, self.generator = function, generator
        self.graph: torch.cuda.CUDAGraph | None = None
        self.error: str | None = None  # as text: an error would hold on to what the step had allocated
        self.waits = False
        self._stream = _side_stream(generator.device)
        self._reached = torch.cuda.Event()
        self._result: Result
        self._n_calls = 0

    def __call__(self) -> Result:
        self._n_calls += 1
        if self._n_calls < WARM_UP:
            return self._on_a_stream_of_its_own()
        if self._n_calls == WARM_UP:
            return self._watched()
        if self.graph is None and self.error is None and not self.waits:
            self._capture()
        if self.graph is None:
            return self.function()
        self.graph.replay()
        if self._n_calls % LEAD == 0:
            # replays are launched much faster than they run: schedules that follow the time must not run ahead of them
            self._reached.synchronize()
            self._reached.record(torch.cuda.current_stream(self.generator.device))
        return self._result

    def _on_a_stream_of_its_own(self) -> Result:
        """Make one step as a capture will make it: libraries and optimisers then have allocated what they keep."""
        current = torch.cuda.current_stream(self.generator.device)
        self._stream.wait_stream(current)
        try:
            with torch.cuda.stream(self._stream):
                return self.function()
        finally:
            current.wait_stream(self._stream)

    def _watched(self) -> Result:
        """Make one step, and note whether it waits for the device: none that does can be captured."""
        before = torch.cuda.get_sync_debug_mode()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            try:
                return self._on_a_stream_of_its_own()
            finally:
                torch.cuda.set_sync_debug_mode(before)
                self.waits = any("synchronizing CUDA operation" in str(warning.message) for warning in caught)

    def _capture(self) -> None:
        device = self.generator.device
        # a capture that fails leaves its stream the current one and generators that refuse to draw; up to torch 2.12
        # also an allocator that cannot empty its cache, for which there is no remedy: hence `_watched`
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
    streams: dict[str, torch.cuda.Stream] = vars(_of_thread)
    return streams.get(str(device)) or streams.setdefault(str(device), torch.cuda.Stream(device))
