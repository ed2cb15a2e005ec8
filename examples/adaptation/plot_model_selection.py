"""
Model selection without the plan
================================

How much noise should OTP keep, ``eps_min``? A grid search can ask the transport's own ``score``, which needs neither
labels nor the exact plan. On two pairs whose plan is known, see what the score finds and what it cannot see.
"""

# %%
# The samples are stacked and ``sample_domain`` says which rows are the source's, so that folds hold out rows of both.
from sklearn.model_selection import GridSearchCV, KFold

from neuralot import OTPTransport

SEED = 0
LEVELS = [0.5, 0.05, 0.005]
sizes = {"hidden_layer_sizes": (32, 32), "max_iter": 200, "random_state": SEED}  # short fits, for a short example
transport = OTPTransport(noise_shape="covariance", eps_max=0.5, **sizes)


# %%
# The score is minus a Sinkhorn divergence between the images of held-out source rows and held-out target rows. It
# compares two laws, and does not see which row went where. Hence this rule: among the levels whose score is within one
# standard deviation over the folds of the best score, take the least noise.
import warnings

import numpy as np
import sklearn

from neuralot.datasets import make_convex_potential, make_one_to_many


def least_noise(results):
    scores, deviations = results["mean_test_score"], results["std_test_score"]
    good = scores >= scores.max() - deviations[scores.argmax()]
    return min(np.flatnonzero(good), key=lambda index: LEVELS[index])


pairs = {"One-to-Many": make_one_to_many(), "convex potential": make_convex_potential()}
samples = {name: pair.sample(1500, random_state=SEED) for name, pair in pairs.items()}
folds = KFold(3, shuffle=True, random_state=SEED)
searches = {}
for name, (X, Y) in samples.items():
    search = GridSearchCV(transport, {"eps_min": LEVELS}, cv=folds, refit=least_noise)
    with sklearn.config_context(enable_metadata_routing=True), warnings.catch_warnings(action="ignore"):
        # short fits warn that they are
        searches[name] = search.fit(np.vstack([X, Y]), sample_domain=np.repeat([1, -1], [len(X), len(Y)]))

# %%
# The exam, which the search does not see: the squared W2 distance between 500 pairs, each of a new source row and a
# draw for it, and as many pairs of the exact plan with the same rows.
from neuralot.metrics import exact_cost

found = {}
print(f"{'pair':<17} {'eps_min':>7} {'score':>8} {'+-':>7} {'error of plan':>14}")
for name, pair in pairs.items():
    results, rng = searches[name].cv_results_, np.random.default_rng(SEED + 1)
    X_exam = pair.source(500, rng)
    exact = np.hstack([X_exam, pair.exact_plan(X_exam, rng)])
    with warnings.catch_warnings(action="ignore"):
        fits = [sklearn.clone(transport).set_params(eps_min=level).fit(*samples[name]) for level in LEVELS]
    errors = [exact_cost(np.hstack([X_exam, fit.sample(X_exam, random_state=SEED)[0]]), exact) for fit in fits]
    found[name] = results["mean_test_score"], results["std_test_score"], np.array(errors), searches[name].best_index_
    for level, score, deviation, error in zip(LEVELS, *found[name][:3], strict=True):
        chosen = "chosen" if level == searches[name].best_params_["eps_min"] else ""
        print(f"{name:<17} {level:7} {score:8.4f} {deviation:7.4f} {error:14.4f}  {chosen}")

# %%
# Left, a thin source: with too little noise these short fits miss the target; the score sees it. Right, a
# source with a density: noise only blurs the plan, whose error grows with it, while all scores are alike. There it is
# the rule that chooses well, and not the score. A choice holds for the length of the fit.
import os
from pathlib import Path

import matplotlib.pyplot as plt

from neuralot.plots import IMAGE, SOURCE

figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
for ax, (name, (scores, deviations, errors, best)) in zip(axes, found.items(), strict=True):
    ax.errorbar(LEVELS, -scores, deviations, marker="o", capsize=3, color=SOURCE, label="minus the score")
    ax.plot(LEVELS, errors, marker="s", color=IMAGE, label="error of the plan")
    ax.axvline(LEVELS[best], color="grey", linewidth=1, linestyle=":", label="chosen")
    ax.set(title=name, xscale="log", xlabel="eps_min", ylim=(0, None))
axes[0].legend()
if folder := os.environ.get("NEURALOT_FIGURES"):
    figure.savefig(Path(folder) / "model_selection.png", dpi=80)
plt.show()
