"""State of training: weights, optimisers and the weight average."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from neuralot.solve.checkpoint import copy_tensors
from neuralot.solve.distributed import current
from neuralot.solve.optimizers import UpdateRule
from neuralot.solve.problem import Batches, Problem


class Training:
    """Problem with its players' optimisers and its averaged weights.

    Attributes
    ----------
    problem : Problem
    learned : Problem
        Copy with the averaged weights. Its buffers are those at the last call of `copy_buffers`.
    """

    def __init__(
        self,
        problem: Problem,
        optimizer: str,
        learning_rate: float | None,
        weight_decay: float,
        averaging: float,
    ) -> None:
        self.problem = problem.train()
        names = list(problem.players)
        self.players = [
            Player(problem, group, problem.optimizers(group, optimizer, learning_rate, weight_decay))
            for group in ([names] if problem.together else [[name] for name in names])
        ]
        self.learned = copy.deepcopy(problem).eval()
        pairs = zip(self.learned.parameters(), problem.parameters(), strict=True)
        self._weights = [(average, weight) for average, weight in pairs if weight.requires_grad]
        # not torch's AveragedModel, which synchronises with the device in each update to copy its step count
        self._ema = get_ema_multi_avg_fn(averaging)
        self._n_steps = 0

    def step(self, batches: Batches, rate: Tensor) -> dict[str, Tensor]:
        """Update every player, and return the last losses.

        `rate` is a factor on the learning rates.
        """
        losses: dict[str, Tensor] = {}
        for player in self.players:
            for _ in range(player.n_updates):
                player_losses, gradients = current().average(self.problem.gradients(player.names, batches))
                player.move(chain.from_iterable(gradients[name] for name in player.names), rate)
            losses |= {name: loss.detach() for name, loss in player_losses.items()}
        self._average()
        return losses

    @torch.no_grad()
    def _average(self) -> None:
        """Update the averages of the weights.

        They are initialised with the weights after the first step.
        """
        if self._n_steps:
            self._ema(*map(list, zip(*self._weights, strict=True)), self._n_steps)
        else:
            _copy(self._weights)
        self._n_steps += 1

    @torch.no_grad()
    def copy_buffers(self) -> None:
        """Copy the buffers of `problem` to `learned`.

        It is not done in each step, because buffers may be large.
        """
        self.agree()
        _copy(zip(self.learned.buffers(), self.problem.buffers(), strict=True))

    def agree(self) -> None:
        """Copy weights and buffers of the first process.

        Buffers such as running means depend on the rows of a process. Weights only differ by rounding, if processors
        differ.
        """
        current().copy_first(self.problem, self.learned)

    def state_dict(self) -> dict[str, Any]:
        """Return everything that steps change."""
        values = self.problem.state_dict()
        extra = {name: value for name, value in values.items() if name.endswith("_extra_state")}
        return {**self._tensors(), "extra": extra, "n_steps": self._n_steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load a state."""
        for name, tensors in self._tensors().items():
            copy_tensors(tensors, state[name])
        self.problem.load_state_dict(state["extra"], strict=False)
        self._n_steps = state["n_steps"]

    def _tensors(self) -> dict[str, dict[str, Tensor]]:
        """Return all tensors that steps change, by name."""
        rules = [rule for player in self.players for rule in player.optimizers]
        tensors = {"weights": _named(self.problem), "averages": _named(self.learned)}
        for i, rule in enumerate(rules):
            tensors[f"optimizer {i}"] = {str(j): tensor for j, tensor in enumerate(rule.state)}
        return tensors


def _named(problem: Problem) -> dict[str, Tensor]:
    return dict(chain(problem.named_parameters(), problem.named_buffers()))


def _copy(pairs: Iterable[tuple[Tensor, Tensor]]) -> None:
    for old, new in pairs:
        old.copy_(new)


class Player:
    """One player, or several that are updated together.

    It holds their weights and optimisers.
    """

    def __init__(self, problem: Problem, names: Sequence[str], optimizers: list[UpdateRule]) -> None:
        self.names = names
        self.n_updates = problem.players[names[0]]
        self.weights = [p for name in names for p in problem.networks[name].parameters() if p.requires_grad]
        self.optimizers = optimizers
        index_of = {id(weight): index for index, weight in enumerate(self.weights)}
        self._indices = [[index_of[id(weight)] for weight in optimizer.weights] for optimizer in optimizers]

    def move(self, gradients: Iterable[Tensor | None], rate: Tensor) -> None:
        """Update the weights by their gradients.

        `rate` is a factor on the learning rates.
        """
        gradient_list = list(gradients)
        for optimizer, indices in zip(self.optimizers, self._indices, strict=True):
            optimizer.step([gradient_list[i] for i in indices], rate)
