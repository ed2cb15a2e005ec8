"""Smoothing of the source: noise levels and their schedules."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import overload

import torch
from torch import Tensor

SCHEDULES = ("linear", "geometric", "vp")
NOISE_SHAPES = ("isotropic", "covariance", "thin")
MIN_ROWS_OF_THIN = 200  # with fewer rows, separate clusters and noise look thin
FLAT = 1e-6  # relative variance below which a direction is flat


@dataclass(frozen=True)
class Smoothing:
    """Noise on the source, annealed from `eps_max` to `eps_min`.

    After the share `anneal_fraction` of the run the level stays at `eps_min`. With
    t = min(progress / anneal_fraction, 1), the level eps and the smoothed rows x~ are

    - ``'linear'``: eps = eps_max + t (eps_min - eps_max), and x~ = x + sqrt(eps) z;
    - ``'geometric'``: eps = eps_max (eps_min / eps_max)^t, and the same x~;
    - ``'vp'`` (variance preserving): eps linear as above, and x~ = sqrt(1 - eps) x + sqrt(eps) z.

    Parameters
    ----------
    eps_max, eps_min : float
        Variances of the noise, eps_max >= eps_min > 0; below 1 for ``'vp'``.
    kind : {'geometric', 'linear', 'vp'}
    anneal_fraction : float
        Share of the run, in (0, 1], after which eps stays at `eps_min`.

    Raises
    ------
    ValueError
        If a parameter is outside of its range.

    References
    ----------
    Choi, Choi and Kwon, "Overcoming Spurious Solutions in Semi-Dual Neural Optimal Transport", ICML 2025.

    Examples
    --------
    >>> from neuralot.methods.smoothing import Smoothing
    >>> smoothing = Smoothing(eps_max=0.25, eps_min=0.01, kind="geometric", anneal_fraction=0.5)
    >>> [round(smoothing.level(progress), 3) for progress in (0.0, 0.25, 0.5, 0.9)]
    [0.25, 0.05, 0.01, 0.01]
    """

    eps_max: float = 0.25
    eps_min: float = 0.01
    kind: str = "geometric"
    anneal_fraction: float = 0.7

    def __post_init__(self) -> None:
        if self.kind not in SCHEDULES:
            raise ValueError(f"schedule must be one of {', '.join(SCHEDULES)}, got {self.kind!r}")
        if not 0 < self.eps_min <= self.eps_max < math.inf:
            raise ValueError(
                f"eps_min and eps_max must satisfy 0 < eps_min <= eps_max < inf, got eps_min={self.eps_min} and "
                f"eps_max={self.eps_max}"
            )
        if self.kind == "vp" and not self.eps_max < 1:
            raise ValueError(f"eps_max must be below 1 with schedule='vp', got {self.eps_max}")
        if not 0 < self.anneal_fraction <= 1:
            raise ValueError(f"anneal_fraction must lie in (0, 1], got {self.anneal_fraction}")

    @overload
    def level(self, progress: float) -> float: ...
    @overload
    def level(self, progress: Tensor) -> Tensor: ...
    def level(self, progress: float | Tensor) -> float | Tensor:
        """Return the variance eps of the noise at `progress`.

        `progress` is in [0, 1]; a tensor gives a tensor.
        """
        t = progress / self.anneal_fraction
        if isinstance(t, Tensor):
            t = t.clamp(max=1.0)
        elif t >= 1:
            return self.eps_min  # exactly: the formulas below have rounding errors
        if self.kind == "geometric":
            return self.eps_max * (self.eps_min / self.eps_max) ** t
        return self.eps_max + t * (self.eps_min - self.eps_max)

    def smooth(self, x: Tensor, z: Tensor, progress: float | Tensor) -> Tensor:
        """Return the smoothed rows x~ at `progress`.

        `z` is standard normal and broadcasts to the rows `x`.
        """
        eps = self.level(progress)
        signal = (1 - eps) ** 0.5 if self.kind == "vp" else 1.0
        return signal * x + eps**0.5 * z  # (n, d)


def intrinsic_dimension(x: Tensor, n_neighbors: int = 10) -> float:
    """Estimate the intrinsic dimension of rows by maximum likelihood.

    It is the dimension of the set that the rows lie on. The estimate is 1 / mean_i(m_i), clipped to [1, n_features],
    with m_i = mean_j log(r_k / r_j) over the distances r_1, ..., r_k of row i to its k nearest neighbours. Rows that
    have a duplicate are ignored.

    Parameters
    ----------
    x : Tensor of shape (n_rows, n_features)
        At most a few thousand rows: all distances are computed.
    n_neighbors : int

    References
    ----------
    Levina and Bickel, "Maximum likelihood estimation of intrinsic dimension", NIPS 2004, with the averaging of
    MacKay and Ghahramani (2005).

    Examples
    --------
    >>> import torch
    >>> from neuralot.methods.smoothing import intrinsic_dimension
    >>> t = torch.linspace(0, 1, 500)
    >>> round(intrinsic_dimension(torch.stack([t, t, t], dim=1)), 1) < 1.5
    True
    """
    n_rows, n_features = x.shape
    k = min(n_neighbors, n_rows - 1)
    if k < 2:
        return float(n_features)
    distances = torch.cdist(x.double(), x.double()).topk(k + 1, largest=False).values[:, 1:]  # (n, k)
    distances = distances[distances[:, 0] > 0]  # duplicates carry no information on the dimension
    if not len(distances):
        return float(n_features)
    inverse = torch.log(distances[:, -1:] / distances[:, :-1]).mean()
    return float((1 / inverse).clamp(1, n_features)) if inverse > 0 else float(n_features)


def fills_its_span(x: Tensor) -> bool:
    """Return whether rows have a density in their covariance's span.

    Rows on a curve, on a sphere in three dimensions, or on several segments have none. The criterion is that their
    intrinsic dimension is at least 0.8 times that of a reference: normal rows with the same covariance, or rows whose
    columns are shuffled independently, which have the same skewed or heavy-tailed columns. The comparison removes the
    bias of the estimate, which is large in high dimension. A set of one dimension less than the space passes from six
    dimensions on.

    Parameters
    ----------
    x : Tensor of shape (n_rows, n_features)
        Distinct rows; at most 2000 of them are used.

    Examples
    --------
    >>> import torch
    >>> from neuralot.methods.smoothing import fills_its_span
    >>> t = torch.rand(500, generator=torch.Generator().manual_seed(0))
    >>> fills_its_span(torch.stack([t, 0 * t], dim=1)), fills_its_span(torch.stack([t, t * t], dim=1))
    (True, False)
    """
    x = _subsample(x)
    variances, axes = torch.linalg.eigh(torch.cov(x.double().T, correction=0).reshape(x.shape[1], -1))
    z = torch.randn(x.shape, generator=torch.Generator().manual_seed(0), dtype=torch.double).to(x.device)
    normal = (z * variances.clamp(min=0).sqrt()) @ axes.T
    dimension = intrinsic_dimension(x)
    if dimension >= 0.8 * intrinsic_dimension(normal):
        return True
    # a column of repeated values may be thin itself, unless these are clipped tails, which hold at most a tenth
    if any(len(column.unique()) < 0.85 * len(column) for column in x.T):
        return False
    keys = torch.rand(x.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float32)
    return dimension >= 0.8 * intrinsic_dimension(x.gather(0, keys.argsort(dim=0).to(x.device)))


def is_flat(x: Tensor) -> bool:
    """Return whether rows hardly vary in some direction.

    The smallest variance of the rows in any direction is then below 0.001 times the largest one.
    """
    variances = torch.linalg.eigvalsh(torch.cov(x.double().T, correction=0).reshape(x.shape[1], -1))
    return bool(variances.min() < 1e-3 * variances.max())


def is_thin(x: Tensor, source: Tensor, target: Tensor) -> bool:
    """Return whether rows have no density where they vary.

    What counts is the span of source and target: a curve has no density, and neither has a flat source if the target
    varies in further directions. The condition for a unique saddle point of the semi-dual problem is then in doubt
    (Choi et al., Theorem 3.1).

    Parameters
    ----------
    x : Tensor of shape (n_rows, n_features)
        Rows of the source; at most 2000 of them are used.
    source, target : Tensor of shape (n_features, n_features)
        Covariances of the laws.

    Examples
    --------
    >>> import torch
    >>> from neuralot.methods.smoothing import is_thin
    >>> x = torch.randn(500, 2, generator=torch.Generator().manual_seed(0))
    >>> flat = x * torch.tensor([1.0, 0.0])
    >>> is_thin(x, torch.cov(x.T), torch.eye(2)), is_thin(flat, torch.cov(flat.T), torch.eye(2))
    (False, True)
    """
    variances, axes = torch.linalg.eigh((source + target).double())
    if not variances.max() > 0:
        return False
    spanned = variances > FLAT * variances.max()
    white = axes[:, spanned] / variances[spanned].sqrt()  # both covariances sum to the identity
    if torch.linalg.eigvalsh(white.T @ source.double() @ white).min() < FLAT:
        return True
    return not fills_its_span(x if spanned.all() else x.double() @ axes[:, spanned])


def terminal_level(x: Tensor, n_rows: int | None = None) -> float:
    """Return the default of the last smoothing level, `eps_min`.

    For N sample points of intrinsic dimension m it is eps_min = sigma^2, sigma = min(1.5 N^(-1 / max(m, 4)), 1 / 3).
    Noise below the typical distance between the points only worsens the conditioning: it requires a steeper map and
    does not improve the plan. The reference shows that such a level exists; the rule is a heuristic of this package.
    With the factor 1 instead of 1.5, plans that split mass have too low a cost, because the map is not steep enough at
    the crease.

    Parameters
    ----------
    x : Tensor of shape (n_rows, n_features)
        Distinct rows; m is estimated on at most 2000 of them.
    n_rows : int, optional
        N, if `x` is a subsample; ``len(x)`` when None.

    References
    ----------
    Chu, Choi and Kwon, arXiv 2602.04110, 2026.

    Examples
    --------
    >>> import torch
    >>> from neuralot.methods.smoothing import terminal_level
    >>> round(terminal_level(torch.randn(4096, 2, generator=torch.Generator().manual_seed(0))), 4)
    0.0352
    """
    dimension = intrinsic_dimension(_subsample(x))
    return min(1.5 * (n_rows or len(x)) ** (-1 / max(dimension, 4.0)), 1 / 3) ** 2


def _subsample(x: Tensor, n_rows: int = 2000) -> Tensor:
    """Return at most `n_rows` evenly spaced rows."""
    return x[torch.linspace(0, len(x) - 1, min(len(x), n_rows), dtype=torch.double).long()]
