"""
The torch core alone
====================

The methods and the training loop are plain torch, without scikit-learn. Here a source is a function that draws rows,
and a callback keeps pictures of the training.
"""

# %%
# OTP from a segment to two parallel segments. ``solve`` needs a problem and two sources of rows.
import torch

from neuralot.methods import OTP
from neuralot.solve import solve


def segment(n, generator):
    return torch.stack([2 * torch.rand(n, generator=generator) - 1, torch.zeros(n)], dim=1)


def two_segments(n, generator):
    rows = segment(n, generator)
    rows[:, 1] = torch.randint(2, (n,), generator=generator) * 2 - 1
    return rows


# %%
# A callback is called about fifty times, with the current problem. The networks take rows as they are: only estimators
# standardise them.
frames = {}
x = segment(1000, torch.Generator().manual_seed(1))


def keep_frame(step, problem, record):
    with torch.no_grad():
        frames[step] = problem.draw(x, torch.Generator().manual_seed(2), record["progress"])
    return False  # do not stop


generator = torch.Generator().manual_seed(0)
solution = solve(OTP(n_features=2), segment, two_segments, max_iter=1500, generator=generator, callbacks=[keep_frame])
print(solution.status.message)
y = solution.problem.draw(x, generator).detach()
upper = float((y[:, 1] > 0).float().mean())
near = float(((y[:, 1].abs() - 1).abs() < 0.2).float().mean())
print(f"{upper:.0%} of the draws go to the upper segment; {near:.0%} end near one of the two")

# %%
import matplotlib.pyplot as plt

from neuralot.plots import plot_transport

target = two_segments(500, generator)
steps = sorted(frames)
figure, axes = plt.subplots(1, 4, figsize=(12, 3.2), sharex=True, sharey=True, layout="constrained")
for ax, step in zip(axes, [steps[0], steps[len(steps) // 6], steps[len(steps) // 3], steps[-1]], strict=True):
    plot_transport(x, frames[step], target, ax=ax)
    ax.set(title=f"step {step}", xlim=(-1.8, 1.8), ylim=(-1.8, 1.8))
plt.show()

# %%
# The noise decreases during the training, and the draws split between the segments: half of the mass of every row
# goes up, half down, which no map can do.
assert 0.42 < upper < 0.58
assert near > 0.85
