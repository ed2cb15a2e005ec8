"""
Colour transfer between two photographs
=======================================

A map is fitted on 20 000 pixels of one photograph and moves the colours of all its pixels to those of another one.
POT's exact plan covers only the pixels of its fit, and extends to others by their nearest neighbour.
POT's linear map can only shift and stretch the colours.
"""

# %%
# Two photographs that ship with scikit-learn, as rows of red, green and blue in [0, 1].
import numpy as np
from sklearn.datasets import load_sample_images

from neuralot import SNOTTransport

photo, palette = (image / 255.0 for image in load_sample_images().images)
rng = np.random.default_rng(0)
X, Y = photo.reshape(-1, 3), palette.reshape(-1, 3)
X_fit, Y_fit = rng.permutation(X)[:20_000], rng.permutation(Y)[:20_000]
snot = SNOTTransport(random_state=0)

# %%
# The three maps, each fitted and applied to all 273 280 pixels of the photo. POT's plan is that of 2000 pixels,
# because an exact plan of many more does not fit into memory; most of its time is the extension to all pixels.
import os
import time
from pathlib import Path

import matplotlib.pyplot as plt
from ot.da import EMDTransport, LinearTransport

from neuralot.metrics import d_target

N_POT = 2000
methods = {
    "neuralot SNOT": lambda: snot.fit(X_fit, Y_fit).transform(X),
    "POT EMD (2000)": lambda: EMDTransport().fit(Xs=X_fit[:N_POT], Xt=Y_fit[:N_POT]).transform(Xs=X, batch_size=4096),
    "POT linear": lambda: LinearTransport().fit(Xs=X_fit, Xt=Y_fit).transform(Xs=X),
}
images, seconds = {"photo": X, "palette": Y}, {}
for name, recolour in methods.items():
    start = time.perf_counter()
    images[name] = recolour()
    seconds[name] = time.perf_counter() - start


# %%
# The distance is the exact squared W2 between 2000 pixels of each image and 2000 of the palette, as the mean of three
# draws. The floor is the distance between two samples of the palette itself; POT's plan moves
# the 2000 pixels of its fit to colours of the palette, and can come below the floor by chance. The price: the
# nearest-neighbour extension tears the smooth sky into patches, whose borders are steps. The share of horizontal
# neighbours in the sky that differ by more than a tenth in some colour is several times that of SNOT.
def distance(pixels):
    return np.mean([d_target(rng.choice(pixels, 2000), rng.choice(Y, 2000)) for _ in range(3)])


far, floor = distance(X), distance(Y)
print(f"{'':<34} {'distance to palette':>19} {'pixels outside [0, 1]':>22} {'seconds':>8}")
print(f"{'photo as it is':<34} {far:19.5f}")
print(f"{'palette itself (floor)':<34} {floor:19.5f}")
found = {}
for name in methods:
    found[name] = distance(images[name])
    outside = np.mean((images[name] < -1 / 255) | (images[name] > 1 + 1 / 255))
    print(f"{name + ', fit and all pixels':<34} {found[name]:19.5f} {outside:22.1%} {seconds[name]:8.1f}")
assert found["POT EMD (2000)"] < found["neuralot SNOT"] < 0.03 * far
assert found["POT linear"] > 5 * found["neuralot SNOT"]


def steps(name):
    sky = images[name].reshape(photo.shape)[:150, 400:]
    return np.mean(np.abs(np.diff(sky, axis=1)).max(axis=-1) > 0.1)


print("".join(f"{name + ', steps in the sky':<34} {steps(name):7.2%}\n" for name in methods), end="")
assert steps("POT EMD (2000)") > 3 * steps("neuralot SNOT")

# %%
# The three answers. SNOT keeps the sky smooth and nearly has the colours of the palette.
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
