"""A watch on a fit that needs no truth: the law of its images, against that of the target."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Mapping
from functools import cached_property

import torch
from torch import Generator, Tensor

from neuralot._torch import energy_distance
from neuralot.sampling import ArraySampler, Sampler
from neuralot.solve.problem import Problem

N_MONITORED = 512
N_OF_CHANCE = 8
# of which those that are watched may be drawn as of the law itself
MANY_ROWS = 32 * N_MONITORED
ROUNDING = 1e-3


class Guard:
    """Watches the law of the images on a few fixed rows, keeps the best weights, and restores them on divergence."""

    def __init__(self, problem: Problem, source: Sampler, target: Sampler, generator: Generator) -> None:
        # a generator of its own: what is watched must not change what is learned
        self.generator = torch.Generator(generator.device)
        # energy distances are without bias between independent rows; those of stratified batches would fall below 0
        self.problem, self.source, self.target = problem, source, target
        self.x, self.y = (_independent(law)(N_MONITORED, generator) for law in (source, target))
        self.best = math.inf
        self.best_weights: dict[str, Tensor] | None = None
        self.first = self.last = self.discrepancy()
        within = max(float(torch.cdist(rows, rows).mean()) for rows in (self.x, self.y))
        # the size of what can be told apart; the floor is for laws of one point, in standardised units
        self.spread = max(within + self.first, 0.5)

    @cached_property
    def chance(self) -> float:
        """What two samples of the target, as large as the fit's, have between them, but for a chance of one in ten.

        By the bootstrap: rows of either are drawn from a sample that is drawn itself. 0 where the target is a point.
        """
        self.generator.manual_seed(1)
        sizes = [_n_rows(law) for law in (self.source, self.target)]
        pairs = ([self._drawn(n_rows) for n_rows in sizes] for _ in range(N_OF_CHANCE))
        return max(float(energy_distance(a, b)) for a, b in pairs)

    def _drawn(self, n_rows: int) -> Tensor:
        """What is watched of another sample of the target, with so many rows."""
        draw = _independent(self.target)
        if n_rows >= MANY_ROWS:
            return draw(N_MONITORED, self.generator)
        rows = draw(n_rows, self.generator)
        return rows[torch.randint(n_rows, (N_MONITORED,), generator=self.generator, device=rows.device)]

    def discrepancy(self) -> float:
        """Energy distance between images, at the last smoothing level and under the same noise every time, and y."""
        self.generator.manual_seed(0)
        with torch.no_grad():
            image = self.problem.draw(self.x, self.generator)
            self.last = float(energy_distance(image, self.y))
        if self.last < self.best:
            self.best, self.best_weights = self.last, copy.deepcopy(self.problem.state_dict())
        return self.last

    def try_instead(self, state: Mapping[str, Tensor]) -> bool:
        """Take another state of the problem where its images are nearer to the target; return whether they are."""
        last, before = self.last, copy.deepcopy(self.problem.state_dict())
        self.problem.load_state_dict(state, strict=False)
        if self.discrepancy() < last:
            return True
        self.problem.load_state_dict(before)
        self.last = last
        return False

    def lost(self, values: Iterable[float]) -> bool:
        """Whether the values of a record are no numbers, or the images far from the target."""
        return not all(map(math.isfinite, values)) or self.last > 4 * self.spread

    def left_the_target(self) -> bool:
        """Whether the images are clearly farther from the target than they were at best."""
        return self.last > self.best + 0.1 * self.spread

    @property
    def is_off(self) -> bool:
        """Whether the images are farther from the target than chance, and rounding, explain."""
        return self.last > max(self.chance, ROUNDING * self.spread)

    @property
    def failed(self) -> bool:
        """Whether there were no finite weights."""
        return self.best_weights is None

    def restore(self) -> None:
        """Load the best weights, if there are any."""
        if self.best_weights is not None:
            self.problem.load_state_dict(self.best_weights)
            self.last = self.best


def _independent(law: Sampler) -> Sampler:
    """A sampler of independent rows."""
    return law.independent if isinstance(law, ArraySampler) else law


def _n_rows(law: Sampler) -> int:
    """Effective number of distinct rows, one over the sum of squared weights; many where a law can be drawn from."""
    if not isinstance(law, ArraySampler):
        return MANY_ROWS
    return math.ceil(1 / float(law.distinct()[1].square().sum()))
