"""Number of threads, memory and randomness during training."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Generator, Tensor, nn

from neuralot._torch import exclusive, matmul_precision, on_one_thread
from neuralot.networks.perceptrons import ACTIVATIONS
from neuralot.solve.problem import Problem

SMALL_NETWORK = 1_000_000
# modules of torch that draw no random numbers
DETERMINISTIC = (nn.Linear, nn.ModuleDict, nn.ModuleList, nn.ParameterList, nn.Sequential, *ACTIVATIONS.values())


@contextmanager
def training_context(problem: Problem, generator: Generator) -> Iterator[Callable[[], AbstractContextManager[None]]]:
    """Context for training steps.

    It limits the number of threads for small networks and enables TF32 matrix products on a GPU. Its value is the
    context of a single step, in which torch's global generators are seeded from `generator`.
    """
    keep_freed_memory()
    # several threads are not faster for small networks, and slow each other down if another process uses the cores
    is_small = sum(weight.numel() for weight in problem.parameters()) < SMALL_NETWORK
    with on_one_thread(is_small), matmul_precision(generator.device, "tf32"):
        yield SeededSteps(generator) if _may_draw(problem) else nullcontext


def keep_freed_memory() -> None:
    """Make glibc's malloc keep freed memory for the next step.

    Other allocators are not affected. The thresholds of malloc follow the largest block freed so far, up to 32 MiB.
    Freeing such a block, which is never written to, raises them to their maximum at once, and the process keeps up to
    64 MiB. With lower thresholds, every step would return its memory to the system and cause page faults for it again.
    """
    torch.empty(31 * 2**20, dtype=torch.uint8)


def _may_draw(problem: Problem) -> bool:
    """Return whether a step may use torch's global generators.

    This package does not, but custom networks and costs may, for example for dropout.
    """
    return any(
        not (type(module).__module__.startswith("neuralot.") or type(module) in DETERMINISTIC)
        or not getattr(getattr(module, "cost", None), "homogeneous", True)
        for module in problem.modules()
    )


class SeededSteps:
    """Context in which a step draws from torch's global generators.

    They are seeded from `generator` in the first step and continue in the next one. After each step, they have their
    previous states. Other threads that need them wait until then.
    """

    def __init__(self, generator: Generator) -> None:
        self.seed, self.cuda = generator.initial_seed(), [generator.device] if generator.device.type == "cuda" else []
        self.states: dict[str, Tensor] = {}

    @contextmanager
    def __call__(self) -> Iterator[None]:
        with exclusive(), torch.random.fork_rng(devices=self.cuda):
            self._set_states()
            yield
            self.states = {"cpu": torch.get_rng_state()}
            self.states |= {str(device): torch.cuda.get_rng_state(device) for device in self.cuda}

    def _set_states(self) -> None:
        if self.states:
            torch.set_rng_state(self.states["cpu"])
        else:
            torch.default_generator.manual_seed(self.seed)
        for device in self.cuda:
            with torch.cuda.device(device):
                if self.states:
                    torch.cuda.set_rng_state(self.states[str(device)], device)
                else:
                    torch.cuda.manual_seed(self.seed)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the state, for a checkpoint."""
        return self.states

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Load a state."""
        self.states = {name: each.cpu() for name, each in state.items()}
