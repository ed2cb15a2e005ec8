"""
Many palettes with one fit
==========================

``OTNetTransport`` learns the heights of target colours by a network, as a function of the colour.
A new palette then needs no new fit: ``retarget`` asks the network for its heights and estimates how wrong the masses
are. For quite another palette, a few steps correct network and masses.
"""

# %%
# The photograph is recoloured; its target is 1000 colours of a flower.
import numpy as np
from sklearn.datasets import load_sample_images

from neuralot import OTNetTransport

photo, other = (image / 255.0 for image in load_sample_images().images)
rng = np.random.default_rng(0)
X, flower = photo.reshape(-1, 3), other.reshape(-1, 3)
X_fit, first = rng.permutation(X)[:20_000], rng.permutation(flower)[:1000]
net = OTNetTransport(output="smooth", max_iter=600, random_state=0).fit(X_fit, first)

# %%
# Two other palettes, with the heights of the network alone and after 100 steps. ``mass_error_`` is what the transport
# says of its masses: the Euclidean distance between the masses that the colours get and those that they should get.
import time

dark = flower[flower.mean(axis=1) < np.median(flower.mean(axis=1))]
hue = rng.uniform(0.1, 1, size=(1000, 1))
embers = (hue * [1, 0.45, 0.1] + hue**4 * [0, 0.5, 0.6] + 0.02 * rng.normal(size=(1000, 3))).clip(0, 1)
palettes = {"flower": first, "its darker half": rng.permutation(dark)[:1000], "embers": embers}
transports, seconds = {"flower": net}, {}
for name in ("its darker half", "embers"):
    for label, steps in ((f"{name}, retarget", 0), (f"{name}, 100 steps", 100)):
        start = time.perf_counter()
        transports[label] = net.retarget(palettes[name], refine_steps=steps)
        seconds[label] = time.perf_counter() - start

# %%
# Beside the mass error stands the exact squared W2 between 1000 recoloured pixels and the palette; between two samples
# of 1000 colours of the flower that is .001 to .009. The network alone has wrong masses for both palettes, as the fit
# knew nothing of them; the steps take most of the error away.
from neuralot.metrics import d_target

print(f"{'':<28} {'seconds':>8} {'mass error':>11} {'distance to the palette':>24}")
error, distance = {}, {}
for label, transport in transports.items():
    palette = palettes[label.rsplit(",", 1)[0]]
    error[label] = transport.mass_error_
    distance[label] = d_target(transport.transform(rng.choice(X, 1000)), palette)
    print(f"{label:<28} {seconds.get(label, np.nan):8.3f} {error[label]:11.4f} {distance[label]:24.5f}")
for name in ("its darker half", "embers"):
    assert error[f"{name}, 100 steps"] < 0.04 < 0.1 < error[f"{name}, retarget"]
    assert distance[f"{name}, 100 steps"] < 0.4 * distance[f"{name}, retarget"]
assert error["flower"] < 0.02
assert distance["flower"] < 0.009

# %%
# The photo with each palette, the last two after their steps, and the colours of the palettes.
import os
from pathlib import Path

import matplotlib.pyplot as plt

images = {"photo": X} | {
    label.split(", 100")[0]: transports[label].transform(X) for label in transports if "retarget" not in label
}
figure, axes = plt.subplots(2, 4, figsize=(14, 3.6), height_ratios=[5, 1], layout="constrained")
for (top, bottom), (name, pixels) in zip(axes.T, images.items(), strict=True):
    top.imshow(pixels.reshape(photo.shape).clip(0, 1))
    top.set_title(name)
    colours = palettes.get(name, X_fit[:1000])
    bottom.imshow(colours[np.argsort(colours.mean(axis=1))].reshape(100, 10, 3).swapaxes(0, 1))
    top.axis("off")
    bottom.axis("off")
if folder := os.environ.get("NEURALOT_FIGURES"):
    figure.savefig(Path(folder) / "palettes.png", dpi=80)
plt.show()
