"""Optimal transport plan (OTP): semi-dual transport of a smoothed source, with the noise annealed."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

from neuralot._torch import antithetic_noise, mean_over, normal
from neuralot.affine import Moments, affine_transport, common_axes, preconditioners
from neuralot.forms.base import Form
from neuralot.methods.smoothing import Smoothing
from neuralot.sampling import Sampler
from neuralot.semidual import SemiDual


class OTP(SemiDual):
    r"""Semi-dual transport of the smoothed source :math:`\tilde x = x + \sqrt{\epsilon_k} z`, z standard normal.

    .. math:: \sup_V \inf_T \; E_{\mu, z}[c(\tilde x, T(\tilde x)) - V(T(\tilde x))] + E_\nu[V(y)]

    The level falls from eps_max to eps_min > 0 as the fit goes on. A smoothed source charges no thin set, so the
    saddle point is unique, and its plans converge to one of the true source as eps goes to 0. The noise stays in
    place afterwards: :math:`T(x + \sqrt{\epsilon_{min}} z)` *draws* from the plan :math:`\pi(y | x)`.

    The noise may have another covariance N than :math:`\epsilon_k I`, with S the mean of the covariances of source and
    target, and :math:`\Sigma` that of the source:

    - ``'covariance'``: :math:`N = \epsilon_k S`. A direction gets noise in proportion to what the laws do there, so
      that none drowns in it.
    - ``'thin'``: the least N that fills the source up to :math:`\Sigma + N \ge \epsilon_k S`. With W that turns both
      into diagonal matrices, :math:`S = W W', \Sigma = W D W'`, that is :math:`N = W (\epsilon_k - D)_+ W'`. Where the
      source has that much already, noise is bias and nothing else. It needs a source that fills the span of its
      covariance: a curved one is thin in directions that vary from place to place.

    Where the form has an affine base, that is the optimal map between Gaussians with the moments of the smoothed
    source and of the target, and it follows eps.

    Parameters
    ----------
    n_features : int
    form : Form, optional
        How the map is represented; `make_form(n_features)` when None.
    smoothing : Smoothing
        Levels and their schedule.
    noise_shape : {'isotropic', 'covariance', 'thin'}
    n_transform_draws : int
        Noise vectors that `transport` averages over, in antithetic pairs.
    generator : torch.Generator, optional
        Draws these noise vectors.

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
        # W and D: the noise has covariance W (eps - D)_+ W'
        self.register_buffer("axes", torch.eye(n_features))
        self.register_buffer("shares", torch.zeros(n_features))
        self._laws: tuple[Moments, Moments] | None = None
        self._base_level = 0.0
        generator = torch.Generator().manual_seed(0) if generator is None else generator
        self.register_buffer("noise", antithetic_noise(n_transform_draws, n_features, generator))

    def perturb(self, x: Tensor, generator: Generator, progress: float | Tensor) -> Tensor:
        z = normal(len(x), x.shape[1], generator, like=x)  # (n, d)
        return self.smoothing.smooth(x, self._shape(z, progress), progress)

    def map(self, x: Tensor) -> Tensor:
        return mean_over(self.noise, lambda z: self.form.map(self.smoothing.smooth(x, self._shape(z, 1.0), 1.0)))

    def affine(self, source: Sampler, target: Sampler, generator: Generator) -> dict[str, Tensor] | None:
        laws = self._laws or (Moments.of(source, generator), Moments.of(target, generator))
        return self.affine_state(self._smoothed(laws[0], self.smoothing.eps_min), laws[1])

    def settled(self, progress: float) -> bool:
        return self.smoothing.level(progress) == self.smoothing.eps_min

    def prepare(self, source: Sampler, target: Sampler, generator: Generator) -> None:
        if self.noise_shape == "isotropic" and not self.form.affine_base:
            return
        laws = self._laws = Moments.of(source, generator), Moments.of(target, generator)
        if self.noise_shape != "isotropic":
            axes, shares = common_axes(laws[0].covariance, (laws[0].covariance + laws[1].covariance) / 2)
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

    def _shape(self, z: Tensor, progress: float | Tensor) -> Tensor:
        """Give standard normal rows the covariance of the noise, divided by eps."""
        if self.noise_shape == "isotropic":
            return z
        return (z * (1 - self.shares / self.smoothing.level(progress)).clamp(min=0).sqrt()) @ self.axes.T

    def _set_base(self, level: float) -> None:
        """Set the affine base for the smoothing `level`, if that has changed by a twentieth or is the last.

        From 256 features on, where a base takes time, fewer changes do.
        """
        if self._laws is None or not self.form.affine_base or level == self._base_level:
            return
        least = 0.05 * max(1.0, (len(self.axes) / 256) ** 2)
        if self._base_level and level != self.smoothing.eps_min and abs(math.log(level / self._base_level)) < least:
            return
        self._base_level = level
        source, target = self._laws
        self.form.set_base(*affine_transport(self._smoothed(source, level), target))

    def _set_preconditioners(self, source: Moments, target: Moments) -> None:
        """Let the networks see these laws in the coordinates that suit the last level."""
        level = self.smoothing.eps_min
        smoothed = self._smoothed(source, level)
        there, _ = affine_transport(smoothed, target)
        thin = (self.shares < level) & (self.noise_shape == "thin")
        self.form.set_preconditioners(
            *preconditioners(there.matrix, smoothed.covariance, self.axes[:, thin].double().cpu())
        )

    def _smoothed(self, source: Moments, level: float) -> Moments:
        """Moments of the source at a smoothing level."""
        axes, shares = self.axes.double().cpu(), self.shares.double().cpu()
        added = (axes * (level - shares).clamp(min=0)) @ axes.T
        kept = 1 - level if self.smoothing.kind == "vp" else 1.0
        return Moments(math.sqrt(kept) * source.mean, kept * source.covariance + added, source.n_rows)
