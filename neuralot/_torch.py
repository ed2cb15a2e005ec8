"""Torch utilities: precision of products, noise, energy distance."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Generator, Tensor


@contextmanager
def matmul_precision(device: torch.device, precision: str) -> Iterator[None]:
    """Set the precision of float32 matrix products on a GPU.

    ``'ieee'`` uses full precision. ``'tf32'`` rounds the factors to TF32, with a mantissa of ten bits, which is several
    times faster. The previous setting is restored at the end. Other devices are not affected.
    """
    if device.type != "cuda":
        yield
        return
    matmul = torch.backends.cuda.matmul
    before = matmul.fp32_precision
    # 'none' inherits the global setting; torch returns the resolved value only
    matmul.fp32_precision = "none"
    before = "none" if matmul.fp32_precision == before else before
    matmul.fp32_precision = precision
    try:
        yield
    finally:
        matmul.fp32_precision = before


def energy_distance(a: Tensor, b: Tensor) -> Tensor:
    """Unbiased energy distance between two samples.

    ``2 E|a - b| - E|a - a'| - E|b - b'|``, where `a` has shape (n, d) and `b` (m, d). The means within a sample exclude
    the zero distances of rows to themselves.

    References
    ----------
    Szekely and Rizzo, "Energy statistics", J. Stat. Plan. Inference, 2013.
    """
    n, m = len(a), len(b)
    with matmul_precision(a.device, "ieee"):
        within_a = torch.cdist(a, a).sum() / max(n * (n - 1), 1)
        within_b = torch.cdist(b, b).sum() / max(m * (m - 1), 1)
        return 2 * torch.cdist(a, b).mean() - within_a - within_b


class SharedGenerator(Generator):
    """Generator of a process that shares each batch.

    It has the same state in all processes. `normal` draws the noise of the rows of all processes, and returns that of
    this process's rows.

    Attributes
    ----------
    rank, size : int
        Number of this process, and of all processes.
    """

    rank: int
    size: int

    @classmethod
    def of(cls, generator: Generator, rank: int, size: int) -> SharedGenerator:
        """Return a generator with the state of another one."""
        shared = cls(generator.device)
        shared.set_state(generator.get_state())
        shared.rank, shared.size = rank, size
        return shared


def normal(n_rows: int, n_columns: int, generator: Generator, like: Tensor) -> Tensor:
    """Draw standard normal rows from `generator`.

    The rows have shape (n_rows, n_columns), and the dtype and the device of `like`.
    """
    rank, size = (generator.rank, generator.size) if isinstance(generator, SharedGenerator) else (0, 1)
    z = torch.randn(size * n_rows, n_columns, generator=generator, device=generator.device, dtype=torch.float32)
    return z[rank * n_rows : (rank + 1) * n_rows].to(like)


def mean_over(noise: Tensor, image: Callable[[Tensor], Tensor]) -> Tensor:
    """Mean of `image(z)` over the rows z of `noise`.

    This is a conditional mean. Images are summed draw by draw, so that every row is computed in the same way.
    """
    total = image(noise[0])  # (n, d)
    for z in noise[1:]:
        total = total + image(z)
    return total / len(noise)


@contextmanager
def seeded(generator: Generator) -> Iterator[None]:
    """Seed torch's global CPU generator from `generator`, temporarily.

    One seed is drawn from `generator`. Inside the context, the default dtype is float32. The global generator and the
    default dtype are restored at the end.
    """
    seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
    dtype = torch.get_default_dtype()
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # CPU only: torch.manual_seed would also seed GPUs
        torch.set_default_dtype(torch.float32)
        try:
            yield
        finally:
            torch.set_default_dtype(dtype)


def antithetic_noise(n_draws: int, n_features: int, generator: Generator) -> Tensor:
    """Standard normal draws in pairs z, -z.

    The shape is (n_draws, n_features). If `n_draws` is odd, the last draw is zero.
    """
    half = torch.randn(n_draws // 2, n_features, generator=generator, device=generator.device, dtype=torch.float32)
    rest = half.new_zeros(n_draws % 2, n_features)
    return torch.cat([half, -half, rest])
