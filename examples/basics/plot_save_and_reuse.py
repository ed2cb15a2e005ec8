"""
Save and reuse
==============

A fitted transport is a file: another process loads it and maps new rows, without the data of the fit. When the target
drifts, the fit goes on from its weights instead of starting again.
"""

# %%
# Fit, save and load. The loaded transport gives the same images, bit by bit.
import tempfile

import numpy as np

import neuralot
from neuralot.datasets import make_moons

pair = make_moons()
X_source, X_target = pair.sample(2000, random_state=0)
X_new, Y_new = pair.sample(1000, random_state=1)
fitted = neuralot.SNOTTransport(max_iter=800, random_state=0).fit(X_source, X_target)
with tempfile.TemporaryDirectory() as folder:
    fitted.save(f"{folder}/moons.safetensors")
    loaded = neuralot.load(f"{folder}/moons.safetensors")
assert (loaded.transform(X_new) == fitted.transform(X_new)).all()

# %%
# Later the target has drifted: it is turned by 20 degrees. With ``warm_start`` the fit goes on from the loaded weights,
# here for 100 steps. ``partial_fit`` does the same with rows that arrive in parts, and makes one pass over each part,
# of 8 steps here. A new fit of 100 steps is the comparison.
import copy
import warnings

from sklearn.exceptions import ConvergenceWarning

angle, centre = np.deg2rad(20), np.array([0.5, 0.25])
turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
Y_drifted, Y_exam = ((rows - centre) @ turn + centre for rows in (X_target, Y_new))

transports = {"loaded": loaded}
transports["warm start"] = copy.deepcopy(loaded).set_params(warm_start=True, max_iter=100).fit(X_source, Y_drifted)
stream = copy.deepcopy(loaded)
for _ in range(12):
    stream.partial_fit(X_source, X_target=Y_drifted)
transports["stream"] = stream
with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):  # its budget is too short
    transports["new fit"] = neuralot.SNOTTransport(max_iter=100, random_state=0).fit(X_source, Y_drifted)

# %%
# The loaded transport still maps to the old target, and the short new fit has not arrived at the new one. The two that
# continue are closer after at most 100 steps: their squared W2 distance to new target rows, in the titles, is less than
# 0.7 times that of the other two.
import matplotlib.pyplot as plt

from neuralot.metrics import d_target
from neuralot.plots import IMAGE, TARGET

distances = {name: d_target(transport.transform(X_new), Y_exam) for name, transport in transports.items()}
figure, axes = plt.subplots(1, 4, figsize=(11, 2.7), sharex=True, sharey=True, layout="constrained")
for ax, (name, transport) in zip(axes, transports.items(), strict=True):
    ax.scatter(*Y_drifted.T, s=14, color=TARGET, linewidths=0, label="drifted target")
    ax.scatter(*transport.transform(X_new[:500]).T, s=4, color=IMAGE, linewidths=0, label="images")
    ax.set(title=f"{name}: {distances[name]:.3f}", aspect="equal", xlim=(-1.8, 2.8), ylim=(-1.4, 1.9))
figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, markerscale=2)
plt.show()

assert stream.n_iter_ - fitted.n_iter_ <= 100
assert max(distances["warm start"], distances["stream"]) < 0.7 * min(distances["loaded"], distances["new fit"])
