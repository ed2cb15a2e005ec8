"""
What the noise level does
=========================

OTP smooths the source with noise whose level falls to ``eps_min``. Too little noise makes the plan hard to learn, and
too much blurs it. The errors are measured against the exact plan of One-to-Many.
"""

# %%
# Four levels and two shapes of the noise: in all directions, as in the papers, and thin, only in the direction in which
# the source has no extent. Thin noise is the default for this source, with level 0.1. ``fit`` warns of a level that is
# more than 5 times larger than the default, or 20 times smaller.
import warnings

from neuralot import OTPTransport
from neuralot.datasets import make_one_to_many

LEVELS, SHAPES = [0.0001, 0.01, 0.1, 0.5], ["isotropic", "thin"]
pair = make_one_to_many()
X_source, X_target = pair.sample(1000, random_state=0)
X = pair.sample(200, random_state=1)[0]
draws, warned = {}, {}
for key in [(shape, level) for shape in SHAPES for level in LEVELS]:
    options = {"noise_shape": key[0], "eps_min": key[1], "eps_max": max(0.25, key[1])}
    transport = OTPTransport(**options, max_iter=600, random_state=0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        transport.fit(X_source, X_target)
    draws[key] = transport.sample(X, n_draws=50, random_state=0)  # (50, 200, 2)
    warned[key] = ", ".join(warning.category.__name__ for warning in caught)

# %%
# The exact plan sends a row straight up or down by 1. The error is the root mean square distance of a draw to the
# nearer of these two points.
import numpy as np

errors, upper = {}, {}
print(f"{'noise':<10} {'eps_min':>7} {'error':>6} {'upper branch':>13}  warnings")
for key, rows in draws.items():
    across, up = (rows - X)[..., 0], np.abs(rows[..., 1]) - 1
    errors[key], upper[key] = np.sqrt((across**2 + up**2).mean()), (rows[..., 1] > 0).mean()
    print(f"{key[0]:<10} {key[1]:>7} {errors[key]:6.2f} {upper[key]:13.2f}  {warned[key]}")

# %%
# The figure has one draw of each row and, on the right, the errors. With the least noise the images fill the space
# between the two branches: the map would have to be too steep, and the fit does not get there. With the most noise in
# all directions the images of neighbouring rows mix, and the lines are no longer upright. Much thin noise does no harm:
# it does not move a row along the source.
import matplotlib.pyplot as plt

from neuralot.plots import plot_transport

panels = [[*(f"{shape}, eps_min={level}" for level in LEVELS), "errors"] for shape in SHAPES]
figure, axes = plt.subplot_mosaic(panels, figsize=(12, 5.2), width_ratios=[1, 1, 1, 1, 1.3], layout="constrained")
for (shape, level), rows in draws.items():
    ax = axes[f"{shape}, eps_min={level}"]
    plot_transport(X, rows[0], X_target, ax=ax)
    ax.set(xlim=(-1.4, 1.4), ylim=(-1.4, 1.4))
    ax.set_title(ax.get_label(), fontsize=10)
for shape, style in zip(SHAPES, ("o-", "s--"), strict=True):
    axes["errors"].semilogx(LEVELS, [errors[shape, level] for level in LEVELS], style, color="black", label=shape)
axes["errors"].set(xlabel="eps_min", title="error of the draws", ylim=(0, None))
axes["errors"].legend()
plt.show()

isotropic, thin = ([errors[shape, level] for level in LEVELS] for shape in SHAPES)
assert isotropic[0] > 1.3 * isotropic[1]
assert isotropic[3] > 1.5 * isotropic[1]
assert thin[0] > 1.5 * thin[2]
assert thin[3] < 1.2 * thin[2]
unusual = {("isotropic", LEVELS[0]), ("thin", LEVELS[0]), ("isotropic", LEVELS[3])}
assert {key for key, names in warned.items() if "SmoothingWarning" in names} == unusual
assert not any(names for key, names in warned.items() if key not in unusual)
