"""
Weighted rows
=============

The rows of a sample need not count equally: survey weights, class weights, or repeated measurements. A weight of two is
equivalent to repeating a row. The weighted fit is compared with the exact weighted plan.
"""

# %%
# The target has two groups of 500 points each. The points of the right group shall have three times the weight of the
# others.
import numpy as np

from neuralot import OTPTransport

rng = np.random.default_rng(0)
X_source = rng.normal(size=(1000, 2)) - [0, 5]
X_target = 0.4 * rng.normal(size=(1000, 2)) + np.repeat([[-2, 0], [2, 0]], 500, axis=0)
weights = np.repeat([1, 3], 500)

equal = OTPTransport(max_iter=600, random_state=0).fit(X_source, X_target)
weighted = OTPTransport(max_iter=600, random_state=0).fit(X_source, X_target, sample_weight_target=weights)
repeated = OTPTransport(max_iter=600, random_state=0).fit(X_source, np.repeat(X_target, weights, axis=0))

# %%
# Beside the two maps is the exact plan with the same weights from POT, for the rows of the fit. With equal weights, the
# source is cut in the middle. With weights, a quarter of it goes to the left, as in the exact plan. The map of a
# network is continuous, so a few images lie between the groups.
import matplotlib.pyplot as plt
import ot

from neuralot.plots import plot_transport

costs = ot.dist(X_source, X_target)
plan = ot.emd([], weights / weights.sum(), costs)
panels = {
    "equal weights": equal.transform(X_source),
    "weights 1 and 3": weighted.transform(X_source),
    "weights 1 and 3, exact plan": X_target[plan.argmax(axis=1)],
}
figure, axes = plt.subplots(1, 3, figsize=(10, 4.4), sharex=True, sharey=True, layout="constrained")
for ax, (name, images) in zip(axes, panels.items(), strict=True):
    plot_transport(X_source, images, X_target, ax=ax)
    ax.set_title(name)
figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, markerscale=2)
plt.show()

# %%
# The share of images on the left is a half without weights and a quarter with them. The spread of the displacements,
# that is, the cost without the shift of the means, is within 15 % of that of the exact plan. Repeated rows give the
# map of the weighted rows.
left = {name: (images[:, 0] < 0).mean() for name, images in panels.items()}
cost = (X_source - weighted.transform(X_source)).var(axis=0).sum()
shift = X_source.mean(axis=0) - np.average(X_target, axis=0, weights=weights)
exact = (plan * costs).sum() - (shift**2).sum()
difference = np.abs(weighted.transform(X_source) - repeated.transform(X_source)).max()
for name, share in left.items():
    print(f"{name}: {share:.3f} of the images on the left")
print(f"cost without the shift {cost:.3f}, exact {exact:.3f}")
print(f"largest difference between weights and repeated rows: {difference:.1g}")
assert abs(left["equal weights"] - 0.5) < 0.04
assert abs(left["weights 1 and 3"] - 0.25) < 0.04
assert abs(cost / exact - 1) < 0.15
assert difference < 1e-6
