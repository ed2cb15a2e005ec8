"""Unbalanced transport between Gaussians, with the exact plan."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from neuralot.datasets.pair import Seed, check_at_least
from neuralot.parameters import as_generator, number


@dataclass(frozen=True)
class UnbalancedPair:
    r"""Two Gaussians with a known unbalanced plan.

    The plan minimises :math:`\int |x - y|^2 d\pi + \rho \, \mathrm{KL}(\pi_1 | \mu) + \rho \, \mathrm{KL}(\pi_2 | \nu)`
    over all measures :math:`\pi`. Both marginals are multiples of Gaussians.

    Attributes
    ----------
    reg : float
        :math:`\rho`, in squared units of the data.
    mass : float
        Total mass of the plan.
    cost : float
        Transport cost :math:`\int |x - y|^2 d\pi`.
    means, covariances : tuple of ndarray
        Of source and target, shapes (d,) and (d, d).
    plan_means, plan_covariances : tuple of ndarray
        Of the normalised marginals of the plan.
    matrix : ndarray of shape (d, d)
        Matrix of the affine map from the first marginal of the plan to the second.

    Examples
    --------
    >>> from neuralot.datasets import make_unbalanced_gaussians
    >>> pair = make_unbalanced_gaussians(d=3)
    >>> X, Y = pair.sample(5, random_state=0)
    >>> pair.source_mass(X).shape, pair.exact_map(X).shape
    ((5,), (5, 3))
    """

    reg: float
    mass: float
    cost: float
    means: tuple[np.ndarray, np.ndarray]
    covariances: tuple[np.ndarray, np.ndarray]
    plan_means: tuple[np.ndarray, np.ndarray]
    plan_covariances: tuple[np.ndarray, np.ndarray]
    matrix: np.ndarray

    def sample(self, n: int, random_state: Seed = None) -> tuple[np.ndarray, np.ndarray]:
        """Draw n rows of each law, shape (n, d)."""
        check_at_least("n", n, 1)
        rng = as_generator(random_state)
        X, Y = (rng.multivariate_normal(*law, n) for law in zip(self.means, self.covariances, strict=True))
        return X, Y

    def exact_map(self, X: np.ndarray) -> np.ndarray:
        """Return the images of rows, shape (n, d)."""
        return self.plan_means[1] + (X - self.plan_means[0]) @ self.matrix

    def source_mass(self, X: np.ndarray) -> np.ndarray:
        """Return the density of the first marginal, shape (n,)."""
        return self._density(X, 0)

    def target_mass(self, Y: np.ndarray) -> np.ndarray:
        """Return the density of the second marginal, shape (n,)."""
        return self._density(Y, 1)

    def _density(self, rows: np.ndarray, side: int) -> np.ndarray:
        of_plan = _log_density(rows, self.plan_means[side], self.plan_covariances[side])
        return self.mass * np.exp(of_plan - _log_density(rows, self.means[side], self.covariances[side]))


def make_unbalanced_gaussians(
    d: int = 2, reg: float = 2.0, shift: float = 1.0, random_state: Seed = 0
) -> UnbalancedPair:
    r"""Return two Gaussians with random covariances and their unbalanced plan.

    The potentials of the plan are quadratic: :math:`\log s = -f / \rho` for the density s of the first marginal, and
    the same with g for the second. If the map has the matrix T, this gives the covariances
    :math:`(A^{-1} + 2 (I - T) / \rho)^{-1}` and :math:`(B^{-1} + 2 (I - T^{-1}) / \rho)^{-1}` of the marginals. The
    map transports one to the other if :math:`T (B^{-1} + 2 I / \rho) T = A^{-1} + 2 I / \rho`. The means solve a linear
    system, and the mass follows from :math:`f(x) + g(T(x)) = |x - T(x)|^2`.

    Parameters
    ----------
    d : int, default=2
        Number of features.
    reg : float, default=2.0
        Penalty of both marginals, in squared units of the data.
    shift : float, default=1.0
        Distance of the two means.
    random_state : int, RandomState, Generator or None, default=0
        Seed of the covariances.

    Returns
    -------
    UnbalancedPair

    Raises
    ------
    ValueError
        If `d` is less than 1, or `reg` is not positive.

    References
    ----------
    Janati, Muzellec, Peyré and Cuturi, "Entropic optimal transport between unbalanced Gaussian measures has a closed
    form", NeurIPS 2020. This is the case without entropy.

    Examples
    --------
    >>> from neuralot.datasets import make_unbalanced_gaussians
    >>> pair = make_unbalanced_gaussians()
    >>> X, Y = pair.sample(100_000, random_state=0)
    >>> bool(abs(pair.source_mass(X).mean() - pair.mass) < 0.01 > abs(pair.target_mass(Y).mean() - pair.mass))
    True
    """
    check_at_least("d", d, 1)
    number(0).check("reg", reg)
    rng, identity = as_generator(random_state), np.eye(d)
    factors = rng.normal(size=(2, d, d)) / math.sqrt(d)
    A, B = factors[0] @ factors[0].T + identity / 2, factors[1] @ factors[1].T + identity / 3
    means = np.zeros(d), np.full(d, shift / math.sqrt(d))
    A_inverse, B_inverse, strength = np.linalg.inv(A), np.linalg.inv(B), 2 / reg * identity
    T = _between(B_inverse + strength, A_inverse + strength)
    covariance = np.linalg.inv(A_inverse + strength @ (identity - T))
    covariances = covariance, T @ covariance @ T
    system = np.block([[A_inverse + strength, -strength], [-strength, B_inverse + strength]])
    solution = np.linalg.solve(system, np.concatenate([A_inverse @ means[0], B_inverse @ means[1]]))
    plan_means = solution[:d], solution[d:]
    distance = float(((plan_means[0] - plan_means[1]) ** 2).sum())
    ratios = [
        float(_log_density(centre, centre, of_plan) - _log_density(centre, mean, of_law))
        for centre, of_plan, mean, of_law in zip(plan_means, covariances, means, (A, B), strict=True)
    ]
    mass = math.exp(-(distance / reg + sum(ratios)) / 2)
    cost = mass * (distance + float(np.trace(covariances[0] + covariances[1] - 2 * T @ covariance)))
    return UnbalancedPair(reg, mass, cost, means, (A, B), plan_means, covariances, T)


def _between(P: np.ndarray, Q: np.ndarray) -> np.ndarray:
    """Return the positive definite T that solves TPT = Q."""
    root = _power(P, 0.5)
    inverse_root = np.linalg.inv(root)
    return inverse_root @ _power(root @ Q @ root, 0.5) @ inverse_root


def _power(matrix: np.ndarray, exponent: float) -> np.ndarray:
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * values**exponent) @ vectors.T


def _log_density(rows: np.ndarray, mean: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Return the log-density of a Gaussian, shape (n,) or ()."""
    root = np.linalg.cholesky(covariance)
    white = np.linalg.solve(root, (rows - mean).T)  # (d, n) or (d,)
    return -0.5 * (white**2).sum(axis=0) - np.log(np.diag(root)).sum() - len(mean) / 2 * math.log(2 * math.pi)
