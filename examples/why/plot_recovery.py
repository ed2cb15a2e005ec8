"""
Spurious solutions: where semi-dual transport is wrong, and how smoothing cures it
==================================================================================

Two sources that live on a segment of the plane. On *Perpendicular* the target is the crossing segment, and every
coupling is optimal; on *One-to-Many* it is two parallel segments, and each point must split its mass. Plain semi-dual
neural OT (SNOT) converges to maps that do not reach the target. OTP smooths the source, and its draws follow the plan.
"""

# %%
# Fit both methods on both pairs, with defaults, and score draws for fresh source points. Costs and squared W2 distances
# are exact (POT), the latter averaged over five pairs of 1000 points. Their *floor* is the distance between two fresh
# target samples, which only chance can beat. On One-to-Many it is large, because two samples rarely put the same number
# of points on each segment: read the shares of the branches beside it.
import os
import time
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import ot
from sklearn.exceptions import ConvergenceWarning

from neuralot import OTPTransport, SNOTTransport
from neuralot.datasets import make_one_to_many, make_perpendicular
from neuralot.metrics import d_target, exact_cost, mode_coverage, target_floor, transport_cost
from neuralot.plots import plot_transport

N_FIT, N_SCORE, N_PAIRS = 4096, 1000, 5


def mean_d_target(images, Y):
    pairs = zip(np.split(images, N_PAIRS), np.split(Y, N_PAIRS), strict=True)
    return np.mean([d_target(image, target) for image, target in pairs])


results = {}
HEADER = ("pair", "method", "D_target", "floor", "cost", "exact", "branches", "fit", "ended")
LINE = "{:<14} {:<9} {:>8} {:>7} {:>6} {:>6}  {:<12} {:>5}  {}"
print(LINE.format(*HEADER))
for pair in (make_perpendicular(), make_one_to_many()):
    X_fit, Y_fit = pair.sample(N_FIT, random_state=0)
    X, Y = pair.sample(N_PAIRS * N_SCORE, random_state=1)
    floor = target_floor(pair.target, n=N_SCORE, n_pairs=2 * N_PAIRS, random_state=2).mean
    rows = {"identity": (X, "", "")}
    for estimator in (SNOTTransport(random_state=0), OTPTransport(random_state=0)):
        start = time.perf_counter()
        with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):  # shown in the table instead
            estimator.fit(X_fit, Y_fit)
        seconds = time.perf_counter() - start
        name = type(estimator).__name__.removesuffix("Transport")
        rows[name] = (estimator.sample(X, random_state=3)[0], f"{seconds:.0f} s", estimator.status_.name)
    for name, (images, fit, ended) in rows.items():
        shares = [] if pair.modes is None else mode_coverage(images, pair.modes)
        branches = " ".join(f"{share:.3f}" for share in shares)
        numbers = [f"{mean_d_target(images, Y):.4f}", f"{floor:.4f}", f"{transport_cost(X, images):.3f}"]
        print(LINE.format(pair.name, name, *numbers, f"{pair.cost:.3f}", branches, fit, ended))
    X, Y = X[:N_SCORE], Y[:N_SCORE]
    print(
        LINE.format(
            pair.name, "exact OT", "0", f"{floor:.4f}", f"{exact_cost(X, Y):.3f}", f"{pair.cost:.3f}", *3 * [""]
        )
    )
    results[pair.name] = X, Y, {name: images[:N_SCORE] for name, (images, *_) in rows.items()}
    results[pair.name][2]["exact OT"] = Y[ot.emd([], [], ot.dist(X, Y)).argmax(axis=1)]

# %%
# Sources in blue, images in red on the grey target, and some of the pairs as segments; on the right the exact plan
# between two samples (POT). SNOT's images miss the target: they are no transport. Where they moved away from the
# target's law, the guard gave back the best weights that it had seen, which may be the first ones, and the fit ended as
# DIVERGED; where they were still on their way when the steps were made, it ended as SHORT. OTP's draws follow the plan,
# up to a few per cent between the two branches, where its map is steep but has no jump.
figure, axes = plt.subplots(2, 3, figsize=(10, 6.4), sharex=True, sharey=True, layout="constrained")
for row, (pair_name, (X, Y, rows)) in zip(axes, results.items(), strict=True):
    for ax, name in zip(row, ("SNOT", "OTP", "exact OT"), strict=True):
        plot_transport(X, rows[name], Y, ax=ax)
        ax.set_title(f"{pair_name.replace('_', '-').title()}, {name}")
axes[0, 0].legend(loc="lower left", markerscale=2)
if folder := os.environ.get("NEURALOT_FIGURES"):
    figure.savefig(Path(folder) / "recovery.png", dpi=110)
plt.show()
