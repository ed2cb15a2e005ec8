"""Signals that end a run."""

from __future__ import annotations

import multiprocessing
import signal
import threading
from types import FrameType, TracebackType

from neuralot.solve.distributed import Processes


class EndingSignals:
    """Context in which SIGINT and SIGTERM end a run.

    The first signal sets `received`, and the run ends after its current step. A second SIGINT raises a
    KeyboardInterrupt at once; a second SIGTERM, which batch systems send to a process and to its parent, has no effect.
    Signals are handled as before outside of the main thread and the main process, and if the program has its own
    handlers for them.

    Attributes
    ----------
    received : bool
        Whether a signal has been received.
    ends : bool
        Whether this process, or another one that shares the run, has received a signal.
    insisted : bool
        Whether a second SIGINT has been received.
    """

    def __init__(self) -> None:
        self.received = self.ends = self.insisted = False
        self._before: dict[int, object] = {}

    def __enter__(self) -> EndingSignals:
        if threading.current_thread() is threading.main_thread() and _is_main_process():
            usual = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
            self._before = {number: handler for number, handler in usual.items() if signal.getsignal(number) == handler}
            for number in self._before:
                signal.signal(number, self._receive)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def agree(self, processes: Processes) -> bool:
        """Set and return `ends`, in all processes alike.

        They must call this at the same step.
        """
        self.ends = processes.any(self.received)
        return self.ends

    def check(self) -> None:
        """Raise a KeyboardInterrupt if the run ends."""
        if self.ends:
            raise KeyboardInterrupt

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.received and number == signal.SIGINT:
            self.insisted = True
            raise KeyboardInterrupt
        self.received = True


def _is_main_process() -> bool:
    """Whether the process is no worker, which its parent ends."""
    return multiprocessing.current_process().name == "MainProcess"
