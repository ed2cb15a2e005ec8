"""
Callbacks and loss curves
=========================

Every fit records about fifty times how far it is. Callbacks see these records and the current networks, and may end the
fit.
"""

# %%
# ``history_`` has the discrepancy, the energy distance between images and target, and the gap between the exact cost
# of some rows and the dual value of the potential. Both are small at the end of a good fit; the losses are those of a
# game and need not decrease.
from neuralot import OTPTransport
from neuralot.datasets import make_eight_gaussians

X, Y = make_eight_gaussians().sample(2000, random_state=0)
est = OTPTransport(max_iter=1200, random_state=0).fit(X, Y)
first, last = est.history_[0], est.history_[-1]
print(est.status_.message, {name: round(value, 3) for name, value in last.items()})

# %%
# A callback is a function ``(step, problem, record) -> bool``. This one ends the fit as soon as the discrepancy of five
# records is below a tolerance. ``early_stopping`` compares held-out rows instead, and restores the best weights.
recent = []


def close_enough(step, problem, record):
    recent.append(record["discrepancy"])
    return len(recent) >= 5 and max(recent[-5:]) < 0.01


stopped = OTPTransport(max_iter=1200, callbacks=[close_enough], random_state=0).fit(X, Y)
early = OTPTransport(max_iter=1200, early_stopping=True, n_iter_no_change=100, tol=1e-3, random_state=0).fit(X, Y)
for name, fit in {"callback": stopped, "early_stopping": early}.items():
    print(f"{name:<15} {fit.n_iter_} steps: {fit.status_.message}")

# %%
# On the left, discrepancy and gap along the first fit, with the steps at which the other two fits ended. On the right,
# draws of the fit that the callback ended.
import matplotlib.pyplot as plt
import numpy as np

from neuralot.plots import plot_transport

curves = {name: np.array([record[name] for record in est.history_]) for name in ("discrepancy", "gap")}
steps = [record["step"] for record in est.history_]
figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
for (name, values), colour in zip(curves.items(), ("#1b9e77", "#7570b3"), strict=True):
    axes[0].plot(steps, values, color=colour, label=name)
for fit, style in ((stopped, ":"), (early, "--")):
    axes[0].axvline(fit.n_iter_, color="black", linewidth=0.8, linestyle=style)
axes[0].annotate("callback", (stopped.n_iter_ + 8, 0.9 * curves["gap"].max()))
axes[0].annotate("early stopping", (early.n_iter_ - 8, 0.9 * curves["gap"].max()), ha="right")
axes[0].set(xlabel="step", ylabel="standardised units")
axes[0].legend(loc="center right")
plot_transport(X[:1000], stopped.sample(X[:1000], random_state=0)[0], Y, ax=axes[1])
plt.show()

# %%
# Both curves fall to nearly zero. The callback is free to use any tolerance, while early stopping of OTP waits until
# the noise has reached its last level, at 70 % of the steps.
assert abs(last["discrepancy"]) < 0.1 * first["discrepancy"]
assert last["gap"] < 0.2 * first["gap"]
assert stopped.n_iter_ < 0.8 * early.n_iter_
assert max(recent[-5:]) < 0.01
assert 0.7 * 1200 < early.n_iter_ < 1200
assert stopped.status_.name == early.status_.name == "STOPPED"
