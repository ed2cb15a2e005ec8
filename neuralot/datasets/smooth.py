"""Laws with a density on R^d, and known Monge maps."""

from __future__ import annotations

import math

import numpy as np

from neuralot.datasets.pair import Seed, Tolerance, TransportPair, check_at_least, plan_of
from neuralot.parameters import as_generator

# rows times features of the design for the moments of make_convex_potential: few features need more rows
_DESIGN_SIZE = 2**18


def make_gaussians(n_features: int = 2, random_state: Seed = 0) -> TransportPair:
    r"""Two Gaussians with non-commuting covariances: the map is affine.

    Between :math:`N(m_0, S_0)` and :math:`N(m_1, S_1)` the map is
    :math:`T(x) = m_1 + A (x - m_0)`, :math:`A = S_0^{-1/2} (S_0^{1/2} S_1 S_0^{1/2})^{1/2} S_0^{-1/2}`,
    and the cost is the squared Bures-Wasserstein distance
    :math:`|m_0 - m_1|^2 + \mathrm{tr}(S_0 + S_1 - 2 (S_0^{1/2} S_1 S_0^{1/2})^{1/2})`.
    The means differ. Both covariances have eigenvalues in [0.3, 2] and different axes, so the map is not a scaling of
    the coordinates in a common basis.

    Parameters
    ----------
    n_features : int, default=2
        The dimension d, at least 1.
    random_state : int, RandomState, Generator or None, default=0
        Source of the random means and covariances. The default gives the same pair each time.

    Returns
    -------
    TransportPair
        With the exact map, plan, cost and target variance.

    Raises
    ------
    ValueError
        If `n_features` is not an integer of at least 1.

    References
    ----------
    Gelbrich, M. (1990). On a formula for the L2 Wasserstein metric between measures on Euclidean and
    Hilbert spaces. Mathematische Nachrichten, 147, 185-203.

    Examples
    --------
    >>> from neuralot.datasets import make_gaussians
    >>> pair = make_gaussians(3)
    >>> X, Y = pair.sample(4, random_state=0)
    >>> pair.exact_map(X).shape, pair.cost > 0
    ((4, 3), True)
    """
    d = check_at_least("n_features", n_features, 1)
    rng = as_generator(random_state)
    mean_source, mean_target = rng.normal(size=(2, d))
    covariance_source = _covariance(np.geomspace(0.3, 2.0, d), rng)
    covariance_target = _covariance(rng.uniform(0.3, 2.0, size=d), rng)
    root_source, root_target = _root(covariance_source), _root(covariance_target)
    root_product = _root(root_source @ covariance_target @ root_source)
    inverse_root = np.linalg.inv(root_source)
    slope = inverse_root @ root_product @ inverse_root
    variance = float(np.trace(covariance_target))
    bures = float(np.trace(covariance_source)) + variance - 2 * float(np.trace(root_product))

    def exact_map(X: np.ndarray) -> np.ndarray:
        return mean_target + (X - mean_source) @ slope

    return TransportPair(
        name="gaussians",
        n_features=d,
        source=lambda n, rng: mean_source + rng.normal(size=(n, d)) @ root_source,
        target=lambda n, rng: mean_target + rng.normal(size=(n, d)) @ root_target,
        exact_map=exact_map,
        exact_plan=plan_of(exact_map),
        cost=float(np.sum((mean_source - mean_target) ** 2)) + bures,
        target_variance=variance,
        tolerance=smooth_tolerance(d),
    )


