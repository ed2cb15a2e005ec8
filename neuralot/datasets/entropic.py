"""Entropic transport plans that are known in closed form."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from scipy.special import log_ndtr, log_softmax, ndtri_exp

from neuralot.datasets.pair import Seed, TransportPair, check_at_least
from neuralot.datasets.smooth import normal_design, random_axes
from neuralot.parameters import as_generator, number, one_of

POTENTIALS = ("mixture", "box")
Moments: TypeAlias = tuple[np.ndarray, np.ndarray]

# rows times features of the design for the variance of the target
_DESIGN_SIZE = 2**18


def make_entropic_plan(
    n_features: int = 2,
    eps: float = 0.1,
    *,
    potential: str = "mixture",
    n_components: int = 5,
    random_state: Seed = 0,
) -> TransportPair:
    r"""Normal source, and target of a known entropic plan.

    Each positive function v is the exponential of the potential of one entropic problem, whose plan is

    .. math:: \pi(y | x) \propto \exp\big(-|x - y|^2 / (2 \epsilon)\big) \, v(y)

    The target is the law of y when x is standard normal. The plan is optimal for
    :math:`\min_\pi E_\pi \frac{1}{2} |x - y|^2 + \epsilon \, \mathrm{KL}(\pi \,|\, \mu \otimes \nu)` between the source
    and this target. With ``potential='mixture'``, :math:`v = \sum_k w_k N(m_k, S_k)` and

    .. math:: \pi(y | x) = \sum_k w_k(x) \, N\big(V_k (S_k^{-1} m_k + x / \epsilon), V_k\big), \quad
       V_k = (S_k^{-1} + I / \epsilon)^{-1}, \quad w_k(x) \propto w_k \, N(x; m_k, S_k + \epsilon I)

    Here the weights :math:`w_k` are equal, the means :math:`m_k` lie on a sphere of radius 3, and all :math:`S_k` have
    eigenvalues in [0.1, 1] and random axes. With ``potential='box'``, v is 1 in a randomly rotated cube of side 2 and
    0 outside. Along its axes, the coordinates of y are then independent truncated normal variables. This plan is no
    mixture of Gaussians, so a method that fits such mixtures cannot represent it.

    Parameters
    ----------
    n_features : int, default=2
        The dimension d, at least 1.
    eps : float, default=0.1
        The regularisation, in squared units of the data.
    potential : {'mixture', 'box'}, default='mixture'
        The function v.
    n_components : int, default=5
        Number of Gaussians in the mixture. With 1, source and target are Gaussian.
    random_state : int, RandomState, Generator or None, default=0
        Source of the random potential. The default gives the same pair each time.

    Returns
    -------
    TransportPair
        With `eps`, the exact plan, its conditional moments, and the variance of the target. The latter is computed on a
        fixed design of at least 16384 source rows, to about 0.2 %. There is no `cost`, since the plan is not optimal
        for the problem without regularisation.

    Raises
    ------
    ValueError
        If `n_features` or `n_components` is not an integer of at least 1, `eps` is not positive and finite, or
        `potential` is unknown.

    References
    ----------
    Gushchin, N., Kolesov, A., Mokrov, P., Karpikova, P., Spiridonov, A., Burnaev, E., Korotin, A. (2023). Building the
    bridge of Schrödinger: a continuous entropic optimal transport benchmark. NeurIPS. arXiv:2306.10161.

    Korotin, A., Gushchin, N., Burnaev, E. (2024). Light Schrödinger bridge. ICLR. arXiv:2310.01174.

    Examples
    --------
    >>> from neuralot.datasets import make_entropic_plan
    >>> pair = make_entropic_plan(eps=0.1)
    >>> X, Y = pair.sample(5, 3, random_state=0)
    >>> means, covariances = pair.conditional_moments(X)
    >>> means.shape, covariances.shape
    ((5, 2), (5, 2, 2))
    """
    d, k = check_at_least("n_features", n_features, 1), check_at_least("n_components", n_components, 1)
    number(0).check("eps", eps)
    one_of(*POTENTIALS).check("potential", potential)
    eps = float(eps)
    rng = as_generator(random_state)
    plan = _MixturePlan.random(d, eps, k, rng) if potential == "mixture" else _BoxPlan(random_axes(d, rng), eps)
    means, variances = plan.totals(normal_design(max(2**14, _DESIGN_SIZE // d), d))
    return TransportPair(
        name=f"entropic_{potential}",
        n_features=d,
        source=lambda n, rng: rng.normal(size=(n, d)),
        target=lambda n, rng: plan.draw(rng.normal(size=(n, d)), rng),
        exact_plan=plan.draw,
        target_variance=float(variances.mean() + means.var(axis=0).sum()),
        eps=eps,
        conditional_moments=plan.moments,
    )


class _EntropicPlan(ABC):
    """A plan with known draws and moments."""

    @abstractmethod
    def draw(self, X: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return one draw for each row."""

    @abstractmethod
    def moments(self, X: np.ndarray) -> Moments:
        """Return conditional means and covariances."""

    @abstractmethod
    def totals(self, X: np.ndarray) -> Moments:
        """Return conditional means and total variances."""


