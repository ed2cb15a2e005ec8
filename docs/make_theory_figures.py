"""Draw the figures of docs/theory.rst and write the table of their numbers, benchmarks/results/theory.md.

python docs/make_theory_figures.py                      # all figures and the table; a minute or two on one core
python docs/make_theory_figures.py --only error cells   # some figures, without the table
"""

import argparse
import math
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch

from neuralot import OTNetTransport, SNOTTransport
from neuralot.datasets import make_convex_potential, make_eight_gaussians, make_one_to_many
from neuralot.methods import OTP
from neuralot.methods.smoothing import Smoothing
from neuralot.metrics import exact_cost
from neuralot.plots import IMAGE, SOURCE, TARGET
from neuralot.sampling import as_sampler

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "images"
INK = "#555555"
SEED = 0


def figure(n_panels, width=8.0, height=2.6, **kwargs):
    fig, axes = plt.subplots(1, n_panels, figsize=(width, height), layout="constrained", **kwargs)
    return fig, axes


def save(fig, name):
    # fixed metadata, so that the same figure gives the same file
    fig.savefig(FOLDER / f"theory_{name}.png", dpi=100, metadata={"Software": None})
    plt.close(fig)


def frame(ax, title, limit=1.25):
    ax.set(
        title=title, aspect="equal", xlim=(-limit, limit), ylim=(-limit, limit), xticks=[-1, 0, 1], yticks=[-1, 0, 1]
    )


def spurious():
    """Three maps of the max-min problem with the same value, for two crossing segments."""
    t = (np.arange(2000) + 0.5) / 1000 - 1  # midpoints: the means are integrals

    def V(y):
        return (y**2).sum(axis=1) - 2 * abs(y[:, 0])

    x, y = np.c_[t, 0 * t], np.c_[0 * t, t]
    maps = {"one point": 0 * t, "half of the target": t / 2, "the whole target": t}
    fig, axes = figure(4, 9.2, 2.5)
    grid = np.linspace(-1.25, 1.25, 201)
    y1, y2 = np.meshgrid(grid, grid)
    point = np.array([0.5, 0.0])
    inner = ((point[0] - y1) ** 2 + y2**2) - (y1**2 + y2**2 - 2 * abs(y1))
    axes[0].contourf(y1, y2, inner, levels=12, cmap="Greys", alpha=0.6)
    axes[0].plot([0, 0], [-1.25, 1.25], color=IMAGE, lw=2.5)
    axes[0].plot(*point, "o", color=SOURCE)
    frame(axes[0], "$c(x, y) - V(y)$ at $x = (½, 0)$")
    rows = []
    for ax, (name, second) in zip(axes[1:], maps.items(), strict=True):
        images = np.c_[0 * t, second]
        value = (((x - images) ** 2).sum(axis=1) - V(images)).mean() + V(y).mean()
        ax.plot([0, 0], [-1, 1], color=TARGET, lw=7, solid_capstyle="butt")
        for i in range(50, 2000, 100):
            ax.plot(*zip(x[i], images[i], strict=True), color=INK, lw=0.5, alpha=0.6)
        ax.plot(x[:, 0], x[:, 1], color=SOURCE, lw=2.5)
        ax.plot(images[:, 0], images[:, 1], color=IMAGE, lw=2.5, marker="o" if name == "one point" else "")
        frame(ax, f"image: {name}\nvalue {value:.3f}")
        # both laws are uniform on segments of one line, so the distance is that of their quantiles
        rows += [(f"value at the map to {name}", value), (f"D_target of the map to {name}", ((second - t) ** 2).mean())]
    save(fig, "spurious")
    return rows


def noise():
    """The three shapes of the noise, on a segment whose target has two parts."""
    X, Y = (torch.from_numpy(rows).float() for rows in make_one_to_many().sample(4000, random_state=SEED))
    fig, axes = figure(3, 8.4, 2.5)
    rows = []
    for ax, shape in zip(axes, ("isotropic", "covariance", "thin"), strict=True):
        generator = torch.Generator().manual_seed(SEED)
        method = OTP(2, noise_shape=shape, smoothing=Smoothing(eps_max=0.1, eps_min=0.1))
        method.prepare(as_sampler(X), as_sampler(Y), generator)
        smoothed = method.perturb(X, generator, 1.0)
        along, across = (smoothed - X).var(dim=0).tolist()
        ax.plot(*Y[:600].T, ".", color=TARGET, ms=5)
        ax.plot(*smoothed[:800].T, ".", color=IMAGE, ms=2)
        ax.plot(*X[:600].T, ".", color=SOURCE, ms=2)
        frame(ax, f"{shape}\nvariance {along:.3f} along, {across:.3f} across", 1.8)
        rows += [(f"{shape}, variance along the segment", along), (f"{shape}, variance across", across)]
    save(fig, "noise")
    return rows


def root(matrix):
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(values.clip(min=0))) @ vectors.T


