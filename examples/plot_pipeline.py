"""
Domain adaptation in a pipeline: labels in one domain, predictions in another
=============================================================================

Handwritten digits with labels, and others, without labels, from a worse camera: blurred, moved down and dimmed. A
classifier of the former fails on the latter. ``DomainAdapter`` learns a transport between the two, moves the labelled
digits and trains the classifier on their images; in a pipeline, both domains take the same steps before.
"""

# %%
# A third of the digits as they are, a third changed, and a third changed and kept for the exam. The labels of the
# second are thrown away.
import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import sklearn
from ot.da import EMDTransport, LinearTransport
from scipy.ndimage import gaussian_filter, shift
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVC

from neuralot import DomainAdapter, OTPTransport

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
# The pipeline reduces 64 pixels to 20 principal components, and adapts there. Pixels have one unit and are not scaled;
# features with different units need a ``StandardScaler`` first. ``transform_input`` names the target, so that it is
# projected like ``X``; scikit-learn asks for metadata routing to be enabled. ``class_reg`` lets the labels take part in
# the transport, with the classifier's own guesses for target rows.
with sklearn.config_context(enable_metadata_routing=True):
    adapter = DomainAdapter(OTPTransport(max_iter=300, random_state=SEED), SVC())
    pipe = make_pipeline(PCA(20, random_state=SEED), adapter, transform_input=["X_target"])
    pipe.fit(X, y, X_target=X_target)
    accuracies = {"neuralot OTP": pipe.score(X_exam, y_exam)}
    with_labels = sklearn.clone(pipe).set_params(domainadapter__class_reg=1.0).fit(X, y, X_target=X_target)
    accuracies["neuralot OTP, class_reg=1"] = with_labels.score(X_exam, y_exam)

# %%
# The same classifier on the same components, without a transport and with two of POT. All are scored on digits of the
# worse camera that no fit has seen.
reduce = pipe["pca"].transform
rows, rows_target, rows_exam = reduce(X), reduce(X_target), reduce(X_exam)
accuracies = {"source only": SVC().fit(rows, y).score(rows_exam, y_exam)} | accuracies
for name, transport in {"POT linear": LinearTransport(reg=1e-3), "POT EMD": EMDTransport()}.items():
    images = transport.fit(Xs=rows, Xt=rows_target).transform(Xs=rows)
    accuracies[name] = SVC().fit(images, y).score(rows_exam, y_exam)
for name, accuracy in accuracies.items():
    print(f"{name:<26} {accuracy:.3f}")

# %%
# The first two components of both domains, before and after the source is moved.
images = pipe["domainadapter"].transport_.transform(rows)
figure, axes = plt.subplots(1, 3, figsize=(13, 4), layout="constrained")
for ax, some, title in zip(axes, (rows, images), ("source before", "source after"), strict=False):
    ax.scatter(*rows_target.T[:2], s=14, color="#c9c9c9", linewidths=0)
    ax.scatter(*some.T[:2], s=7, c=y, cmap="tab10", linewidths=0)
    ax.set_title(f"{title}, on the target (grey)")
first = [np.flatnonzero(y == digit)[0] for digit in range(10)]
strips = [pipe["pca"].inverse_transform(some[first]) for some in (rows, images, reduce(worse(X)))]
axes[2].imshow(np.vstack([np.hstack(strip.reshape(-1, 8, 8)) for strip in strips]), cmap="gray")
axes[2].set_yticks([4, 12, 20], ["source", "moved", "truth"])
axes[2].set_xticks([])
axes[2].set_title("one digit of each class")
if folder := os.environ.get("NEURALOT_FIGURES"):
    figure.savefig(Path(folder) / "pipeline.png", dpi=80)
plt.show()
