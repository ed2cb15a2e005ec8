"""Rows through a fitted problem, block by block: from the user's units to the networks' and back, in flat memory."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import torch
from sklearn.utils import gen_batches
from torch import Tensor

from neuralot.semidual import SemiDual

ROWS_PER_BLOCK = 16_384

Image = Callable[[SemiDual, Tensor], Tensor]
Change = Callable[[np.ndarray], np.ndarray]
Return = Callable[[np.ndarray, np.ndarray], np.ndarray]


def map_rows(
    problem: SemiDual, rows: np.ndarray, image: Image, enter: Change, leave: Return, out: np.ndarray, *, exact: bool
) -> np.ndarray:
    """Fill `out` with `leave(image(problem, enter(rows)), rows)`; if `exact`, in float64 for float64 rows on a CPU."""
    device = next(problem.parameters()).device
    dtype = torch.float64 if exact and rows.dtype == np.float64 and device.type == "cpu" else torch.float32
    with torch.inference_mode(False), torch.no_grad():
        problem = copy.deepcopy(problem).to(dtype)
        for block in gen_batches(len(rows), ROWS_PER_BLOCK):
            moved = image(problem, torch.from_numpy(enter(rows[block])).to(device, dtype))
            out[block] = leave(moved.cpu().numpy().astype(rows.dtype, copy=False), rows[block])
    return out
