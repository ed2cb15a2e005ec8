"""
Many rows: matching or map
==========================

POT's bijection matches the rows of two samples of equal size, even a million of them. In many dimensions, a matching of
rows is far from the plan of their laws, however exact it is. A map learns from the same rows and applies to new ones.
"""

# %%
# Two Gaussians with 16 features, whose optimal map is known, and samples of 256 to 4096 rows.
from neuralot.datasets import make_gaussians

sizes = [256, 1024, 4096]
pair = make_gaussians(16)
X, Y = pair.sample(sizes[-1], random_state=0)
new = pair.sample(2000, random_state=1)[0]

# %%
# ``cost`` is the mean squared distance between a row and its partner or image, relative to the exact cost of the laws.
# ``error`` is the L2-UVP of new rows in percent: 0 for the exact map, 100 for the mean of the target. A new row has no
# partner; it moves as the nearest row of the sample does.
import ot

from neuralot import SNOTTransport
from neuralot.metrics import l2_uvp


def relative_cost(rows, ends):
    return ((rows - ends) ** 2).sum(axis=1).mean() / pair.cost


costs, errors = {"bijection": [], "map": []}, {"bijection": [], "map": []}
for n in sizes:
    partners = Y[ot.bsp.compute_bspot_bijection(X[:n], Y[:n], seed=0)[1]]
    est = SNOTTransport(max_iter=600, random_state=0).fit(X[:n], Y[:n])
    nearest = ot.dist(new, X[:n]).argmin(axis=1)
    ends = {
        "bijection": (partners, new + (partners - X[:n])[nearest]),
        "map": (est.transform(X[:n]), est.transform(new)),
    }
    for name, (images, images_of_new) in ends.items():
        costs[name].append(relative_cost(X[:n], images))
        errors[name].append(l2_uvp(images_of_new, pair.exact_map(new), pair.target_variance))
        print(f"{n:5} rows, {name:9}: cost {costs[name][-1]:.2f}, error of new rows {errors[name][-1]:5.1f} %")

# %%
# The bijection costs more than the exact plan of the rows, but even that plan costs much more than the plan of the
# laws, because the rows of the other sample are far apart.
exact = ot.lp.emd2_lazy(X[:1024], Y[:1024], return_matrix=False) / pair.cost
print(f"exact plan of 1024 rows: cost {exact:.2f}")
assert 1.1 < exact < costs["bijection"][1]
assert abs(costs["map"][-1] - 1) < 0.05
assert errors["map"][-1] < 5 < errors["bijection"][-1]

# %%
# More rows help the matching slowly. The map has nearly the exact cost. Between Gaussians it is affine, the easiest
# case for a network; :doc:`/guide/many_rows` has a law in three dimensions for which a matching is the better choice.
import matplotlib.pyplot as plt

from neuralot.plots import IMAGE, SOURCE

figure, axes = plt.subplots(1, 2, figsize=(8, 3.2), layout="constrained")
for name, colour in (("bijection", SOURCE), ("map", IMAGE)):
    axes[0].plot(sizes, costs[name], "o-", color=colour, label=name)
    axes[1].plot(sizes, errors[name], "o-", color=colour)
axes[0].axhline(1, color="#767676", linestyle="--", linewidth=1)
axes[0].set(title="cost / exact cost of the laws", xlabel="rows", xscale="log")
axes[1].set(title="error of new rows, %", xlabel="rows", xscale="log", yscale="log")
for ax in axes:
    ax.set_xticks(sizes, map(str, sizes))
    ax.minorticks_off()
axes[0].legend()
plt.show()
