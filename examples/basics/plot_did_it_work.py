"""
Did it work?
============

A report tests a fit on new rows, without a ground truth. Here are the reports of a right and of a wrong fit to the same
data: the source is a horizontal segment, the target a vertical one.
"""

# %%
# OTP is made for a source without a density. The verdict of its report is ``OPTIMAL``.
from neuralot import OTPTransport, SNOTTransport
from neuralot.datasets import make_perpendicular

pair = make_perpendicular()
X_source, X_target = pair.sample(2000, random_state=0)
X_new, Y_new = pair.sample(2000, random_state=1)

right = OTPTransport(max_iter=800, random_state=0).fit(X_source, X_target)
report = right.report(X_new, Y_new)
print(report)

# %%
# What the lines say:
#
# - *verdict*: the conclusion, and below it what decided.
# - *images to target*: the distance between images and new target rows. *Beyond sampling* is the part that two samples
#   of the same law do not explain, with two standard errors. *Spread* and *modes* show where images are missing.
# - *cost* and *optimality*: whether another pairing of the same rows and images is cheaper. 0 % is optimal. Between
#   these two segments every pairing is.
# - *error* and *dual value*: a bound of the error, and the value of the learned potential.
# - *draws of one row*: their variance, which is large where mass splits.
# - *identity*, *mean shift*, *affine map*: what maps without a fit reach.
# - *note*: what is notable about the data and the fit.
#
# The figure shows the plan, the level sets of the potential, and the fit: the distance to the target falls to 0.
import matplotlib.pyplot as plt

report.plot()
plt.show()
assert report.verdict.name == "OPTIMAL"
assert report.marginal.excess.value < 0.01
assert report.optimality.relative_gap < 0.01

# %%
# SNOT learns a map and needs a source with a density. ``fit`` warns before the first step and after the last one. The
# report says how wrong the map is: the images are more than 20 % of the target's variance away from the target, and
# have less than 0.8 of its spread. The verdict is ``NOT_CONVERGED``, because of the second warning. More steps do not
# help, as the note on the thin source explains.
import warnings

with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    wrong = SNOTTransport(max_iter=800, random_state=0).fit(X_source, X_target)
wrong_report = wrong.report(X_new, Y_new)
print(*(f"{warning.category.__name__}: {warning.message}\n" for warning in caught), wrong_report, sep="\n")

# %%
# In the figure the images miss the vertical segment. The discrepancy does not fall, although the gap does: the
# potential is nearly optimal, and the map is not.
wrong_report.plot()
plt.show()
assert [each.category.__name__ for each in caught] == ["SpuriousSolutionWarning", "ConvergenceWarning"]
assert wrong_report.verdict.name == "NOT_CONVERGED"
assert wrong_report.marginal.excess.value > 0.2
assert wrong_report.optimality.relative_gap < 0.01
assert wrong_report.marginal.log_spread.value < -0.22
assert any("thin set" in finding for finding in wrong_report.findings)
