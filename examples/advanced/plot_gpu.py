"""
On a GPU
========

The same script runs on a CPU and on a GPU: ``device='auto'`` takes a CUDA device if there is one. The text says what
stays on the device.
"""

# %%
# Arrays go in and come out; the networks of the fit are on the device.
import torch

from neuralot import OTPTransport
from neuralot.datasets import make_moons

X, Y = make_moons().sample(2000, random_state=0)
est = OTPTransport(device="auto", max_iter=500, random_state=0).fit(X, Y)
images = est.transform(X)
device = next(est.problem_.parameters()).device
print(f"fitted on {device}, {est.n_iter_} steps: {est.status_.message}")

# %%
# A torch tensor comes back as a tensor on its own device; arrays and data frames come back as arrays.
rows = torch.as_tensor(X, device=device)
assert est.transform(rows).device == rows.device
assert isinstance(images, type(X))
assert device.type == ("cuda" if torch.cuda.is_available() else "cpu")

# %%
# Source rows (blue) and draws of the plan (orange) on the target (grey).
import matplotlib.pyplot as plt

from neuralot.plots import plot_transport

draws = est.sample(X, random_state=0)[0]
ax = plot_transport(X, draws, Y)
plt.show()

# %%
# During the fit, the rows, networks and optimisers are on the device. On a GPU, the step is captured as a CUDA graph
# and replayed, because launching the small kernels one by one takes longer than running them. This holds for arrays,
# with networks and costs of this package. Networks and costs of your own, and the parts of a stream, run kernel by
# kernel. A fitted estimator is pickled and saved as arrays, so a machine without a GPU can read it. The measured times
# are in ``benchmarks/results/gpu.md`` of the repository.
import pickle

from neuralot.metrics import d_target, target_floor

loaded = pickle.loads(pickle.dumps(est))
assert loaded.transform(X).shape == X.shape
distance, floor = d_target(draws[:1000], Y[:1000]), target_floor(make_moons().target, n=1000, random_state=1).mean
print(f"squared W2 distance of draws to target {distance:.3f}, of two samples of the target {floor:.3f}")
assert distance < 3 * floor
