"""Samplers of rows, functions `sampler(n, generator) -> Tensor`.

A sampler returns n rows. Arrays with weights, callables and data loaders are converted to samplers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from scipy.spatial import KDTree
from torch import Generator, Tensor
from torch.utils.data import DataLoader

from neuralot._torch import as_numpy, exclusive

Sampler = Callable[[int, Generator], Tensor]


# weights whose sum is not within 2^-500 and 2^500 are rescaled
MAX_EXPONENT = 500
# size of the sample on which a k-d tree is built
ROWS_FOR_CELLS = 2_048
N_LISTED = 5


def check_weights(weights: Any, name: str, n_rows: int) -> np.ndarray:
    """Return float64 weights of shape (n_rows,); ones when None.

    Extremely small and large weights are multiplied by a power of two, so that their products with other numbers are
    finite and not 0. Raises a ValueError that names the argument.
    """
    if weights is None:
        return np.ones(n_rows)
    weights = as_numpy(weights, name)
    if weights.dtype.kind not in "biuf":
        raise ValueError(f"{name} must contain numbers, got dtype {weights.dtype}")
    if weights.shape != (n_rows,):
        raise ValueError(f"{name} must have shape ({n_rows},), one weight per row, got shape {weights.shape}")
    weights = weights.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        total = weights.sum()
    if not (np.isfinite(total) and (weights >= 0).all() and total > 0):
        raise ValueError(f"{name} must be finite, non-negative and not all zero, with a finite sum")
    if abs(np.frexp(total)[1]) > MAX_EXPONENT:
        return np.ldexp(weights, -np.frexp(weights.max())[1])
    return weights


def listed(values: Any) -> str:
    """Return the first five values as text."""
    more = f" and {len(values) - N_LISTED} more" if len(values) > N_LISTED else ""
    return ", ".join(map(str, values[:N_LISTED])) + more


class ArraySampler:
    """Draw rows of `data` with replacement.

    The probability of a row is proportional to its weight.

    Parameters
    ----------
    data : Tensor of shape (n_rows, n_features)
    weights : Tensor of shape (n_rows,), optional
        Non-negative; uniform when None. A draw costs O(log n_rows) per row.
    stratified : bool
        Whether a batch is a stratified sample: the total mass of the rows, in their given order, is divided into n
        equal strata, and one row is drawn from each. If neighbours in this order are close to each other, as in
        `canonical_order`, batch means have a smaller variance, by far in one to three dimensions.

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
            shape = tuple(data.shape)
            raise ValueError(f"data must be rows of shape (n_rows, n_features), at least one, got shape {shape}")
        self.data, self.stratified = data, stratified
        self._cumulative = None
        if weights is not None:
            masses = torch.from_numpy(check_weights(weights, "weights", len(data)))
            self._cumulative = torch.cumsum(masses, 0).to(data.device)

    def __call__(self, n: int, generator: Generator) -> Tensor:
        if not self.stratified:
            return self.independent(n, generator)
        # shuffle the strata, because rows of two batches are paired; randperm cannot be captured in a CUDA graph
        keys, within = torch.rand(2, n, generator=generator, device=self.data.device, dtype=torch.double)
        return self._rows_at((keys.argsort() + within) / n)

    def independent(self, n: int, generator: Generator) -> Tensor:
        """Draw rows independently of each other."""
        return self._rows_at(torch.rand(n, generator=generator, device=self.data.device, dtype=torch.double))

    def _rows_at(self, draws: Tensor) -> Tensor:
        """Return the rows at given quantiles, shape (n, d)."""
        # inverse distribution function: a repeated row and a row of double weight give the same draws
        if self._cumulative is None:
            indices = (draws * len(self.data)).long()  # (n,)
        else:
            # with right=True, a row of weight zero has an empty interval and is never drawn
            indices = torch.searchsorted(self._cumulative, draws * self._cumulative[-1], right=True)
        return self.data.index_select(0, indices.clamp_(max=len(self.data) - 1))

    def distinct(self) -> tuple[Tensor, Tensor]:
        """Return indices of distinct rows and their shares of mass.

        Consecutive equal rows are represented by the index of the last one and the sum of their shares. Rows without
        mass are omitted.
        """
        indices = distinct(self.data)
        cumulative = indices.double() + 1 if self._cumulative is None else self._cumulative[indices]
        shares = cumulative.diff(prepend=cumulative.new_zeros(1)) / cumulative[-1]
        return indices[shares > 0], shares[shares > 0]


