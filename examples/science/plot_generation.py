"""
Digits from noise
=================

A continuous map cannot send a connected law, such as a Gaussian, to ten kinds of digits without images between them.
``OTNetTransport`` learns a map that jumps: every row of noise goes to the code of a digit, or to a blend of the few
whose planes compete there, unless a crease of the potential lies between them.
"""

# %%
# Ten principal components of the digits that ship with scikit-learn are the codes. The noise has their mean variance.
import math

import matplotlib.pyplot as plt
import numpy as np
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.svm import SVC

from neuralot import OTNetTransport
from neuralot.plots import SOURCE

rows, labels = load_digits(return_X_y=True)
rng = np.random.default_rng(0)
seen, others = np.split(rng.permutation(len(rows)), [1200])
pca = PCA(10, random_state=0).fit(rows[seen])
codes = pca.transform(rows[seen])
spread = np.sqrt(codes.var(axis=0).mean())
noise, new = (spread * rng.normal(size=(n, 10)) for n in (20_000, 5000))

# %%
# One fit. What it says of itself: the distance between the masses of the cells and the target's weights, and the gap
# between the cost of the map and the value of the dual, on noise that it did not learn from.
net = OTNetTransport(max_iter=800, random_state=0).fit(noise, codes)
print(f"mass error {net.mass_error_:.4f}, where the weights have norm {1 / math.sqrt(len(codes)):.4f}")
print(f"duality gap {net.dual_gap_:.2f}, of a cost of {net.transport_cost_:.0f}")
assert net.mass_error_ < 0.5 / math.sqrt(len(codes))
assert abs(net.dual_gap_) < 0.01 * net.transport_cost_

# %%
# Three outputs of the same fit. The hard one returns codes of real digits; the smooth one new codes; and for comparison
# a blend that ignores creases, as if all targets hung together.
generated = {"hard": net.transform(new), "smooth": net.set_params(output="smooth").transform(new)}
scores = net.singularity_score(new)
generated["smooth, creases ignored"] = net.set_params(crease_distance=np.inf).transform(new)
net = net.set_params(crease_distance="auto")

# %%
# A classifier that was trained on other digits judges them. An image of which it is less than half sure is a ghost,
# something between two digits. All ten classes are there in every output, and ghosts are rare.
judge = CalibratedClassifierCV(SVC(C=10), ensemble=False).fit(pca.transform(rows[others]), labels[others])
print(f"{'':<24} {'classes':>7} {'rarest':>7} {'ghosts':>7}")
for name, images in {**generated, "real digits, not seen": pca.transform(rows[others])}.items():
    sure = judge.predict_proba(images)
    shares = np.bincount(sure.argmax(axis=1), minlength=10) / len(images)
    ghosts = (sure.max(axis=1) < 0.5).mean()
    print(f"{name:<24} {(shares > 0.01).sum():7} {shares.min():7.1%} {ghosts:7.2%}")
    assert shares.min() > 0.05
    assert ghosts < 0.02

# %%
# On the left, what the three make of rows of noise near creases, where they differ most, column by column. On the
# right, a walk along a straight line of noise: the digits change little by little, and jump at creases.
near = np.argsort(-scores)[:200][rng.permutation(200)[:12]]
line = np.linspace(-1.5, 1.5, 12)[:, None] * new[1]
walks = {
    "hard": net.set_params(output="hard").transform(line),
    "smooth": net.set_params(output="smooth").transform(line),
}
figure, axes = plt.subplots(3, 2, figsize=(13, 3.2), layout="constrained")
for ax, (name, images) in zip(axes[:, 0], generated.items(), strict=True):
    ax.imshow(np.hstack(pca.inverse_transform(images[near]).reshape(-1, 8, 8)), cmap="gray")
    ax.set_title(f"{name}, near creases")
for ax, (name, images) in zip(axes[:, 1], walks.items(), strict=False):
    ax.imshow(np.hstack(pca.inverse_transform(images).reshape(-1, 8, 8)), cmap="gray")
    ax.set_title(f"{name}, along a line")
axes[2, 1].plot(net.singularity_score(np.linspace(-1.5, 1.5, 1000)[:, None] * new[1]), color=SOURCE, linewidth=1)
axes[2, 1].set(title="singularity score along the line", xticks=[], ylim=(0, 1))
for ax in axes.flat[:5]:
    ax.axis("off")
plt.show()
