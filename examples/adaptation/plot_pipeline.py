"""
Domain adaptation in a pipeline: labels in one domain, predictions in another
=============================================================================

Handwritten digits with labels, and others, without labels, from a worse camera: blurred, moved down and dimmed. A
classifier trained on the former fails on the latter. ``DomainAdapter`` learns a transport from the one to the other,
moves the labelled digits and trains the classifier on their images. In a pipeline both domains take the same steps
before that.
"""

# %%
# A third of the digits as they are, with labels; a third changed, without labels; and a third changed and kept for the
# exam.
import os
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import sklearn
from ot.da import EMDTransport, LinearTransport, SinkhornLpl1Transport
from scipy.ndimage import gaussian_filter, shift
from sklearn.datasets import load_digits, load_wine
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from neuralot import DomainAdapter, OTPTransport, SNOTTransport

SEED = 0


def worse(rows):
    images = [0.6 * shift(gaussian_filter(row.reshape(8, 8), 0.6), (0.8, 0), order=1) for row in rows]
    return np.reshape(images, (-1, 64))


digits, labels = load_digits(return_X_y=True)
source, target, exam = np.array_split(np.random.default_rng(SEED).permutation(len(digits)), 3)
X, y = digits[source], labels[source]
X_target = worse(digits[target])
X_exam, y_exam = worse(digits[exam]), labels[exam]

# %%
# The first step reduces 64 pixels to 20 principal components. Pixels have one unit and need no scaling; the wines below
# do. ``transform_input`` names the target sample, which then takes every step that ``X`` takes, as fitted on ``X``; for
# this scikit-learn wants metadata routing enabled.
with sklearn.config_context(enable_metadata_routing=True):
    adapter = DomainAdapter(OTPTransport(max_iter=250, random_state=SEED), SVC())
    pipe = make_pipeline(PCA(20, random_state=SEED), adapter, transform_input=["X_target"])
    pipe.fit(X, y, X_target=X_target)

# %%
# With ``class_reg`` the labels take part in the transport, and target rows get the classifier's own guesses in place of
# labels. This is self-training: it helps here, and can harm elsewhere.
with sklearn.config_context(enable_metadata_routing=True):
    with_labels = sklearn.clone(pipe).set_params(domainadapter__class_reg=1.0).fit(X, y, X_target=X_target)

# %%
# The accuracy on the digits of the exam, beside that of the same classifier on the same components, trained on the
# source as it is and as POT moves it. OTP alone does about as well as POT's exact plan (EMD); with labels it does best.
reduced, reduced_target, reduced_exam = map(pipe["pca"].transform, (X, X_target, X_exam))
peers = {
    "POT linear": LinearTransport(reg=1e-3),
    "POT EMD": EMDTransport(),
    "POT Sinkhorn, with labels": SinkhornLpl1Transport(reg_e=0.01, norm="max"),
}
print(f"{'source only':<26} {SVC().fit(reduced, y).score(reduced_exam, y_exam):.3f}")
for name, peer in peers.items():
    with warnings.catch_warnings(action="ignore"):  # Sinkhorn ends at its 200 iterations; more of them change little
        moved = peer.fit(Xs=reduced, ys=y, Xt=reduced_target).transform(Xs=reduced)
    print(f"{name:<26} {SVC().fit(moved, y).score(reduced_exam, y_exam):.3f}")
print(f"{'neuralot OTP':<26} {pipe.score(X_exam, y_exam):.3f}")
print(f"{'neuralot OTP, with labels':<26} {with_labels.score(X_exam, y_exam):.3f}")

# %%
# Above, the first two components: the source, one colour for each digit, before and after the transport, on the target
# in grey. Below, one source digit of each class, its image under the transport without labels, and what the worse
# camera makes of it, all as their 20 components have them; each row of pictures has its own grey levels. The images
# resemble the truth, though the fit has seen no digit together with its worse picture.
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
    axes[name].scatter(*reduced_target.T[:2], s=14, color="#c9c9c9", linewidths=0)
    axes[name].scatter(*rows.T[:2], s=7, c=y, cmap="tab10", linewidths=0)
    axes[name].set_title(name)
for name, rows in pictures.items():
    axes[name].imshow(np.hstack(pipe["pca"].inverse_transform(rows).reshape(-1, 8, 8)), cmap="gray")
    axes[name].set(ylabel=name, xticks=[], yticks=[])
if folder := os.environ.get("NEURALOT_FIGURES"):
    figure.savefig(Path(folder) / "pipeline.png", dpi=80)
plt.show()

# %%
# Columns in different units: 13 measurements of wines from three growers, and of others from a second laboratory, whose
# instruments have a gain, an offset and noise of their own. Proline varies by hundreds and hue by a tenth, so a
# ``StandardScaler`` goes first. Without it proline is all that the transport and the classifier see.
wines, growers = load_wine(return_X_y=True)
rng = np.random.default_rng(SEED)
spread = wines.std(axis=0)
gain, offset = np.exp(0.4 * rng.normal(size=13)), spread * rng.normal(size=13)
source, target, exam = np.array_split(rng.permutation(len(wines)), 3)
X, y, y_exam = wines[source], growers[source], growers[exam]
X_target, X_exam = (
    gain * wines[rows] + offset + 0.1 * spread * rng.normal(size=(len(rows), 13)) for rows in (target, exam)
)

adapter = DomainAdapter(SNOTTransport(max_iter=250, random_state=SEED), SVC(), self_training=True)
with sklearn.config_context(enable_metadata_routing=True):
    pipe = make_pipeline(StandardScaler(), adapter, transform_input=["X_target"]).fit(X, y, X_target=X_target)

scaled, scaled_target, scaled_exam = map(pipe["standardscaler"].transform, (X, X_target, X_exam))
moved = LinearTransport(reg=1e-3).fit(Xs=scaled, Xt=scaled_target).transform(Xs=scaled)
print(f"{'source only':<26} {SVC().fit(scaled, y).score(scaled_exam, y_exam):.3f}")
print(f"{'POT linear':<26} {SVC().fit(moved, y).score(scaled_exam, y_exam):.3f}")
print(f"{'neuralot SNOT':<26} {pipe.score(X_exam, y_exam):.3f}")
print(f"{'without the scaler':<26} {sklearn.clone(adapter).fit(X, y, X_target=X_target).score(X_exam, y_exam):.3f}")
