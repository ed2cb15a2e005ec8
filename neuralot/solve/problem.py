"""What the loop asks of a problem."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Generator, Tensor, nn

from neuralot.forms.losses import Gradients, gradients_of
from neuralot.sampling import Sampler
from neuralot.solve.optimizers import Optimizer, make_optimizers


@dataclass(frozen=True)
class Batch:
    """Rows for one update.

    Attributes
    ----------
    x, y : Tensor of shape (n, n_features)
        Rows of the source and of the target.
    progress : float or Tensor of shape ()
        How much of the run is over, in [0, 1); it carries every schedule. In the loop it is a tensor on the device, so
        that a captured step can be replayed with another value.
    generator : torch.Generator
        Where a loss takes its noise from.
    """

    x: Tensor
    y: Tensor
    progress: float | Tensor
    generator: Generator


# a batch of so many times the batch size
Batches = Callable[[int], Batch]


class Problem(nn.Module, ABC):
    """A method: its players, their losses, and the map that they have learned.

    A subclass registers one network per player in `networks` and sets `players`, the number of updates that each
    makes in one step of the loop, in playing order. `neuralot.semidual.SemiDual` is the one with a form.

    Attributes
    ----------
    networks : torch.nn.ModuleDict
    players : dict of str to int
    together : bool
        Whether the players move at once, on the same batch; else each in its turn.
    capturable : bool
        Whether all steps compute the same, so that a GPU can replay one.
    invertible : bool
        Whether `inverse` is available.
    """

    networks: nn.ModuleDict
    players: dict[str, int]
    together: bool = False
    capturable: bool = True
    invertible: bool = False

    # asked by the loop

    def prepare(self, source: Sampler, target: Sampler, generator: Generator) -> None:
        """Look at the laws before the first step; most methods need nothing."""
        return None

    def follow(self, progress: float) -> dict[str, float]:
        """Set what changes with the progress on the host; return it for the history.

        Called before each step, also of a captured one, and at each record.
        """
        return {}

    def optimizers(
        self, names: Sequence[str], kind: str, learning_rate: float | None, weight_decay: float
    ) -> list[Optimizer]:
        """Return the optimisers of players that move at once."""
        return make_optimizers([self.networks[name] for name in names], kind, learning_rate, weight_decay)

    def gradients(self, names: Sequence[str], batches: Batches) -> Gradients:
        """Return the losses of some players, and the gradient of each in its own weights."""
        batch = batches(1)
        losses = {name: self.loss(name, batch) for name in names}
        return losses, gradients_of(losses, self.networks)

    def draw(self, x: Tensor, generator: Generator, progress: float = 1.0) -> Tensor:
        """Return one draw per row from the plan at `progress`, shape (n, d)."""
        return self.map(x)

    # asked by `gradients` and by the estimators

    @abstractmethod
    def loss(self, player: str, batch: Batch) -> Tensor:
        """Return what `player` minimises, a scalar; only its own weights will be moved."""

    @abstractmethod
    def map(self, x: Tensor) -> Tensor:
        """Return the images of rows, shape (n, d); deterministic, row by row."""

    def inverse(self, y: Tensor) -> Tensor:
        """Return the images of target rows under the inverse map, shape (m, d)."""
        raise NotImplementedError(f"{type(self).__name__} has no inverse in this form")

    def compile_step(self) -> bool:
        """Let torch compile the step; return whether there is anything to compile."""
        return False

    def affine(self, source: Sampler, target: Sampler, generator: Generator) -> dict[str, Tensor] | None:
        """Return weights of the optimal map between Gaussians, or None."""
        return None
