"""Pairs for flow matching: independent, of minibatch plans, and of one plan of OT-Net.

Flow matching learns the velocity that moves noise to data along straight lines between pairs. If the pairs are those of
the optimal plan, the lines do not cross, so that few Euler steps are enough. torchcfm pairs the rows of each batch by
an exact plan; OT-Net has a plan between the noise and all data rows. See README.md of this folder for commands, and
benchmarks/results/flow_matching.md for results.
"""

import argparse
import statistics
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import load_digits, make_moons
from sklearn.decomposition import PCA
from torchcfm import ConditionalFlowMatcher, ExactOptimalTransportConditionalFlowMatcher
from torchcfm.models import MLP

from neuralot import OTNetTransport
from neuralot.metrics import exact_cost
from neuralot.plots import IMAGE, SOURCE, TARGET

BATCH, WIDTH, LEARNING_RATE = 256, 64, 2e-3
N_PAIRS = 2**17  # from the plan of OT-Net, drawn once
N_NEW = 1000
FEW, MANY = (1, 2, 4), 64  # Euler steps
PAIRINGS = ("independent", "minibatch plan", "OT-Net")


def moons(n_rows, rng):
    """Return rows in two half circles, and new rows of the same law."""
    rows = [make_moons(n, noise=0.05, random_state=int(rng.integers(2**31)))[0] for n in (n_rows, N_NEW)]
    return [2 * each - [1, 0.5] for each in rows]


def digits(n_rows, rng):
    """Return the first ten principal components of digits, and those of other digits."""
    rows = rng.permutation(load_digits().data)
    seen, others = np.split(rows, [min(n_rows, 1200)])
    pca = PCA(10, random_state=0).fit(seen)
    codes = pca.transform(seen)
    scale = np.sqrt(codes.var(axis=0).mean())  # the noise is standard normal
    return codes / scale, pca.transform(others) / scale


def fit_otnet(Y, steps, seed):
    """Return the transport, and pairs of noise and data rows as tensors."""
    noise = np.random.default_rng(seed).normal(size=(30 * len(Y), Y.shape[1]))
    net = OTNetTransport(max_iter=steps, random_state=seed).fit(noise, Y)
    pairs = net.sample_pairs(noise, N_PAIRS, random_state=seed)
    return net, [torch.tensor(rows, dtype=torch.float32) for rows in pairs]


