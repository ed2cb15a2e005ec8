"""Base class of the estimators that train a semi-dual problem."""

from __future__ import annotations

from abc import ABC
from typing import Any, ClassVar, TypeVar, cast

import torch
from torch import Generator

from neuralot.costs import Cost, as_cost
from neuralot.defaults import (
    N_STEPS,
    decay_to_points,
    default_activation,
    default_batch,
    default_decay,
    default_gap_weight,
    default_rate,
    default_sizes,
    default_steps,
)
from neuralot.estimators.base import METADATA, BaseTransport
from neuralot.estimators.checks import check_networks, unchanged_on_error
from neuralot.estimators.fitting import Watched
from neuralot.estimators.laws import Standardised
from neuralot.estimators.parameters import ANYTHING, BOOL, COMPILE, FACTORY, auto_or, integer, none_or, number, one_of
from neuralot.forms import make_form, resolve_map_form
from neuralot.forms.base import Form
from neuralot.forms.losses import CriticLoss
from neuralot.semidual import SemiDual
from neuralot.solve.callbacks import EarlyStopping
from neuralot.solve.problem import Problem

Self = TypeVar("Self", bound="GameTransport")


class GameTransport(BaseTransport, ABC):
    """Base class of the semi-dual transports."""

    __metadata_request__partial_fit = METADATA
    _clips = True
    _parameters: ClassVar = BaseTransport._parameters | {
        "cost": ANYTHING,
        "map_form": one_of("auto", "gradient", "network"),
        "map_network": none_or(FACTORY),
        "potential_network": none_or(FACTORY),
        "n_map_steps": auto_or(integer(1)),
        "n_transform_draws": integer(1),
        "bidirectional": BOOL,
        "expectile": number(0.5, 1.0, closed=True),
        "expectile_weight": number(0, closed=True),
        "gap_weight": auto_or(number(0, closed=True)),
        "gradient_penalty": number(0, closed=True),
        "batch_size": auto_or(integer(1)).of_training(),
        "weight_decay": auto_or(number(0, closed=True)).of_training(),
        "compile": COMPILE.not_in_streams(),
        "early_stopping": BOOL.not_in_streams(),
        "n_iter_no_change": integer(1).not_in_streams(),
        "tol": number(0, closed=True).not_in_streams(),
        "warm_start": BOOL.not_in_streams(),
    }

    early_stopping: bool
    validation_fraction: float
    tol: float
    n_iter_no_change: int

    def partial_fit(
        self: Self,
        X: Any,
        y: Any = None,
        *,
        X_target: Any = None,
        sample_domain: Any = None,
        sample_weight: Any = None,
        sample_weight_target: Any = None,
    ) -> Self:
        """Make one pass over the next part of a stream.

        Earlier rows are not kept.

        A pass makes ``ceil(max(n, m) / batch_size)`` steps. Units, networks and optimisers are those of the first
        call, whose rows should be typical (some hundred of them). Smoothing levels and learning rates fall over the
        first `max_iter` steps of all calls and stay at the last level, and at a tenth of the first rates, after that:
        the transport then follows a slow drift (97 % of a shift by one standard deviation in 800 steps). Show the rows
        several times if there are few. A fitted estimator goes on from its fit.

        Parameters
        ----------
        X, y, X_target, sample_domain, sample_weight, sample_weight_target
            As in `fit`.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            As `fit`; also with ``early_stopping=True``, or if the columns or the networks' parameters are not those of
            the first call.

        Warns
        -----
        ConvergenceWarning, UserWarning
            As `fit`.
        """
        first = not hasattr(self, "problem_")
        steps_before = 0 if first else self.n_iter_
        with unchanged_on_error(self):
            self._check_parameters()
            if self.early_stopping:
                raise ValueError("early_stopping must be False for partial_fit, which holds no rows out")
            laws = self._check_laws(X, y, X_target, sample_domain, sample_weight, sample_weight_target, reset=first)
            self._take(self._fit_part(laws, self._generator(steps_before)), laws)
        self._warn(laws)
        return self

    def _form(self, n_features: int, params: Any, cost: Cost, generator: Generator) -> Form:
        form = make_form(
            n_features,
            cost,
            map_form=params.map_form,
            hidden_layer_sizes=params.hidden_layer_sizes,
            activation=params.activation,
            n_map_steps=None if params.n_map_steps == "auto" else params.n_map_steps,
            noise_dim=getattr(params, "noise_dim", 0),
            n_transform_draws=params.n_transform_draws,
            bidirectional=params.bidirectional,
            critic_loss=CriticLoss(params.expectile, params.expectile_weight, params.gradient_penalty),
            gap_weight=params.gap_weight,
            affine_base=getattr(params, "affine_base", False),
            map_network=params.map_network,
            potential_network=params.potential_network,
            generator=generator,
        ).to(torch.float32)
        check_networks(form, n_features)
        return form

    def _watch(self, problem: Problem, source: Standardised, target: Standardised, generator: Generator) -> Watched:
        if not self.early_stopping:
            return source, target, None
        source, x_held = source.hold_out(self.validation_fraction, generator)
        target, y_held = target.hold_out(self.validation_fraction, generator)
        return (
            source,
            target,
            EarlyStopping(
                x_held,
                y_held,
                tol=self.tol,
                n_iter_no_change=self.n_iter_no_change,
                settled=cast(SemiDual, problem).settled,
            ),
        )

    def _training(self, n_features: int, n_source: int, n_target: int, usual_decay: float) -> dict[str, Any]:
        """Return the training parameters, with values for ``'auto'``."""
        noise_dim = getattr(self, "noise_dim", 0)
        n_rows = min(n_source, n_target)
        usual_decay = decay_to_points(usual_decay, n_source, n_target)
        form = resolve_map_form(self.map_form, as_cost(self.cost), noise_dim, self.map_network)
        n_steps = N_STEPS if self.max_time is not None else default_steps(self.max_iter, None)
        auto = {
            "hidden_layer_sizes": default_sizes(n_features),
            "activation": default_activation(n_features, n_rows),
            "learning_rate_init": default_rate(n_features, n_steps),
            "weight_decay": default_decay(n_features, n_rows, usual_decay, form),
            "batch_size": default_batch(n_features, n_rows),
            "gap_weight": default_gap_weight(n_features),
        }
        return self._given_or(auto)
