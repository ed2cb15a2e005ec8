"""Is the memory of a fit independent of the length of its streams, and is the map that of rows in memory?

python benchmarks/streams.py            # the tables of benchmarks/results/streams.md
python benchmarks/streams.py --quick    # does it run? (make bench)

Source and target are streams of Arrow record batches, as `pyarrow.parquet.ParquetFile.iter_batches` yields them,
generated on the fly and not stored. The source is standard normal. The target is its image under a map
x -> x + c tanh(2 x) of each column, which is optimal because it is increasing. Both streams are sorted by their first
column, so that no part of them represents the law. Memory is RssAnon of /proc/self/status (Linux), after each batch.
"""

import time
import warnings
from collections import defaultdict
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from common import allocated_bytes, heading, make_parser, row
from scipy.special import ndtri

from neuralot import SNOTTransport
from neuralot.estimators.reservoir import sample_size
from neuralot.metrics import l2_uvp

D, BATCH = 16, 2**16
NAMES = [f"x{i}" for i in range(D)]
MIB = 2**20


def exact_map(X: np.ndarray) -> np.ndarray:
    return X + np.linspace(1.5, 0.2, D, dtype=np.float32) * np.tanh(2 * X)


class Stream:
    """Record batches of sorted normal rows or of their images, with the largest memory in each tenth of a pass."""

    def __init__(self, n_rows: int, seed: int, *, is_target: bool) -> None:
        self.n_batches, self.seed, self.is_target = -(-n_rows // BATCH), seed, is_target
        self.memory: list[dict[int, float]] = []
        self.seconds: list[float] = []
        self.n_read = 0

    @property
    def n_rows(self) -> int:
        return self.n_batches * BATCH

    def batch(self, index: int) -> np.ndarray:
        rng = np.random.default_rng([self.seed, index])
        X = rng.standard_normal((BATCH, D), dtype=np.float32)
        X[:, 0] = ndtri((index + rng.random(BATCH)) / self.n_batches)  # the batches are parts of the same probability
        return exact_map(X) if self.is_target else X

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        memory: dict[int, float] = defaultdict(float)
        self.memory.append(memory)
        self.seconds.append(0.0)
        for index in range(self.n_batches):
            start = time.process_time()
            yield pa.RecordBatch.from_arrays(list(map(pa.array, self.batch(index).T.copy())), NAMES)
            self.seconds[-1] += time.process_time() - start
            self.n_read += BATCH
            memory[10 * index // self.n_batches] = max(memory[10 * index // self.n_batches], allocated_bytes() / MIB)


def new_rows(n_rows: int) -> np.ndarray:
    return np.random.default_rng(99).standard_normal((n_rows, D), dtype=np.float32)


def error_of(transport: SNOTTransport) -> float:
    X = new_rows(4096)
    images = exact_map(X)
    warnings.filterwarnings("ignore", message="X does not have valid feature names")  # the streams have names
    return l2_uvp(transport.transform(X), images, images.var(axis=0).sum())


def fit_streams(n_rows: int, max_iter: int) -> float:
    source, target = (Stream(n_rows, seed, is_target=seed == 1) for seed in (0, 1))
    records: list[float] = []
    callbacks = [lambda step, problem, record: bool(records.append(allocated_bytes() / MIB))]
    before, start = allocated_bytes() / MIB, time.process_time()
    transport = SNOTTransport(max_iter=max_iter, random_state=0, callbacks=callbacks).fit(source, target)
    seconds = time.process_time() - start
    print(heading(["MiB in tenth of the pass", *range(1, 11), "processor seconds"]))
    for name, stream in (("first pass, source", source), ("first pass, target", target)):
        memory = [f"{stream.memory[0][tenth]:.0f}" for tenth in range(10)]
        print(row([name, *memory, f"{stream.seconds[0]:.0f}"]))
    steps = [f"{max(part):.0f}" for part in np.array_split(records, 10)]
    print(row(["steps", *steps, f"{seconds - source.seconds[0] - target.seconds[0]:.0f}"]))
    size = sample_size(D) * D * 4 / MIB
    print(
        f"\n{source.n_read} source and {target.n_read} target rows of {D} float32 columns were read, and the fit took"
    )
    print(
        f"{seconds:.0f} s of processor time. Before it, {before:.0f} MiB were allocated. A sample is {size:.0f} MiB at"
    )
    print(f"most, and all rows of one stream are {source.n_rows * D * 4 / MIB:.0f} MiB.\n")
    return error_of(transport)


def fit_arrays(n_rows: int, max_iter: int, n_batches: int, *, head: bool) -> float:
    """Error of a fit to rows in memory: the first batches of the streams, or random rows."""
    streams = (Stream(n_batches * BATCH, seed, is_target=seed == 1) for seed in (0, 1))
    if head:
        X, Y = (np.vstack([stream.batch(i) for i in range(n_rows // BATCH)]) for stream in streams)
    else:
        X, Y = new_rows(2 * n_rows)[n_rows:], exact_map(new_rows(3 * n_rows)[2 * n_rows :])
    return error_of(SNOTTransport(max_iter=max_iter, random_state=0).fit(X, Y))


def main() -> None:
    options = make_parser(__doc__, "a hundredth of the rows, a tenth of the steps").parse_args()
    n_rows, max_iter = (10**6, 120) if options.quick else (10**8, 1200)
    streamed = fit_streams(n_rows, max_iter)
    n_sample, n_batches = sample_size(D), -(-n_rows // BATCH)
    print(heading(["rows of the fit", "L2-UVP in % on new rows"]))
    print(row([f"streams of {n_batches * BATCH}", f"{streamed:.3g}"]))
    for name, head in ((f"{n_sample} random rows in memory", False), (f"the first {n_sample} rows in memory", True)):
        print(row([name, f"{fit_arrays(n_sample, max_iter, n_batches, head=head):.3g}"]))


if __name__ == "__main__":
    main()
