"""Samplers: arrays with weights, callables and data loaders become `sampler(n, generator) -> Tensor` of n rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from scipy.spatial import KDTree
from torch import Generator, Tensor
from torch.utils.data import DataLoader

Sampler = Callable[[int, Generator], Tensor]


# of a sample, on which a k-d tree is built
ROWS_FOR_CELLS = 2_048


class ArraySampler:
    """Draw rows of `data` with replacement, each with a probability proportional to its weight.

    Parameters
    ----------
    data : Tensor of shape (n_rows, n_features)
    weights : Tensor of shape (n_rows,), optional
        Non-negative; uniform when None. A draw costs O(log n_rows) per row.
    stratified : bool
        Whether a batch is a stratified sample: the mass of the rows, in the order in which they stand, is cut into as
        many equal parts as rows are drawn, and each part gives one of them. Where neighbours in that order are near to
        each other, as in `canonical_order`, means over a batch then vary less, in one to three dimensions by far.

    References
    ----------
    Owen, "Monte Carlo theory, methods and examples", 2013, section 8.4.

    Examples
    --------
    >>> import torch
    >>> from neuralot.sampling import ArraySampler
    >>> rows = torch.arange(4.0).reshape(4, 1)
    >>> only_last = ArraySampler(rows, torch.tensor([0.0, 0.0, 0.0, 1.0]))
    >>> only_last(3, torch.Generator()).ravel()
    tensor([3., 3., 3.])
    """

    def __init__(self, data: Tensor, weights: Tensor | None = None, stratified: bool = False) -> None:
        if data.ndim != 2 or not len(data):
            raise ValueError(f"data must be rows of shape (n_rows, n_features), got {tuple(data.shape)}")
        if weights is not None and weights.shape != (len(data),):
            raise ValueError(f"weights must have shape ({len(data)},), one per row, got {tuple(weights.shape)}")
        if weights is not None and not (weights.isfinite().all() and (weights >= 0).all() and weights.sum() > 0):
            raise ValueError("weights must be finite, non-negative and not all zero")
        self.data, self.stratified = data, stratified
        self._upper = None if weights is None else torch.cumsum(weights.double(), 0).to(data.device)

    def __call__(self, n: int, generator: Generator) -> Tensor:
        if not self.stratified:
            return self.independent(n, generator)
        # the parts in random order, as rows of two batches are paired; no randperm, which a CUDA graph may not capture
        keys, within = torch.rand(2, n, generator=generator, device=self.data.device, dtype=torch.double)
        return self._rows_at((keys.argsort() + within) / n)

    def independent(self, n: int, generator: Generator) -> Tensor:
        """Rows that are drawn independently of each other."""
        return self._rows_at(torch.rand(n, generator=generator, device=self.data.device, dtype=torch.double))

    def _rows_at(self, draws: Tensor) -> Tensor:
        """Rows at these shares of the mass."""
        # inverse distribution function: a row that stands twice is drawn like one of weight two, draw by draw
        if self._upper is None:
            rows = (draws * len(self.data)).long()
        else:
            # side right: a row of weight zero has an empty interval and is never drawn
            rows = torch.searchsorted(self._upper, draws * self._upper[-1], right=True)
        return self.data.index_select(0, rows.clamp_(max=len(self.data) - 1))

    def distinct(self) -> tuple[Tensor, Tensor]:
        """Where each row stands last among neighbours that equal it, and the share of the mass that they have."""
        last = distinct(self.data)
        upper = last.double() + 1 if self._upper is None else self._upper[last]
        shares = upper.diff(prepend=upper.new_zeros(1)) / upper[-1]
        return last[shares > 0], shares[shares > 0]


class LoaderSampler:
    """Draw rows from a `DataLoader`, epoch after epoch, its shuffling seeded by the given generator.

    Parameters
    ----------
    loader : DataLoader
        Batches are tensors of rows, or tuples whose first entry is.
    """

    def __init__(self, loader: DataLoader[Any]) -> None:
        self.loader = loader
        self._batches: Iterator[Any] = iter(())
        self._buffer: Tensor | None = None

    def __call__(self, n: int, generator: Generator) -> Tensor:
        parts = [] if self._buffer is None else [self._buffer]
        while sum(map(len, parts)) < n:
            parts.append(self._next(generator))
        rows = torch.cat(parts)
        self._buffer = rows[n:]
        return rows[:n].to(generator.device)

    def _next(self, generator: Generator) -> Tensor:
        seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
        # a loader without a generator of its own shuffles from the global state: lend it ours, give that back
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)  # the CPU's alone
            try:
                batch = next(self._batches)
            except StopIteration:
                self._batches = iter(self.loader)
                batch = next(self._batches, None)
        if batch is None:
            raise ValueError("the DataLoader is empty; pass one that yields rows")
        rows: Tensor = batch[0] if isinstance(batch, (tuple, list)) else batch
        return rows.to(torch.float32)


def as_sampler(source: Any, weights: Any = None, device: torch.device | str | None = None) -> Sampler:
    """Turn rows, a `DataLoader` or a callable `(n, generator) -> Tensor` into a sampler of float32 rows.

    Parameters
    ----------
    source : array-like of shape (n_rows, n_features), Tensor, DataLoader or callable
    weights : array-like of shape (n_rows,), optional
        Only for rows.
    device : torch.device, optional
        Where the rows of an array are put, once.

    Raises
    ------
    ValueError
        If the rows are none, or if the weights do not belong to them: not one per row, negative, not finite, all zero,
        or given for something that is not an array of rows.

    Examples
    --------
    >>> import torch
    >>> from neuralot.sampling import as_sampler
    >>> as_sampler([[0.0, 1.0], [2.0, 3.0]])(5, torch.Generator()).shape
    torch.Size([5, 2])
    """
    rows_given = not (isinstance(source, DataLoader) or callable(source))
    if weights is not None and not rows_given:
        raise ValueError("weights are only for an array of rows; a loader or a callable draws by its own law")
    if isinstance(source, ArraySampler):
        return source
    if isinstance(source, DataLoader):
        return LoaderSampler(source)
    if not rows_given:
        return lambda n, generator: source(n, generator).to(generator.device, torch.float32)
    rows = source if isinstance(source, Tensor) else torch.from_numpy(np.require(source, requirements=["C", "W"]))
    data = rows.to(device=device, dtype=torch.float32)
    return ArraySampler(data, None if weights is None else torch.as_tensor(weights))


def canonical_order(rows: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Indices that order the rows cell by cell of a k-d tree, without those of no weight.

    In a cell they follow a fixed random projection. Samplers invert the cumulative weights, so a fit then depends on
    the weighted law alone: neither on the order of the rows, nor on whether a row stands twice or weighs two.
    """
    order = np.argsort(projection(rows))
    order = order[weights[order] > 0]
    # of as many rows of every law, however many rows it comes as
    tree = KDTree(rows[order[spaced(weights[order], ROWS_FOR_CELLS)]], leafsize=2).tree
    return np.concatenate(list(_by_cell(rows, order, tree)))


