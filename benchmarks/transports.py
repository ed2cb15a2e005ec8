"""The transports that tabular.py compares: fits of source and target rows, with `transform` and `sample`."""

import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Protocol

import numpy as np
import ot
import torch
from light_sb import LightSB
from torch import nn

import neuralot

MAX_EMD_ROWS, MAX_KERNEL_ROWS = 4000, 500
FLOW_BATCH, FLOW_STEPS = 256, 50


class Transport(Protocol):
    def transform(self, X: np.ndarray) -> np.ndarray: ...
    def sample(self, X: np.ndarray, n_draws: int = 1, random_state: int = 0) -> np.ndarray: ...


class Map:
    """A transport by a function."""

    def __init__(self, function: Callable[[np.ndarray], np.ndarray], n_iter: int | None = None) -> None:
        self.transform, self.n_iter_ = function, n_iter

    def sample(self, X: np.ndarray, n_draws: int = 1, random_state: int = 0) -> np.ndarray:
        return np.stack([self.transform(X)] * n_draws)


class InUnits:
    """A fit to centred rows with mean variance 1, which does not change the optimal plan."""

    def __init__(self, fit: Callable[[np.ndarray, np.ndarray], Transport], X: np.ndarray, Y: np.ndarray) -> None:
        self.centres = X.mean(axis=0), Y.mean(axis=0)
        self.scale = np.sqrt((X.var(axis=0).mean() + Y.var(axis=0).mean()) / 2)
        self.fitted = fit((X - self.centres[0]) / self.scale, (Y - self.centres[1]) / self.scale)
        self.n_iter_ = getattr(self.fitted, "n_iter_", None)

    def transform(self, X: np.ndarray) -> np.ndarray:
        return self.centres[1] + self.scale * self.fitted.transform((X - self.centres[0]) / self.scale)

    def sample(self, X: np.ndarray, n_draws: int = 1, random_state: int = 0) -> np.ndarray:
        draws = self.fitted.sample((X - self.centres[0]) / self.scale, n_draws, random_state)
        return self.centres[1] + self.scale * draws


def neural(name: str, X: np.ndarray, Y: np.ndarray, budget: float, seed: int, **settings) -> Transport:
    return getattr(neuralot, name)(max_time=budget, random_state=seed, **settings).fit(X, Y)


def light_sb(X: np.ndarray, Y: np.ndarray, budget: float, seed: int, eps: float = 0.1) -> Transport:
    fit = LightSB(eps, full=False, max_time=budget, random_state=seed).fit
    return InUnits(fit, X, Y)


def flow(X: np.ndarray, Y: np.ndarray, budget: float, seed: int) -> Transport:
    """Minibatch-OT flow matching of torchcfm, with three layers of 64 units as in its examples, and Adam."""
    return InUnits(partial(_flow, budget=budget, seed=seed), X, Y)


def _flow(X: np.ndarray, Y: np.ndarray, budget: float, seed: int) -> Transport:
    from torchcfm import ExactOptimalTransportConditionalFlowMatcher

    start, rng, d = time.perf_counter(), np.random.default_rng(seed), X.shape[1]
    np.random.seed(seed)  # noqa: NPY002 (torchcfm draws pairs from the global state)
    torch.manual_seed(seed)
    sizes = [d + 1, 64, 64, 64, d]
    layers = [layer for a, b in pairwise(sizes) for layer in (nn.Linear(a, b), nn.SELU())]
    velocity = nn.Sequential(*layers[:-1])
    optimizer = torch.optim.Adam(velocity.parameters(), lr=2e-3)
    matcher = ExactOptimalTransportConditionalFlowMatcher(sigma=0.0)
    x, y = (torch.as_tensor(rows, dtype=torch.float32) for rows in (X, Y))
    n_iter = 0
    while (share := (time.perf_counter() - start) / budget) < 1:
        rows = [torch.as_tensor(rng.integers(len(each), size=FLOW_BATCH)) for each in (x, y)]
        t, between, direction = matcher.sample_location_and_conditional_flow(x[rows[0]], y[rows[1]])
        loss = ((velocity(torch.cat([between, t[:, None]], dim=1)) - direction) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.param_groups[0]["lr"] = 2e-3 * (1 + np.cos(np.pi * share)) / 2
        optimizer.step()
        n_iter += 1

    @torch.no_grad()
    def transform(rows: np.ndarray) -> np.ndarray:
        z, step = torch.as_tensor(rows, dtype=torch.float32), 1 / FLOW_STEPS
        at = lambda z, t: velocity(torch.cat([z, torch.full((len(z), 1), t)], dim=1))  # noqa: E731
        for i in range(FLOW_STEPS):  # midpoint rule
            z = z + step * at(z + step / 2 * at(z, i * step), (i + 0.5) * step)
        return z.double().numpy()

    return Map(transform, n_iter)


def emd(X: np.ndarray, Y: np.ndarray, budget: float, seed: int) -> Transport:
    """Exact plan of at most 4000 rows; new rows move as the nearest of them."""
    transport = ot.da.EMDTransport(max_iter=10**8).fit(Xs=X[:MAX_EMD_ROWS], Xt=Y[:MAX_EMD_ROWS])
    return Map(lambda rows: transport.transform(Xs=rows, batch_size=1024))


def kernel(X: np.ndarray, Y: np.ndarray, budget: float, seed: int) -> Transport:
    """POT's MappingTransport with a Gaussian kernel, on at most 500 rows."""

    def fit(X: np.ndarray, Y: np.ndarray) -> Transport:
        width = np.sqrt(X.shape[1])
        transport = ot.da.MappingTransport(kernel="gaussian", sigma=width, mu=1, eta=1e-3, max_iter=10)
        transport.fit(Xs=X[:MAX_KERNEL_ROWS], Xt=Y[:MAX_KERNEL_ROWS])
        return Map(lambda rows: transport.transform(Xs=rows))

    return InUnits(fit, X, Y)


def affine(X: np.ndarray, Y: np.ndarray, budget: float, seed: int) -> Transport:
    """POT's LinearTransport: the optimal map between the Gaussians with the moments of the samples."""
    transport = ot.da.LinearTransport(reg=1e-6).fit(Xs=X, Xt=Y)
    return Map(lambda rows: transport.transform(Xs=rows))


def identity(X: np.ndarray, Y: np.ndarray, budget: float, seed: int) -> Transport:
    return Map(lambda rows: rows)


# A neural method of the package is compared once the package exports it.
NEURAL = {
    "SNOT": "SNOTTransport",
    "OTP": "OTPTransport",
    "OT-Net": "OTNetTransport",
    "W2GN": "W2GNTransport",
}
TRANSPORTS: dict[str, Callable[..., Transport]] = {
    **{label: partial(neural, name) for label, name in NEURAL.items() if hasattr(neuralot, name)},
    "LightSB": light_sb,
    "flow matching": flow,
    "POT EMD": emd,
    "POT kernel map": kernel,
    "affine": affine,
    "none": identity,
}