def make_convex_potential(n_features: int = 2, random_state: Seed = 0) -> TransportPair:
    r"""Gaussian pushed forward by the gradient of a convex function.

    The map is far from affine. The source is standard normal and the target its image under the gradient of the random
    function :math:`f(x) = \frac{1}{s} \Big( \frac{1}{2} x^\top Q x - \langle m, x \rangle
    + \sum_k \frac{c_k}{a_k} \log\cosh(a_k \langle w_k, x \rangle + b_k) \Big)`, with Q positive definite,
    :math:`c_k, a_k > 0` and 2d random unit directions :math:`w_k`. As f is strongly convex, its gradient is
    the Monge map (Brenier), exactly and everywhere. m and s centre the image and give it unit mean variance
    per coordinate.

    m, s and the cost are moments without a closed form. They are estimated when the pair is created, on a fixed design
    of at least 16384 normal rows with exact mean and covariance, to about 0.2 % (0.4 % for d = 1). The map is exact
    for any m and s.

    Parameters
    ----------
    n_features : int, default=2
        The dimension d, at least 1.
    random_state : int, RandomState, Generator or None, default=0
        Source of the random potential. The default gives the same pair each time.

    Returns
    -------
    TransportPair
        With the exact map and plan, the cost, and the target variance d.

    Raises
    ------
    ValueError
        If `n_features` is not an integer of at least 1.

    References
    ----------
    Brenier, Y. (1991). Polar factorization and monotone rearrangement of vector-valued functions.
    Communications on Pure and Applied Mathematics, 44(4), 375-417.

    Examples
    --------
    >>> from neuralot.datasets import make_convex_potential
    >>> pair = make_convex_potential()
    >>> X, Y = pair.sample(2000, random_state=0)
    >>> Y.shape, pair.target_variance, round(float(Y.var(axis=0).sum()), 1)
    ((2000, 2), 2.0, 2.0)
    """
    d = check_at_least("n_features", n_features, 1)
    rng = as_generator(random_state)
    quadratic = _covariance(rng.uniform(0.2, 0.6, size=d), rng)
    directions = rng.normal(size=(2 * d, d))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    sharpness = rng.uniform(2.0, 4.0, size=2 * d)
    offsets = sharpness * rng.uniform(-1.0, 1.0, size=2 * d)
    heights = rng.uniform(0.5, 1.5, size=2 * d)

    def gradient(X: np.ndarray) -> np.ndarray:
        return X @ quadratic + (heights * np.tanh(X @ directions.T * sharpness + offsets)) @ directions

    design = normal_design(max(2**14, _DESIGN_SIZE // d), d)
    image = gradient(design)
    shift = image.mean(axis=0)
    scale = np.sqrt(image.var(axis=0).mean())

    def exact_map(X: np.ndarray) -> np.ndarray:
        return (gradient(X) - shift) / scale

    return TransportPair(
        name="convex_potential",
        n_features=d,
        source=lambda n, rng: rng.normal(size=(n, d)),
        target=lambda n, rng: exact_map(rng.normal(size=(n, d))),
        exact_map=exact_map,
        exact_plan=plan_of(exact_map),
        cost=float(np.sum((design - exact_map(design)) ** 2, axis=1).mean()),
        target_variance=float(d),
        tolerance=smooth_tolerance(d),
    )


def smooth_tolerance(n_features: int) -> Tolerance:
    """Return the tolerance of pairs with densities.

    Its L2-UVP increases with the dimension, as it does for every solver.
    """
    if n_features <= 2:
        return Tolerance(l2_uvp=0.5, cosine=0.99, otp_l2_uvp=1.0)
    growth = max(1.0, math.sqrt(n_features / 8))
    return Tolerance(l2_uvp=2.0 * growth, cosine=0.99, otp_l2_uvp=4.0 * growth)


def _covariance(eigenvalues: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a symmetric matrix with these eigenvalues and random axes."""
    axes = random_axes(len(eigenvalues), rng)
    return (axes * eigenvalues) @ axes.T


def random_axes(n_features: int, rng: np.random.Generator) -> np.ndarray:
    """Return a random orthogonal matrix."""
    return np.linalg.qr(rng.normal(size=(n_features, n_features)))[0]


def _root(matrix: np.ndarray) -> np.ndarray:
    """Return the symmetric square root of a positive semi-definite matrix."""
    eigenvalues, axes = np.linalg.eigh(matrix)
    return (axes * np.sqrt(np.clip(eigenvalues, 0.0, None))) @ axes.T


def normal_design(n: int, n_features: int) -> np.ndarray:
    """Return normal rows with mean 0 and the identity covariance.

    The rows are antithetic pairs, whitened.
    """
    half = np.random.default_rng(0).normal(size=(n // 2, n_features))
    rows = np.concatenate([half, -half])
    return np.linalg.solve(np.linalg.cholesky(rows.T @ rows / len(rows)), rows.T).T
