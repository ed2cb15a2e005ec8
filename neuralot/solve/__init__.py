"""The training loop that all methods share."""

from neuralot.solve.loop import Callback as Callback
from neuralot.solve.loop import Solution, resume, solve
from neuralot.solve.status import Record as Record
from neuralot.solve.status import Status as Status

__all__ = ["Solution", "resume", "solve"]
