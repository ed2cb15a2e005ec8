"""
Map, plan and barycentre
========================

From a segment to two parallel segments, every point must split its mass. ``sample`` draws from the plan,
``transform`` returns one image per row: the mean of the plan, which here lies where the target has no mass.
"""

# %%
# One fit, and the three things that it offers for new rows.
from neuralot import OTPTransport
from neuralot.datasets import make_one_to_many

pair = make_one_to_many()
X_source, X_target = pair.sample(2000, random_state=0)
transport = OTPTransport(random_state=0).fit(X_source, X_target)

X = pair.sample(500, random_state=1)[0]
images = transport.transform(X)  # (500, 2): the conditional mean over 16 noise vectors
draws = transport.sample(X, n_draws=200, random_state=0)  # (200, 500, 2): draws from the plan
mean = draws.mean(axis=0)  # (500, 2): the conditional mean over these draws

# %%
# The figure has the images of ``transform``, one draw of ``sample`` per row, and all draws of one row. ``transform``
# returns the barycentre of the two branches, which covers the source itself: the images are no sample of the target.
# The draws are: about half of them lie on each segment, for each row. The exact plan sends a point straight up or
# down by 1, each with probability 1/2.
import matplotlib.pyplot as plt
import numpy as np

from neuralot.plots import IMAGE, SOURCE, TARGET, plot_transport

figure, axes = plt.subplots(1, 3, figsize=(10, 3.6), sharex=True, sharey=True, layout="constrained")
plot_transport(X, images, X_target, ax=axes[0])
plot_transport(X, draws[0], X_target, ax=axes[1])
row = np.argmin(np.abs(X[:, 0] - 0.3))
axes[2].scatter(*X_target.T, s=14, color=TARGET, linewidths=0)
axes[2].scatter(*draws[:, row].T, s=8, color=IMAGE, linewidths=0)
axes[2].scatter(*X[row], s=40, color=SOURCE, zorder=3)
axes[2].set_aspect("equal")
for ax, title in zip(axes, ["transform", "sample, one draw per row", "sample, 200 draws of one row"], strict=True):
    ax.set_title(title)
figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, markerscale=2)
plt.show()

# %%
# The numbers, over all rows. The conditional mean of the exact plan is the source row; the images of ``transform`` and
# the means of the draws differ from it by less than 0.15. The upper segment gets half of the draws, within 0.05, and
# the draws cost as much as the exact plan, within 0.06.
upper = (draws[..., 1] > 0).mean(axis=0)  # (500,)
errors = [np.sqrt(((rows - X) ** 2).sum(axis=1).mean()) for rows in (images, mean)]
cost = ((draws - X) ** 2).sum(axis=2).mean()
print(f"root mean square distance to the barycentre: transform {errors[0]:.3f}, mean of the draws {errors[1]:.3f}")
print(f"share of draws on the upper segment: {upper.mean():.3f}; by row {upper.min():.2f} to {upper.max():.2f}")
print(f"cost of the draws: {cost:.3f}, of the exact plan {pair.cost:.3f}")
assert max(errors) < 0.15
assert abs(upper.mean() - 0.5) < 0.05
assert abs(cost - pair.cost) < 0.06
