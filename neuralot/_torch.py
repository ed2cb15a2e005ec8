"""Torch utilities: arrays, precision of products, noise, energy distance."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import numpy as np
import torch
from torch import Generator, Tensor

P = ParamSpec("P")
R = TypeVar("R")

IMPORTED_IN = os.getpid()
# smallest share of pairs of different rows, for samples with nearly all weight on one row
SMALLEST = 1e-6


def as_numpy(values: Any, name: str) -> np.ndarray:
    """Convert a tensor or array-like to a numpy array.

    Tensors of lower precision become float64. Masked entries, ragged lists and tensors without data raise a ValueError
    that names the argument.
    """
    if np.ma.is_masked(values):
        raise ValueError(f"{name} must have no masked entries; remove these rows, or fill the entries")
    try:
        if not isinstance(values, Tensor):
            return np.asarray(values)
        is_low = values.is_floating_point() and values.dtype not in (torch.float32, torch.float64)
        return (values.double() if is_low else values).detach().cpu().numpy()
    except (RuntimeError, TypeError, ValueError) as error:
        raise ValueError(f"{name} must be an array of numbers, but could not be converted: {error}") from error


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


def energy_distance(a: Tensor, b: Tensor, v: Tensor | None = None, w: Tensor | None = None) -> Tensor:
    """Unbiased energy distance between two samples.

    ``2 E|a - b| - E|a - a'| - E|b - b'|``, where `a` has shape (n, d) and `b` (m, d). The means within a sample exclude
    the zero distances of rows to themselves. `v` and `w` are the weights of the rows, of shapes (n,) and (m,); they are
    equal when None.

    References
    ----------
    Szekely and Rizzo, "Energy statistics", J. Stat. Plan. Inference, 2013.
    """
    if v is not None and w is not None:
        return _weighted_energy_distance(a, b, v, w)
    n, m = len(a), len(b)
    with matmul_precision(a.device, "ieee"):
        within_a = torch.cdist(a, a).sum() / max(n * (n - 1), 1)
        within_b = torch.cdist(b, b).sum() / max(m * (m - 1), 1)
        return 2 * torch.cdist(a, b).mean() - within_a - within_b


def _weighted_energy_distance(a: Tensor, b: Tensor, v: Tensor, w: Tensor) -> Tensor:
    v, w = (weights / weights.sum().clamp(min=torch.finfo(weights.dtype).tiny) for weights in (v, w))
    with matmul_precision(a.device, "ieee"):
        # pairs of a row with itself have the weight sum v^2
        within_a, within_b = (
            weights @ torch.cdist(rows, rows) @ weights / (1 - weights.square().sum()).clamp(min=SMALLEST)
            for rows, weights in ((a, v), (b, w))
        )
        return 2 * v @ torch.cdist(a, b) @ w - within_a - within_b


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


# one lock per process, because a fork may copy a lock that another thread holds
_LOCKS: dict[int, threading.RLock] = {}


def exclusive() -> threading.RLock:
    """Return the lock for torch's global state.

    The state consists of its global generators, default dtype and number of threads. All threads of a process share it.
    """
    return _LOCKS.setdefault(os.getpid(), threading.RLock())


def set_num_threads(n_threads: int) -> None:
    """Set the number of torch's threads for the calling thread.

    torch would use it in threads that start later, too, for example for another fit. Their number is kept.
    """
    with exclusive():
        default = _in_new_thread(torch.get_num_threads)
        torch.set_num_threads(n_threads)
        _in_new_thread(lambda: torch.set_num_threads(default))


def _in_new_thread(function: Callable[[], R]) -> R:
    results: list[R] = []
    thread = threading.Thread(target=lambda: results.append(function()))
    thread.start()
    thread.join()
    return results[0]


def isolated(function: Callable[P, R]) -> Callable[P, R]:
    """Make a function independent of the caller's settings of torch.

    Gradients are enabled, also in inference mode and `no_grad`, automatic mixed precision is disabled, and the default
    device is the CPU. In a forked process, the function runs on one thread.
    """

    @wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        # a fork does not copy torch's threads, and an operation that waits for them never ends
        with (
            on_one_thread(os.getpid() != IMPORTED_IN),
            _default_settings(),
            torch.inference_mode(False),
            torch.enable_grad(),
        ):
            return function(*args, **kwargs)

    return wrapper


@contextmanager
def on_one_thread(applies: bool) -> Iterator[None]:
    """Use one of torch's threads, if `applies`."""
    before = torch.get_num_threads()
    if before == 1 or not applies:
        yield
        return
    set_num_threads(1)
    try:
        yield
    finally:
        set_num_threads(before)


@contextmanager
def _default_settings() -> Iterator[None]:
    """Disable mixed precision and a default device, if any."""
    with ExitStack() as stack:
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        for device in ("cpu", "cuda"):
            if torch.is_autocast_enabled(device):
                stack.enter_context(torch.autocast(device, enabled=False))
        yield


@contextmanager
def seeded(generator: Generator) -> Iterator[None]:
    """Seed torch's global CPU generator from `generator`, temporarily.

    One seed is drawn from `generator`. Inside the context, the default dtype is float32. The global generator and the
    default dtype are restored at the end. Other threads wait until then.
    """
    seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
    with exclusive(), torch.random.fork_rng(devices=[]):
        dtype = torch.get_default_dtype()
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