def _by_cell(rows: np.ndarray, indices: np.ndarray, node: Any) -> Iterator[np.ndarray]:
    """The indices of rows, in parts: those in one cell of a k-d tree after those in another."""
    if isinstance(node, KDTree.leafnode) or not len(indices):
        yield indices
    else:
        is_below = rows[indices, node.split_dim] < np.float64(node.split)  # which may lie between two of float32
        yield from _by_cell(rows, indices[is_below], node.less)
        yield from _by_cell(rows, indices[~is_below], node.greater)


def projection(rows: np.ndarray) -> np.ndarray:
    """Keys of rows, on a fixed random line: equal rows have equal keys, and others almost surely have not."""
    direction = np.random.default_rng(0).standard_normal(rows.shape[1])  # float64: of 2^19 rows none share a key
    with np.errstate(over="ignore", invalid="ignore"):
        # not a matrix product: BLAS may sum equal rows in different orders
        return np.einsum("ij,j->i", rows, direction)


def distinct(rows: Tensor) -> Tensor:
    """Indices of the rows that differ from the next one: rows without repetitions, where equal ones stand together."""
    is_last = torch.ones(len(rows), dtype=torch.bool, device=rows.device)
    is_last[:-1] = (rows[1:] != rows[:-1]).any(dim=1)
    return is_last.nonzero().ravel()


def hold_out(weights: np.ndarray, n_cells: int, fraction: float, generator: Generator) -> tuple[np.ndarray, np.ndarray]:
    """Split the weight of each row in two, what is kept and what is held out.

    The total weight is cut into `n_cells` equal cells, side by side along the rows, and a `fraction` of them is held
    out. With as many cells as equally weighted rows each cell is a row; a row that weighs more, or stands more than
    once, is held out in part. Returns both weights, in units of a cell.
    """
    is_held = np.zeros(n_cells)
    order = torch.randperm(n_cells, generator=generator, device=generator.device).cpu().numpy()
    is_held[order[: int(np.ceil(fraction * n_cells))]] = 1
    # rounded, so that where a row ends with a cell, rounding errors do not give a bit of it to the next
    upper = (np.cumsum(weights) * (n_cells / weights.sum())).round(9)
    held_below = np.interp(upper, np.arange(n_cells + 1), np.concatenate([[0], np.cumsum(is_held)]))
    held = np.diff(held_below, prepend=0.0).round(9)
    return (np.diff(upper, prepend=0.0).round(9) - held).clip(min=0), held


def spaced(weights: np.ndarray, n_rows: int) -> np.ndarray:
    """Indices of `n_rows` rows at equal distances along the cumulative weight: a small sample of the weighted law."""
    upper = np.cumsum(weights)
    # no simple fraction: where a row ends just there, rounding would tell which one it is
    return np.searchsorted(upper, (np.arange(n_rows) + 2**0.5 - 1) * (upper[-1] / n_rows), side="right")
