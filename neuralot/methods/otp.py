"""Optimal transport plan (OTP): semi-dual transport of a smoothed source."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import cast

import torch
from torch import Generator, Tensor

from neuralot._torch import antithetic_noise, mean_over, normal
from neuralot.affine import SEEN_SCALE, Moments, affine_transport, common_axes, preconditioners
from neuralot.conditional_affine import ConditionalMoments
from neuralot.forms.base import Form
from neuralot.methods.smoothing import Smoothing
from neuralot.sampling import Sampler
from neuralot.semidual import SemiDual

# share of S from which on the source counts as dense in a direction
DENSE = 0.01
# effective number of rows below which one row holds most of the mass of the source
POINT = 1.5


class OTP(SemiDual):
    r"""Semi-dual transport of a smoothed source, with annealed noise.

    The smoothed source is :math:`\tilde x = x + \sqrt{\epsilon_k} z`, with z standard normal:

    .. math:: \sup_V \inf_T \; E_{\mu, z}[c(\tilde x, T(\tilde x)) - V(T(\tilde x))] + E_\nu[V(y)]

    The level decreases from eps_max to eps_min > 0 during the fit. A smoothed source has no mass on thin sets, so the
    saddle point is unique. Its plans converge to an optimal plan of the true source as eps goes to 0. The fitted map
    still takes noise: :math:`T(x + \sqrt{\epsilon_{min}} z)` *draws* from the plan :math:`\pi(y | x)`.

    The covariance N of the noise may differ from :math:`\epsilon_k I`. Let S be the mean of the covariances of source
    and target, and :math:`\Sigma` the covariance of the source. If :math:`\Sigma < S` in all directions, S is scaled
    down until they touch:

    - ``'covariance'``: :math:`N = \epsilon_k S`. The noise in a direction is proportional to the variance of the laws,
      so it does not dominate directions of small variance.
    - ``'thin'``: the smallest N with :math:`\Sigma + N \ge \epsilon_k S`. With a matrix W that diagonalises both
      covariances, :math:`S = W W', \Sigma = W D W'`, it is :math:`N = W (\epsilon_k - D)_+ W'`. Directions in which
      the source already has this variance get no noise, as it would only add bias. A share in D of at least 0.01, a
      direction in which the source has a density, counts as at least eps_min, so that its noise ends at 0. The source
      must have a density in the span of its covariance: a curved source is thin in directions that vary from point to
      point.

    If the form has an affine base, the base is the optimal map between Gaussians with the moments of the smoothed
    source and of the target. It is updated as eps decreases.

    Parameters
    ----------
    n_features : int
    form : Form, optional
        How the map is represented; `make_form(n_features)` when None.
    smoothing : Smoothing
        Noise levels and their schedule.
    noise_shape : {'isotropic', 'covariance', 'thin'}
    n_transform_draws : int
        Number of noise vectors that `map` averages over, in antithetic pairs.
    generator : torch.Generator, optional
        Source of these noise vectors; seeded with 0 when None.

    References
    ----------
    Choi, Choi and Kwon, "Overcoming Spurious Solutions in Semi-Dual Neural Optimal Transport: A Smoothing Approach
    for Learning the Optimal Transport Plan", ICML 2025, arXiv 2502.04583.
    """

    noise: Tensor
    axes: Tensor
    shares: Tensor

    def __init__(
        self,
        n_features: int,
        form: Form | None = None,
        *,
        smoothing: Smoothing = Smoothing(),  # noqa: B008 (frozen)
        noise_shape: str = "isotropic",
        n_transform_draws: int = 16,
        generator: Generator | None = None,
    ) -> None:
        super().__init__(n_features, form)
        self.smoothing = smoothing
        self.noise_shape = noise_shape
        # W and D: the noise has covariance W (eps - D)_+ W'; empty without them, because W is large for images
        has_axes = noise_shape != "isotropic"
        self.n_moved = n_features if self.form.cost.n_moved is None else self.form.cost.n_moved
        size = self.n_moved if has_axes else 0
        self.register_buffer("axes", torch.eye(size), persistent=has_axes)
        self.register_buffer("shares", torch.zeros(size), persistent=has_axes)
        self._laws: tuple[Moments, Moments] | None = None
        self._base_level = 0.0
        generator = torch.Generator().manual_seed(0) if generator is None else generator
        self.register_buffer("noise", antithetic_noise(n_transform_draws, self.n_moved, generator))

    def perturb(self, x: Tensor, generator: Generator, progress: float | Tensor) -> Tensor:
        z = normal(len(x), self.n_moved, generator, like=x)  # (n, n_moved)
        return self._smooth(x, self._shape(z, progress), progress)

    def map(self, x: Tensor) -> Tensor:
        noise = self._shape(self.noise, 1.0)  # (n_draws, d)
        if not noise.any():  # the source has a density: all draws are equal
            noise = noise[:1]
        return mean_over(noise, lambda z: self.form.map(self._smooth(x, z, 1.0)))

    def source_mass(self, x: Tensor) -> Tensor | None:
        if self.form.penalties is None:
            return None
        noise = self._shape(self.noise, 1.0)  # (n_draws, d)
        return mean_over(noise, lambda z: cast(Tensor, self.form.source_mass(self._smooth(x, z, 1.0))))

    def affine(self, source: Sampler, target: Sampler, generator: Generator) -> dict[str, Tensor] | None:
        if not self.form.has_affine_maps:
            return None
        laws = self._laws or self.moments(source, target, generator)
        return self.affine_state(self._smoothed(laws[0], self.smoothing.eps_min), laws[1])

    def settled(self, progress: float) -> bool:
        return self.smoothing.level(progress) == self.smoothing.eps_min

    def prepare(self, source: Sampler, target: Sampler, generator: Generator) -> None:
        if self.noise_shape == "isotropic" and not self.form.affine_base:
            return
        laws = self._laws = self.moments(source, target, generator)
        if self.noise_shape != "isotropic":
            source_covariance, target_covariance = (law.given_conditions(self.n_moved)[0].covariance for law in laws)
            axes, shares = common_axes(source_covariance, (source_covariance + target_covariance) / 2)
            # if the source is smaller than S in all directions, S is scaled to touch it
            largest = float(shares.max().clamp(max=1.0)) or 1.0
            if laws[0].n_rows < POINT:  # its mass must split on the scale of the target
                largest = 1.0
            axes, shares = axes * largest**0.5, shares / largest
            # a direction in which the source has a density gets no noise at the last level
            shares = torch.where(shares < DENSE, shares, shares.clamp(min=(1 + 1e-6) * self.smoothing.eps_min))
            self.axes.copy_(axes)
            self.shares.copy_(shares if self.noise_shape == "thin" else torch.zeros_like(shares))
        if self.form.affine_base:
            self._set_preconditioners(*laws)
        self._base_level = 0.0  # no base for these laws yet
        self.follow(0.0)

    def follow(self, progress: float) -> dict[str, float]:
        level = self.smoothing.level(progress)
        self._set_base(level)
        return {"eps": level, **super().follow(progress)}

    def get_extra_state(self) -> dict[str, float]:
        return {"_base_level": self._base_level}

    def set_extra_state(self, state: dict[str, float]) -> None:
        self._base_level = state["_base_level"]

    def _shape(self, z: Tensor, progress: float | Tensor) -> Tensor:
        """Transform standard normal rows to the covariance N / eps."""
        if self.noise_shape == "isotropic":
            return z  # (n, d)
        return (z * (1 - self.shares / self.smoothing.level(progress)).clamp(min=0).sqrt()) @ self.axes.T

    def _smooth(self, x: Tensor, z: Tensor, progress: float | Tensor) -> Tensor:
        """Smooth the moved columns of rows with shaped noise."""
        if self.n_moved == x.shape[1]:
            return self.smoothing.smooth(x, z, progress)  # (n, d)
        moved = self.smoothing.smooth(x[:, : self.n_moved], z, progress)
        return torch.cat([moved, x[:, self.n_moved :]], dim=1)

    def _set_base(self, level: float) -> None:
        """Set the affine base for a smoothing level.

        The base is only updated if `level` is the last one or has changed by 5 % since the last update. From 256
        features on, where an update is expensive, this threshold grows with the square of their number.
        """
        if self._laws is None or not self.form.affine_base or level == self._base_level:
            return
        min_change = 0.05 * max(1.0, (self.noise.shape[1] / 256) ** 2)
        change = abs(math.log(level / self._base_level)) if self._base_level else math.inf
        if level != self.smoothing.eps_min and change < min_change:
            return
        self._base_level = level
        source, target = self._laws
        self.form.set_base(*self.affine_maps(self._smoothed(source, level), target))

    def _set_preconditioners(self, source: Moments, target: Moments) -> None:
        """Set the networks' preconditioners for the last smoothing level."""
        level, n = self.smoothing.eps_min, self.n_moved
        smoothed = self._smoothed(source, level).given_conditions(n)[0]
        forward, _ = affine_transport(smoothed, target.given_conditions(n)[0])
        is_thin = (self.shares < level) & (self.noise_shape == "thin")
        thin = self.axes[:, is_thin].double().cpu() if len(self.axes) else forward.matrix[:, :0]
        found = preconditioners(forward.matrix, smoothed.covariance, thin)
        # conditions are standardised
        seen = SEEN_SCALE * torch.eye(len(source.mean) - n, dtype=torch.double)
        self.form.set_preconditioners(*(torch.block_diag(each, seen) for each in found))

    def _smoothed(self, source: Moments, level: float) -> Moments:
        """Return the moments of the source at a smoothing level."""
        n = self.n_moved
        if self.noise_shape == "isotropic":
            noise = level * torch.eye(n, dtype=torch.double)  # covariance, (n_moved, n_moved)
        else:
            axes, shares = self.axes.double().cpu(), self.shares.double().cpu()
            noise = (axes * (level - shares).clamp(min=0)) @ axes.T
        signal = 1 - level if self.smoothing.kind == "vp" else 1.0
        factors = torch.ones_like(source.mean)
        factors[:n] = math.sqrt(signal)
        covariance = factors[:, None] * source.covariance * factors
        covariance[:n, :n] += noise
        mean = factors * source.mean
        if isinstance(source, ConditionalMoments):  # the noise has the same law under all conditions
            return replace(source, mean=mean, covariance=covariance, slopes=signal * source.slopes)
        return replace(source, mean=mean, covariance=covariance)
