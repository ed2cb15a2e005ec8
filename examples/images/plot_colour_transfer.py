"""
Colour transfer: a map fitted on some pixels recolours the whole photograph
===========================================================================

The colours of one photograph are moved onto those of another. The map is learned from a sample of pixels and then
applied to every pixel of the photo, which is what neural OT is for: POT's discrete plan covers only the pixels that it
has seen and extends to others by their nearest neighbour, and its linear map can only shift and stretch the colours.
"""

# %%
# Two photographs that ship with scikit-learn, as rows of red, green and blue in [0, 1].
import os
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from ot.da import EMDTransport, LinearTransport
from sklearn.datasets import load_sample_images

from neuralot import SNOTTransport
from neuralot.metrics import d_target

photo, palette = (image / 255.0 for image in load_sample_images().images)
rng = np.random.default_rng(0)
X, Y = photo.reshape(-1, 3), palette.reshape(-1, 3)
X_fit, Y_fit = rng.permutation(X)[:20_000], rng.permutation(Y)[:20_000]
N_POT = 2000  # the exact plan's time grows with the cube of the sample


# %%
# Fit on pixels, map all 273 280 pixels of the photo.
def neural():
    return SNOTTransport(random_state=0).fit(X_fit, Y_fit).transform(X)


def nearest():
    return EMDTransport().fit(Xs=X_fit[:N_POT], Xt=Y_fit[:N_POT]).transform(Xs=X, batch_size=4096)


def linear():
    return LinearTransport().fit(Xs=X_fit, Xt=Y_fit).transform(Xs=X)


# %%
# The distance of the colours to the palette's: exact squared W2 between 2000 pixels of each, averaged over three draws.
# The floor is that between samples of the palette itself; chance, and pixels copied from it, can come below.
def distance(pixels):
    return np.mean([d_target(rng.choice(pixels, 2000), rng.choice(Y, 2000)) for _ in range(3)])


images = {"photo": X, "palette": Y}
print(f"{'':<34} {'distance to palette':>19} {'pixels outside [0, 1]':>22} {'seconds':>8}")
print(f"{'photo as it is':<34} {distance(X):19.5f}")
print(f"{'palette itself (floor)':<34} {distance(Y):19.5f}")
for name, recolour in {"neuralot SNOT": neural, "POT EMD (2000)": nearest, "POT linear": linear}.items():
    start = time.perf_counter()
    images[name] = recolour()
    seconds = time.perf_counter() - start
    outside = np.mean((images[name] < -1 / 255) | (images[name] > 1 + 1 / 255))
    print(f"{name + ', fit and all pixels':<34} {distance(images[name]):19.5f} {outside:22.1%} {seconds:8.1f}")

# %%
# The neural map is continuous, and the sky changes smoothly; the nearest-neighbour extension tears it into patches.
# That has a price, which the distance shows: POT moves pixels onto colours of the palette, the map blends between them.
figure, axes = plt.subplot_mosaic(
    [
        [".", "photo", "photo", "palette", "palette", "."],
        ["neuralot SNOT"] * 2 + ["POT EMD (2000)"] * 2 + ["POT linear"] * 2,
    ],
    figsize=(13, 6),
    layout="constrained",
)
for name, ax in axes.items():
    ax.imshow(images[name].reshape(photo.shape).clip(0, 1))
    ax.set_title(name)
    ax.axis("off")
if folder := os.environ.get("NEURALOT_FIGURES"):
    figure.savefig(Path(folder) / "colour_transfer.png", dpi=80)
    plt.imsave(Path(folder) / "recoloured.png", images["neuralot SNOT"].reshape(photo.shape).clip(0, 1))
plt.show()
