"""
Regression between two seasons
==============================

Bicycle hires are counted on winter days, and wanted for spring days, whose weather is known and whose hires are not.
A transport from winter to spring helps if riders answer to how warm a day is for its season, and harms if they
answer to the temperature itself. Both worlds have the same data, so no score without labels can tell them apart.
"""

# %%
# Temperature and wind of a day follow from two hidden ranks in its season. Each column of spring is an increasing
# function of the same column of winter, so the optimal map keeps the ranks.
import numpy as np

SEED = 0
rng = np.random.default_rng(SEED)


def weather(season, n):
    z = rng.normal(size=(n, 2))
    winter = np.column_stack([8 + 5 * z[:, 0], 20 + 6 * z[:, 1]])  # degrees, km/h
    spring = np.column_stack([14 + 4 * z[:, 0] + 3 * np.tanh(2 * z[:, 0]), 14 + 4 * z[:, 1]])
    return winter, {"winter": winter, "spring": spring}[season]


def expected_hires(days):
    return 300 / (1 + np.exp(-(days[:, 0] - 10) / 3)) * np.exp(-0.02 * (days[:, 1] - 20))


_, X = weather("winter", 1000)
y = rng.poisson(expected_hires(X))
_, X_target = weather("spring", 1000)
same_rank, X_exam = weather("spring", 1000)
worlds = {"riders answer to rank": expected_hires(same_rank), "riders answer to weather": expected_hires(X_exam)}

# %%
# The regressor is trained on winter as it is, or on the images of the winter days. POT's exact plan and linear map
# stand beside SNOT, on the same scaled rows. A delay instead of a count needs another regressor and nothing else.
import sklearn
from ot.da import EMDTransport, LinearTransport
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from neuralot import DomainAdapter, SNOTTransport

regressor = HistGradientBoostingRegressor(loss="poisson", max_iter=100, min_samples_leaf=40, random_state=SEED)
adapter = DomainAdapter(SNOTTransport(max_iter=500, random_state=SEED), regressor)
with sklearn.config_context(enable_metadata_routing=True):
    pipe = make_pipeline(StandardScaler(), adapter, transform_input=["X_target"]).fit(X, y, X_target=X_target)
scaled, scaled_target, scaled_exam = map(pipe["standardscaler"].transform, (X, X_target, X_exam))
predicted = {"winter only": sklearn.clone(regressor).fit(scaled, y).predict(scaled_exam)}
for name, peer in {"POT linear": LinearTransport(), "POT EMD": EMDTransport()}.items():
    moved = peer.fit(Xs=scaled, Xt=scaled_target).transform(Xs=scaled)
    predicted[name] = sklearn.clone(regressor).fit(moved, y).predict(scaled_exam)
predicted["neuralot SNOT"] = pipe.predict(X_exam)

# %%
# R2 of the predictions against the expected hires of 1000 new spring days, in both worlds. SNOT does about as well as
# the exact plan. In the second world, where the answer did not change and only the weather did, every transport is
# far worse than none. Ask what changed, the answer or only the days, before you adapt.
from sklearn.metrics import r2_score

score = {name: [r2_score(truth, each) for truth in worlds.values()] for name, each in predicted.items()}
print(f"{'R2':<16}" + "".join(f"{name:>26}" for name in worlds))
print("".join(f"{name:<16}{first:26.3f}{second:26.3f}\n" for name, (first, second) in score.items()), end="")
assert score["neuralot SNOT"][0] > 0.95
assert score["winter only"][0] < 0
assert abs(score["neuralot SNOT"][0] - score["POT EMD"][0]) < 0.03
assert score["winter only"][1] > 0.95
assert max(score[name][1] for name in score if name != "winter only") < 0.3

# %%
# Predictions against the temperature, at any wind, and the truth of each world in grey. The adapted predictions are the
# same in both figures; only the truth differs.
import matplotlib.pyplot as plt

from neuralot.plots import IMAGE, SOURCE, TARGET

figure, axes = plt.subplots(1, 2, figsize=(9, 3.8), sharey=True, layout="constrained")
for ax, (name, truth) in zip(axes, worlds.items(), strict=True):
    ax.scatter(X_exam[:, 0], truth, s=12, color=TARGET, linewidths=0, label="truth")
    ax.scatter(X_exam[:, 0], predicted["winter only"], s=5, color=SOURCE, linewidths=0, label="winter only")
    ax.scatter(X_exam[:, 0], predicted["neuralot SNOT"], s=5, color=IMAGE, linewidths=0, label="SNOT")
    ax.set(title=name, xlabel="temperature of the spring day")
axes[0].set_ylabel("hires")
axes[0].legend()
plt.show()
