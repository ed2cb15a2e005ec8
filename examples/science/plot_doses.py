"""
One fit for many doses
======================

Cells are measured under nine doses, with few cells per dose. One transport with the dose as its condition learns all
maps together, and predicts the response to doses between them. The response is simulated, so the exact one is known.
"""

# %%
# Under dose s, the covariance of the cells turns by s quarter turns, and their mean moves by s. The exact map is affine
# and known.
import numpy as np
from ot.gaussian import bures_wasserstein_mapping

rng = np.random.default_rng(0)


def respond(x, s):
    turn = np.array([[np.cos(s * np.pi / 2), -np.sin(s * np.pi / 2)], [np.sin(s * np.pi / 2), np.cos(s * np.pi / 2)]])
    covariance = turn @ np.diag([1, 0.1]) @ turn.T
    return x @ bures_wasserstein_mapping(np.zeros(2), np.zeros(2), np.diag([1, 0.25]), covariance)[0] + [s, 0]


# %%
# Control and treated cells are different cells: 60 of each per dose. A control cell has the dose of its group. The last
# column is the dose.
from neuralot import SNOTTransport

doses = np.linspace(0, 1, 9)
control, others = rng.normal(size=(2, 540, 2)) * [1, 0.5]
dose = np.repeat(doses, 60)
treated = np.vstack([respond(part, s) for part, s in zip(np.split(others, 9), doses, strict=True)])
one = SNOTTransport(condition=2, random_state=0).fit(np.c_[control, dose], np.c_[treated, dose])

# %%
# Beside it: one fit per dose with a ninth of the steps each, and a fit that ignores the dose. The error is that of new
# cells, relative to the variance of the treated cells (L2-UVP, 0 is best).
from neuralot.metrics import l2_uvp

new = rng.normal(size=(2000, 2)) * [1, 0.5]
each = {s: SNOTTransport(max_iter=133, random_state=0).fit(control[dose == s], treated[dose == s]) for s in doses}
plain = SNOTTransport(random_state=0).fit(control, treated)


def error(image, at):
    return float(np.mean([l2_uvp(image(new, s), respond(new, s)) for s in at]))


def conditional(x, s):
    return one.transform(np.c_[x, np.full(len(x), s)])[:, :2]


errors = {
    "one fit, doses of the fit": error(conditional, doses),
    "one fit, doses between them": error(conditional, doses[:-1] + 1 / 16),
    "one fit per dose": error(lambda x, s: each[s].transform(x), doses),
    "without the dose": error(lambda x, s: plain.transform(x), doses),
}
for name, value in errors.items():
    print(f"{name:<28} {value:5.1f} %")

# %%
# The images of new cells (orange) and the exact ones (grey), under two doses that the fit has not seen and one that it
# has.
import matplotlib.pyplot as plt

from neuralot.plots import plot_transport

figure, axes = plt.subplots(1, 3, figsize=(12, 4), layout="constrained", sharex=True, sharey=True)
for ax, s in zip(axes, (3 / 16, 0.5, 13 / 16), strict=True):
    plot_transport(new[:300], conditional(new[:300], s), respond(new[:300], s), ax=ax)
    ax.set_title(f"dose {s:.4g}" + ("" if s in doses else ", not in the fit"))
axes[0].legend(loc="lower right")
plt.show()

# %%
# Doses that the fit has not seen are as accurate as the others. The doses share their cells, so one fit is more
# accurate than a fit per dose. The fit without the dose maps to the mixture of all responses.
assert errors["one fit, doses between them"] < 1.5 * errors["one fit, doses of the fit"]
assert errors["one fit, doses of the fit"] < 0.7 * errors["one fit per dose"] < errors["without the dose"]