def rotation(angle):
    return np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])


def gaussian_w2(A, B):
    """W2 distance between centred Gaussians with covariances A and B."""
    return math.sqrt(max(np.trace(A + B - 2 * root(root(A) @ B @ root(A))), 0.0))


def error():
    """The error of Nietert and Goldfeld beside the distance to the optimal map; Gaussians, in closed form."""
    A = np.diag([1.6, 0.5])  # the optimal map from N(0, I) to N(0, A^2)
    spread, shortest = math.sqrt(np.trace(A @ A)), np.linalg.norm(np.eye(2) - A)
    steps = np.linspace(0, 1, 41)[1:]
    families = {
        "contracted": [(1 - s) * A for s in steps],
        "rotated first": [A @ rotation(math.pi * s) for s in steps],
        "between optimum and identity": [(1 - s) * A + s * np.eye(2) for s in steps],
    }
    fig, ax = figure(1, 5.2, 3.0)
    rows, ratios = [], []
    for (name, maps), colour in zip(families.items(), (SOURCE, IMAGE, "#2a7f62"), strict=True):
        true = np.array([np.linalg.norm(M - A) for M in maps])
        cost = np.array([max(np.linalg.norm(np.eye(2) - M) - shortest, 0.0) for M in maps])
        law = np.array([gaussian_w2(M @ M.T, A @ A) for M in maps])
        ratio = (cost + law) / true
        style = "--" if name.startswith("between") else "-"  # it covers a part of the first line
        ax.plot(true / spread, (cost + law) / spread, style, color=colour, label=name)
        rows += [(f"{name}, least E_2 / error", ratio.min()), (f"{name}, largest E_2 / error", ratio.max())]
        rows.append((f"{name}, largest W2 of images and target", law.max()))
        ratios.append(ratio.max())
    assert max(ratios) <= 2  # the bound
    ax.plot([0, 2], [0, 4], color=INK, ls=":", lw=1.5, label="bound, twice the error")
    ax.set(xlabel="error of the map / spread", ylabel="$E_2$ / spread", xlim=(0, 2.05), ylim=(0, 2.05))
    ax.legend(frameon=False, fontsize=8)
    save(fig, "error")
    return rows


def bound():
    """The dual value and the bound of the map's error by the steps of a fit, where the map is known."""
    pair = make_convex_potential(n_features=2)
    X, Y = pair.sample(4000, random_state=SEED)
    x, y = pair.sample(1500, random_state=SEED + 1)
    exact = pair.exact_map(x)
    budgets = [25, 100, 200, 400, 1600]
    values = []
    for max_iter in budgets:
        est = SNOTTransport(max_iter=max_iter, random_state=SEED).fit(X, Y)
        dual = est.report(x, y).dual
        values.append((dual.gap / dual.spread**2, dual.error_bound / dual.spread))
        values[-1] += (math.sqrt(((est.transform(x) - exact) ** 2).sum(axis=1).mean()) / dual.spread,)
    gap, upper, true = np.array(values).T
    assert (gap >= -1e-6).all()
    assert (upper >= true)[np.isfinite(upper)].all()
    fig, axes = figure(2, 7.6, 2.7)
    axes[0].loglog(budgets, 100 * gap, "o-", color=SOURCE, ms=4)
    axes[0].set(xlabel="steps of the fit", title="exact cost minus dual value,\n% of the target's variance")
    axes[1].loglog(budgets, 100 * upper, "o-", color=SOURCE, ms=4, label="bound")
    axes[1].loglog(budgets, 100 * true, "o-", color=IMAGE, ms=4, label="error")
    axes[1].set(xlabel="steps of the fit", title="root mean square error of the map,\n% of the target's spread")
    axes[1].legend(frameon=False)
    for ax, ticks in zip(axes, ([1, 2, 5, 10], [5, 10, 20, 40]), strict=True):
        ax.set(xticks=[25, 100, 400, 1600], xticklabels=["25", "100", "400", "1600"])
        ax.set(yticks=ticks, yticklabels=map(str, ticks))
        ax.minorticks_off()
    save(fig, "bound")
    rows = []
    for i in (0, len(budgets) - 1):
        rows.append((f"dual gap after {budgets[i]} steps, %", 100 * gap[i]))
        rows.append((f"bound after {budgets[i]} steps, %", 100 * upper[i]))
        rows.append((f"error after {budgets[i]} steps, %", 100 * true[i]))
    return rows


