"""
Stacked samples and cross-validation
====================================

Cross-validation splits only arguments with as many rows as ``X``, so source and target are stacked in ``X``.
``sample_domain`` says whose each row is: above 0 the source's, below 0 the target's.
See that every fold then trains on both, and that the score counts target rows only.
"""

# %%
# Two moons; those of the target are rotated.
import numpy as np
from sklearn.datasets import make_moons

SEED = 0
angle = np.pi / 6
rotation = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
X_source, y_source = make_moons(400, noise=0.1, random_state=SEED)
X_target, y_target = make_moons(400, noise=0.1, random_state=SEED + 100)
X, y = np.vstack([X_source, X_target @ rotation]), np.concatenate([y_source, y_target])
domain = np.repeat([1, -1], 400)

# %%
# ``fit`` ignores the labels of target rows; ``score`` needs them, so this estimates the accuracy only where some target
# labels exist. Metadata routing brings ``sample_domain`` to both.
import sklearn
from sklearn.model_selection import KFold, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from neuralot import DomainAdapter, SNOTTransport

adapter = DomainAdapter(SNOTTransport(hidden_layer_sizes=(32, 32), max_iter=200, random_state=SEED), SVC())
pipe, folds = make_pipeline(StandardScaler(), adapter), KFold(4, shuffle=True, random_state=SEED)
with sklearn.config_context(enable_metadata_routing=True):
    found = cross_validate(
        pipe, X, y, cv=folds, params={"sample_domain": domain}, return_indices=True, return_estimator=True
    )

# %%
# The same folds by hand. ``scoring="accuracy"`` takes no domains and reports the accuracy of all
# rows together, as if the source rows were the target's: this is not the task, though the figure is close here. Without
# the transport the classifier does much worse.
by_hand, everything, source_only = [], [], []
for model, train, rows in zip(found["estimator"], found["indices"]["train"], found["indices"]["test"], strict=True):
    held_out = rows[domain[rows] < 0]
    by_hand.append(np.mean(model.predict(X[held_out]) == y[held_out]))
    everything.append(np.mean(model.predict(X[rows]) == y[rows]))
    labelled = train[domain[train] > 0]
    unadapted = make_pipeline(StandardScaler(), SVC()).fit(X[labelled], y[labelled])
    source_only.append(unadapted.score(X[held_out], y[held_out]))
assert np.array_equal(found["test_score"], by_hand)
rows = {"source only": source_only, "adapter's own score": found["test_score"], "accuracy of all rows": everything}
print("".join(f"{name:<22} {np.mean(scores):.3f} +- {np.std(scores):.3f}\n" for name, scores in rows.items()), end="")
assert np.mean(found["test_score"]) > np.mean(source_only) + 0.08

# %%
# Left, the stacked rows and the images of the source under the transport of the first fold. Right, the accuracies
# of the four folds.
import matplotlib.pyplot as plt

from neuralot.plots import IMAGE, SOURCE, TARGET, plot_transport

fold = found["estimator"][0]
scaled = fold["standardscaler"].transform(X)
images = fold["domainadapter"].transport_.transform(scaled[domain > 0])
figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
plot_transport(scaled[domain > 0], images, scaled[domain < 0], ax=axes[0])
axes[0].legend()
for place, (colour, scores) in enumerate(zip((SOURCE, IMAGE, TARGET), rows.values(), strict=True)):
    axes[1].scatter(np.full(4, place), scores, s=40, color=colour, edgecolor="black", linewidth=0.5, zorder=3)
axes[1].set_xticks(range(3), rows)
axes[1].set(ylabel="accuracy of a fold", xlim=(-0.5, 2.5))
axes[1].grid(axis="y", alpha=0.3)
plt.show()
