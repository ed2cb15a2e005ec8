"""Semi-dual neural optimal transport (SNOT): OTM, and OTM-s when the map has a noise input."""

from __future__ import annotations

from torch import Generator, Tensor

from neuralot.affine import Moments, affine_transport
from neuralot.forms import Form, make_form
from neuralot.sampling import Sampler
from neuralot.semidual import Batch, Gradients, SemiDual


class SNOT(SemiDual):
    r"""Semi-dual neural optimal transport.

    .. math:: \sup_V \inf_T \; E_\mu[c(x, T(x)) - V(T(x))] + E_\nu[V(y)]

    When the source charges a set of dimension at most d - 1 the game has *spurious* saddle points, whose map is no
    transport map: use `OTP` there.

    Parameters
    ----------
    n_features : int
    form : Form, optional
        How the map is represented; `make_form(n_features)` when None.

    References
    ----------
    Rout, Korotin and Burnaev, "Generative modeling with optimal transport maps", ICLR 2022 (OTM).
    Fan, Liu, Ma, Zhou and Chen, "Neural Monge map estimation and its applications", TMLR 2023.
    """

    def __init__(self, n_features: int, form: Form | None = None) -> None:
        super().__init__()
        self.form = make_form(n_features) if form is None else form
        self.networks = self.form.networks
        self.players = self.form.players
        self.critics = self.form.critics
        self.cost = self.form.cost
        self.invertible = self.form.invertible
        self.together = self.form.together

    def loss(self, player: str, batch: Batch) -> Tensor:
        return self.form.loss(player, batch.x, batch.y, batch.generator)

    def gradients(self, batch: Batch) -> Gradients:
        return self.form.gradients(batch.x, batch.y)

    def transport(self, x: Tensor) -> Tensor:
        return self.form.map(x)

    def draw(self, x: Tensor, generator: Generator, progress: float = 1.0) -> Tensor:
        return self.form.draw(x, generator)

    def affine(self, source: Sampler, target: Sampler, generator: Generator) -> dict[str, Tensor] | None:
        state = self.form.affine(*affine_transport(*(Moments.of(law, generator) for law in (source, target))))
        return None if state is None else {f"form.{name}": value for name, value in state.items()}

    def compile_step(self) -> bool:
        return self.form.compile_step()

    def levels(self, progress: float) -> dict[str, float]:
        return self.form.levels()

    def inverse(self, y: Tensor) -> Tensor:
        return self.form.inverse(y)
