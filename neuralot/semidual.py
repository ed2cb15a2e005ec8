"""Semi-dual problems: a form of the map and its rows."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Generator, Tensor

from neuralot._torch import energy_distance
from neuralot.affine import Affine, Moments, affine_transport
from neuralot.conditional_affine import conditional_affine_transport, moments_of
from neuralot.forms import Form, make_form
from neuralot.forms.losses import Gradients
from neuralot.sampling import Sampler
from neuralot.solve.optimizers import UpdateRule, make_optimizers
from neuralot.solve.problem import Batch, Batches, Problem


class SemiDual(Problem):
    r"""Semi-dual neural optimal transport of perturbed source rows.

    .. math:: \sup_V \inf_T \; E_\mu[c(x, T(x)) - V(T(x))] + E_\nu[V(y)]

    The source rows x are those returned by `perturb`. A subclass overrides `perturb`, and other methods as needed.

    Parameters
    ----------
    n_features : int
    form : Form, optional
        Representation of the map; `make_form(n_features)` when None.
    """

    def __init__(self, n_features: int, form: Form | None = None) -> None:
        super().__init__()
        self.form = make_form(n_features) if form is None else form
        self.networks = self.form.networks
        self.players = self.form.players
        self.together = self.form.together
        self.invertible = self.form.invertible

    def perturb(self, x: Tensor, generator: Generator, progress: float | Tensor) -> Tensor:
        """Return the perturbed source rows, shape (n, d).

        The form is trained on these rows in place of `x`. By default they are `x` itself.
        """
        return x

    def follow(self, progress: float) -> dict[str, float]:
        return self.form.levels()

    def optimizers(
        self, names: Sequence[str], kind: str, learning_rate: float | None, weight_decay: float
    ) -> list[UpdateRule]:
        networks = [self.networks[name] for name in names]
        is_critic = self.form.critics.issuperset(names)
        return make_optimizers(networks, kind, learning_rate, weight_decay, critic=is_critic)

    @property
    def _has_other_loss(self) -> bool:
        """Whether a subclass overrides `loss`, which the form's gradients ignore."""
        return type(self).loss is not SemiDual.loss

    def gradients(self, names: Sequence[str], batches: Batches) -> Gradients:
        if self._has_other_loss:
            return super().gradients(names, batches)
        batch = batches(1)
        x = self.perturb(batch.x, batch.generator, batch.progress)  # (n, d)
        return self.form.gradients(names, x, batch.y, batch.generator)

    def loss(self, player: str, batch: Batch) -> Tensor:
        x = self.perturb(batch.x, batch.generator, batch.progress)  # (n, d)
        return self.form.losses([player], x, batch.y, batch.generator)[player]

    def map(self, x: Tensor) -> Tensor:
        return self.form.map(x)

    def draw(self, x: Tensor, generator: Generator, progress: float = 1.0) -> Tensor:
        return self.form.draw(self.perturb(x, generator, progress), generator)

    def discrepancy(self, x: Tensor, y: Tensor, generator: Generator, progress: float = 1.0) -> Tensor:
        if self.form.penalties is None:
            return super().discrepancy(x, y, generator, progress)
        image, mass = self.weighted_draw(x, generator, progress)
        return energy_distance(image, y, mass, self.target_mass(y))

    def weighted_draw(self, x: Tensor, generator: Generator, progress: float = 1.0) -> tuple[Tensor, Tensor | None]:
        """Return `draw`, and the masses of the drawn pairs.

        The masses are densities of the plan's first marginal with respect to the law of the source, shape (n,), and
        None in balanced transport.
        """
        x = self.perturb(x, generator, progress)
        image = self.form.draw(x, generator)
        return image, self.form.mass_of(x, image)

    def source_mass(self, x: Tensor) -> Tensor | None:
        """Return the density of the plan's first marginal, shape (n,).

        It is None in balanced transport.
        """
        return self.form.source_mass(x)

    def target_mass(self, y: Tensor) -> Tensor | None:
        """Return the density of the plan's second marginal, shape (m,).

        It is None in balanced transport.
        """
        return self.form.target_mass(y)

    def potential(self, y: Tensor) -> Tensor:
        return self.form.potential(y)

    def inverse(self, y: Tensor) -> Tensor:
        return self.form.inverse(y)

    def compile_step(self) -> bool:
        return not self._has_other_loss and self.form.compile_step()

    def settled(self, progress: float) -> bool:
        """Return whether the problem at `progress` is the final one.

        A method that solves a sequence of problems returns False before the last one.
        """
        return True

    def affine(self, source: Sampler, target: Sampler, generator: Generator) -> dict[str, Tensor] | None:
        return self.affine_state(*self.moments(source, target, generator))

    def moments(self, source: Sampler, target: Sampler, generator: Generator) -> tuple[Moments, Moments]:
        """Return the moments of both laws.

        They depend on the condition if the matrices of the form do.
        """
        n_moved = self.form.cost.n_moved if self.form.has_interactions else None
        return moments_of(source, generator, n_moved), moments_of(target, generator, n_moved)

    def affine_state(self, source: Moments, target: Moments) -> dict[str, Tensor] | None:
        """Return weights of the optimal map between Gaussians, or None.

        The Gaussians have the given moments. The result is None if the form cannot represent the map.
        """
        if not self.form.has_affine_maps:  # the transport takes long with many features
            return None
        state = self.form.affine(*self.affine_maps(source, target))
        return None if state is None else {f"form.{name}": value for name, value in state.items()}

    def affine_maps(self, source: Moments, target: Moments) -> tuple[Affine, Affine]:
        """Return the optimal map between Gaussians and its inverse.

        They have the given moments, or those within conditions.
        """
        n_moved = self.form.cost.n_moved
        if n_moved is None:
            return affine_transport(source, target)
        return conditional_affine_transport(source, target, n_moved)
