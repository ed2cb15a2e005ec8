"""
Spurious solutions during training
==================================

The source is a horizontal segment, the target a vertical one. The animation follows 300 points through the training of
SNOT and of OTP. SNOT's images never have the law of the target; OTP's draws do at the end.
"""

# %%
# A callback is called about fifty times per fit. This one keeps a copy of the problem, to map the same points later.
# SNOT warns twice: before the first step, because the source is thin, and after the last one.
import copy
import warnings

from neuralot import OTPTransport, SNOTTransport
from neuralot.datasets import make_perpendicular

X_source, X_target = make_perpendicular().sample(1000, random_state=0)
transports = {"SNOT": SNOTTransport(max_iter=800, random_state=0), "OTP": OTPTransport(max_iter=800, random_state=0)}
copies = {"SNOT": [], "OTP": []}
for name, transport in transports.items():
    keep = lambda step, problem, record, name=name: copies[name].append((copy.deepcopy(problem), record))  # noqa: E731
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        transport.set_params(callbacks=[keep]).fit(X_source, X_target)
    print(f"{name}: {', '.join(warning.category.__name__ for warning in caught) or 'no warning'}")

# %%
# The images of SNOT move along the horizontal line and leave it, but do not spread over the vertical segment. The draws
# of OTP begin as a cloud, because the noise is large, and become the vertical segment.
import matplotlib.pyplot as plt
import torch
from matplotlib.animation import FuncAnimation

from neuralot.plots import IMAGE, SOURCE, TARGET

X = X_source[:300]


def images(name, k):
    problem, record = copies[name][k]
    units = transports[name].units_
    x = torch.from_numpy(units.from_source(X)).float()
    y = problem.draw(x, torch.Generator().manual_seed(0), record["progress"]).detach()
    return units.to_target(y.double().numpy())


def prepare(row):
    for ax in row:
        ax.scatter(*X_target.T, s=14, color=TARGET, linewidths=0, label="target")
        ax.scatter(*X.T, s=4, color=SOURCE, linewidths=0, label="source")
        ax.set(xlim=(-1.5, 1.5), ylim=(-1.5, 1.5), aspect="equal")
    return [ax.scatter([], [], s=8, color=IMAGE, linewidths=0, label="image") for ax in row]


def show(k):
    for ax, dots, name in zip(frames, moving, transports, strict=True):
        dots.set_offsets(images(name, k))
        ax.set_title(f"{name}, step {copies[name][k][1]['step']}", fontsize=10)


# sphinx_gallery_thumbnail_number = 2
movie, frames = plt.subplots(1, 2, figsize=(7, 3.2), dpi=80, layout="constrained")
moving = prepare(frames)
frames[0].legend(loc="lower left", fontsize=8, markerscale=2)
n_records = min(map(len, copies.values()))
animation = FuncAnimation(movie, show, frames=range(1, n_records, 2), interval=250)
plt.show()

# %%
# The images at the end, and the discrepancy between images and target along the run. That of SNOT stays large, that of
# OTP falls to 0. The dual gap of SNOT falls to nearly 0 as well: its potential is nearly optimal, and yet its map is
# wrong. The loss cannot show it, but the discrepancy does.
figure, axes = plt.subplots(1, 3, figsize=(9, 3.2), width_ratios=[1, 1, 1.2], layout="constrained")
still = prepare(axes[:2])
for ax, dots, (name, transport), style in zip(axes[:2], still, transports.items(), ("--", "-"), strict=True):
    dots.set_offsets(images(name, -1))
    ax.set_title(f"{name}, last step")
    steps = [record["step"] for record in transport.history_]
    axes[2].plot(steps, [record["discrepancy"] for record in transport.history_], style, color="black", label=name)
    first, last = transport.history_[0], transport.history_[-1]
    print(f"{name}: discrepancy {last['discrepancy']:.3f}, dual gap {first['gap']:.2f} to {last['gap']:.3f}")
axes[2].set(xlabel="step", title="discrepancy")
axes[2].legend()
plt.show()
snot, otp = (transport.history_ for transport in transports.values())
assert min(record["discrepancy"] for record in snot) > 0.1
assert snot[-1]["gap"] < 0.1 * snot[0]["gap"]
assert abs(otp[-1]["discrepancy"]) < 0.02
