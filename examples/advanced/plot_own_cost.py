"""
A cost of your own
==================

Transport against the wind costs more than transport with it. The cost is a short class, and POT's exact plan for the
same cost says whether the map that was learned with it is right.
"""

# %%
# A move to the left costs four times as much as a move to the right.
import torch

from neuralot.costs import Cost


class Wind(Cost):
    homogeneous = True  # scaling and shifting all rows in the same way only multiplies the cost

    def __call__(self, x, y):  # (n, d), (n, d) to (n,)
        move = y - x
        factors = torch.where(move[..., 0] < 0, 4.0, 1.0)
        return factors * move[..., 0] ** 2 + move[..., 1] ** 2


# %%
# Both samples are long and thin, and lie across each other. A cost that defines no map from the gradient of a
# potential is learned with a network for the map; this is the default for all costs but the squared distance. On new
# rows, POT's plan is the exact answer for the same matrix of costs.
import numpy as np
import ot

from neuralot import SNOTTransport


def long_sample(n, slope, rng):
    t = rng.normal(size=n)
    return np.stack([t, slope * t], axis=1) + 0.3 * rng.normal(size=(n, 2))


rng = np.random.default_rng(0)
X, Y, new, new_target = (long_sample(n, slope, rng) for n in (2000, 1000) for slope in (1, -1))
calm = SNOTTransport(max_iter=500, random_state=0).fit(X, Y)
windy = SNOTTransport(cost=Wind(), max_iter=1000, random_state=0).fit(X, Y)

x, y = torch.from_numpy(new), torch.from_numpy(new_target)
exact = new_target[ot.emd([], [], Wind().pairwise(x, y).numpy()).argmax(axis=1)]
found = {"no wind": calm.transform(new), "wind": windy.transform(new), "wind, exact (POT)": exact}
costs = {name: float(Wind()(x, torch.from_numpy(images)).mean()) for name, images in found.items()}
variance = new_target.var(axis=0).sum()
errors = {name: ((images - exact) ** 2).sum(axis=1).mean() / variance for name, images in found.items()}
for name in found:
    print(f"{name:<18} cost in the wind {costs[name]:.2f}, squared distance to the exact images {errors[name]:.0%}")

# %%
# Source rows (blue) and their images (orange) on the target (grey).
import matplotlib.pyplot as plt

from neuralot.plots import plot_transport

figure, axes = plt.subplots(1, 3, figsize=(11, 4), sharex=True, sharey=True, layout="constrained")
for ax, (name, images) in zip(axes, found.items(), strict=True):
    plot_transport(new, images, new_target, n_segments=60, ax=ax)
    ax.set_title(f"{name}: cost {costs[name]:.2f}")
plt.show()

# %%
# Without wind, many rows move far to the left. In the wind few do, and the learned map agrees with the exact
# plan, which is that of one sample of 1000 rows and has noise of its own: the costs differ by less than a fifth.
left = {name: np.mean(images[:, 0] < new[:, 0] - 0.5) for name, images in found.items()}
assert left["no wind"] > 3 * left["wind"]
assert costs["no wind"] > 1.15 * costs["wind, exact (POT)"]
assert abs(costs["wind"] / costs["wind, exact (POT)"] - 1) < 0.2
assert errors["no wind"] > 0.25
assert errors["wind"] < 0.15
print({name: f"{share:.0%} move to the left" for name, share in left.items()})
