"""The upper envelope of many planes z = <x, y_i> + h_i: which of them are highest at a row, in memory of a block."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from neuralot._torch import matmul_precision

# a maximum over groups, and then within one, takes a third of the time of one over all; groups come by so many
GROUPS = 64
# what stays in the cache of a core beside its maxima, or fills a GPU
ENTRIES_PER_BLOCK = {"cpu": 2**18, "cuda": 2**26}
FEWEST_ROWS = 32


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
    >>> from neuralot.methods.planes import Planes
    >>> planes = Planes(torch.tensor([[-1.0], [1.0]]), torch.zeros(2))
    >>> planes.highest(torch.tensor([[-3.0], [0.5]]))
    tensor([0, 1])
    """

    def __init__(self, points: Tensor, heights: Tensor) -> None:
        self.n_planes = len(points)
        self.n_groups = GROUPS * max(1, round(math.sqrt(self.n_planes) / GROUPS))
        self.per_group = math.ceil(self.n_planes / self.n_groups)
        # one more coordinate for the heights
        self.matrix = torch.cat([self._in_groups(points.T, 0.0), points.new_empty(1, self.n_groups * self.per_group)])
        self.move_to(heights)

    def move_to(self, heights: Tensor) -> None:
        """Let the same planes have other heights."""
        # below all others: what fills the groups
        self.matrix[-1:] = self._in_groups(heights[None], torch.finfo(heights.dtype).min)

    def _in_groups(self, rows: Tensor, fill: float) -> Tensor:
        """Columns in their order: neighbours are of different groups, whose maxima are then taken side by side."""
        filled = F.pad(rows, (0, self.n_groups * self.per_group - self.n_planes), value=fill)
        return filled.view(len(rows), self.n_groups, self.per_group).mT.reshape(len(rows), -1)

    def highest(self, x: Tensor) -> Tensor:
        """Index of the highest plane at each row, shape (n,); the first of those that are equally high."""
        winners = []
        for values in self._values(x):
            groups = values.view(len(values), self.per_group, self.n_groups)
            group = groups.amax(dim=1).max(dim=1).indices
            inside = groups[torch.arange(len(groups), device=x.device), :, group].max(dim=1).indices
            winners.append(group * self.per_group + inside)
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
        values, columns = map(torch.cat, zip(*parts, strict=True))
        return values, columns % self.n_groups * self.per_group + columns // self.n_groups

    def _values(self, x: Tensor) -> Iterator[Tensor]:
        """Values of all planes at some rows, block by block; each block is written over the last."""
        n_rows = max(FEWEST_ROWS, ENTRIES_PER_BLOCK[x.device.type] // self.matrix.shape[1])
        buffer = x.new_empty(min(n_rows, len(x)), self.matrix.shape[1])
        ones = x.new_ones(len(x), 1)
        for rows in torch.cat([x, ones], dim=1).split(n_rows) if len(x) else ():
            # planes that compete differ by less than TF32 would round
            with matmul_precision(x.device, "ieee"):
                values = torch.mm(rows, self.matrix, out=buffer[: len(rows)])
            yield values
