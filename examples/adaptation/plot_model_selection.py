"""
Model selection: a grid search without the truth, and what it cannot see
========================================================================

With how much noise should OTP end, ``eps_min``? A grid search can ask the transport itself: its ``score`` compares the
images of held-out source rows with held-out target rows, and needs neither labels nor the true plan. On two pairs
whose exact plan is known, an exam that the search does not see tells how good the choice is.
"""

# %%
# The two samples are stacked, and ``sample_domain`` says which rows are whose, so that every fold holds out rows of
# both. The score is minus a Sinkhorn divergence: it sees whether the images together follow the target's law, and not
# which row went where. Noise that leaves the law of the images alone does no harm to the score, but it does to the
# plan. The search therefore takes the least noise whose score is within one standard deviation, over the folds, of the
# best score.
import os
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import sklearn
from scipy.ndimage import gaussian_filter, shift
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, KFold, StratifiedKFold
from sklearn.pipeline import Pipeline
from sklearn.svm import SVC

from neuralot import DomainAdapter, OTPTransport, SNOTTransport
from neuralot.datasets import make_convex_potential, make_one_to_many
from neuralot.metrics import exact_cost

SEED = 0
LEVELS = [0.25, 0.05, 0.01]


def least_noise(results):
    scores, deviations = results["mean_test_score"], results["std_test_score"]
    good = scores >= scores.max() - deviations[scores.argmax()]
    return min(np.flatnonzero(good), key=lambda index: results["params"][index]["eps_min"])


# small networks and a fifth of the usual steps keep this example short, and fits say that they are
warnings.filterwarnings("ignore", category=ConvergenceWarning)


def search_levels(X, Y):
    transport = OTPTransport(hidden_layer_sizes=(32, 32), max_iter=240, random_state=SEED)
    folds = KFold(3, shuffle=True, random_state=SEED)
    search = GridSearchCV(transport, {"eps_min": LEVELS}, cv=folds, refit=least_noise)
    with sklearn.config_context(enable_metadata_routing=True):
        return search.fit(np.vstack([X, Y]), sample_domain=np.repeat([1, -1], [len(X), len(Y)]))


# %%
# For the exam, every level is fitted on all rows. The error of the plan is the squared W2 distance between 1000 pairs,
# each of a new source row and a draw for it, and as many pairs of the exact plan with the same rows.
pairs = {"One-to-Many": make_one_to_many(), "convex potential": make_convex_potential()}
LINE = "{:<17} {:>7} {:>8} {:>7} {:>14}  {}"
print(LINE.format("pair", "eps_min", "score", "+-", "error of plan", ""))
found = {}
for name, pair in pairs.items():
    X, Y = pair.sample(1500, random_state=SEED)
    search = search_levels(X, Y)
    scores, deviations = (search.cv_results_[key] for key in ("mean_test_score", "std_test_score"))
    rng = np.random.default_rng(SEED + 1)
    X_exam = pair.source(1000, rng)
    exact = np.hstack([X_exam, pair.exact_plan(X_exam, rng)])
    errors = []
    for level, score, deviation in zip(LEVELS, scores, deviations, strict=True):
        chosen = level == search.best_params_["eps_min"]
        model = (
            search.best_estimator_ if chosen else sklearn.clone(search.estimator).set_params(eps_min=level).fit(X, Y)
        )
        errors.append(exact_cost(np.hstack([X_exam, model.sample(X_exam, random_state=SEED)[0]]), exact))
        numbers = f"{score:.4f}", f"{deviation:.4f}", f"{errors[-1]:.4f}"
        print(LINE.format(name, level, *numbers, "chosen" if chosen else ""))
    found[name] = scores, deviations, errors, search.best_index_

# %%
# On One-to-Many, a thin source, fits as short as these do not reach the target with little noise. The score sees this,
# and agrees with the exam. The source of the convex potential has a density, and noise only blurs the plan there: the
# error of the plan grows with it, and the scores of all levels differ less than those of the folds. Here it is the rule
# that chooses, and not the score. A choice holds for the length of the fit: longer fits come to terms with less noise.
figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
for ax, (name, (scores, deviations, errors, best)) in zip(axes, found.items(), strict=True):
    ax.errorbar(LEVELS, -scores, deviations, marker="o", capsize=3, color="#3b6ea8", label="minus the score")
    ax.plot(LEVELS, errors, marker="o", color="#d1495b", label="error of the plan")
    ax.axvline(LEVELS[best], color="black", linewidth=0.8, linestyle=":", label="chosen")
    ax.set(title=name, xscale="log", xlabel="eps_min", ylim=(0, None))
axes[0].legend()
if folder := os.environ.get("NEURALOT_FIGURES"):
    figure.savefig(Path(folder) / "model_selection.png", dpi=80)
plt.show()


# %%
# The transport in a pipeline can be chosen alike, with a scorer that asks it for its own score. The task is that of
# :ref:`sphx_glr_auto_examples_adaptation_plot_pipeline.py`: digits with labels, and blurred ones without, which have -1
# instead. This tells the scorer which rows are the target's, and lets stratified folds hold out rows of both.
def worse(rows):
    images = [0.6 * shift(gaussian_filter(row.reshape(8, 8), 0.6), (0.8, 0), order=1) for row in rows]
    return np.reshape(images, (-1, 64))


def transport_score(pipe, X, y):
    return pipe["adapt"].transport_.score(pipe["reduce"].transform(X), sample_domain=np.where(y < 0, -1, 1))


digits, labels = load_digits(return_X_y=True)
source, target, exam = np.array_split(np.random.default_rng(SEED).permutation(len(digits)), 3)
X = np.vstack([digits[source], worse(digits[target])])
y = np.concatenate([labels[source], np.full(len(target), -1)])
domain = np.where(y < 0, -1, 1)
X_exam, y_exam = worse(digits[exam]), labels[exam]

# %%
# The accuracies are those on digits that no fit has seen. SNOT has not arrived after 100 steps, and the score rules it
# out without a label. Among OTP's levels scores and accuracies differ little, and their order need not be the same. The
# score cannot compare the two values of ``adapt__direction``, whose images lie in different domains.
sizes = {"hidden_layer_sizes": (64, 64), "max_iter": 100, "random_state": SEED}
pipe = Pipeline([("reduce", PCA(16, random_state=SEED)), ("adapt", DomainAdapter(OTPTransport(**sizes), SVC()))])
grid = [{"adapt__transport__eps_min": LEVELS}, {"adapt__transport": [SNOTTransport(**sizes)]}]
folds = StratifiedKFold(2, shuffle=True, random_state=SEED)
LINE = "{:<14} {:>7} {:>8} {:>9}  {}"
print(LINE.format("transport", "eps_min", "score", "accuracy", ""))
with sklearn.config_context(enable_metadata_routing=True):
    search = GridSearchCV(pipe, grid, scoring=transport_score, cv=folds).fit(X, y, sample_domain=domain)
    for setting, score in zip(search.cv_results_["params"], search.cv_results_["mean_test_score"], strict=True):
        model = sklearn.clone(pipe).set_params(**setting).fit(X, y, sample_domain=domain)
        name, level = type(model["adapt"].transport).__name__, setting.get("adapt__transport__eps_min", "")
        chosen = "chosen" if setting == search.best_params_ else ""
        print(LINE.format(name, level, f"{score:.1f}", f"{model.score(X_exam, y_exam):.3f}", chosen))
