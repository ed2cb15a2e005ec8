"""
One fit, many palettes: colour transfer with a reusable map
===========================================================

``OTNetTransport`` learns the heights of target colours by a network, as a function of the colour. A new palette then
needs no new fit: ``retarget`` asks the network for the heights of its colours and says how far the masses are from
right. Where the palette is quite another one, a few steps bring network and masses there.
"""

# %%
# The first photograph that ships with scikit-learn is recoloured. Its target is 1000 colours of the second one.
import os
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_sample_images

from neuralot import OTNetTransport
from neuralot.metrics import d_target

photo, other = (image / 255.0 for image in load_sample_images().images)
rng = np.random.default_rng(0)
X, flower = photo.reshape(-1, 3), other.reshape(-1, 3)
X_fit = rng.permutation(X)[:20_000]
dark = flower[flower.mean(axis=1) < np.median(flower.mean(axis=1))]
hue = rng.uniform(0.1, 1, size=(1000, 1))
palettes = {
    "flower": rng.permutation(flower)[:1000],
    "its darker half": rng.permutation(dark)[:1000],
    "embers": (hue * [1, 0.45, 0.1] + hue**4 * [0, 0.5, 0.6] + 0.02 * rng.normal(size=(1000, 3))).clip(0, 1),
}


# %%
# The fit, once; then the other palettes, with heights from the network alone and after 100 steps. What a transport says
# of its masses stands beside the exact squared W2 between 1000 recoloured pixels and the palette; between two samples
# of 1000 colours of the flower that is .001 to .009. The network alone leaves the masses of both palettes wrong, as
# nothing in the fit knew of them; the steps take most of that error away.
def show(name, palette, act):
    start = time.perf_counter()
    transport = act()
    seconds = time.perf_counter() - start
    distance = d_target(transport.transform(rng.choice(X, 1000)), palette)
    print(f"{name:<32} {seconds:8.3f} {transport.mass_error_:11.4f} {distance:24.5f}")
    return transport


print(f"{'':<32} {'seconds':>8} {'mass error':>11} {'distance to the palette':>24}")
net = OTNetTransport(output="smooth", max_iter=600, random_state=0)
show("flower, fit", palettes["flower"], lambda: net.fit(X_fit, palettes["flower"]))
images = {"photo": X, "flower": net.transform(X)}
for name, palette in list(palettes.items())[1:]:
    show(f"{name}, retarget", palette, lambda palette=palette: net.retarget(palette))
    refined = show(f"{name}, 100 steps", palette, lambda palette=palette: net.retarget(palette, refine_steps=100))
    images[name] = refined.transform(X)

# %%
# The photo with each palette, the last two after their steps, and the colours of the palettes.
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
