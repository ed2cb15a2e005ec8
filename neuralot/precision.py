"""How matrix products round their factors on a GPU, set for a while and given back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def products(device: torch.device, precision: str) -> Iterator[None]:
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
