"""Base class of the estimators that train a semi-dual problem."""

from __future__ import annotations

from abc import ABC
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Generator

from neuralot.costs import Cost, PairedCost
from neuralot.defaults import (
    N_STEPS,
    decay_to_points,
    default_activation,
    default_batch,
    default_decay,
    default_rate,
    default_sizes,
    default_steps,
)
from neuralot.estimators.checks import check_networks
from neuralot.estimators.laws import Law
from neuralot.estimators.points import PointPlan, standardised_cost
from neuralot.estimators.state import FitParams, Setup
from neuralot.estimators.unbalanced import UnbalancedTransport
from neuralot.estimators.units import MapFunction
from neuralot.forms import NetworkFactory, make_form, resolve_map_form
from neuralot.forms.base import Form
from neuralot.forms.losses import CriticLoss
from neuralot.parameters import (
    ANYTHING,
    COMPILE,
    CONDITION,
    FACTORY,
    FORM,
    NONE,
    Settings,
    auto_or,
    estimator,
    none_or,
    number,
    one_of,
    parameter,
    size,
)
from neuralot.solve.optimizers import OPTIMIZERS

# with more decay, the map is affine under each condition; for numbers, with the same matrix under all
MAX_CONDITIONAL_DECAY = 1.0


@dataclass(repr=False)
class Optimizer(Settings):
    """Optimiser of a semi-dual transport, and its parameters.

    Parameters
    ----------
    name : {'muon', 'adam'}
        ``'muon'`` uses Muon for the weight matrices of all layers except the last, if they have at least 8 inputs, and
        Adam for the other weights; in the network form, the potential has a quarter of the learning rate and no
        momentum. ``'adam'`` uses Adam for all weights, with the same rate and momentum for both networks, as in the
        papers. Then map and potential may oscillate instead of converging.
    weight_decay : float or 'auto'
        Decoupled weight decay, against overfitting. It applies to the matrices that ``'muon'`` assigns to Muon, also
        with ``'adam'``. A value that is too large biases the map. ``'auto'`` is proportional to 1 / n, where n is the
        number of rows of the smaller sample, within the bounds of `neuralot.defaults.default_decay`. For 4096 rows it
        is 0.3 for SNOT (0.15 in the network form with a cost other than the squared Euclidean) and 0.02 for OTP (0.5
        with thin noise from 16 features on). With categories, the rows of each combination count, and with conditions
        it is at most 1. For a target of fewer than 64 points with at least 8 source rows per point
        it is smaller, but at least 0.02.
    n_map_steps : int or 'auto'
        K_T, the number of updates of the map per update of the potential. ``'auto'`` is 1 in the gradient form and 4 in
        the network form.
    compile : bool or 'auto'
        Whether to compile the training step with torch, which only pays off in long fits. It requires the gradient
        form, the squared Euclidean cost and the built-in networks. ``'auto'`` compiles on a CPU if `max_time` is at
        least 300 and a C++ compiler is available. A step that cannot be compiled runs uncompiled; the entry
        ``compiled`` of the records in `history_` says whether it was compiled.

    References
    ----------
    Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024.

    Examples
    --------
    >>> from neuralot import Optimizer, SNOTTransport
    >>> SNOTTransport(optimizer=Optimizer("adam", weight_decay=0)).get_params()["optimizer__weight_decay"]
    0
    """

    name: str = parameter(one_of(*OPTIMIZERS).changeable_in_streams(), default="muon")
    weight_decay: float | str = parameter(auto_or(number(0, closed=True)).changeable_in_streams(), default="auto")
    n_map_steps: int | str = parameter(auto_or(size(1)), default="auto")
    compile: bool | str = parameter(COMPILE.unused_in_streams(), default="auto")


