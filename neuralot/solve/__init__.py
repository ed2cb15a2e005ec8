"""The training loop that all methods share."""

from neuralot.solve.loop import Callback, Solution, resume, solve
from neuralot.solve.status import Record, Status

__all__ = ["Callback", "Record", "Solution", "Status", "resume", "solve"]
