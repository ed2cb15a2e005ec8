"""Make the picture of the start page, docs/images/hero.webp, and its still, hero_still.webp.

    python docs/make_hero.py

The source is a circle, the target two circles, one inside and one outside of it (`make_circles`). In the optimal plan,
each point of the source goes to both. SNOT and OTP are fitted with their defaults. A callback keeps a copy of each
method along the fit. Every frame has the images of the same 400 fresh points, for OTP with the same noise vectors.
A fit takes about 5 s of processor time. The script prints the squared W2 distance between 1000 images and 1000 target
points at the end, beside its floor, the distance between two samples of the target.
"""

from __future__ import annotations

import copy
import io
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image

from neuralot import OTPTransport, SNOTTransport
from neuralot.datasets import make_circles
from neuralot.exceptions import SpuriousSolutionWarning
from neuralot.metrics import d_target, target_floor
from neuralot.plots import IMAGE, SOURCE, TARGET

FOLDER = Path(__file__).parent / "images"
N_POINTS, N_SEGMENTS, MILLISECONDS, STILL_MILLISECONDS = 400, 50, 100, 2500


def images_along_fit(cls, X_fit, Y_fit, X):
    """Fit an estimator; return it, and the steps and images of X of every record."""
    kept = []
    callback = lambda step, problem, record: kept.append((step, record["progress"], copy.deepcopy(problem)))  # noqa: E731
    with warnings.catch_warnings(action="ignore", category=SpuriousSolutionWarning):  # the point of the picture
        est = cls(random_state=0, callbacks=[callback]).fit(X_fit, Y_fit)
    units = est.units_  # the methods are fitted on standardised rows
    rows = torch.tensor((X - units.source_centre) / units.scale, dtype=torch.float32)
    frames = []
    for step, progress, problem in kept:
        images = problem.draw(rows, torch.Generator().manual_seed(0), progress).detach().numpy()
        frames.append((step, images * units.scale + units.target_centre))
    return est, frames


def draw(X, Y, panels):
    """Return the picture of one frame; `panels` has a title and images for each axis."""
    figure, axes = plt.subplots(1, 2, figsize=(8, 4), dpi=90)
    figure.subplots_adjust(left=0.01, right=0.99, bottom=0.09, top=0.93, wspace=0.02)
    pairs = np.linspace(0, len(X) - 1, N_SEGMENTS).astype(int)
    for ax, (title, images) in zip(axes, panels, strict=True):
        ax.scatter(*Y.T, s=24, color=TARGET, linewidths=0, label="target")
        segments = np.stack([X[pairs], images[pairs]])  # (2, N_SEGMENTS, 2)
        ax.plot(segments[..., 0], segments[..., 1], color="black", linewidth=0.5, alpha=0.3)
        ax.scatter(*X.T, s=8, color=SOURCE, linewidths=0, label="source")
        ax.scatter(*images.T, s=8, color=IMAGE, linewidths=0, label="image")
        ax.set(xlim=(-3.9, 3.9), ylim=(-3.4, 3.4), aspect="equal", title=title)
        ax.axis("off")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="lower center", ncols=3, frameon=False, markerscale=2)
    return picture(figure)


def picture(figure: Figure) -> Image.Image:
    buffer = io.BytesIO()
    figure.savefig(buffer)
    plt.close(figure)
    return Image.open(buffer).convert("RGB")


def main() -> None:
    pair = make_circles()
    X_fit, Y_fit = pair.sample(4096, random_state=0)
    X, Y = pair.sample(1000, random_state=1)
    shown = X[:N_POINTS]
    shown = shown[np.argsort(np.arctan2(shown[:, 1], shown[:, 0]))]  # so that the segments are spread evenly
    fits = {cls: images_along_fit(cls, X_fit, Y_fit, shown) for cls in (SNOTTransport, OTPTransport)}
    floor = target_floor(pair.target, n=1000, n_pairs=10, random_state=2).mean
    for cls, (est, _) in fits.items():
        distance = d_target(est.sample(X, random_state=3)[0], Y)
        print(f"{cls.__name__}: squared W2 distance {distance:.3f}, floor {floor:.3f}, {est.status_.name}")  # noqa: T201
    frames, Y = [], pair.sample(3000, random_state=4)[1]
    for (step, snot), (_, otp) in zip(*(images for _, images in fits.values()), strict=True):
        panels = [(f"{name}, step {step}", images) for name, images in (("SNOT", snot), ("OTP", otp))]
        frames.append(draw(shown, Y, panels))
    frames[-1].save(FOLDER / "hero_still.webp", quality=85)
    durations = [MILLISECONDS] * (len(frames) - 1) + [STILL_MILLISECONDS]
    options = {"save_all": True, "loop": 0, "quality": 34, "method": 6}
    frames[0].save(FOLDER / "hero.webp", append_images=frames[1:], duration=durations, **options)
    for path in sorted(FOLDER.glob("hero*")):
        print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")  # noqa: T201


if __name__ == "__main__":
    main()
