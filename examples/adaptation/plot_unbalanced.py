"""
Masses that change
==================

Two classes, each a half of the source. In the target, the first has 90 % of the rows. A balanced plan must move two
fifths of all rows to the other class. With ``unbalanced``, rows gain or lose mass instead.
"""

# %%
# The classes are long and parallel. The target is shifted along the second column.
import numpy as np

rng = np.random.default_rng(0)
long = np.linalg.cholesky([[1, 0.95], [0.95, 1]])


def draw(share, shift):
    labels = (rng.random(1000) > share).astype(int)
    return rng.normal(size=(1000, 2)) @ long.T + np.outer(labels, [6, 0]) + [0, shift], labels


(X_source, y_source), (X_target, y_target), (X_new, y_new) = draw(0.5, 0), draw(0.9, -3.5), draw(0.9, -3.5)

# %%
# The adapter trains a classifier on the images of the source rows. With an unbalanced transport, an image counts with
# the mass of its row. The exact plan of POT is beside, and a classifier that was trained on the source alone.
import warnings

import ot
from sklearn.exceptions import ConvergenceWarning
from sklearn.svm import SVC

from neuralot import DomainAdapter, SNOTTransport

warnings.simplefilter("ignore", ConvergenceWarning)  # the fits are short, and say so
steps = {"max_iter": 700, "random_state": 0}
balanced = DomainAdapter(SNOTTransport(**steps), SVC()).fit(X_source, y_source, X_target=X_target)
adapter = DomainAdapter(SNOTTransport(unbalanced="kl", **steps), SVC()).fit(X_source, y_source, X_target=X_target)
exact = ot.da.EMDTransport().fit(Xs=X_source, Xt=X_target).transform(Xs=X_source)
accuracy = {
    "source alone": SVC().fit(X_source, y_source).score(X_new, y_new),
    "exact plan (POT)": SVC().fit(exact, y_source).score(X_new, y_new),
    "balanced": balanced.score(X_new, y_new),
    "unbalanced": adapter.score(X_new, y_new),
}
for name, value in accuracy.items():
    print(f"{name:<17} accuracy {value:.2f}")

# %%
# ``source_mass`` is the factor of each row's mass. The shift has its price, so that much of the mass is lost, but the
# second class loses more. Two equal penalties share the change of the frequencies between source and target: if no mass
# crosses, the factors have the ratio of the roots of 0.9 / 0.5 and 0.1 / 0.5, which is 3.
transport = adapter.transport_
mass = transport.source_mass(X_source)
of_classes = [mass[y_source == label].mean() for label in (0, 1)]
print(f"masses of the classes: {of_classes[0]:.2f} and {of_classes[1]:.2f}, ratio {of_classes[0] / of_classes[1]:.2f}")

# %%
# Images of the source rows, with the size of their masses, on the target in grey.
import matplotlib.pyplot as plt

from neuralot.plots import IMAGE, SOURCE, TARGET

figure, axes = plt.subplots(1, 2, figsize=(10, 4.4), sharex=True, sharey=True, layout="constrained")
panels = {"balanced": (balanced.transport_, np.ones(1000)), "unbalanced": (transport, mass)}
for ax, (name, (fitted, masses)) in zip(axes, panels.items(), strict=True):
    ax.scatter(*X_target.T, s=12, color=TARGET, linewidths=0, label="target")
    for label, colour in enumerate((SOURCE, IMAGE)):
        chosen = y_source == label
        images = fitted.transform(X_source[chosen])
        ax.scatter(*images.T, s=8 * masses[chosen], color=colour, linewidths=0, label=f"images of class {label}")
    ax.set_title(f"{name}: accuracy {accuracy[name]:.2f}")
axes[0].legend(loc="lower right")
plt.show()

# %%
# An outlier is the extreme case: a row far from the target loses its mass, and the others are mapped as without it.
X_far = X_source.copy()
X_far[0] = [30, 30]
far = SNOTTransport(unbalanced="kl", **steps).fit(X_far, X_target)
print(f"mass of the outlier: {far.source_mass(X_far)[0]:.3f}")

assert accuracy["unbalanced"] > 0.95 > accuracy["balanced"] + 0.1
assert accuracy["exact plan (POT)"] < 0.8
assert 2 < of_classes[0] / of_classes[1] < 4
assert far.source_mass(X_far)[0] < 0.1
