"""
A transport inside skada
========================

skada has pipelines with domain labels, and methods of its own. ``TransportAdapter`` is a step of such a pipeline.
See it beside skada's exact, linear and CORAL adapters on the same data.
"""

# %%
# ``sample_domain`` is positive for source rows; target rows have the label -1.
from skada import CORALAdapter, LinearOTMappingAdapter, OTMappingAdapter, make_da_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from neuralot import OTPTransport, TransportAdapter

otp = OTPTransport(hidden_layer_sizes=(32, 32), max_iter=200, random_state=0)
pipe = make_da_pipeline(StandardScaler(), TransportAdapter(otp), SVC())

# %%
# Six clusters in six dimensions; every column of the target is bent by an increasing function, which is an optimal map
# and not affine. Three seeds, 400 rows of each domain, and 400 target rows for the exam.
import numpy as np
from sklearn.datasets import make_classification

adapters = {
    "source only": None,
    "skada CORAL": CORALAdapter(),
    "skada linear OT": LinearOTMappingAdapter(),
    "skada exact OT": OTMappingAdapter(),
    "neuralot OTP": TransportAdapter(otp),
}
accuracy = {name: [] for name in adapters}
for seed in range(3):
    rows, labels = make_classification(
        1200, 6, n_informative=6, n_redundant=0, n_classes=3, class_sep=2.0, random_state=seed
    )
    rows[400:] += 2 * np.tanh(rows[400:]) + 1
    X, y, domain = rows[:800], np.where(np.arange(800) < 400, labels[:800], -1), np.repeat([1, -1], 400)
    for name, adapter in adapters.items():
        steps = [StandardScaler(), adapter, SVC()] if adapter else [StandardScaler(), SVC()]
        model = make_da_pipeline(*steps).fit(X, y.copy(), sample_domain=domain)
        accuracy[name].append(model.score(rows[800:], labels[800:]))

# %%
# The accuracy on target rows that no fit has seen. All adapters help. OTP, CORAL and the linear transport do equally
# well: although the true map is bent, an affine map is good enough for this classifier. The exact plan, which has to
# match single rows, helps least.
print(f"{'':<18}" + "".join(f"  seed {seed}" for seed in range(3)) + "   mean")
for name, scores in accuracy.items():
    print(f"{name:<18}" + "".join(f"{score:8.3f}" for score in scores) + f"{np.mean(scores):8.3f}")
mean = {name: np.mean(scores) for name, scores in accuracy.items()}
assert min(mean, key=mean.get) == "source only"
assert mean["neuralot OTP"] > mean["source only"] + 0.02
assert max(abs(mean["neuralot OTP"] - mean[name]) for name in ("skada CORAL", "skada linear OT")) < 0.015
assert mean["neuralot OTP"] > mean["skada exact OT"]

# %%
# The three seeds of each adapter.
import matplotlib.pyplot as plt

from neuralot.plots import IMAGE, SOURCE, TARGET

figure, ax = plt.subplots(figsize=(7, 3.4), layout="constrained")
for place, (name, scores) in enumerate(accuracy.items()):
    colour = {"source only": SOURCE, "neuralot OTP": IMAGE}.get(name, TARGET)
    ax.scatter(scores, [place] * 3, s=50, color=colour, edgecolor="black", linewidth=0.5, zorder=3)
ax.set_yticks(range(len(accuracy)), accuracy)
ax.invert_yaxis()
ax.set_xlabel("accuracy on held-out target rows")
ax.grid(axis="x", alpha=0.3)
plt.show()
