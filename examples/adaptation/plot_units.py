"""
Columns in different units
==========================

Wines are measured by two laboratories, whose instruments have a gain, an offset and noise of their own.
Proline varies by hundreds and hue by a tenth, so both samples must be scaled before the transport.
See the accuracy with and without that step.
"""

# %%
# The scaler is fitted on the source and applied to both samples.
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from neuralot import DomainAdapter, SNOTTransport

adapter = DomainAdapter(SNOTTransport(max_iter=250, random_state=0), SVC())
pipe = make_pipeline(StandardScaler(), adapter, transform_input=["X_target"])

# %%
# Wines of three growers: a third with labels, a third from the second laboratory, and a third from there for the exam.
import warnings

import numpy as np
import sklearn
from ot.da import LinearTransport
from sklearn.datasets import load_wine

wines, growers = load_wine(return_X_y=True)
rng = np.random.default_rng(0)
spread = wines.std(axis=0)
gain, offset = np.exp(0.4 * rng.normal(size=13)), spread * rng.normal(size=13)
source, target, exam = np.array_split(rng.permutation(len(wines)), 3)
X, y, y_exam = wines[source], growers[source], growers[exam]
noise = [0.1 * spread * rng.normal(size=(len(rows), 13)) for rows in (target, exam)]
X_target, X_exam = (gain * wines[rows] + offset + each for rows, each in zip((target, exam), noise, strict=True))
with sklearn.config_context(enable_metadata_routing=True):
    pipe.fit(X, y, X_target=X_target)

# %%
# The true map is affine up to noise, which suits POT's linear map; SNOT, which does not know this, does equally well.
# Without the scaler proline is all that transport and classifier see, and the fit warns of it.
scaled, scaled_target, scaled_exam = map(pipe["standardscaler"].transform, (X, X_target, X_exam))
moved = LinearTransport(reg=1e-3).fit(Xs=scaled, Xt=scaled_target).transform(Xs=scaled)
accuracy = {"source only": SVC().fit(scaled, y).score(scaled_exam, y_exam)}
accuracy["POT linear"] = SVC().fit(moved, y).score(scaled_exam, y_exam)
accuracy["neuralot SNOT"] = pipe.score(X_exam, y_exam)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    unscaled = sklearn.clone(adapter).fit(X, y, X_target=X_target)
assert any("Scale" in str(warning.message) or "scale" in str(warning.message) for warning in caught)
accuracy["SNOT without the scaler"] = unscaled.score(X_exam, y_exam)
print("".join(f"{name:<26} {value:.3f}\n" for name, value in accuracy.items()), end="")
assert accuracy["neuralot SNOT"] > accuracy["source only"] + 0.3
assert abs(accuracy["neuralot SNOT"] - accuracy["POT linear"]) < 0.05
assert accuracy["neuralot SNOT"] > accuracy["SNOT without the scaler"] + 0.1

# %%
# Two of the 13 columns: source wines in the colours of their growers, before and after the transport, on the target in
# grey.
import matplotlib.pyplot as plt

from neuralot.plots import TARGET

images = pipe["standardscaler"].inverse_transform(pipe["domainadapter"].transport_.transform(scaled))
figure, axes = plt.subplots(1, 2, figsize=(9, 4), sharex=True, sharey=True, layout="constrained")
for ax, title, rows in zip(axes, ("before", "after"), (X, images), strict=True):
    ax.scatter(X_target[:, 12], X_target[:, 10], s=30, color=TARGET, linewidths=0, label="second laboratory")
    ax.scatter(rows[:, 12], rows[:, 10], s=14, c=y, cmap="tab10", linewidths=0)
    ax.set(title=title, xlabel="proline", ylabel="hue")
axes[0].legend()
plt.show()