def train(Y, pairs, is_minibatch, steps, seed):
    """Return a velocity field (n, d + 1) -> (n, d), and the mean cost of its pairs.

    Without `pairs`, batches are independent rows, which an exact plan pairs again if `is_minibatch`.
    """
    torch.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002 (torchcfm draws pairs from the global state)
    d = Y.shape[1]
    matcher = (ExactOptimalTransportConditionalFlowMatcher if is_minibatch else ConditionalFlowMatcher)(sigma=0.0)
    data, costs = torch.tensor(Y, dtype=torch.float32), []
    velocity = MLP(d, w=WIDTH, time_varying=True)
    optimizer = torch.optim.Adam(velocity.parameters(), lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        if pairs is None:
            x, y = torch.randn(BATCH, d), data[torch.randint(len(data), (BATCH,))]
        else:
            chosen = torch.randint(N_PAIRS, (BATCH,))
            x, y = (rows[chosen] for rows in pairs)
        t, between, direction = matcher.sample_location_and_conditional_flow(x, y)
        loss = (velocity(torch.cat([between, t[:, None]], dim=1)) - direction).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        costs.append(float(direction.square().sum(dim=1).mean()))
    return velocity, statistics.mean(costs)


@torch.no_grad()
def flow(velocity, noise, n_steps):
    """Return the positions of rows after each Euler step, (n_steps + 1, n, d)."""
    path = [noise]
    for k in range(n_steps):
        t = torch.full((len(noise), 1), k / n_steps)
        path.append(path[-1] + velocity(torch.cat([path[-1], t], dim=1)) / n_steps)
    return torch.stack(path)


def curvature(path):
    """Return the mean squared deviation of the velocity from that of the straight line, relative to the latter's."""
    mean = path[-1] - path[0]
    deviations = (len(path) - 1) * path.diff(dim=0) - mean
    return float(deviations.square().sum(dim=2).mean() / mean.square().sum(dim=1).mean())


def measure(Y, new, steps, fit_steps, seed):
    """Return the measures of each pairing, and Euler paths of rows of noise."""
    noise = torch.randn(len(new), Y.shape[1], generator=torch.Generator().manual_seed(seed + 1000))
    measures, paths = {}, {}
    for pairing in PAIRINGS:
        start, pairs = time.process_time(), None
        if pairing == "OT-Net":
            net, pairs = fit_otnet(Y, fit_steps, seed)
        velocity, cost = train(Y, pairs, pairing == "minibatch plan", steps, seed)
        seconds = time.process_time() - start
        errors = [exact_cost(flow(velocity, noise, n)[-1].numpy(), new) for n in (*FEW, MANY)]
        paths[pairing] = flow(velocity, noise, MANY)
        measures[pairing] = [seconds, cost, curvature(paths[pairing]), *errors, exact_cost(Y[:N_NEW], new)]
    images = net.set_params(output="smooth").transform(noise.numpy())
    print(f"seed {seed}: smooth images of OT-Net, without a flow, {exact_cost(images, new):.3f}", flush=True)
    return measures, paths


def plot(path, paths, new):
    """Save a figure of the paths of some rows of noise to the new rows, in the first two columns."""
    figure, axes = plt.subplots(1, len(paths), figsize=(11, 3), layout="constrained", sharex=True, sharey=True)
    for ax, (pairing, lines) in zip(axes, paths.items(), strict=True):
        shown = lines[:, :60, :2]
        ax.scatter(*new[:1000, :2].T, s=2, color=TARGET)
        ax.plot(*shown.permute(2, 0, 1), color=IMAGE, linewidth=0.7)
        ax.scatter(*shown[0].T, s=6, color=SOURCE)
        ax.set(title=f"{pairing} pairs", aspect="equal")
    figure.savefig(path, dpi=100, bbox_inches="tight")
    plt.close(figure)


DATA = {"moons, d = 2": moons, "digits, d = 10": digits}


def cell(values, form):
    low, median, high = (format(value, form) for value in (min(values), statistics.median(values), max(values)))
    return median if low == high else f"{median} ({low}..{high})"


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", choices=DATA, nargs="+", default=list(DATA))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rows", type=int, default=2000, help="data rows, at most 1200 for digits")
    parser.add_argument("--steps", type=int, default=1200, help="steps of flow matching")
    parser.add_argument("--fit-steps", type=int, default=800, help="steps of OT-Net")
    parser.add_argument("--out", type=Path, default=Path("build/flow_matching"), help="folder of the figure")
    args = parser.parse_args(arguments)
    args.out.mkdir(parents=True, exist_ok=True)
    steps = [f"W2^2, {n} step{'s' * (n > 1)}" for n in (*FEW, MANY)]
    print("|", " | ".join(["data", "pairs", "CPU s", "cost of pairs", "curvature", *steps, "floor"]), "|")
    print(f"|{'---|' * (6 + len(steps))}", flush=True)
    for name in args.data:
        found = {pairing: [] for pairing in PAIRINGS}
        for seed in args.seeds:
            Y, new = DATA[name](args.rows, np.random.default_rng(seed))
            measures, paths = measure(Y, new, args.steps, args.fit_steps, seed)
            for pairing, values in measures.items():
                found[pairing].append(values)
            if seed == args.seeds[0]:
                plot(args.out / f"{name.split(',')[0]}.png", paths, new)
        for pairing, values in found.items():
            columns = list(zip(*values, strict=True))
            cells = [cell(columns[0], ".0f"), *(cell(column, ".3f") for column in columns[1:])]
            print("|", " | ".join([name, pairing, *cells]), "|", flush=True)


if __name__ == "__main__":
    main()