@estimator
class GameTransport(UnbalancedTransport, ABC):
    """Base class of the semi-dual transports."""

    condition: str | int | Sequence[str | int] | None = parameter(none_or(CONDITION), default=None)
    map_form: str | NetworkFactory = parameter(FORM, default="auto")
    potential_network: NetworkFactory | None = parameter(none_or(FACTORY), default=None)
    cost: str | Cost | PairedCost = parameter(ANYTHING, default="sqeuclidean")
    critic_loss: CriticLoss | None = parameter(NONE.or_settings(CriticLoss), default=None)
    optimizer: str | Optimizer = parameter(one_of(*OPTIMIZERS).or_settings(Optimizer), default="muon")

    # whether `transform` is the conditional mean of the plan
    _has_plan: ClassVar = False

    def _sample_attributes(self, target: Law, setup: Setup) -> dict[str, Any]:
        has_plan = not (target.stream is not None or setup.params.changes_masses or self._conditions is not None)
        splits = self._has_plan or bool(setup.params.noise_dim)
        return {"_point_plan": PointPlan.of(target, setup, splits=splits) if has_plan else None}

    def _to_target(
        self, rows: np.ndarray, image: MapFunction, out: np.ndarray, generator: Generator | None = None
    ) -> np.ndarray:
        super()._to_target(rows, image, out)
        if (plan := self._point_plan) is not None:
            choose = plan.means
            if not (self._has_plan or self._fitted_params.noise_dim):
                choose = plan.modes
            elif generator is not None:
                choose = plan.draws(generator)
            cost = standardised_cost(self.units_, self._fitted_params)
            plan.replace(rows, out, self.units_, cost, choose)
        return out

    def _form(self, n_features: int, params: FitParams, cost: Cost, generator: Generator) -> Form:
        form = make_form(
            n_features,
            cost,
            map_form=params.map_form,
            hidden_layer_sizes=params.hidden_layer_sizes,
            activation=params.activation,
            n_map_steps=None if params.n_map_steps == "auto" else params.n_map_steps,
            noise_dim=params.noise_dim,
            critic_loss=CriticLoss(
                params.expectile, params.expectile_weight, params.gradient_penalty, params.gap_weight
            ),
            affine_base=params.affine_base,
            potential_network=params.potential_network,
            generator=generator,
            **former_parameters(params, "n_transform_draws", "bidirectional"),
        ).to(torch.float32)
        check_networks(form, n_features)
        return form

    def _training(self, n_features: int, n_source: int, n_target: int, usual_decay: float) -> dict[str, Any]:
        """Return the training parameters, with values for ``'auto'``."""
        noise_dim = getattr(self, "noise_dim", 0)
        n_rows = min(n_source, n_target)
        usual_decay = decay_to_points(usual_decay, n_source, n_target)
        form = resolve_map_form(self.map_form, self._cost, noise_dim)
        decay = default_decay(n_features, n_rows, usual_decay, form)
        if self._conditions is not None:
            decay = min(decay, MAX_CONDITIONAL_DECAY)
        n_steps = N_STEPS if self.max_time is not None else default_steps(self.max_iter, None)
        auto = {
            "hidden_layer_sizes": default_sizes(n_features),
            "activation": default_activation(n_features, n_rows),
            "learning_rate_init": default_rate(n_features, n_steps),
            "weight_decay": decay,
            "batch_size": default_batch(n_features, n_rows),
        }
        return self._resolve_auto(auto) | self._bases(form)

    def _bases(self, form: str) -> dict[str, bool]:
        """Whether potentials have an affine base.

        They have one if all conditions are categories: covariances depend linearly on categories, but not on numbers,
        for which a learned quadratic is more accurate. Affine maps do not change masses.
        """
        are_categories = self._conditions is not None and bool(self._conditions.levels.all())
        return {"affine_base": True} if are_categories and form == "gradient" and not self._changes_masses else {}


def former_parameters(params: FitParams, *names: str) -> dict[str, Any]:
    """Return former parameters, which only files of older versions have."""
    return {name: getattr(params, name) for name in names if hasattr(params, name)}
