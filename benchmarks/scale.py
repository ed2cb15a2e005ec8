"""Are memory and the time per step independent of the sample size, and how fast are new rows mapped?

python benchmarks/scale.py            # the tables of benchmarks/README.md
python benchmarks/scale.py --quick    # does it run? (make bench)

Memory is RssAnon of /proc/self/status (Linux), which excludes memory-mapped files.
"""

import statistics
import tempfile
import timeit
from collections.abc import Callable
from functools import partial

import numpy as np
from common import GIB, make_parser, measure_memory, seconds_per_step

from neuralot import SNOTTransport


def rows(n: int, d: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, d), dtype=np.float32)


def map_files(n_rows: int) -> None:
    transport = SNOTTransport(max_iter=50, random_state=0).fit(rows(4096, 16), rows(4096, 16, seed=1) + 1)
    with tempfile.TemporaryDirectory() as folder:
        shape = (n_rows, 16)
        X = np.lib.format.open_memmap(f"{folder}/in.npy", mode="w+", dtype=np.float32, shape=shape)
        for start in range(0, n_rows, 10**5):
            X[start : start + 10**5] = rows(min(10**5, n_rows - start), 16, seed=start)
        out = np.lib.format.open_memmap(f"{folder}/out.npy", mode="w+", dtype=np.float32, shape=shape)
        for name, work in (
            ("transform", lambda: transport.transform(X, out=out)),
            ("sample", lambda: transport.sample(X, random_state=0, out=out[None])),
        ):
            seconds, peak = measure_memory(work)
            print(f"{name}, {n_rows} x 16: {n_rows / seconds:.3g} rows per second, {peak:.3f} GiB beyond the arrays")


def steps(sizes: list[int], n_steps: int) -> None:
    for n in sizes:
        X, Y = rows(n, 16), rows(n, 16, seed=1)
        transport = SNOTTransport(max_iter=n_steps, batch_size=256, random_state=0).fit(X, Y)
        print(f"n = {n}: {1000 * seconds_per_step(transport.history_):.2f} ms per step")


def compare_with_pot(sizes: list[int]) -> None:
    """Rows per second of `transform`, and of POT's, which finds the nearest training row of each new row."""
    import ot

    new, pot_calls = rows(10**5, 16, seed=2), {}
    for n in sizes:
        X, Y = rows(n, 16).astype(np.float64), rows(n, 16, seed=1).astype(np.float64) + 1
        transport = ot.da.EMDTransport(max_iter=10**7).fit(Xs=X, Xt=Y)
        for batch in (128, 4096):  # POT's default, and a faster one
            pot_calls[n, batch] = partial(transport.transform, new[:4096].astype(np.float64), batch_size=batch)
    ours = SNOTTransport(max_iter=50, random_state=0).fit(rows(4096, 16), rows(4096, 16, seed=1) + 1)
    per_second = len(new) / median_seconds(partial(ours.transform, new))
    print(f"transform, d = 16: {per_second:.3g} rows per second")
    for (n, batch), call in pot_calls.items():
        pot_rate = 4096 / median_seconds(call)
        ratio = per_second / pot_rate
        print(f"POT EMDTransport of {n} rows, batches of {batch}: {pot_rate:.3g}, ours {ratio:.0f} times")


def median_seconds(work: Callable[[], object], n_repeats: int = 3) -> float:
    return statistics.median(timeit.repeat(work, number=1, repeat=n_repeats))


def fit(n_rows: int) -> None:
    X, Y = rows(n_rows, 64), rows(n_rows, 64, seed=1)
    seconds, peak = measure_memory(lambda: SNOTTransport(max_iter=10, random_state=0).fit(X, Y))
    copies = peak * GIB / (X.nbytes + Y.nbytes)
    print(f"fit, {n_rows} x 64, 10 steps: {seconds:.1f} s, {peak:.3f} GiB, or {copies:.2f} copies of the data")


def main() -> None:
    options = make_parser(__doc__, "a hundredth of the rows mapped, a quarter of those fitted").parse_args()
    map_files(10**7 // (100 if options.quick else 1))
    steps([10**3, 10**4, 10**5, 10**6][: 3 if options.quick else 4], 100 // (4 if options.quick else 1))
    fit(10**6 // (4 if options.quick else 1))
    compare_with_pot([1024] if options.quick else [1024, 4096, 8192])


if __name__ == "__main__":
    main()
