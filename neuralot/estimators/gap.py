"""Dual gap of the learned potential along a fit."""

from __future__ import annotations

import contextlib
from functools import cached_property

import torch
from torch import Generator, Tensor

from neuralot.costs import Cost, as_cost
from neuralot.divergences import optimal_cost_of
from neuralot.estimators.state import Setup
from neuralot.sampling import ArraySampler
from neuralot.solve.guard import N_MONITORED
from neuralot.solve.problem import Problem
from neuralot.solve.status import Record


def dual_gaps(setup: Setup, samplers: tuple[ArraySampler, ArraySampler]) -> list[DualGap]:
    """Return the callback for a few rows of a fit.

    There is none if masses change, because the exact cost is that of balanced transport.
    """
    if setup.params.changes_masses:
        return []
    generator = Generator(setup.source.rows.device)  # a separate one, because it must not change training
    x, y = (sampler.independent(N_MONITORED, generator) for sampler in samplers)
    return [DualGap(setup.units.cost(as_cost(setup.params.cost), x.device), x, y)]


class DualGap:
    r"""Callback that records the dual gap of the potential.

    It is recorded as ``gap``: the exact cost of the rows minus
    :math:`\frac1n \sum_i \min_j [c(x_i, y_j) - V(y_j)] + \frac1m \sum_j V(y_j)`, which is at most the exact cost.
    Nothing is recorded if the problem defines no potential, or if a cost of the rows is not finite.

    Parameters
    ----------
    cost : Cost
    x, y : Tensor of shape (n, n_features), (m, n_features)
        Rows of the source and of the target.
    """

    def __init__(self, cost: Cost, x: Tensor, y: Tensor) -> None:
        self.y = y
        with torch.no_grad():
            self.costs = cost.pairwise(x, y)  # (n, m)

    @cached_property
    def exact_cost(self) -> float:
        """Exact transport cost of the rows."""
        return optimal_cost_of(self.costs.cpu().double().numpy())

    def __call__(self, step: int, problem: Problem, record: Record) -> bool:
        if self.costs.isfinite().all():
            with torch.no_grad(), contextlib.suppress(NotImplementedError):
                V = problem.potential(self.y)  # (m,)
                record["gap"] = self.exact_cost - float((self.costs - V).amin(dim=1).mean() + V.mean())
        return False
