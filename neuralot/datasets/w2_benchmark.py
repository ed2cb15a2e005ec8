"""Wasserstein-2 benchmark: Gaussian mixtures pushed forward by input-convex networks."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from neuralot.datasets.pair import TransportPair, plan_of
from neuralot.datasets.smooth import smooth_tolerance

_PUBLISHED = (2, 16, 64)
_COMPONENTS = 3
_COMPONENT_STD = 0.4
_RIDGE = 0.01  # strong convexity of each potential
_MOMENT_ROWS = 2**16
_CHUNK_ROWS = 2**10


def load_w2_benchmark(folder: str | os.PathLike[str], n_features: int) -> TransportPair:
    r"""Load a pair of the Wasserstein-2 benchmark from published weights.

    The source is a mixture of three Gaussians, the target its image under a known gradient of a convex
    function, so the Monge map is known everywhere. Each of two files holds an input-convex network

    .. math:: q_i(x) = \sum_r (x \cdot A_i[:, r, :])^2 + W_i x + b_i, \quad z_0 = q_0(x), \quad
       z_i = \mathrm{celu}(C_{i-1} z_{i-1} + q_i(x)), \quad f(x) = w \cdot z_{last} + \tfrac{0.01}{2} |x|^2.

    The map is the gradient of the sum of both networks, shifted and scaled: its image has mean 0 and a mean variance of
    1 per coordinate. Shift, scale and `cost` are estimated on 65536 fixed draws, to about 0.5 %.

    Parameters
    ----------
    folder : path-like
        The directory that holds ``{n_features}_v1.pt`` and ``{n_features}_v2.pt``.
    n_features : {2, 16, 64}
        The dimension of the pair.

    Returns
    -------
    TransportPair
        With the exact map and plan, the cost, and the target variance `n_features`.

    Raises
    ------
    ValueError
        If `n_features` is not a published dimension.
    FileNotFoundError
        If a file of the pair is missing.

    References
    ----------
    Korotin, A., Li, L., Genevay, A., Solomon, J., Filippov, A., Burnaev, E. (2021). Do neural optimal
    transport solvers work? A continuous Wasserstein-2 benchmark. NeurIPS. arXiv:2106.01954.

    Examples
    --------
    >>> from neuralot.datasets import load_w2_benchmark
    >>> load_w2_benchmark("weights", 3)
    Traceback (most recent call last):
        ...
    ValueError: n_features must be one of (2, 16, 64), got 3.
    """
    if n_features not in _PUBLISHED:
        raise ValueError(f"n_features must be one of {_PUBLISHED}, got {n_features!r}.")
    potentials = [_load_potential(Path(folder) / f"{n_features}_v{version}.pt") for version in (1, 2)]
    centres, factors = _mixture(n_features)

    def source(n: int, rng: np.random.Generator) -> np.ndarray:
        component = rng.integers(_COMPONENTS, size=n)
        noise = rng.normal(size=(n, n_features))
        draws = np.empty((n, n_features))
        for k in range(_COMPONENTS):
            rows = component == k
            draws[rows] = centres[k] + _COMPONENT_STD * noise[rows] @ factors[k].T
        return draws

    def gradient(X: np.ndarray) -> np.ndarray:
        # in chunks, to limit the memory for the hidden units
        chunks = [X[start : start + _CHUNK_ROWS] for start in range(0, len(X), _CHUNK_ROWS)]
        return np.concatenate([sum(_gradient(f, rows) for f in potentials) for rows in chunks])

    draws = source(_MOMENT_ROWS, np.random.default_rng(0))
    image = gradient(draws)
    shift = image.mean(axis=0)
    scale = np.sqrt(image.var(axis=0).mean())

    def exact_map(X: np.ndarray) -> np.ndarray:
        return (gradient(X) - shift) / scale

    return TransportPair(
        name="w2_benchmark",
        n_features=n_features,
        source=source,
        target=lambda n, rng: exact_map(source(n, rng)),
        exact_map=exact_map,
        exact_plan=plan_of(exact_map),
        cost=float(np.sum((draws - (image - shift) / scale) ** 2, axis=1).mean()),
        target_variance=float(n_features),
        tolerance=smooth_tolerance(n_features),
    )


class _Potential(NamedTuple):
    """Weights of one input-convex network, by layer.

    A of shape (d, rank, width), W (width, d), b (width,), the matrices C between layers, and the final w.
    """

    quadratics: list[np.ndarray]
    weights: list[np.ndarray]
    biases: list[np.ndarray]
    mixers: list[np.ndarray]
    final: np.ndarray


def _load_potential(path: Path) -> _Potential:
    import torch

    if not path.is_file():
        raise FileNotFoundError(
            f"{str(path)!r} does not exist. `folder` must be the directory with the published weights of the "
            "Wasserstein-2 benchmark, '{n_features}_v1.pt' and '{n_features}_v2.pt'."
        )
    state = torch.load(path, map_location="cpu", weights_only=True)
    arrays = {name: tensor.double().numpy() for name, tensor in state.items()}
    n_layers = sum(name.endswith("quadratic_decomposed") for name in arrays)
    return _Potential(
        quadratics=[arrays[f"quadratic_layers.{i}.quadratic_decomposed"] for i in range(n_layers)],
        weights=[arrays[f"quadratic_layers.{i}.weight"] for i in range(n_layers)],
        biases=[arrays[f"quadratic_layers.{i}.bias"] for i in range(n_layers)],
        mixers=[arrays[f"convex_layers.{i}.weight"] for i in range(n_layers - 1)],
        final=arrays["final_layer.weight"],
    )


def _gradient(f: _Potential, X: np.ndarray) -> np.ndarray:
    """Return the gradient of one potential at every row.

    It is computed by one forward and one backward pass over the layers.
    """
    projections = [(X @ A.reshape(len(A), -1)).reshape(len(X), *A.shape[1:]) for A in f.quadratics]
    convex = [(p**2).sum(axis=1) + X @ W.T + b for p, W, b in zip(projections, f.weights, f.biases, strict=True)]
    hidden = convex[0]  # (n, width)
    slopes = [np.ones_like(hidden)]  # the first layer is quadratic, without activation
    for q, C in zip(convex[1:], f.mixers, strict=True):
        a = hidden @ C.T + q
        decay = np.exp(np.minimum(a, 0.0))
        hidden = np.maximum(a, 0.0) + decay - 1.0  # celu
        slopes.append(decay)

    deltas = [f.final * slopes[-1]]
    for slope, C in zip(slopes[-2::-1], f.mixers[::-1], strict=True):
        deltas.append((deltas[-1] @ C) * slope)
    gradient = _RIDGE * X  # (n, d)
    for delta, p, A, W in zip(deltas[::-1], projections, f.quadratics, f.weights, strict=True):
        gradient += delta @ W + 2 * (p * delta[:, None]).reshape(len(X), -1) @ A.reshape(len(A), -1).T
    return gradient


def _mixture(n_features: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the centres and covariance factors of the source.

    Their shapes are (3, d) and (3, d, d). They are the random draws of the benchmark, reproduced from its seed.
    """
    legacy = np.random.RandomState(0)
    columns = [legacy.choice(3, _COMPONENTS, replace=False) for _ in range(n_features)]
    centres = np.stack(columns, axis=1) - 1.0
    factors = legacy.normal(size=(_COMPONENTS, n_features, n_features)).astype(np.float32).astype(np.float64)
    factors /= np.linalg.norm(factors, axis=2, keepdims=True)
    energy = (centres**2).sum(axis=1).mean() + _COMPONENT_STD**2 * n_features
    scale = np.sqrt(energy / n_features)
    return centres / scale, factors / scale
