"""The loop: one for every method."""

from neuralot.solve.loop import Callback, Solution, go_on, solve
from neuralot.solve.status import Record, Status

__all__ = ["Callback", "Record", "Solution", "Status", "go_on", "solve"]
