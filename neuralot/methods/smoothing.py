"""Smoothing levels: how much noise is added to the source as a fit goes on, and where the noise should end."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import overload

import torch
from torch import Tensor

SCHEDULES = ("linear", "geometric", "vp")
NOISE_SHAPES = ("isotropic", "covariance", "thin")


@dataclass(frozen=True)
class Smoothing:
    """Smoothing of the source, annealed from `eps_max` to `eps_min` and then held.

    With t = min(progress / anneal_fraction, 1) the level is

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
        If a value is outside of its range.

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
                f"eps_min and eps_max must satisfy 0 < eps_min <= eps_max, got {self.eps_min} and {self.eps_max}"
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
        """Variance eps of the noise at `progress` in [0, 1], as a tensor for a tensor."""
        t = progress / self.anneal_fraction
        if isinstance(t, Tensor):
            t = t.clamp(max=1.0)
        elif t >= 1:
            return self.eps_min  # to the bit, which the formulas are not
        if self.kind == "geometric":
            return self.eps_max * (self.eps_min / self.eps_max) ** t
        return self.eps_max + t * (self.eps_min - self.eps_max)

    def smooth(self, x: Tensor, z: Tensor, progress: float | Tensor) -> Tensor:
        """Smoothed rows x~ at `progress`, from rows `x` and standard normal `z` that broadcasts to them."""
        eps = self.level(progress)
        signal = (1 - eps) ** 0.5 if self.kind == "vp" else 1.0
        return signal * x + eps**0.5 * z


def intrinsic_dimension(x: Tensor, n_neighbors: int = 10) -> float:
    """Maximum-likelihood estimate of the dimension of the set that the rows lie on.

    The mean over rows of 1 / m_i, with m_i = mean_j log(r_k / r_j) over the k nearest distinct neighbours, is
    inverted at the end: 1 / mean(m_i), clipped to [1, n_features].

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
    near = torch.cdist(x.double(), x.double()).topk(k + 1, largest=False).values[:, 1:]
    near = near[near[:, 0] > 0]  # a duplicate says nothing about dimension
    if not len(near):
        return float(n_features)
    inverse = torch.log(near[:, -1:] / near[:, :-1]).mean()
    return float((1 / inverse).clamp(1, n_features)) if inverse > 0 else float(n_features)


def fills_its_span(x: Tensor) -> bool:
    """Whether rows have a density in the span of their covariance: not so on a curve, a sphere or several segments.

    They have if their intrinsic dimension is at least four fifths of that of normal rows with the same covariance; the
    comparison removes the bias of the estimate, which is large in high dimension.

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
    x = _some(x)
    variances, axes = torch.linalg.eigh(torch.cov(x.double().T, correction=0).reshape(x.shape[1], -1))
    z = torch.randn(x.shape, generator=torch.Generator().manual_seed(0), dtype=torch.double).to(x.device)
    normal = (z * variances.clamp(min=0).sqrt()) @ axes.T
    return intrinsic_dimension(x) >= 0.8 * intrinsic_dimension(normal)


def terminal_level(x: Tensor, n_rows: int | None = None) -> float:
    """Heuristic for the last smoothing level: eps_min = sigma^2, sigma = min(1.5 N^(-1 / max(m, 4)), 1 / 3).

    Noise below the typical distance between the N sample points, in their intrinsic dimension m, only worsens the
    conditioning: steeper maps are needed for nothing. That such a level exists is shown by the reference; the rule
    is this package's own. With factor 1 the plan of One-to-Many came out 2 to 7 % too cheap, because the map could
    not be steep enough at the crease.

    Parameters
    ----------
    x : Tensor of shape (n_rows, n_features)
        Distinct rows; m is estimated on at most 2000 of them.
    n_rows : int, optional
        N, where `x` is only a part of the rows.

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
    dimension = intrinsic_dimension(_some(x))
    return min(1.5 * (n_rows or len(x)) ** (-1 / max(dimension, 4.0)), 1 / 3) ** 2


def _some(x: Tensor, n_rows: int = 2000) -> Tensor:
    return x[torch.linspace(0, len(x) - 1, min(len(x), n_rows), dtype=torch.double).long()]
