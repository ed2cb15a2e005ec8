"""
Grid search over adaptation pipelines
=====================================

The target has no labels, so accuracy cannot choose a transport.
The score of the transport can: it compares the images of held-out source rows with held-out target rows.
See whether the choice without labels agrees with the accuracy that an exam finds afterwards.
"""

# %%
# A pipeline with a transport, and a grid of transports and lengths of the fit. ``adapt__transport`` is a parameter
# as any other.
from sklearn.decomposition import PCA
from sklearn.pipeline import Pipeline
from sklearn.svm import SVC

from neuralot import DomainAdapter, OTPTransport, SNOTTransport

SEED = 0
sizes = {"hidden_layer_sizes": (64, 64), "random_state": SEED}
steps = [("reduce", PCA(16, random_state=SEED)), ("adapt", DomainAdapter(OTPTransport(**sizes), SVC()))]
lengths = {"adapt__transport": [OTPTransport(**sizes)], "adapt__transport__max_iter": [20, 100, 300]}
grid = [lengths, {"adapt__transport": [SNOTTransport(max_iter=100, **sizes)]}]

# %%
# Digits with labels, and others from a worse camera, whose label is -1. This tells the scorer which rows are the
# target's, and lets stratified folds hold out rows of both. The third part of the digits is for the exam.
import numpy as np
from scipy.ndimage import gaussian_filter, shift
from sklearn.datasets import load_digits


def worse(rows):
    images = [0.6 * shift(gaussian_filter(row.reshape(8, 8), 0.6), (0.8, 0), order=1) for row in rows]
    return np.reshape(images, (-1, 64))


digits, labels = load_digits(return_X_y=True)
source, target, exam = np.array_split(np.random.default_rng(SEED).permutation(len(digits)), 3)
X = np.vstack([digits[source], worse(digits[target])])
y = np.concatenate([labels[source], np.full(len(target), -1)])
X_exam, y_exam = worse(digits[exam]), labels[exam]

# %%
# Routing brings ``sample_domain`` to every fit. A plain function as scorer does not get it, and asks the labels.
import warnings

import sklearn
from sklearn.model_selection import GridSearchCV, StratifiedKFold


def transport_score(pipe, X, y):
    return pipe["adapt"].transport_.score(pipe["reduce"].transform(X), sample_domain=np.where(y < 0, -1, 1))


domain, folds = np.where(y < 0, -1, 1), StratifiedKFold(2, shuffle=True, random_state=SEED)
search = GridSearchCV(Pipeline(steps), grid, scoring=transport_score, cv=folds)
with sklearn.config_context(enable_metadata_routing=True), warnings.catch_warnings(action="ignore"):
    search.fit(X, y, sample_domain=domain)  # short fits, and SNOT on a thin source, warn that they are

# %%
# Now the exam, for every setting: the accuracy on target digits that no fit has seen. The score rises with the length
# of the fit, and its choice has the best accuracy of the grid, or nearly so. All settings are far better than the
# source alone, and differ from each other by a few digits in a hundred. SNOT, which is not meant for a source on a thin
# set, has the least score. The score cannot compare the two values of ``adapt__direction``, whose images lie in
# different domains.
print(f"{'transport':<14} {'max_iter':>8} {'score':>8} {'accuracy':>9}")
scores, accuracies = search.cv_results_["mean_test_score"], []
for setting, score in zip(search.cv_results_["params"], scores, strict=True):
    with sklearn.config_context(enable_metadata_routing=True), warnings.catch_warnings(action="ignore"):
        model = sklearn.clone(search.estimator).set_params(**setting).fit(X, y, sample_domain=domain)
        accuracies.append(model.score(X_exam, y_exam))
    name, chosen = type(setting["adapt__transport"]).__name__, "chosen" if setting == search.best_params_ else ""
    print(f"{name:<14} {model['adapt'].transport.max_iter:8} {score:8.1f} {accuracies[-1]:9.3f}  {chosen}")
X_reduced, X_exam_reduced = (search.best_estimator_["reduce"].transform(rows) for rows in (digits[source], X_exam))
source_only = SVC().fit(X_reduced, labels[source]).score(X_exam_reduced, y_exam)
print(f"{'source only':<32} {source_only:9.3f}")
assert np.all(np.diff(scores[:3]) > 0)
assert search.best_index_ == 2
assert accuracies[2] > max(accuracies) - 0.01
assert min(accuracies) > source_only + 0.2

# %%
# The score, without labels, and the accuracy, with the labels of the exam.
import matplotlib.pyplot as plt

from neuralot.plots import IMAGE, SOURCE

figure, ax = plt.subplots(figsize=(6, 4), layout="constrained")
ax.plot(-scores[:3], accuracies[:3], marker="o", color=IMAGE, label="OTP")
ax.plot(-scores[3:], accuracies[3:], marker="s", color=SOURCE, linestyle="", label="SNOT")
for score, accuracy, name in zip(scores, accuracies, ("20 steps", "100 steps", "300 steps", ""), strict=True):
    ax.annotate(name, (-score, accuracy), (6, -12), textcoords="offset points")
ax.axhline(source_only, color="grey", linestyle=":", label="source only")
ax.set(xlabel="minus the score, without labels (less is better)", ylabel="accuracy on the exam")
ax.legend(loc="center left")
plt.show()