def cells():
    """Cells of OT-Net, and their masses."""
    rng = np.random.default_rng(SEED)
    points = rng.uniform(-1.6, 1.6, size=(12, 2))
    weights = rng.uniform(0.3, 1.7, size=12)
    weights /= weights.sum()
    net = OTNetTransport(max_iter=600, random_state=SEED)
    net.fit(rng.normal(size=(20_000, 2)), points, sample_weight_target=weights)
    index = [int(np.flatnonzero((net.target_points_ == point).all(axis=1))[0]) for point in points]
    masses = np.bincount(net.assign(rng.normal(size=(200_000, 2))), minlength=12)[index] / 200_000
    fig, axes = figure(2, 7.6, 3.0)
    grid = np.linspace(-2.5, 2.5, 400)
    a, b = np.meshgrid(grid, grid)
    cell = net.assign(np.c_[a.ravel(), b.ravel()]).reshape(a.shape)
    shades = plt.get_cmap("Blues")(np.linspace(0.12, 0.5, 12))[(5 * np.arange(12)) % 12]
    axes[0].imshow(shades[cell], origin="lower", extent=(-2.5, 2.5, -2.5, 2.5), interpolation="nearest")
    axes[0].plot(*points.T, "o", color=IMAGE, ms=5)
    axes[0].set(title="cells and their points", xticks=[-2, 0, 2], yticks=[-2, 0, 2])
    axes[1].bar(np.arange(12) - 0.2, weights, 0.4, color=TARGET, label=r"weight $\nu_i$")
    axes[1].bar(np.arange(12) + 0.2, masses, 0.4, color=IMAGE, label="mass $w_i$ of the cell")
    axes[1].set(xlabel="point", xticks=range(12), title="masses on 200 000 new rows", ylim=(0, 0.16))
    axes[1].legend(frameon=False, fontsize=8, ncols=2)
    save(fig, "cells")
    gradient = masses - weights
    return [
        ("largest |w_i - nu_i|", abs(gradient).max()),
        ("|w - nu|", float(np.linalg.norm(gradient))),
        ("mass_error_", net.mass_error_),
    ]


def distance(a, b):
    return math.sqrt(exact_cost(a, b))


def interpolation():
    """Displacement interpolation by a fitted map, and the distances along it."""
    pair = make_eight_gaussians()
    est = SNOTTransport(random_state=SEED).fit(*pair.sample(4000, random_state=SEED))
    x = pair.sample(500, random_state=SEED + 1)[0]
    images = est.transform(x)
    times = np.linspace(0, 1, 5)
    between = [(1 - t) * x + t * images for t in times]
    rng = np.random.default_rng(SEED)
    mixed = [np.where(rng.uniform(size=(500, 1)) < t, images[rng.permutation(500)], x) for t in times]
    pairs = images[rng.permutation(500)]
    ways = {
        "displacement": between,
        "mixture": mixed,
        "random pairs": [(1 - t) * x + t * pairs for t in times],
    }
    detours = {
        name: [(distance(x, each) + distance(each, images)) / distance(x, images) for each in rows]
        for name, rows in ways.items()
    }
    fig, axes = figure(5, 9.4, 2.4, width_ratios=[1, 1, 1, 1, 1.2])
    for ax, i, colour in zip(axes[:4], (0, 1, 2, 4), (SOURCE, INK, INK, IMAGE), strict=True):
        ax.plot(*between[i].T, ".", ms=2, color=colour)
        limit = 1.1 * abs(images).max()
        ax.set(title=f"t = {times[i]:g}", aspect="equal", xlim=(-limit, limit), ylim=(-limit, limit))
        ax.set(xticks=[], yticks=[])
    for (name, values), colour, style in zip(detours.items(), (IMAGE, INK, SOURCE), ("o-", "s--", "^:"), strict=True):
        axes[4].plot(times, values, style, color=colour, ms=4, label=name)
    axes[4].set(title="length of the way over t", xlabel="t", xticks=[0, 0.5, 1], ylim=(0.97, 1.8))
    axes[4].legend(frameon=False, fontsize=7)
    save(fig, "interpolation")
    return [(f"{name}, largest (W2(0, t) + W2(t, 1)) / W2(0, 1)", max(values)) for name, values in detours.items()]


FIGURES = [spurious, noise, error, bound, cells, interpolation]


def write_table(rows):
    lines = [
        "# Figures of docs/theory.rst",
        "",
        "In the form that `python docs/make_theory_figures.py` writes, which has the definitions; one seed, 0. Fits",
        "differ a little on other processors, because of rounding.",
        "",
        "| figure | quantity | value |",
        "|---|---|---|",
        *(f"| {name} | {quantity.replace('|', chr(92) + '|')} | {value:.4g} |" for name, quantity, value in rows),
    ]
    (ROOT / "benchmarks/results/theory.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=[each.__name__ for each in FIGURES])
    chosen = parser.parse_args().only
    plt.rcParams.update({"font.size": 9, "axes.titlesize": 9, "axes.spines.top": False, "axes.spines.right": False})
    rows = []
    for draw in FIGURES:
        if not chosen or draw.__name__ in chosen:
            rows += [(draw.__name__, quantity, value) for quantity, value in draw()]
    for row in rows:
        print(*row)  # noqa: T201
    if not chosen:
        write_table(rows)
