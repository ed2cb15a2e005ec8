"""
Between two time points
=======================

Cells are measured on day 0 and on day 1, never the same cell twice. Where were they in between? Displacement
interpolation moves every cell on a straight line to its image under the optimal transport; here a simulation knows the
true answer.
"""

# %%
# A cell grows (first coordinate) and chooses between two fates (second coordinate), with noise. ``interpolate`` takes
# new cells of day 0 and any times from 0 to 1.
import numpy as np

from neuralot import SNOTTransport


def cells_at(t, n, seed):
    """Simulate new cells until the time t."""
    rng = np.random.default_rng([0, seed])
    x, y, dt = 0.3 * rng.normal(size=n), 0.4 * rng.normal(size=n), 0.01
    for _ in range(round(t / dt)):
        noise = np.sqrt(dt) * rng.normal(size=(2, n))
        x, y = x + 4 * dt + 0.2 * noise[0], y + 3 * (y - y**3 / 2) * dt + 0.2 * noise[1]
    return np.stack([x, y], axis=1)


TIMES = [0.0, 0.25, 0.5, 0.75, 1.0]
first, last = cells_at(0, 2000, seed=0), cells_at(1, 2000, seed=1)
est = SNOTTransport(max_iter=800, random_state=0).fit(first, last)
new = cells_at(0, 1000, seed=2)
frames = est.interpolate(new, TIMES)  # (5, 1000, 2)

# %%
# The distance to the true law at each time, as squared W2 distance between 1000 cells: of the interpolation, of a
# mixture of both days, and of the cells of day 0 shifted by a part of the difference of the means. The floor is the
# distance between two samples of the true law.
from neuralot.metrics import exact_cost

shift = last.mean(axis=0) - first.mean(axis=0)
table = {"interpolation": [], "mixture": [], "shifted means": [], "floor": []}
truths = [cells_at(t, 1000, seed=3 + k) for k, t in enumerate(TIMES)]
mixtures = [np.where(np.arange(1000)[:, None] < 1000 * t, last[:1000], new) for t in TIMES]
for k, t in enumerate(TIMES):
    rivals = frames[k], mixtures[k], new + t * shift, cells_at(t, 1000, seed=8 + k)
    for name, rows in zip(table, rivals, strict=True):
        table[name].append(exact_cost(rows, truths[k]))
print(f"{'time':<14}" + "".join(f"{t:8.2f}" for t in TIMES))
for name, values in table.items():
    print(f"{name:<14}" + "".join(f"{value:8.3f}" for value in values))

# %%
# Cells of the simulation (grey) at five times. Above, interpolated cells (orange) and, behind them, the straight lines
# on which some of them move from day 0 (blue). Below, a mixture of both days.
import matplotlib.pyplot as plt

from neuralot.plots import IMAGE, SOURCE, TARGET

figure, axes = plt.subplots(2, 5, figsize=(13, 5), sharex=True, sharey=True, layout="constrained")
for row, (name, rows) in zip(axes, {"interpolation": frames, "mixture": mixtures}.items(), strict=True):
    for ax, t, truth, images in zip(row, TIMES, truths, rows, strict=True):
        ax.scatter(*truth.T, s=14, color=TARGET, linewidths=0)
        ax.scatter(*images.T, s=3, color=IMAGE if t else SOURCE, linewidths=0)
        ax.set_title(f"{name}, t = {t:g}")
for ax, images in zip(axes[0], frames, strict=True):
    ax.plot(*np.stack([new[::20], images[::20]]).transpose(2, 0, 1), color="black", linewidth=0.4, alpha=0.5, zorder=0)
plt.show()

# %%
# The interpolation follows the cells, while a mixture has no cells in the middle at all. It is not exact: the cells of
# the simulation first grow and then part, so their ways bend, and a straight line is only close to them. This error
# stays, however long the fit is. Measurements at more times reduce it, with one transport between any two of them.
interpolation, mixture, shifted, floor = (np.array(values) for values in table.values())
assert (interpolation[1:4] < 0.05 * mixture[1:4]).all()
assert (interpolation[1:4] < 0.5 * shifted[1:4]).all()
assert interpolation[2] > 2 * floor[2]
assert np.array_equal(frames[0], new)
