"""Upper envelope of many planes, in blocks of rows.

The planes are z = <x, y_i> + h_i. The values of one block are in memory at a time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from neuralot._torch import matmul_precision

# maxima are taken over groups of planes first, which is faster; the number of groups is a multiple of this
GROUPS = 64
N_NEIGHBOURS = 6
MAX_POINTS = 1000
ROUNDING = 1e-5
# a block and its maxima fit in the cache of a CPU core, or occupy a whole GPU
ENTRIES_PER_BLOCK = {"cpu": 2**18, "cuda": 2**26}
MIN_ROWS = 32


class Planes:
    """Planes of points y_i and heights h_i.

    The planes z = <x, y_i> + h_i are stored in a layout for fast maxima over all of them.

    Parameters
    ----------
    points : Tensor of shape (m, d)
        The y_i.
    heights : Tensor of shape (m,)
        The h_i.

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
        # the last row holds the heights
        self.matrix = torch.cat([self._in_groups(points.T, 0.0), points.new_empty(1, self.n_groups * self.per_group)])
        self.move_to(heights)

    def move_to(self, heights: Tensor) -> None:
        """Replace the heights of the planes."""
        # padded planes are lower than all others
        self.matrix[-1:] = self._in_groups(heights[None], torch.finfo(heights.dtype).min)

    def _in_groups(self, rows: Tensor, fill: float) -> Tensor:
        """Return the columns padded to full groups, and interleaved.

        Neighbouring columns belong to different groups, so the maxima of the groups are vectorised.
        """
        padded = F.pad(rows, (0, self.n_groups * self.per_group - self.n_planes), value=fill)
        return padded.view(len(rows), self.n_groups, self.per_group).mT.reshape(len(rows), -1)

    def highest(self, x: Tensor) -> Tensor:
        """Return the index of the highest plane at each row.

        The indices have shape (n,). Ties are resolved in favour of the first plane.
        """
        indices = []
        for values in self._values(x):
            groups = values.view(len(values), self.per_group, self.n_groups)
            group = groups.amax(dim=1).max(dim=1).indices  # (n_block,)
            within = groups[torch.arange(len(groups), device=x.device), :, group].max(dim=1).indices  # (n_block,)
            indices.append(group * self.per_group + within)
        return torch.cat(indices) if indices else torch.empty(0, dtype=torch.long, device=x.device)

    def masses(self, x: Tensor, weights: Tensor | None = None) -> Tensor:
        """Return the masses of the planes' cells, shape (m,).

        The mass of a cell is the share of the rows, or of their weights, at which its plane is the highest.
        """
        weights = x.new_full((len(x),), 1 / len(x)) if weights is None else weights  # (n,)
        # not bincount: on a GPU it synchronises to read the largest index
        return weights.new_zeros(self.n_planes).index_add_(0, self.highest(x), weights)

    def top(self, x: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Return the k highest planes at each row.

        Returns their values and indices in descending order of value, both of shape (n, k).
        """
        k = min(k, self.n_planes)
        blocks = [values.topk(k, dim=1) for values in self._values(x)]
        if not blocks:
            return x.new_empty(0, k), torch.empty(0, k, dtype=torch.long, device=x.device)
        values, columns = map(torch.cat, zip(*blocks, strict=True))  # (n, k), (n, k)
        return values, columns % self.n_groups * self.per_group + columns // self.n_groups

    def _values(self, x: Tensor) -> Iterator[Tensor]:
        """Yield the values of all planes, block by block.

        Each block has shape (n_block, n_columns of `matrix`) and overwrites the previous one.
        """
        n_rows = max(MIN_ROWS, ENTRIES_PER_BLOCK[x.device.type] // self.matrix.shape[1])
        buffer = x.new_empty(min(n_rows, len(x)), self.matrix.shape[1])
        ones = x.new_ones(len(x), 1)
        for rows in torch.cat([x, ones], dim=1).split(n_rows) if len(x) else ():
            # errors of TF32 would exceed the differences between the highest planes
            with matmul_precision(x.device, "ieee"):
                values = torch.mm(rows, self.matrix, out=buffer[: len(rows)])
            yield values


def mean_margin(planes: Planes, x: Tensor) -> Tensor:
    """Return the mean distance between the two highest planes."""
    values, _ = planes.top(x, 2)  # (n, 2)
    return (values[:, 0] - values[:, 1]).mean()


def reach_of(points: Tensor) -> Tensor:
    """Return the distance within which points have six neighbours.

    It is the 0.9 quantile over at most a thousand points, and 0 for fewer than 8 points.
    """
    if len(points) < N_NEIGHBOURS + 2:
        return points.new_zeros(())
    sample = points[torch.linspace(0, len(points) - 1, min(len(points), MAX_POINTS), dtype=torch.double).long()]
    sixth = [torch.cdist(rows, points).topk(N_NEIGHBOURS + 1, largest=False).values[:, -1] for rows in sample.split(16)]
    return torch.cat(sixth).quantile(0.9)


def indices_of(old: Tensor, new: Tensor) -> Tensor:
    """Return the old index of each new point, or -1.

    Points are compared up to rounding errors.
    """
    old, new = old.double(), new.double()  # (m, d), (k, d)
    nearest = Planes(old, -old.square().sum(1) / 2).highest(new)  # (k,)
    is_equal = (old[nearest] - new).abs().amax(dim=1) <= ROUNDING * (1 + new.abs().amax(dim=1))
    return torch.where(is_equal, nearest, -1)
