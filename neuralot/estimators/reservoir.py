"""Samples of streams that do not fit into memory."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Generator

from neuralot._torch import seeded
from neuralot.estimators.batches import Pass, as_rows, passes
from neuralot.estimators.laws import Law, Laws, Standardised
from neuralot.estimators.state import Setup
from neuralot.estimators.units import RowTransform
from neuralot.estimators.warn import warn_user
from neuralot.exceptions import StreamWarning
from neuralot.solve.problem import Problem
from neuralot.solve.status import Record

# a sample of a stream has at most this many rows, and numbers
SAMPLE_ROWS, SAMPLE_NUMBERS = 2**18, 2**26

Check = Callable[[Any, bool], np.ndarray]


def sample_size(n_features: int) -> int:
    """Return the largest size of a stream's sample."""
    return max(1, min(SAMPLE_ROWS, SAMPLE_NUMBERS // max(1, n_features)))


class Reservoir:
    """Uniform sample of the rows of a pass.

    Each row has the same probability of being in the sample, wherever it is in the pass. The sample does not depend on
    how the rows are divided into batches.

    Parameters
    ----------
    seed : sequence of int
    size : int
        Largest number of rows. A pass of at most this many rows is kept as it is.

    References
    ----------
    Vitter, "Random sampling with a reservoir", ACM Trans. Math. Softw., 1985: algorithm R.

    Examples
    --------
    >>> import numpy as np
    >>> from neuralot.estimators.reservoir import Reservoir
    >>> reservoir = Reservoir([0], size=3)
    >>> reservoir.add(np.zeros((2, 1)))
    >>> reservoir.add(np.ones((100, 1)))
    >>> reservoir.n_seen, reservoir.sample.shape
    (102, (3, 1))
    """

    def __init__(self, seed: Any, size: int) -> None:
        self.size, self.n_seen = size, 0
        self._rng = np.random.default_rng(seed)
        self._rows = np.empty((0, 0))
        self._numbers = np.empty(size, dtype=np.int64)

    def add(self, rows: np.ndarray) -> None:
        """Read the next rows of the pass."""
        if not self.n_seen:
            self._rows = np.empty((self.size, rows.shape[1]), dtype=rows.dtype)
        numbers = np.arange(self.n_seen, self.n_seen + len(rows))
        slots = (self._rng.random(len(rows)) * (numbers + 1)).astype(np.int64)
        slots = np.where(numbers < self.size, numbers, slots)
        kept = np.flatnonzero(slots < self.size)[::-1]
        # of several rows for one slot, the last one stays
        chosen, last = np.unique(slots[kept], return_index=True)
        self._rows[chosen] = rows[kept[last]]
        self._numbers[chosen] = numbers[kept[last]]
        self.n_seen += len(rows)

    @property
    def sample(self) -> np.ndarray:
        """The sampled rows, shape (min(n_seen, size), n_features)."""
        return self._rows[: self.n_seen]

    @property
    def numbers(self) -> np.ndarray:
        """Numbers of the sampled rows in the pass, from 0."""
        return self._numbers[: self.n_seen]

    @property
    def is_partial(self) -> bool:
        """Whether the pass has more rows than the sample."""
        return self.n_seen > self.size


class Stream:
    """Reads samples of a stream, one per pass.

    Parameters
    ----------
    begin : callable
        Begins a pass, see `passes`.
    name : str
        Name of the argument.
    check : callable (batch, is_first) -> ndarray
        Validates a batch.
    seed : int
        Seed of the samples, and of torch's global generator while a batch is read.
    check_size : callable
        Called once if the stream has more rows than a sample.
    max_time : float
        Seconds after which the first pass ends. Later passes then have as many rows and go on from there.

    Attributes
    ----------
    first : Reservoir
        Sample of the first pass, set by `read_first`.
    is_cut : bool
        Whether `max_time` ended the first pass.
    """

    first: Reservoir

    def __init__(
        self,
        begin: Pass,
        name: str,
        check: Check,
        seed: int,
        check_size: Callable[[], None] = lambda: None,
        max_time: float = math.inf,
    ) -> None:
        self.begin, self.name, self.check, self.seed, self.check_size = begin, name, check, seed, check_size
        self._generator = Generator().manual_seed(seed)
        self._end = time.perf_counter() + max_time
        self._batches: Iterator[Any] | None = None
        self._reservoir: Reservoir | None = None
        self._n_passes = self._n_batches = self._due = 0
        self._pass_rows = math.inf
        self._dtype: np.dtype | None = None
        self.is_cut = False

    def read_first(self) -> Reservoir:
        """Make the first pass, and return its sample."""
        while (reservoir := self._read()) is None:
            if time.perf_counter() > self._end and self._reservoir is not None:
                self.is_cut, self._pass_rows = True, self._reservoir.n_seen
                self.check_size()
                reservoir = self._end_of_pass()
                break
        self.first = reservoir
        return reservoir

    def read(self, n_rows: int, end: float = math.inf) -> np.ndarray | None:
        """Read about `n_rows` rows of later passes.

        Returns a new sample as soon as a pass ends, and otherwise None. No batch is read after the time `end`.
        """
        self._due += n_rows
        while self._due > 0 and time.perf_counter() < end:
            before = 0 if self._reservoir is None else self._reservoir.n_seen
            reservoir = self._read()
            if reservoir is not None:
                self._due = 0
                return self._of_same_size(reservoir)
            self._due -= 0 if self._reservoir is None else self._reservoir.n_seen - before
        return None

    def _read(self) -> Reservoir | None:
        """Read a batch; return the sample when a pass ends."""
        with seeded(self._generator):
            if self._batches is None:
                self._batches, self._n_batches = self.begin(), 0
            batch = next(self._batches, None)
        if batch is None:
            self._batches = None
            goes_on = self.is_cut and self._n_batches > 0  # such a pass has a given number of rows
            return None if goes_on else self._end_of_pass()
        self._n_batches += 1
        batch = as_rows(batch)
        if not (hasattr(batch, "__len__") and len(batch) == 0):  # parts of tables may be empty
            self._add(self._checked(batch))
        is_over = self._reservoir is not None and self._reservoir.n_seen >= self._pass_rows
        return self._end_of_pass() if is_over else None

    def _add(self, rows: np.ndarray) -> None:
        if self._reservoir is None:
            size = len(self.first.sample) if self._n_passes > 0 else sample_size(rows.shape[1])
            self._reservoir = Reservoir([self.seed, self._n_passes], size)
        was_partial = self._n_passes > 0 or self._reservoir.is_partial
        self._reservoir.add(rows)
        if self._reservoir.is_partial and not was_partial:
            self.check_size()

    def _checked(self, batch: Any) -> np.ndarray:
        """Return the rows of a batch; errors give its number."""
        try:
            rows = self.check(batch, self._dtype is None)
            self._dtype = rows.dtype if self._dtype is None else self._dtype
            if rows.dtype != self._dtype:
                raise ValueError(f"{self.name} changes from {self._dtype} to {rows.dtype}. Pass batches of one dtype.")
        except (TypeError, ValueError) as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError
            text = str(error).removeprefix(f"{self.name}: ")
            raise kind(f"{self.name}, batch {self._n_batches - 1} (counted from 0): {text}") from error
        return rows

    def _end_of_pass(self) -> Reservoir:
        reservoir, self._reservoir = self._reservoir, None
        self._n_passes += 1
        if reservoir is None:
            again = f" in pass {self._n_passes}" if self._n_passes > 1 else ""
            raise ValueError(f"{self.name} has no rows{again}. Pass a stream that yields rows in every pass.")
        return reservoir

    def _of_same_size(self, reservoir: Reservoir) -> np.ndarray:
        if len(reservoir.sample) != len(self.first.sample):
            raise ValueError(
                f"{self.name} has {reservoir.n_seen} rows in pass {self._n_passes} and had {self.first.n_seen} in the "
                f"first one. Pass a stream that yields as many rows in each pass."
            )
        return reservoir.sample


@dataclass
class Renewal:
    """Callback that renews the sample of a stream.

    After each pass, its sample replaces the last one. As many rows are read as the fit has drawn. With `max_time`,
    reading takes at most a quarter of the time since the last record.

    Parameters
    ----------
    stream : Stream
    sample : Standardised
        Sample of the first pass, whose rows are replaced in place.
    standardise : callable
    rows_per_step : int
    is_timed : bool
        Whether the fit has `max_time`.
    match : callable, optional
        Chooses as many rows of each sample.
    """

    stream: Stream
    sample: Standardised
    standardise: RowTransform
    rows_per_step: int
    is_timed: bool
    match: RowTransform | None = None
    _last: Record = field(init=False, default_factory=lambda: {"step": 0, "seconds": 0.0})

    def __call__(self, step: int, problem: Problem, record: Record) -> bool:
        last, self._last = self._last, {"step": step, "seconds": record["seconds"]}
        end = time.perf_counter() + (record["seconds"] - last["seconds"]) / 4 if self.is_timed else math.inf
        rows = self.stream.read((step - int(last["step"])) * self.rows_per_step, end)
        if rows is not None:
            rows = rows if self.match is None else self.match(rows)
            law, data = Law(rows, np.ones(len(rows))), self.sample.rows
            data.copy_(Standardised.of(law, self.standardise, data.shape[1], Generator(data.device)).rows)
        return False


def law_of_stream(
    X: Any, name: str, check: Check, seed: int, max_time: float | None = None, keeper: str | None = None
) -> Law:
    """Make the first pass over a stream.

    A stream that is no longer than a sample becomes the law of its rows, as an array does. `keeper` is the name of an
    estimator that accepts no longer ones.

    Raises
    ------
    ValueError, TypeError
        If the stream can be read only once, is empty or too long, or has invalid batches.

    Warns
    -----
    StreamWarning
        If the pass takes longer than `max_time` seconds.
    """

    def refuse_long_stream() -> None:
        if keeper is not None:
            raise ValueError(
                f"{name} is too long a stream: {keeper} keeps all rows of the target. Pass a sample of them."
            )

    stream = Stream(passes(X, name), name, check, seed, refuse_long_stream, math.inf if max_time is None else max_time)
    first = stream.read_first()
    if stream.is_cut:
        warn_user(
            f"The first pass over {name} took longer than a quarter of max_time and ended after {first.n_seen} rows. "
            f"Units come from these rows, which must be representative. Otherwise pass a larger max_time.",
            StreamWarning,
        )
    is_sample = first.is_partial or stream.is_cut
    return Law(first.sample, np.ones(len(first.sample)), *((stream, first.numbers) if is_sample else ()))


def renewals(laws: Laws, setup: Setup) -> list[Renewal]:
    """Return the callbacks that renew the samples of streams.

    There are none with a checkpoint, which does not store the position in a stream.
    """
    standardise = setup.units.from_source, setup.units.from_target
    return [
        Renewal(law.stream, sample, function, setup.params.batch_size, setup.params.max_time is not None, law.match)
        for law, sample, function in zip(laws, (setup.source, setup.target), standardise, strict=True)
        if law.stream is not None and setup.params.checkpoint is None
    ]
