"""Monitoring of a fit without the exact map.

The law of the images is compared with that of the target.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

import torch
from torch import Generator, Tensor

from neuralot._torch import energy_distance
from neuralot.sampling import ArraySampler, Sampler
from neuralot.solve.problem import Problem

N_MONITORED = 512
N_BOOTSTRAP = 8
# from this size on, a sample is treated as the law itself
MANY_ROWS = 32 * N_MONITORED
ROUNDING = 1e-3
STATE = ("x", "y", "best", "best_weights", "first", "last", "spread")


class Guard:
    """Monitor a fit, and restore its best weights on divergence.

    The law of the images of a few fixed rows is compared with that of a few fixed target rows.
    """

    def __init__(self, problem: Problem, source: Sampler, target: Sampler, generator: Generator) -> None:
        # a separate generator, because monitoring must not change training
        self.generator = torch.Generator(generator.device)
        # energy distances are unbiased for independent rows; for stratified batches they would be below 0
        self.problem, self.source, self.target = problem, source, target
        self.x, self.y = (_independent(law)(N_MONITORED, generator) for law in (source, target))
        self.best = math.inf
        self.best_weights: dict[str, Tensor] | None = None
        self.first = self.last = self.discrepancy()
        within = max(float(torch.cdist(rows, rows).mean()) for rows in (self.x, self.y))
        # scale of energy distances, with a lower bound in standardised units for laws of one point
        self.spread = max(within + self.first, 0.5)

    @cached_property
    def chance(self) -> float:
        """Energy distance to the target explained by sampling error.

        Two samples of the target, with the sizes of the fit's samples, exceed it with a probability of about one in
        ten. It is estimated by the bootstrap: samples are drawn from the target, and rows from these samples. It is 0
        if the target is a point.
        """
        self.generator.manual_seed(1)
        sizes = [_n_rows(law) for law in (self.source, self.target)]
        pairs = ([self._drawn(n_rows) for n_rows in sizes] for _ in range(N_BOOTSTRAP))
        return max(float(energy_distance(a, b)) for a, b in pairs)

    def _drawn(self, n_rows: int) -> Tensor:
        """Return rows of a new sample of the target.

        The sample has `n_rows` rows, of which `N_MONITORED` are drawn with replacement.
        """
        draw = _independent(self.target)
        if n_rows >= MANY_ROWS:
            return draw(N_MONITORED, self.generator)
        rows = draw(n_rows, self.generator)
        return rows[torch.randint(n_rows, (N_MONITORED,), generator=self.generator, device=rows.device)]

    def discrepancy(self) -> float:
        """Energy distance between the images and the target rows.

        Images are drawn at the last smoothing level, with the same noise in every call. The best weights are updated.
        """
        self.generator.manual_seed(0)
        with torch.no_grad():
            self.last = float(self.problem.discrepancy(self.x, self.y, self.generator))
        if self.last < self.best:
            self.best, self.best_weights = self.last, copy.deepcopy(self.problem.state_dict())
        return self.last

    def try_instead(self, state: Mapping[str, Tensor]) -> bool:
        """Load another state if its images are closer.

        Returns whether they are. Otherwise the current state is kept.
        """
        last, before = self.last, copy.deepcopy(self.problem.state_dict())
        self.problem.load_state_dict(state, strict=False)
        if self.discrepancy() < last:
            return True
        self.problem.load_state_dict(before)
        self.last = last
        return False

    def lost(self, values: Iterable[float]) -> bool:
        """Return whether the fit has diverged.

        It has if a value of the record is not finite, or if the images are far from the target.
        """
        return not all(map(math.isfinite, values)) or self.last > 4 * self.spread

    def left_the_target(self) -> bool:
        """Return whether the images have left the target.

        They have if their distance to it is clearly larger than the smallest one so far and than sampling errors.
        """
        return self.last > self.best + 0.1 * self.spread and self.last > self.chance

    @property
    def is_off(self) -> bool:
        """Whether the discrepancy exceeds sampling and rounding errors."""
        return self.last > max(self.chance, ROUNDING * self.spread)

    @property
    def is_exact(self) -> bool:
        """Whether the discrepancy is 0 up to rounding errors."""
        return self.last <= ROUNDING * self.spread

    @property
    def failed(self) -> bool:
        """Whether the weights have never been finite."""
        return self.best_weights is None

    def state_dict(self) -> dict[str, Any]:
        """Return the state, for a checkpoint."""
        return {name: getattr(self, name) for name in STATE}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load a state."""
        for name in STATE:
            setattr(self, name, state[name])

    def restore(self) -> None:
        """Load the best weights, if there are any."""
        if self.best_weights is not None:
            self.problem.load_state_dict(self.best_weights)
            self.last = self.best


def _independent(law: Sampler) -> Sampler:
    """Return a sampler of independent rows."""
    return law.independent if isinstance(law, ArraySampler) else law


def _n_rows(law: Sampler) -> int:
    """Effective number of distinct rows of a law.

    One over the sum of squared weights, or `MANY_ROWS` for a sampler that is not an array.
    """
    if not isinstance(law, ArraySampler):
        return MANY_ROWS
    return math.ceil(1 / float(law.distinct()[1].square().sum()))
