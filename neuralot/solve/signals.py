"""Signals that end a run."""

from __future__ import annotations

import multiprocessing
import signal
import threading
from types import FrameType, TracebackType


class EndingSignals:
    """Context in which SIGINT and SIGTERM end a run.

    The first signal sets `received`, and the run ends after its current step. The second raises a KeyboardInterrupt at
    once. Signals are handled as before outside of the main thread and the main process, and if the program has its own
    handlers for them.

    Attributes
    ----------
    received : bool
        Whether a signal has been received.
    insisted : bool
        Whether a second signal has been received.
    """

    def __init__(self) -> None:
        self.received = self.insisted = False
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

    def check(self) -> None:
        """Raise a KeyboardInterrupt if a signal has been received."""
        if self.received:
            raise KeyboardInterrupt

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.received:
            self.insisted = True
            raise KeyboardInterrupt
        self.received = True


def _is_main_process() -> bool:
    """Whether the process is no worker, which its parent ends."""
    return multiprocessing.current_process().name == "MainProcess"
