"""
Did it work?
============

A report tests a fit on new rows, without a ground truth. Here are the reports of a right and of a wrong fit to the same
data: a segment in the plane is to become a normal law.
"""

# %%
# OTP is made for a source without a density. The verdict of its report is ``OPTIMAL``.
import numpy as np

from neuralot import OTPTransport, SNOTTransport

rng = np.random.default_rng(0)
X = np.column_stack([rng.uniform(-1, 1, size=2400), np.zeros(2400)])
Y = 0.5 * rng.normal(size=(2400, 2))

right = OTPTransport(max_iter=600, random_state=0).fit(X[:1200], Y[:1200])
report = right.report(X[1200:], Y[1200:])
print(report)

# %%
# What the lines say:
#
# - *verdict*: the conclusion, and below it what decided.
# - *images to target*: the distance between images and new target rows. *Beyond sampling* is the part that two samples
#   of the same law do not explain, with two standard errors. *Spread* and *modes* show where images are missing.
# - *cost* and *optimality*: whether another pairing of the same rows and images is cheaper. 0 % is optimal.
# - *error* and *dual value*: a bound of the error, and the value of the learned potential.
# - *curl*: not shown here, as the source is thin. An optimal map of a source with a density has none.
# - *draws of one row*: their variance, which is large where mass splits.
# - *identity*, *mean shift*, *affine map*: what maps without a fit reach.
# - *note*: what is notable about the data and the fit.
#
# The figure shows the plan, the level sets of the potential, and the fit: the discrepancy between images and target
# falls to 0. The images fill the target, and lines between rows and images are nearly upright, as in the exact plan.
import matplotlib.pyplot as plt

report.plot()
plt.show()
assert report.verdict.name == "OPTIMAL"
assert report.marginal.excess.value < 0.02
assert report.optimality.relative_gap < 0.01

# %%
# SNOT learns a map, but the optimal plan splits the mass of each point. ``fit`` warns before the first step, and here
# also after the last one. The report says how wrong the map is: the images are more than a quarter of the target's
# variance away from the target, and have less than 0.85 of its spread. The verdict is ``NOT_CONVERGED``, because the
# discrepancy still changed at the end; with other seeds it is ``SPURIOUS``. The note says that the source is thin: the
# plan is no map, and more steps do not make it one.
import warnings

with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    wrong = SNOTTransport(max_iter=600, random_state=0).fit(X[:1200], Y[:1200])
wrong_report = wrong.report(X[1200:], Y[1200:])
print(*(f"{warning.category.__name__}: {warning.message}\n" for warning in caught), wrong_report, sep="\n")

# %%
# In the figure the images lie on a line. Along the fit the gap falls to less than a tenth, but the discrepancy ends
# above half of its first value: a good potential is no proof of a good map.
wrong_report.plot()
plt.show()
assert caught[0].category.__name__ == "SpuriousSolutionWarning"
assert wrong_report.verdict.name in ("NOT_CONVERGED", "SPURIOUS")
assert wrong_report.marginal.excess.value > 0.25
assert np.exp(wrong_report.marginal.log_spread.value) < 0.85
assert any("thin set" in finding for finding in wrong_report.findings)
assert wrong.history_[-1]["gap"] < 0.1 * wrong.history_[0]["gap"]
assert wrong.history_[-1]["discrepancy"] > 0.5 * wrong.history_[0]["discrepancy"]
