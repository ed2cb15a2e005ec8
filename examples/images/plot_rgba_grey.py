"""
Transparent and grey images
===========================

In an RGBA image transparent pixels have colours that nobody sees: the alpha channel is the weight of a pixel.
A grey image has one feature, for which sorting gives the exact map.
See what the weights change, and how close the network comes to sorting.
"""

# %%
# A cup, cut out of a photograph with a soft edge. Alpha is kept; only the three colours are moved. To read a file:
# ``rgba = np.asarray(PIL.Image.open("cup.png").convert("RGBA")) / 255``, and to write one:
# ``PIL.Image.fromarray((255 * rgba.clip(0, 1)).round().astype(np.uint8)).save("new.png")``.
import numpy as np
from skimage.data import coffee
from sklearn.datasets import load_sample_image

from neuralot import SNOTTransport

photo, palette = coffee() / 255.0, load_sample_image("flower.jpg").reshape(-1, 3) / 255.0
row, column = np.indices(photo.shape[:2])
alpha = np.clip(9 * (1.15 - np.hypot((row - 200) / 165, (column - 300) / 185)), 0, 1)
rgba = np.dstack([photo, alpha])

# %%
# Pixels with ``sample_weight=alpha`` count as much as they are seen. The other fit counts all pixels alike, as a
# conversion to RGB does, and then the hidden table takes part of the palette. The
# distance is the exact squared W2 between the visible colours, weighted by alpha, and those of the palette, on 2000
# pixels of each that no fit has seen. With weights it is the smaller one.
from neuralot.metrics import d_target

rng = np.random.default_rng(0)
colours, weight = rgba.reshape(-1, 4)[:, :3], rgba[..., 3].ravel()
fit, held_out = np.split(rng.permutation(len(colours))[:22_000], [20_000])
Y = rng.permutation(palette)[:20_000]
snot = SNOTTransport(random_state=0)
moved = {"cup": colours}
moved["weighted by alpha"] = snot.fit(colours[fit], Y, sample_weight=weight[fit]).transform(colours)
moved["all pixels alike"] = snot.fit(colours[fit], Y).transform(colours)

exam = rng.choice(palette, 2000)
distance = {name: d_target(rows[held_out], exam, sample_weight=weight[held_out]) for name, rows in moved.items()}
print("".join(f"{name:<20} {value:.4f}\n" for name, value in distance.items()), end="")
assert distance["weighted by alpha"] < 0.5 * distance["all pixels alike"] < 0.5 * distance["cup"]

# %%
# A grey image is one column. A grey level holds many pixels, so its exact image is the mean of the target's quantiles
# that fall to it.
from skimage.data import camera, coins

x, y = np.sort(camera().ravel() / 255.0), np.sort(coins().ravel() / 255.0)
levels, first, count = np.unique(x, return_index=True, return_counts=True)
quantiles = np.interp((np.arange(len(x)) + 0.5) / len(x), (np.arange(len(y)) + 0.5) / len(y), y)
exact = np.add.reduceat(quantiles, first) / count
grey = SNOTTransport(max_iter=600, random_state=0).fit(rng.choice(x, 20_000)[:, None], rng.choice(y, 20_000)[:, None])
learned = grey.transform(levels[:, None])[:, 0]
error = 255 * np.sqrt(np.average((learned - exact) ** 2, weights=count))
print(f"root mean square error of SNOT: {error:.1f} of 255 grey levels")
assert error < 4

# %%
# Above, the cup before and after: with weights by alpha it has all colours of the palette. Below, the grey image, its
# image under the learned map, and the two maps. For grey images sorting is faster and exact; the network is
# useful when there are further columns.
import matplotlib.pyplot as plt

from neuralot.plots import IMAGE, TARGET

figure, axes = plt.subplots(2, 3, figsize=(10, 6), layout="constrained")
for ax, (name, rows) in zip(axes[0], moved.items(), strict=True):
    ax.imshow(np.dstack([rows.reshape(photo.shape).clip(0, 1), alpha]))
    ax.set_title(name)
axes[1, 0].imshow(camera(), cmap="gray", vmin=0, vmax=255)
axes[1, 0].set_title("grey image")
axes[1, 1].imshow(np.interp(camera() / 255.0, levels, learned), cmap="gray", vmin=0, vmax=1)
axes[1, 1].set_title("in the greys of another")
for ax in axes.flat[:5]:
    ax.axis("off")
axes[1, 2].plot(levels, exact, color=TARGET, linewidth=4, label="exact, by sorting")
axes[1, 2].plot(levels, learned, color=IMAGE, label="SNOT")
axes[1, 2].set(xlabel="grey level", ylabel="image")
axes[1, 2].legend()
plt.show()