class LoaderSampler:
    """Draw rows from a `DataLoader`, epoch after epoch.

    Shuffling is seeded from the given generator.

    Parameters
    ----------
    loader : DataLoader
        Its batches are tensors of rows, or tuples with the rows as first entry.
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
        # a loader without its own generator shuffles with the global one, which is seeded here and then restored
        with exclusive(), torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)  # CPU only
            try:
                batch = next(self._batches)
            except StopIteration:
                self._batches = iter(self.loader)
                batch = next(self._batches, None)
        if batch is None:
            raise ValueError("the DataLoader is empty; pass a DataLoader that yields at least one batch of rows")
        rows: Tensor = batch[0] if isinstance(batch, (tuple, list)) else batch
        return rows.to(torch.float32)


def as_sampler(source: Any, weights: Any = None, device: torch.device | str | None = None) -> Sampler:
    """Convert a source of rows to a sampler.

    The source is an array of rows, a `DataLoader` or a callable `(n, generator) -> Tensor`. The sampler returns float32
    rows. An `ArraySampler` is returned unchanged.

    Parameters
    ----------
    source : array-like of shape (n_rows, n_features), Tensor, DataLoader or callable
    weights : array-like of shape (n_rows,), optional
        Only for an array of rows.
    device : torch.device, optional
        Device to which the rows of an array are copied.

    Raises
    ------
    ValueError
        If there are no rows, or if the weights are invalid: not one per row, negative, not finite, all zero, or given
        for a source that is not an array of rows.

    Examples
    --------
    >>> import torch
    >>> from neuralot.sampling import as_sampler
    >>> as_sampler([[0.0, 1.0], [2.0, 3.0]])(5, torch.Generator()).shape
    torch.Size([5, 2])
    """
    is_array = not (isinstance(source, DataLoader) or callable(source))
    if weights is not None and not is_array:
        raise ValueError("weights are only for an array of rows; omit them for a DataLoader or a callable")
    if isinstance(source, ArraySampler):
        return source
    if isinstance(source, DataLoader):
        return LoaderSampler(source)
    if not is_array:
        return lambda n, generator: source(n, generator).to(generator.device, torch.float32)
    rows = source if isinstance(source, Tensor) else torch.from_numpy(np.require(source, requirements=["C", "W"]))
    data = rows.to(device=device, dtype=torch.float32)
    return ArraySampler(data, None if weights is None else torch.as_tensor(weights))


def canonical_order(rows: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Order rows by the cells of a k-d tree.

    Returns the indices of the rows with positive weight. Within a cell, rows are ordered along a fixed random
    projection. As samplers invert the cumulative weights, a fit depends on the weighted law only: not on the order of
    the rows, and not on whether a row is repeated or has double weight.
    """
    order = np.argsort(projection(rows))
    order = order[weights[order] > 0]
    # built on a fixed number of rows, equally spaced in weight, so that it depends on the weighted law only
    tree = KDTree(rows[order[spaced(weights[order], ROWS_FOR_CELLS)]], leafsize=2).tree
    return np.concatenate(list(_by_cell(rows, order, tree)))


def _by_cell(rows: np.ndarray, indices: np.ndarray, node: Any) -> Iterator[np.ndarray]:
    """Yield the indices of rows, one cell at a time.

    Cells are the leaves of a k-d tree.
    """
    if isinstance(node, KDTree.leafnode) or not len(indices):
        yield indices
    else:
        is_below = rows[indices, node.split_dim] < np.float64(node.split)  # may be between two float32 numbers
        yield from _by_cell(rows, indices[is_below], node.less)
        yield from _by_cell(rows, indices[~is_below], node.greater)


def projection(rows: np.ndarray) -> np.ndarray:
    """Project rows onto a fixed random direction.

    Equal rows have equal projections; distinct rows almost surely have distinct ones.
    """
    direction = np.random.default_rng(0).standard_normal(rows.shape[1])  # float64: no collisions among 2^19 rows
    with np.errstate(over="ignore", invalid="ignore"):
        # not a matrix product: BLAS may sum equal rows in different orders
        return np.einsum("ij,j->i", rows, direction)


def distinct(rows: Tensor) -> Tensor:
    """Return indices of rows that differ from the next one.

    If equal rows are consecutive, these are the rows without repetitions.
    """
    is_last = torch.ones(len(rows), dtype=torch.bool, device=rows.device)
    is_last[:-1] = (rows[1:] != rows[:-1]).any(dim=1)
    return is_last.nonzero().ravel()


def hold_out(weights: np.ndarray, n_cells: int, fraction: float, generator: Generator) -> tuple[np.ndarray, np.ndarray]:
    """Split the weight of each row for validation.

    The total weight is divided into `n_cells` equal cells in the order of the rows, and a `fraction` of the cells is
    held out. With as many cells as equally weighted rows, each cell is a row. A row with more weight, or a repeated
    row, may be held out in part. Returns the weights for training and the held-out weights, in units of a cell.
    """
    is_held = np.zeros(n_cells)
    order = torch.randperm(n_cells, generator=generator, device=generator.device).cpu().numpy()
    is_held[order[: int(np.ceil(fraction * n_cells))]] = 1
    # rounded, so that rounding errors do not assign part of a row that ends with a cell to the next cell
    cumulative = (np.cumsum(weights) * (n_cells / weights.sum())).round(9)
    cumulative_held = np.interp(cumulative, np.arange(n_cells + 1), np.concatenate([[0], np.cumsum(is_held)]))
    held = np.diff(cumulative_held, prepend=0.0).round(9)
    return (np.diff(cumulative, prepend=0.0).round(9) - held).clip(min=0), held


def spaced(weights: np.ndarray, n_rows: int) -> np.ndarray:
    """Return indices of rows equally spaced in cumulative weight.

    The `n_rows` indices are a small sample of the weighted law.
    """
    cumulative = np.cumsum(weights)
    # irrational offset, because the choice at the boundary of two rows would depend on rounding errors
    return np.searchsorted(cumulative, (np.arange(n_rows) + 2**0.5 - 1) * (cumulative[-1] / n_rows), side="right")
