"""The upper envelope of many planes z = <x, y_i> + h_i: which of them are highest at a row, in memory of a block."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from neuralot.precision import products

# a maximum over groups, and then within one, takes a third of the time of one over all
GROUP = 64
# what stays in the cache of a core, or fills a GPU
ENTRIES_PER_BLOCK = {"cpu": 2**19, "cuda": 2**26}
FEWEST_ROWS = 16


class Planes:
    """Planes z = <x, y_i> + h_i, laid out for maxima over all of them.

    Parameters
    ----------
    points : Tensor of shape (m, d)
        The y_i.
    heights : Tensor of shape (m,)

    Examples
    --------
    >>> import torch
    >>> from neuralot.planes import Planes
    >>> planes = Planes(torch.tensor([[-1.0], [1.0]]), torch.zeros(2))
    >>> planes.highest(torch.tensor([[-3.0], [0.5]]))
    tensor([0, 1])
    """

    def __init__(self, points: Tensor, heights: Tensor) -> None:
        m, d = points.shape
        # one more coordinate for the heights, and planes below all others up to a whole number of groups
        self.matrix = points.new_zeros(d + 1, math.ceil(m / GROUP) * GROUP)
        self.matrix[:d, :m] = points.T
        self.matrix[d, :m] = heights
        self.matrix[d, m:] = torch.finfo(points.dtype).min
        self.n_planes = m

    def highest(self, x: Tensor) -> Tensor:
        """Index of the highest plane at each row, shape (n,); the first of those that are equally high."""
        winners = []
        for values in self._values(x):
            groups = values.view(len(values), -1, GROUP)
            group = groups.amax(dim=2).argmax(dim=1)
            inside = groups[torch.arange(len(groups), device=x.device), group].argmax(dim=1)
            winners.append(group * GROUP + inside)
        return torch.cat(winners) if winners else torch.empty(0, dtype=torch.long, device=x.device)

    def masses(self, x: Tensor, weights: Tensor | None = None) -> Tensor:
        """Share of the rows, or of their weights, at which each plane is the highest, shape (m,)."""
        weights = x.new_full((len(x),), 1 / len(x)) if weights is None else weights
        # no bincount: on a GPU it waits for the largest index
        return weights.new_zeros(self.n_planes).index_add_(0, self.highest(x), weights)

    def top(self, x: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Values and indices of the k highest planes at each row, in falling order, shapes (n, k)."""
        k = min(k, self.n_planes)
        parts = [values.topk(k, dim=1) for values in self._values(x)]
        if not parts:
            return x.new_empty(0, k), torch.empty(0, k, dtype=torch.long, device=x.device)
        values, indices = zip(*parts, strict=True)
        return torch.cat(values), torch.cat(indices)

    def _values(self, x: Tensor) -> Iterator[Tensor]:
        """Values of all planes at some rows, block by block; each block is written over the last."""
        n_rows = max(FEWEST_ROWS, ENTRIES_PER_BLOCK[x.device.type] // self.matrix.shape[1])
        buffer = x.new_empty(min(n_rows, len(x)), self.matrix.shape[1])
        ones = x.new_ones(len(x), 1)
        for rows in torch.cat([x, ones], dim=1).split(n_rows) if len(x) else ():
            # planes that compete differ by less than TF32 would round
            with products(x.device, "ieee"):
                values = torch.mm(rows, self.matrix, out=buffer[: len(rows)])
            yield values
