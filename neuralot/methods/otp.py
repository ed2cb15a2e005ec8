"""Optimal transport plan (OTP): semi-dual transport of a smoothed source, with the noise annealed."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from neuralot.forms import Form, make_form
from neuralot.schedules import Smoothing, antithetic_noise
from neuralot.semidual import Batch, SemiDual, mean_over, normal


class OTP(SemiDual):
    r"""Semi-dual transport of the smoothed source :math:`\tilde x = x + \sqrt{\epsilon_k} z`, z standard normal.

    .. math:: \sup_V \inf_T \; E_{\mu, z}[c(\tilde x, T(\tilde x)) - V(T(\tilde x))] + E_\nu[V(y)]

    The level falls from eps_max to eps_min > 0 as the fit goes on. A smoothed source charges no thin set, so the
    saddle point is unique, and its plans converge to one of the true source as eps goes to 0. The noise stays in
    place afterwards: :math:`T(x + \sqrt{\epsilon_{min}} z)` *draws* from the plan :math:`\pi(y | x)`.

    Parameters
    ----------
    n_features : int
    form : Form, optional
        How the map is represented; `make_form(n_features)` when None.
    smoothing : Smoothing
        Levels and their schedule.
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

    def __init__(
        self,
        n_features: int,
        form: Form | None = None,
        *,
        smoothing: Smoothing = Smoothing(),  # noqa: B008 (frozen)
        n_transform_draws: int = 16,
        generator: Generator | None = None,
    ) -> None:
        super().__init__()
        self.form = make_form(n_features) if form is None else form
        self.networks = self.form.networks
        self.players = self.form.players
        self.cost = self.form.cost
        self.invertible = self.form.invertible
        self.together = self.form.together
        self.smoothing = smoothing
        generator = torch.Generator().manual_seed(0) if generator is None else generator
        self.register_buffer("noise", antithetic_noise(n_transform_draws, n_features, generator))

    def loss(self, player: str, batch: Batch) -> Tensor:
        x = self._smooth(batch.x, batch.generator, batch.progress)
        return self.form.loss(player, x, batch.y, batch.generator)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        return self.form.losses(self._smooth(batch.x, batch.generator, batch.progress), batch.y)

    def transport(self, x: Tensor) -> Tensor:
        return mean_over(self.noise, lambda z: self.form.map(self.smoothing.smooth(x, z, progress=1.0)))

    def draw(self, x: Tensor, generator: Generator, progress: float = 1.0) -> Tensor:
        return self.form.draw(self._smooth(x, generator, progress), generator)

    def inverse(self, y: Tensor) -> Tensor:
        return self.form.inverse(y)

    def levels(self, progress: float) -> dict[str, float]:
        return {"eps": self.smoothing.level(progress)}

    def _smooth(self, x: Tensor, generator: Generator, progress: float) -> Tensor:
        return self.smoothing.smooth(x, normal(len(x), x.shape[1], generator, like=x), progress)
