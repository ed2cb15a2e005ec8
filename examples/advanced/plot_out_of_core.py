"""
More rows than memory
=====================

Rows can stay in a file. ``partial_fit`` learns from one part of it at a time, and ``transform`` writes to another file,
with a memory that does not depend on the number of rows.
"""

# %%
# A file with 200 000 rows, written in parts; the target has other means and scales.
import tempfile
from pathlib import Path

import numpy as np

folder = tempfile.TemporaryDirectory()
path, n, d, size = Path(folder.name), 200_000, 16, 20_000
rng = np.random.default_rng(0)
X = np.lib.format.open_memmap(path / "X.npy", mode="w+", dtype=np.float32, shape=(n, d))
for start in range(0, n, size):
    X[start : start + size] = rng.normal(size=(size, d))
scales = np.linspace(0.5, 2, d)

# %%
# A stream sees each part once. With ``out``, the images go to a second file. ``tracemalloc`` measures what numpy
# allocates meanwhile; the pages of the files are not part of it.
import tracemalloc

from neuralot import SNOTTransport

est = SNOTTransport(max_iter=600, random_state=0)
for start in range(0, n, size):
    est.partial_fit(X[start : start + size], X_target=rng.normal(size=(size, d)).astype(np.float32) * scales + 3)
print(f"{est.n_iter_} steps, {est.status_.message}")

peaks = {}
for n_rows in (25_000, 50_000, 100_000, 200_000):
    out = np.lib.format.open_memmap(path / f"{n_rows}.npy", mode="w+", dtype=np.float32, shape=(n_rows, d))
    tracemalloc.start()
    est.transform(X[:n_rows], out=out)
    peaks[n_rows] = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    print(f"{n_rows:7} rows: file {out.nbytes / 2**20:5.1f} MiB, peak memory of transform {peaks[n_rows]:.1f} MiB")

# %%
# The size of the file with the images (grey) and the peak memory (orange).
import matplotlib.pyplot as plt

from neuralot.plots import IMAGE, TARGET

figure, ax = plt.subplots(figsize=(6, 3.5), layout="constrained")
ax.plot(list(peaks), [rows * d * 4 / 2**20 for rows in peaks], "o-", color=TARGET, label="file of the images")
ax.plot(list(peaks), list(peaks.values()), "o-", color=IMAGE, label="peak memory of transform")
ax.set(xlabel="rows", ylabel="MiB", ylim=(0, None))
ax.legend()
plt.show()

# %%
# Rows are mapped in blocks of 16 384 rows, so eight times as many rows need no more memory. (torch's own memory is not
# traced; it holds the same blocks.) The images have the law of the target.
images = np.load(path / "200000.npy", mmap_mode="r")
exact = X[:size] * scales + 3  # for a Gaussian source, this is the optimal map
error = ((images[:size] - exact) ** 2).sum(axis=1).mean() / exact.var(axis=0).sum()
print(f"error relative to the variance of the target: {error:.2%}")
assert peaks[200_000] < 1.5 * peaks[25_000]
assert peaks[200_000] < 0.5 * out.nbytes / 2**20
assert error < 0.02
del X, out, images
folder.cleanup()