@dataclass(frozen=True)
class _MixturePlan(_EntropicPlan):
    """Plan of a mixture of Gaussians.

    The arrays belong to its components: their means m (k, d), precisions of the weights (k, d, d), slopes V / eps
    (k, d, d), offsets V S^-1 m (k, d) and covariances V (k, d, d). All S have one determinant.
    """

    centres: np.ndarray
    precisions: np.ndarray
    slopes: np.ndarray
    offsets: np.ndarray
    covariances: np.ndarray

    @classmethod
    def random(cls, d: int, eps: float, k: int, rng: np.random.Generator) -> _MixturePlan:
        """Return a plan with random means and axes."""
        centres = rng.normal(size=(k, d))
        centres *= 3 / np.linalg.norm(centres, axis=1, keepdims=True)
        eigenvalues = np.geomspace(0.1, 1.0, d)
        axes = np.stack([random_axes(d, rng) for _ in range(k)])
        transposed = axes.transpose(0, 2, 1)
        matrix = lambda values: (axes * values) @ transposed  # noqa: E731
        shares = eigenvalues / (eigenvalues + eps)
        offsets = np.einsum("kij,kj->ki", matrix(1 - shares), centres)
        return cls(centres, matrix(1 / (eigenvalues + eps)), matrix(shares), offsets, matrix(eps * shares))

    def draw(self, X: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        uniform = rng.random((len(X), 1))
        component = (np.cumsum(self._weights(X), axis=1)[:, :-1] < uniform).sum(axis=1)
        roots = np.linalg.cholesky(self.covariances)
        noise, Y = rng.normal(size=X.shape), np.empty(X.shape)
        for k, (slope, offset, root) in enumerate(zip(self.slopes, self.offsets, roots, strict=True)):
            rows = component == k
            Y[rows] = X[rows] @ slope + offset + noise[rows] @ root.T
        return Y

    def moments(self, X: np.ndarray) -> Moments:
        weights, centres = self._weights(X), self._centres(X)
        means = np.einsum("nk,nki->ni", weights, centres)
        deviations = np.sqrt(weights)[:, :, None] * (centres - means[:, None])
        between = deviations.transpose(0, 2, 1) @ deviations
        return means, np.einsum("nk,kij->nij", weights, self.covariances) + between

    def totals(self, X: np.ndarray) -> Moments:
        weights, centres = self._weights(X), self._centres(X)
        means = np.einsum("nk,nki->ni", weights, centres)
        squares = np.trace(self.covariances, axis1=1, axis2=2) + (centres**2).sum(axis=2)
        return means, (weights * squares).sum(axis=1) - (means**2).sum(axis=1)

    def _weights(self, X: np.ndarray) -> np.ndarray:
        """Return the weights w_k(x), shape (n, k)."""
        away = [X - centre for centre in self.centres]
        squares = [((x @ precision) * x).sum(axis=1) for x, precision in zip(away, self.precisions, strict=True)]
        return np.exp(log_softmax(-np.stack(squares, axis=1) / 2, axis=1))

    def _centres(self, X: np.ndarray) -> np.ndarray:
        """Return the mean of each component, shape (n, k, d)."""
        return np.stack([X @ slope for slope in self.slopes], axis=1) + self.offsets


@dataclass(frozen=True)
class _BoxPlan(_EntropicPlan):
    """Plan of the indicator of a cube with these axes."""

    axes: np.ndarray
    eps: float

    def draw(self, X: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        sign, law = self._law(X)
        return (sign * law.draw(rng)) @ self.axes.T

    def moments(self, X: np.ndarray) -> Moments:
        means, variances = self._along_axes(X)
        return means @ self.axes.T, (self.axes * variances[:, None]) @ self.axes.T

    def totals(self, X: np.ndarray) -> Moments:
        means, variances = self._along_axes(X)
        return means @ self.axes.T, variances.sum(axis=1)

    def _along_axes(self, X: np.ndarray) -> Moments:
        sign, law = self._law(X)
        means, variances = law.moments()
        return sign * means, variances

    def _law(self, X: np.ndarray) -> tuple[np.ndarray, _TruncatedNormal]:
        """Return signs, and the law of the signed coordinates.

        With the sign of x, the centre of the normal law is not negative.
        """
        centres = X @ self.axes
        return np.where(centres < 0, -1.0, 1.0), _TruncatedNormal(np.abs(centres), math.sqrt(self.eps))


class _TruncatedNormal:
    """Normal variables in [-1, 1], with non-negative centres.

    All probabilities are those of the left tail, as logarithms, which are accurate far from the centre too. The moments
    of `scipy.stats.truncnorm` take milliseconds for each variable.
    """

    def __init__(self, centres: np.ndarray, scale: float) -> None:
        self.centres, self.scale = centres, scale
        self.low, self.high = (-1 - centres) / scale, (1 - centres) / scale
        self.log_high = log_ndtr(self.high)
        self.ratio = np.exp(log_ndtr(self.low) - self.log_high)  # of the probabilities below -1 and below 1

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        share = self.ratio + rng.random(self.ratio.shape) * (1 - self.ratio)
        return (self.centres + self.scale * ndtri_exp(self.log_high + np.log(share))).clip(-1, 1)

    def moments(self) -> Moments:
        """Return means and variances."""
        log_mass = self.log_high + np.log1p(-self.ratio)
        low, high = (np.exp(-(z**2) / 2 - log_mass) / math.sqrt(2 * math.pi) for z in (self.low, self.high))
        variances = 1 + self.low * low - self.high * high - (low - high) ** 2
        return self.centres + self.scale * (low - high), self.scale**2 * variances
