"""Small tools for torch: precision, noise, the energy distance."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Generator, Tensor


@contextmanager
def matmul_precision(device: torch.device, precision: str) -> Iterator[None]:
    """Let float32 products on a GPU take their factors as they are (``'ieee'``) or rounded to TF32 (``'tf32'``).

    TF32 keeps ten bits of a factor, and is several times faster.
    """
    if device.type != "cuda":
        yield
        return
    matmul = torch.backends.cuda.matmul
    before = matmul.fp32_precision
    matmul.fp32_precision = "none"  # torch's word for the setting of all backends: that it was so cannot be read
    before = "none" if matmul.fp32_precision == before else before
    matmul.fp32_precision = precision
    try:
        yield
    finally:
        matmul.fp32_precision = before


def energy_distance(a: Tensor, b: Tensor) -> Tensor:
    """Energy distance 2 E|a - b| - E|a - a'| - E|b - b'| between two samples, without their zero self-distances.

    References
    ----------
    Szekely and Rizzo, "Energy statistics", J. Stat. Plan. Inference, 2013.
    """
    n, m = len(a), len(b)
    with matmul_precision(a.device, "ieee"):
        within_a = torch.cdist(a, a).sum() / max(n * (n - 1), 1)
        within_b = torch.cdist(b, b).sum() / max(m * (m - 1), 1)
        return 2 * torch.cdist(a, b).mean() - within_a - within_b


def normal(n_rows: int, n_columns: int, generator: Generator, like: Tensor) -> Tensor:
    """Standard normal rows from `generator`, in the dtype and on the device of `like`."""
    z = torch.randn(n_rows, n_columns, generator=generator, device=generator.device, dtype=torch.float32)
    return z.to(like)


def mean_over(noise: Tensor, image: Callable[[Tensor], Tensor]) -> Tensor:
    """Mean of `image(z)` over the rows z of `noise`: a conditional mean that every row computes alike."""
    total = image(noise[0])
    for z in noise[1:]:
        total = total + image(z)
    return total / len(noise)


@contextmanager
def seeded(generator: Generator) -> Iterator[None]:
    """Draw float32 numbers from torch's global generator as if seeded by `generator`, and leave both as they were."""
    seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
    dtype = torch.get_default_dtype()
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # the CPU's alone: torch.manual_seed would seed GPUs too
        torch.set_default_dtype(torch.float32)
        try:
            yield
        finally:
            torch.set_default_dtype(dtype)


def antithetic_noise(n_draws: int, n_features: int, generator: Generator) -> Tensor:
    """Standard normal draws in pairs z, -z, shape (n_draws, n_features); an odd last one is zero."""
    half = torch.randn(n_draws // 2, n_features, generator=generator, device=generator.device, dtype=torch.float32)
    rest = half.new_zeros(n_draws % 2, n_features)
    return torch.cat([half, -half, rest])
