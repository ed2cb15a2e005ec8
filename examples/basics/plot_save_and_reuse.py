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
# here for 100 steps. ``partial_fit`` does the same with rows that arrive in parts: it makes one pass over each. A new
# fit of 100 steps is the comparison; it warns that its budget was too short.
import copy
import warnings

from sklearn.exceptions import ConvergenceWarning

angle, centre = np.deg2rad(20), np.array([0.5, 0.25])
turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
Y_drifted, Y_exam = ((rows - centre) @ turn + centre for rows in (X_target, Y_new))

transports = {"loaded": loaded}
transports["warm start"] = copy.deepcopy(loaded).set_params(warm_start=True, max_iter=100).fit(X_source, Y_drifted)
stream = copy.deepcopy(loaded)
for _ in range(20):
    stream.partial_fit(X_source, X_target=Y_drifted)
transports["stream"] = stream
with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):
    transports["new fit"] = neuralot.SNOTTransport(max_iter=100, random_state=0).fit(X_source, Y_drifted)
for name, t in transports.items():
    from neuralot.metrics import d_target

    print(name, t.n_iter_, t.status_.name, d_target(t.transform(X_new), Y_exam))
