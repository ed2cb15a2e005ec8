"""
Networks of your own
====================

Any torch module can be the potential or the map. Here the columns are known to change independently of each other; a
network that cannot represent anything else learns from fewer rows.
"""

# %%
# A potential that is a sum of functions of one column each. Its gradient, and therefore the map, has one function per
# column.
import torch
from torch import nn


class Separable(nn.Module):
    def __init__(self, n_features, width=16):
        super().__init__()
        self.slopes, self.places = (nn.Parameter(torch.randn(n_features, 1, width)) for _ in range(2))
        self.sizes = nn.Parameter(torch.zeros(n_features, width, 1))
        self.quadratic = nn.Parameter(torch.zeros(n_features))

    def forward(self, x):  # (n, n_features) to (n,)
        hidden = nn.functional.silu(2 * x.T[..., None] * self.slopes + self.places)  # (n_features, n, width)
        return torch.bmm(hidden, self.sizes).sum(dim=(0, 2)) + x**2 @ self.quadratic


# %%
# The class is the function ``n_features -> network`` that an estimator expects. The source has 16 correlated columns,
# and each is stretched around zero. The error is that of new rows, relative to the variance of the target (L2-UVP).
import numpy as np

from neuralot import SNOTTransport
from neuralot.metrics import l2_uvp

rng = np.random.default_rng(0)
mixing = np.linalg.qr(rng.normal(size=(16, 16)))[0] * np.linspace(0.5, 1.5, 16)


def stretch(x):
    return x + 1.5 * np.tanh(2 * x)  # increasing in each column, so it is the optimal map


X, Y, new = (rng.normal(size=(n, 16)) @ mixing.T for n in (1000, 1000, 2000))
images, errors = {}, {}
for name, network in {"default network": None, "separable network": Separable}.items():
    est = SNOTTransport(potential_network=network, max_iter=300, random_state=0).fit(X, stretch(Y))
    images[name] = est.transform(new)
    errors[name] = l2_uvp(images[name], stretch(new))
    print(f"{name:<18} error {errors[name]:.2f} %")

# %%
# The first column of the images (orange) by the first column of the new rows, and the exact map (line).
import matplotlib.pyplot as plt

from neuralot.plots import IMAGE

figure, axes = plt.subplots(1, 2, figsize=(9, 4), sharex=True, sharey=True, layout="constrained")
order = new[:, 0].argsort()
for ax, (name, rows) in zip(axes, images.items(), strict=True):
    ax.scatter(new[:, 0], rows[:, 0], s=4, color=IMAGE, linewidths=0, label="image")
    ax.plot(new[order, 0], stretch(new)[order, 0], color="black", linewidth=1, label="exact map")
    ax.set(title=f"{name}: error {errors[name]:.1f} %", xlabel="first column of the source")
axes[0].legend()
plt.show()

# %%
# The default network has to learn from 1000 rows that the other columns have no influence, and its map is still close
# to a straight line. The separable network knows it, and finds the bends.
line = np.polyval(np.polyfit(new[:, 0], images["default network"][:, 0], 1), new[:, 0])
assert np.var(images["default network"][:, 0] - line) < 0.05 * np.var(line)
assert errors["default network"] > 3
assert errors["separable network"] < 0.3 * errors["default network"]
