"""
Domain adaptation in a pipeline
===============================

Digits with labels, and digits without labels from a worse camera: a classifier trained on the former fails on the
latter. ``DomainAdapter`` moves the labelled digits to the others and trains on their images; in a pipeline both
domains take the same steps before that.
"""

# %%
# ``transform_input`` names the target sample, which then takes every step that ``X`` takes.
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVC

from neuralot import DomainAdapter, OTPTransport

adapter = DomainAdapter(OTPTransport(max_iter=250, random_state=0), SVC())
pipe = make_pipeline(PCA(20, random_state=0), adapter, transform_input=["X_target"])

# %%
# A third of the digits as they are, with labels; a third blurred, moved down and dimmed, without labels; and a third
# changed alike and kept for the exam. With ``class_reg`` the labels take part in the transport, and target rows get the
# classifier's own guesses. This is self-training: it helps here, and can harm elsewhere.
import numpy as np
import sklearn
from scipy.ndimage import gaussian_filter, shift
from sklearn.datasets import load_digits


def worse(rows):
    images = [0.6 * shift(gaussian_filter(row.reshape(8, 8), 0.6), (0.8, 0), order=1) for row in rows]
    return np.reshape(images, (-1, 64))


digits, labels = load_digits(return_X_y=True)
source, target, exam = np.array_split(np.random.default_rng(0).permutation(len(digits)), 3)
X, y, X_target = digits[source], labels[source], worse(digits[target])
with sklearn.config_context(enable_metadata_routing=True):
    pipe.fit(X, y, X_target=X_target)
    with_labels = sklearn.clone(pipe).set_params(domainadapter__class_reg=1.0).fit(X, y, X_target=X_target)

# %%
# The accuracy on the exam, beside that of the same classifier on the same components, trained on the source as it is
# and as POT moves it. OTP alone does about as well as POT's exact plan (EMD), and better with labels.
import warnings

from ot.da import EMDTransport, LinearTransport, SinkhornLpl1Transport

X_exam, y_exam = worse(digits[exam]), labels[exam]
reduced, reduced_target, reduced_exam = map(pipe["pca"].transform, (X, X_target, X_exam))
peers = {
    "POT linear": LinearTransport(reg=1e-3),
    "POT EMD": EMDTransport(),
    "POT Sinkhorn, with labels": SinkhornLpl1Transport(reg_e=0.01, norm="max"),
}
accuracy = {"source only": SVC().fit(reduced, y).score(reduced_exam, y_exam)}
for name, peer in peers.items():
    with warnings.catch_warnings(action="ignore"):  # Sinkhorn ends at its 200 iterations; more of them change little
        moved = peer.fit(Xs=reduced, ys=y, Xt=reduced_target).transform(Xs=reduced)
    accuracy[name] = SVC().fit(moved, y).score(reduced_exam, y_exam)
accuracy["neuralot OTP"] = pipe.score(X_exam, y_exam)
accuracy["neuralot OTP, with labels"] = with_labels.score(X_exam, y_exam)
assert accuracy["neuralot OTP"] > accuracy["source only"] + 0.2
assert abs(accuracy["neuralot OTP"] - accuracy["POT EMD"]) < 0.05
assert accuracy["neuralot OTP, with labels"] > accuracy["neuralot OTP"] + 0.01
print("".join(f"{name:<26} {value:.3f}\n" for name, value in accuracy.items()), end="")

# %%
# Above, the first two components: the source, one colour for each digit, before and after the transport, on the target
# in grey. Below, one source digit of each class, its image, and what the worse camera makes of it, all as their 20
# components have them. The images resemble the truth, though the fit has seen no digit together with its worse picture.
import os
from pathlib import Path

import matplotlib.pyplot as plt

from neuralot.plots import TARGET

images = pipe["domainadapter"].transport_.transform(reduced)
some = [np.flatnonzero(y == digit)[0] for digit in range(10)]
pictures = {"source": reduced[some], "image": images[some], "truth": pipe["pca"].transform(worse(X[some]))}
figure, axes = plt.subplot_mosaic(
    [["before", "after"], *([name] * 2 for name in pictures)],
    figsize=(9, 7.5),
    height_ratios=[5, 1, 1, 1],
    layout="constrained",
)
for name, rows in {"before": reduced, "after": images}.items():
    axes[name].scatter(*reduced_target.T[:2], s=14, color=TARGET, linewidths=0)
    axes[name].scatter(*rows.T[:2], s=7, c=y, cmap="tab10", linewidths=0)
    axes[name].set_title(name)
for name, rows in pictures.items():
    axes[name].imshow(np.hstack(pipe["pca"].inverse_transform(rows).reshape(-1, 8, 8)), cmap="gray")
    axes[name].set(ylabel=name, xticks=[], yticks=[])
if folder := os.environ.get("NEURALOT_FIGURES"):
    figure.savefig(Path(folder) / "pipeline.png", dpi=80)
plt.show()
