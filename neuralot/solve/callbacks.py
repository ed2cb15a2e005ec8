"""Callbacks of the training loop.

A callback is a function `(step, problem, record) -> bool` that returns True to stop the fit.
"""

from __future__ import annotations

import copy
import math
import sys
from collections.abc import Callable
from typing import Any, TextIO

import torch
from torch import Generator, Tensor

from neuralot.solve.distributed import current
from neuralot.solve.problem import Problem
from neuralot.solve.status import Record

# progress at which weights are kept
EARLIER = (0.4, 0.7)


class EarlyStopping:
    """Stop a fit when the validation distance stops decreasing.

    It is the energy distance between the images of held-out source rows and held-out target rows, in standardised
    units, and is recorded as ``validation``. No exact map or plan is needed. Values are only compared once the problem
    is `settled`: before its last smoothing level, OTP solves a different problem. Call `finish` after the fit to
    restore the best weights.

    Parameters
    ----------
    x, y : Tensor of shape (n, n_features), (m, n_features)
        Held-out rows.
    tol : float
        Smallest decrease that counts as an improvement.
    n_iter_no_change : int
        Number of steps without an improvement after which the fit is stopped.
    settled : callable progress -> bool
        Whether the problem at this progress is the final one.
    """

    def __init__(
        self,
        x: Tensor,
        y: Tensor,
        *,
        tol: float,
        n_iter_no_change: int,
        settled: Callable[[float], bool] = lambda progress: True,
    ) -> None:
        self.x, self.y = x, y
        self.tol, self.n_iter_no_change, self.settled = tol, n_iter_no_change, settled
        self.generator = Generator(x.device)
        self.best = math.inf
        self.best_step = 0
        self.weights: dict[str, Tensor] = {}

    def __call__(self, step: int, problem: Problem, record: Record) -> bool:
        record["validation"] = self._distance(problem, record["progress"])
        if not self.settled(record["progress"]):
            self.best_step = step
        elif record["validation"] < self.best - self.tol:
            self.best, self.best_step = record["validation"], step
            self.weights = copy.deepcopy(problem.state_dict())
        return step - self.best_step >= self.n_iter_no_change

    def state_dict(self) -> dict[str, Any]:
        """Return the state, for a checkpoint."""
        return {name: getattr(self, name) for name in ("best", "best_step", "weights")}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load a state."""
        self.best, self.best_step, self.weights = state["best"], state["best_step"], state["weights"]

    def finish(self, problem: Problem, is_affine: bool = False) -> bool:
        """Load the weights of the best step.

        If `is_affine` is true and the current weights are better by more than `tol`, they are kept. Returns whether
        weights were loaded.
        """
        if is_affine and self._distance(problem) < self.best - self.tol:
            return False
        if self.weights:
            problem.load_state_dict(self.weights)
        return bool(self.weights)

    def _distance(self, problem: Problem, progress: float = 1.0) -> float:
        self.generator.manual_seed(0)  # the same noise in every call, so that values depend on the weights only
        with torch.no_grad():
            return float(problem.discrepancy(self.x, self.y, self.generator, progress))


class EarlierWeights:
    """Keep the averaged weights of two earlier steps.

    Where the maps of these steps differ from the last one, the fit has not settled.

    Attributes
    ----------
    weights : dict of str to dict of str to Tensor
        Weights by name, on the CPU, at the first records of which the progress is at least 0.4 and 0.7.
    """

    def __init__(self) -> None:
        self.weights: dict[str, dict[str, Tensor]] = {}

    def __call__(self, step: int, problem: Problem, record: Record) -> bool:
        if len(self.weights) < len(EARLIER) and record["progress"] >= EARLIER[len(self.weights)]:
            named = problem.named_parameters()
            self.weights[str(len(self.weights))] = {name: each.detach().to("cpu", copy=True) for name, each in named}
        return False

    def changes(self, problem: Problem) -> dict[str, dict[str, Tensor]]:
        """Return the weights minus those of `problem`.

        They are those of the first process, in half precision, which is enough for the distance of two maps. Steps of
        which a change is not finite, as in a fit that diverges, are left out.
        """
        last = {name: each.detach().cpu() for name, each in problem.named_parameters()}
        changes = {
            key: {name: (each.cpu() - last[name]).half() for name, each in weights.items()}
            for key, weights in self.weights.items()
        }
        finite = [key for key, each in changes.items() if all(change.isfinite().all() for change in each.values())]
        return current().from_first({key: changes[key] for key in finite})

    def state_dict(self) -> dict[str, Any]:
        """Return the state, for a checkpoint."""
        return dict(self.weights)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load a state."""
        self.weights = dict(state)


class ProgressBar:
    """Show the progress of a fit on standard error.

    The bar shows the remaining time and the entries of the record, such as the losses and the distance between the
    images and the target. It uses rich if installed.

    Parameters
    ----------
    stream : file-like, optional
        Output of the plain-text bar, which is used without rich; standard error when None.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = sys.stderr if stream is None else stream
        self.bar = _rich_bar()

    def __call__(self, step: int, problem: Problem, record: Record) -> bool:
        losses = "/".join(f"{value:.3g}" for name, value in record.items() if name.endswith("_loss"))
        other = {"step", "seconds", "progress"}
        metrics = [
            f"{name} {value:.3g}" for name, value in record.items() if name not in other and not name.endswith("_loss")
        ]
        text = "  ".join([f"step {step}", f"loss {losses}", *metrics])
        progress = record["progress"]
        if self.bar is not None:
            self.bar.update(self.bar.task_ids[0], completed=progress, text=text)
        else:
            remaining = record["seconds"] * (1 - progress) / progress
            self.stream.write(f"\r{progress:4.0%}  {remaining:.0f} s left  {text}   ")
            self.stream.flush()
        return False

    def __enter__(self) -> ProgressBar:
        if self.bar is not None:
            self.bar.start()
            self.bar.add_task("fit", total=1.0, text="")
        return self

    def __exit__(self, *error: object) -> None:
        if self.bar is not None:
            self.bar.stop()
        else:
            self.stream.write("\n")


def _rich_bar() -> Any:
    try:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
    except ImportError:
        return None
    columns = BarColumn(), TimeRemainingColumn(), TextColumn("{task.fields[text]}")
    return Progress(*columns, console=Console(stderr=True))
