"""Interface between the training loop and a problem."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Generator, Tensor, nn

from neuralot._torch import energy_distance
from neuralot.forms.losses import Gradients, gradients_of
from neuralot.sampling import Sampler
from neuralot.solve.optimizers import UpdateRule, make_optimizers


@dataclass(frozen=True)
class Batch:
    """Rows for one update.

    Attributes
    ----------
    x, y : Tensor of shape (n, n_features)
        Rows of the source and of the target.
    progress : float or Tensor of shape ()
        Completed share of the run, in [0, 1); all schedules depend on it. In the loop it is a tensor on the device, so
        that a captured step can be replayed with another value.
    generator : torch.Generator
        Source of the noise in a loss.
    """

    x: Tensor
    y: Tensor
    progress: float | Tensor
    generator: Generator


# function of a number `times` that returns a batch of `times` times the batch size
Batches = Callable[[int], Batch]


class Problem(nn.Module, ABC):
    """Base class of methods: players, losses and the learned map.

    A subclass registers one network per player in `networks` and sets `players`, the number of updates per step of each
    player, in the order of the updates. `neuralot.semidual.SemiDual` is a problem with a form. If other values than
    weights and buffers change from step to step, `get_extra_state` and `set_extra_state` of torch save them in
    checkpoints: a dict of tensors, numbers or None.

    Attributes
    ----------
    networks : torch.nn.ModuleDict
    players : dict of str to int
    together : bool
        Whether all players are updated simultaneously, on the same batch; otherwise in turn.
    capturable : bool
        Whether all steps run the same kernels, so that a CUDA graph of one step can be replayed.
    invertible : bool
        Whether `inverse` is available.
    """

    networks: nn.ModuleDict
    players: dict[str, int]
    together: bool = False
    capturable: bool = True
    invertible: bool = False

    # called by the loop

    def prepare(self, source: Sampler, target: Sampler, generator: Generator) -> None:
        """Prepare for the two laws, before the first step.

        By default, nothing is done.
        """
        return None

    def follow(self, progress: float) -> dict[str, float]:
        """Set host values that depend on the progress.

        Returns values for the history. Called before each step, including captured ones, and at each record.
        """
        return {}

    def optimizers(
        self, names: Sequence[str], kind: str, learning_rate: float | None, weight_decay: float
    ) -> list[UpdateRule]:
        """Return the optimisers of players that are updated together."""
        return make_optimizers([self.networks[name] for name in names], kind, learning_rate, weight_decay)

    def gradients(self, names: Sequence[str], batches: Batches) -> Gradients:
        """Return losses of some players, and their gradients.

        Each gradient is with respect to the weights of the loss's own player.
        """
        batch = batches(1)
        losses = {name: self.loss(name, batch) for name in names}
        return losses, gradients_of(losses, self.networks)

    def draw(self, x: Tensor, generator: Generator, progress: float = 1.0) -> Tensor:
        """Return one draw per row from the plan at `progress`.

        The draws have shape (n, d).
        """
        return self.map(x)

    def discrepancy(self, x: Tensor, y: Tensor, generator: Generator, progress: float = 1.0) -> Tensor:
        """Return the energy distance between draws and target rows.

        `x` are source rows. If the problem changes masses, draws and target rows have the masses of the plan.
        """
        return energy_distance(self.draw(x, generator, progress), y)

    # called by `gradients` and by the estimators

    @abstractmethod
    def loss(self, player: str, batch: Batch) -> Tensor:
        """Return the loss of `player`, a scalar.

        It is minimised with respect to the player's own weights only.
        """

    @abstractmethod
    def map(self, x: Tensor) -> Tensor:
        """Return the images of rows, shape (n, d).

        The map is deterministic, and the image of a row does not depend on other rows.
        """

    def potential(self, y: Tensor) -> Tensor:
        """Return the Kantorovich potential V at target rows, shape (m,)."""
        raise NotImplementedError(f"{type(self).__name__} does not define a potential")

    def inverse(self, y: Tensor) -> Tensor:
        """Return the images of target rows under the inverse map.

        `y` and the images have shape (m, d).
        """
        raise NotImplementedError(f"{type(self).__name__} does not define an inverse map")

    def compile_step(self) -> bool:
        """Compile the step with torch.

        Returns whether there is anything to compile.
        """
        return False

    def affine(self, source: Sampler, target: Sampler, generator: Generator) -> dict[str, Tensor] | None:
        """Return weights of the optimal map between Gaussians, or None."""
        return None
