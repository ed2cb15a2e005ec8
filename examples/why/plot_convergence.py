"""
Convergence along the run
=========================

Every fit records two quantities that need no ground truth: the discrepancy between images and target, and the dual gap
of the potential. Here they stand beside the error against the exact plan, which is known for these two pairs.
"""

# %%
# SNOT between two smooth laws, and OTP on One-to-Many, where each row splits its mass. A callback keeps a copy of the
# problem at every record.
import copy

from neuralot import OTPTransport, SNOTTransport
from neuralot.datasets import make_convex_potential, make_one_to_many

pairs = {"SNOT": make_convex_potential(), "OTP": make_one_to_many()}
copies = {"SNOT": [], "OTP": []}
transports = {}
for name, cls in (("SNOT", SNOTTransport), ("OTP", OTPTransport)):
    keep = lambda step, problem, record, name=name: copies[name].append(copy.deepcopy(problem))  # noqa: E731
    transports[name] = cls(max_iter=600, callbacks=[keep], random_state=0)
    transports[name].fit(*pairs[name].sample(2000, random_state=0))

# %%
# The errors of all copies, in per cent of the target's variance: the mean squared distance to the exact map (L2-UVP),
# and for the plan the distance of conditional means and covariances, over 100 rows with 100 draws each.
import numpy as np
import torch

from neuralot.metrics import conditional_bures_uvp, l2_uvp


def sample(transport, problem, X, n_draws):
    x = torch.from_numpy(transport.units_.from_source(X)).float()
    generator = torch.Generator().manual_seed(0)
    draws = [problem.draw(x, generator).detach().double().numpy() for _ in range(n_draws)]
    return np.stack([transport.units_.to_target(each) for each in draws])  # (n_draws, n, d)


X = {name: pair.sample(1000, random_state=1)[0] for name, pair in pairs.items()}
X["OTP"] = X["OTP"][:100]
moments = X["OTP"], np.tile(np.diag([0.0, 1.0]), (100, 1, 1))  # of the exact plan given each row
errors = {"SNOT": [], "OTP": []}
for problem in copies["SNOT"]:
    images = sample(transports["SNOT"], problem, X["SNOT"], 1)[0]
    errors["SNOT"].append(l2_uvp(images, pairs["SNOT"].exact_map(X["SNOT"]), pairs["SNOT"].target_variance))
for problem in copies["OTP"]:
    draws = sample(transports["OTP"], problem, X["OTP"], 100)
    errors["OTP"].append(conditional_bures_uvp(draws, *moments, pairs["OTP"].target_variance))
chance = np.stack([pairs["OTP"].exact_plan(X["OTP"], np.random.default_rng(k)) for k in range(100)])
floor = conditional_bures_uvp(chance, *moments, pairs["OTP"].target_variance)

# %%
# On the left all three curves fall together. Discrepancy and gap are flat from the middle of the run, and the error
# still falls a little. The discrepancy is an unbiased estimate, so it may end below 0. The gap is never negative, and 0
# only for a potential that is optimal for the 512 rows on which it is computed. On the right, OTP's noise falls until
# 70 % of the run (dashed line), and the error of the plan falls with the discrepancy, to near the error of 100 draws of
# the exact plan (grey line). The gap falls less: the potential is that of the smoothed source.
import matplotlib.pyplot as plt

figure, axes = plt.subplots(3, 2, figsize=(8, 6.5), sharex=True, layout="constrained")
for column, (name, transport) in zip(axes.T, transports.items(), strict=True):
    steps = [record["step"] for record in transport.history_]
    column[0].semilogy(steps, errors[name], ".-", color="black")
    column[0].set_title(f"{name}, {pairs[name].name.replace('_', ' ')}")
    for ax, key in zip(column[1:], ("discrepancy", "gap"), strict=True):
        ax.plot(steps, [record[key] for record in transport.history_], ".-", color="black")
        ax.axhline(0, color="grey", linewidth=0.5)
    column[2].set_xlabel("step")
axes[0, 1].axhline(floor, color="grey", linewidth=0.5)
for ax in axes[:, 1]:
    ax.axvline(0.7 * transports["OTP"].n_iter_, color="grey", linestyle="--", linewidth=0.8)
for ax, label in zip(axes[:, 0], ("error of the plan, %", "discrepancy", "dual gap"), strict=True):
    ax.set_ylabel(label)
plt.show()

# %%
# First and last values of the three curves.
for name, transport in transports.items():
    first, last = transport.history_[0], transport.history_[-1]
    print(f"{name}: error {errors[name][0]:.1f} to {errors[name][-1]:.2f} %", end=", ")
    print(", ".join(f"{key} {first[key]:.3f} to {last[key]:.4f}" for key in ("discrepancy", "gap")))
    assert errors[name][-1] < errors[name][0] / 10
    assert abs(last["discrepancy"]) < first["discrepancy"] / 10
    assert 0 <= last["gap"] < first["gap"]
assert errors["SNOT"][-1] < 1.5
assert transports["SNOT"].history_[-1]["gap"] < transports["SNOT"].history_[0]["gap"] / 5
assert errors["OTP"][-1] < 3
