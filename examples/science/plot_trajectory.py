"""
Trajectories through several days
=================================

Cells are measured on three days. They first grow, and part into two fates after day 1. A trajectory has one transport
between any two neighbouring days, and moves new cells of day 0 to any time. A simulation knows the true law.
"""

# %%
# One stacked sample, the day of each row, and weights: the number of cells doubles every day.
import numpy as np

from neuralot import OTNetTransport, TrajectoryTransport


def cells_at(t, n, seed):
    """Simulate new cells of the time t: the first coordinate grows, the second parts after day 1."""
    x, y = np.random.default_rng([0, seed]).normal(size=(2, n))
    fate = np.resize([-1, 1], n)  # equal shares, so that chance does not decide on the distances below
    return np.stack([0.4 * x + 3 * min(t, 1) + max(t - 1, 0), fate * (0.4 * abs(y) + 2 * max(t - 1, 0))], axis=1)


days = np.repeat([0, 1, 2], 2000)
cells = np.vstack([cells_at(day, 2000, seed=day) for day in (0, 1, 2)])
trajectory = TrajectoryTransport(OTNetTransport(max_iter=500, random_state=0))
trajectory.fit(cells, time=days, sample_weight=2.0**days)
new = cells_at(0, 1000, seed=3)
trajectory.transform(new, t=1.5).shape

# %%
# Squared W2 distance to the true law at each time: of the trajectory, of one transport from day 0 to day 2, and of a
# mixture of the neighbouring days. The floor is the distance between two samples of the true law.
from neuralot.metrics import exact_cost

TIMES = [0.0, 0.5, 1.0, 1.5, 2.0]
direct = OTNetTransport(max_iter=500, random_state=0).fit(cells[days == 0], cells[days == 2])
frames, straight = trajectory.interpolate(new, TIMES), direct.interpolate(new, np.array(TIMES) / 2)
table = {"trajectory": [], "one transport": [], "mixture": [], "floor": []}
truths = [cells_at(t, 1000, seed=4 + k) for k, t in enumerate(TIMES)]
for k, t in enumerate(TIMES):
    before, after = (cells[days == day][:1000] for day in (np.floor(t), np.ceil(t)))
    mixture = np.where(np.arange(1000)[:, None] < 1000 * (t % 1), after, before)
    for name, rows in zip(table, (frames[k], straight[k], mixture, cells_at(t, 1000, seed=9 + k)), strict=True):
        table[name].append(exact_cost(rows, truths[k]))
print(f"{'time':<14}" + "".join(f"{t:8.2f}" for t in TIMES))
for name, values in table.items():
    print(f"{name:<14}" + "".join(f"{value:8.3f}" for value in values))

# %%
# The animation shows the true cells (grey), the trajectory and the single transport (orange). The single transport cuts
# the corner at day 1, where it has no sample.
import matplotlib.pyplot as plt
from matplotlib.animation import FuncAnimation

from neuralot.plots import IMAGE, SOURCE, TARGET

moments = np.linspace(0, 2, 21)
paths = trajectory.interpolate(new, moments), direct.interpolate(new, moments / 2)


def prepare(axes):
    for ax, title in zip(axes, ("trajectory", "one transport"), strict=True):
        ax.set(xlim=(-2, 6), ylim=(-4, 4), title=title)
    return [(ax.scatter([], [], s=12, color=TARGET, lw=0), ax.scatter([], [], s=4, color=IMAGE, lw=0)) for ax in axes]


def show(k):
    for (grey, orange), rows in zip(dots, paths, strict=True):
        grey.set_offsets(cells_at(moments[k], 1000, seed=20 + k))
        orange.set_offsets(rows[k])
    movie.suptitle(f"day {moments[k]:.1f}")


# sphinx_gallery_thumbnail_number = 2
movie, axes = plt.subplots(1, 2, figsize=(7, 3.2), dpi=80, sharey=True, layout="constrained")
dots = prepare(axes)
animation = FuncAnimation(movie, show, frames=len(moments), interval=150)
plt.show()

# %%
# The paths of 40 cells, and velocities at day 1.5: they point to the two fates.
figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), sharey=True, layout="constrained")
some = new[:40]
axes[0].plot(*trajectory.interpolate(some, [0, 1, 2]).transpose(2, 0, 1), color="black", lw=0.5, alpha=0.5)
for day, colour in ((0, SOURCE), (1, TARGET), (2, TARGET)):
    axes[0].scatter(*cells[days == day][:300].T, s=5, color=colour, lw=0)
axes[0].set_title("paths")
at, speed = trajectory.transform(new[:200], t=1.5), trajectory.velocity(new[:200], t=1.5)
axes[1].quiver(*at.T, *speed.T, color=IMAGE, angles="xy", width=0.004)
axes[1].set(title="velocities at day 1.5", xlim=axes[0].get_xlim())
plt.show()

# %%
# The weights of a day sum to its number of cells. ``growth`` is the factor by which each row grows, at a constant rate
# between two days. The number of cells relative to day 0, and the truth:
sizes = [trajectory.growth(new, t).mean() for t in TIMES]
for t, size in zip(TIMES, sizes, strict=True):
    print(f"day {t:.1f}: {size:.3f}, {2**t:.3f}")

# %%
# The corner at day 1 is in the data; a corner between two days would be lost. All lines are straight between two days,
# which no sample can confirm. `OTNetTransport` is used because its map may jump, as the fates part; the maps of
# `SNOTTransport` are continuous, and leave cells between the fates. On day 2 the distance exceeds the floor, because
# the shares of the fates are not exactly equal, and the way from one fate to the other is long.
share = (frames[-1][:, 1] > 0).mean()
print(f"share of the upper fate on day 2: {share:.3f}; the simulation has 0.5")
assert abs(share - 0.5) < 0.02
found, one, mixed, floor = (np.array(values) for values in table.values())
assert (found[[1, 3]] < 0.1 * mixed[[1, 3]]).all()
assert (found[1:4] < 0.5 * one[1:4]).all()
assert (found[:3] < 2 * floor[:3]).all()
assert np.allclose(sizes, 2.0 ** np.array(TIMES), rtol=0.01)
