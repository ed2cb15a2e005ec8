"""Row-wise errors of a map or plan.

All costs are squared Euclidean, in squared units of the data.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from neuralot._torch import as_numpy
from neuralot.divergences import Samples, as_aligned, as_masses, as_points


def l2_uvp(
    mapped: Samples,
    exact: Samples,
    target_variance: float | None = None,
    *,
    sample_weight: ArrayLike | None = None,
) -> float:
    r"""Unexplained variance percentage of a map.

    .. math:: \mathrm{L^2\text{-}UVP} = 100 \cdot E_{x}|T(x) - T^*(x)|^2 \,/\, \mathrm{Var}(\nu)

    0 is ideal; the constant map to the target's mean scores 100.

    Parameters
    ----------
    mapped, exact : array-like of shape (n, d)
        Images of the same source rows under the fitted and the exact map.
    target_variance : float or None, default=None
        Total variance of the target law, summed over coordinates; None uses that of `exact`.
    sample_weight : array-like of shape (n,), optional
        Masses of the rows.

    Returns
    -------
    float
        In percent.

    Raises
    ------
    ValueError
        If a sample is not finite and two-dimensional, shapes differ, the variance is not positive, or weights are
        not valid.

    References
    ----------
    Korotin, A., Li, L., Genevay, A., Solomon, J., Filippov, A., Burnaev, E. (2021). Do neural optimal
    transport solvers work? A continuous Wasserstein-2 benchmark. NeurIPS. arXiv:2106.01954.

    Examples
    --------
    >>> from neuralot.metrics import l2_uvp
    >>> exact = [[0.0], [2.0]]
    >>> l2_uvp([[1.0], [1.0]], exact), l2_uvp(exact, exact)
    (100.0, 0.0)
    """
    T, T_exact = as_aligned(mapped=mapped, exact=exact)
    masses = as_masses(sample_weight, "sample_weight", len(T))
    variance = _mean_square(T_exact - masses @ T_exact, masses) if target_variance is None else target_variance
    if not 0 < variance < math.inf:
        raise ValueError(f"target_variance must be positive and finite, got {variance}.")
    return float(100 * _mean_square(T - T_exact, masses) / variance)


def conditional_bures_uvp(
    draws: Samples,
    means: Samples,
    covariances: Samples,
    target_variance: float,
    *,
    sample_weight: ArrayLike | None = None,
) -> float:
    r"""Error of a plan's conditional means and covariances, in percent.

    .. math:: 100 \cdot \frac{1}{n} \sum_i \mathrm{BW}^2\big(N(\hat m_i, \hat S_i), N(m_i, S_i)\big) \,/\,
       \mathrm{Var}(\nu), \quad \mathrm{BW}^2 = |\hat m_i - m_i|^2
       + \mathrm{tr}\big(\hat S_i + S_i - 2 (S_i^{1/2} \hat S_i S_i^{1/2})^{1/2}\big)

    :math:`\hat m_i` and :math:`\hat S_i` are the moments of the draws for row i. This is the conditional
    :math:`\mathrm{BW}_2^2`-UVP of the entropic benchmark, which has the factor 1/2 in both distance and variance. 0 is
    ideal. The draws of the exact plan score more than 0: about 100 times :math:`E \, \mathrm{tr}(S) (1 + (d + 1) / 4)`
    over the number of draws and the target's variance, and less than that if the eigenvalues of S differ.

    Parameters
    ----------
    draws : array-like of shape (n_draws, n, d)
        Draws from the fitted plan for n source rows. With one draw, the covariance is 0.
    means : array-like of shape (n, d)
        The exact conditional means, such as those of `neuralot.datasets.TransportPair.conditional_moments`.
    covariances : array-like of shape (n, d, d)
        The exact conditional covariances.
    target_variance : float
        Total variance of the target law, summed over coordinates.
    sample_weight : array-like of shape (n,), optional
        Masses of the rows.

    Returns
    -------
    float
        In percent.

    Raises
    ------
    ValueError
        If an argument is not finite, shapes do not agree, the variance is not positive, or weights are not
        valid.

    References
    ----------
    Gushchin et al. (2023). Building the bridge of Schrödinger: a continuous entropic optimal transport benchmark.
    NeurIPS. arXiv:2306.10161.

    Examples
    --------
    >>> from neuralot.metrics import conditional_bures_uvp
    >>> draws = [[[0.0]], [[2.0]]]  # two draws for one row: mean 1 and variance 2
    >>> conditional_bures_uvp(draws, [[1.0]], [[[2.0]]], target_variance=4.0)
    0.0
    >>> conditional_bures_uvp(draws, [[0.0]], [[[2.0]]], target_variance=4.0)
    25.0
    """
    m = as_points(means, "means")
    S, Y = (as_numpy(each, name).astype(np.float64) for name, each in (("covariances", covariances), ("draws", draws)))
    if Y.ndim != 3 or Y.shape[1:] != m.shape or S.shape != (*m.shape, m.shape[1]) or not len(Y):
        raise ValueError(
            "draws must have shape (n_draws, n, d), means (n, d) and covariances (n, d, d), "
            f"got {Y.shape}, {m.shape} and {S.shape}."
        )
    if not (np.isfinite(Y).all() and np.isfinite(S).all()):
        raise ValueError("draws and covariances must be finite, but contain NaN or infinity.")
    if not 0 < target_variance < math.inf:
        raise ValueError(f"target_variance must be positive and finite, got {target_variance}.")
    masses = as_masses(sample_weight, "sample_weight", len(m))
    centre = Y.mean(axis=0)
    away = (Y - centre).transpose(1, 2, 0)  # (n, d, n_draws)
    fitted = away @ away.transpose(0, 2, 1) / max(len(Y) - 1, 1)
    values, axes = np.linalg.eigh(S)
    root = (axes * np.sqrt(values.clip(min=0))[:, None]) @ axes.transpose(0, 2, 1)
    common = np.sqrt(np.linalg.eigvalsh(root @ fitted @ root).clip(min=0)).sum(axis=1)
    bures = np.trace(fitted + S, axis1=1, axis2=2) - 2 * common
    return float(100 * masses @ (((centre - m) ** 2).sum(axis=1) + bures.clip(min=0)) / target_variance)


def cosine_similarity(X: Samples, mapped: Samples, exact: Samples, *, sample_weight: ArrayLike | None = None) -> float:
    r"""Cosine between the displacements of the fitted and exact maps.

    .. math:: \cos = \frac{E\langle T(x) - x, T^*(x) - x \rangle}
       {\sqrt{E|T(x) - x|^2 \; E|T^*(x) - x|^2}} \in [-1, 1]

    1 is ideal. The value is 0 if exactly one of the two maps is the identity on the rows, and 1 if both are.

    Parameters
    ----------
    X : array-like of shape (n, d)
        Source rows.
    mapped, exact : array-like of shape (n, d)
        Their images under the fitted and the exact map.
    sample_weight : array-like of shape (n,), optional
        Masses of the rows.

    Returns
    -------
    float
        Dimensionless.

    Raises
    ------
    ValueError
        If a sample is not finite and two-dimensional, shapes differ, or weights are not valid.

    References
    ----------
    Korotin et al. (2021), arXiv:2106.01954.

    Examples
    --------
    >>> from neuralot.metrics import cosine_similarity
    >>> X = [[0.0, 0.0], [1.0, 0.0]]
    >>> cosine_similarity(X, [[0.0, 2.0], [1.0, 2.0]], [[0.0, 1.0], [1.0, 1.0]])
    1.0
    """
    x, T, T_exact = as_aligned(X=X, mapped=mapped, exact=exact)
    roots = np.sqrt(as_masses(sample_weight, "sample_weight", len(x)))[:, None]
    displacement, exact_displacement = _unit_scale(roots * (T - x)), _unit_scale(roots * (T_exact - x))
    if not displacement.any() or not exact_displacement.any():
        return float(displacement.any() == exact_displacement.any())
    product = float((displacement * exact_displacement).sum())
    return product / math.sqrt(float((displacement**2).sum()) * float((exact_displacement**2).sum()))


def transport_cost(X: Samples, mapped: Samples, *, sample_weight: ArrayLike | None = None) -> float:
    """Mean squared displacement of a map, ``E|x - T(x)|^2``.

    Parameters
    ----------
    X, mapped : array-like of shape (n, d)
        Source rows and their images.
    sample_weight : array-like of shape (n,), optional
        Masses of the rows.

    Returns
    -------
    float
        In squared units of the data.

    Raises
    ------
    ValueError
        If a sample is not finite and two-dimensional, shapes differ, or weights are not valid.

    Examples
    --------
    >>> from neuralot.metrics import transport_cost
    >>> transport_cost([[0.0, 0.0], [1.0, 0.0]], [[0.0, 1.0], [1.0, 3.0]])
    5.0
    """
    x, T = as_aligned(X=X, mapped=mapped)
    return _mean_square(x - T, as_masses(sample_weight, "sample_weight", len(x)))


def d_cost(X: Samples, mapped: Samples, exact_cost: float, *, sample_weight: ArrayLike | None = None) -> float:
    """Absolute error of the transport cost.

    The error is ``|E|x - T(x)|^2 - W2^2|``. A value of 0 does not imply that the image has the target's law: also check
    `d_target`.

    Parameters
    ----------
    X, mapped : array-like of shape (n, d)
        Source rows and their images.
    exact_cost : float
        The optimal cost between the two laws.
    sample_weight : array-like of shape (n,), optional
        Masses of the rows.

    Returns
    -------
    float
        In squared units of the data.

    Raises
    ------
    ValueError
        If a sample is not finite and two-dimensional, shapes differ, or weights are not valid.

    References
    ----------
    Choi, J., Choi, J., Kwon, D. (2025). Overcoming spurious solutions in semi-dual neural optimal
    transport. ICML. arXiv:2502.04583.

    Examples
    --------
    >>> from neuralot.metrics import d_cost
    >>> d_cost([[0.0, 0.0]], [[0.0, 1.0]], exact_cost=1.5)
    0.5
    """
    return abs(transport_cost(X, mapped, sample_weight=sample_weight) - exact_cost)


def _unit_scale(rows: np.ndarray) -> np.ndarray:
    """Divide rows by their largest absolute entry.

    The squares of very small or large entries then neither underflow nor overflow.
    """
    largest = np.abs(rows).max()
    return rows / largest if largest > 0 else rows


def _mean_square(rows: np.ndarray, masses: np.ndarray) -> float:
    """Return the mean squared norm of the rows."""
    return float(masses @ (rows**2).sum(axis=1))
