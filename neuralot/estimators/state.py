"""State of a fit: parameters, samples and fitted attributes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

from neuralot.costs import as_cost
from neuralot.estimators.conditions import Conditions
from neuralot.estimators.laws import Standardised
from neuralot.estimators.units import Units
from neuralot.solve.loop import Solution
from neuralot.solve.problem import Problem
from neuralot.solve.status import Record, Status

# default decay of the weight average per step
AVERAGING = 0.99
# parameters that accept custom networks
NETWORKS = ("map_form", "potential_network", "height_network")


class FitParams(SimpleNamespace):
    """Flat parameters of a fit, without ``'auto'``.

    The attributes declared here are those that every fit reads. Each estimator has further ones.
    """

    hidden_layer_sizes: tuple[int, ...]
    activation: str
    max_iter: int
    max_time: float | None
    batch_size: int
    optimizer: str
    learning_rate_init: float
    weight_decay: float
    averaging: float = AVERAGING
    compile: bool | str = False
    noise_dim: int = 0
    affine_base: bool = False
    cost: Any = "sqeuclidean"
    unbalanced: str | None = None
    reg_marginal_source: float | str = math.inf
    reg_marginal_target: float | str = math.inf

    def __init__(self, **values: Any) -> None:
        super().__init__(**values)

    @property
    def changes_masses(self) -> bool:
        """Whether the transport is unbalanced."""
        is_balanced = self.reg_marginal_source == self.reg_marginal_target == math.inf
        return self.unbalanced is not None and not is_balanced


@dataclass(frozen=True)
class Setup:
    """Standardised samples and resolved parameters of a fit.

    With `max_time`, the fit changes some of the parameters.
    """

    units: Units
    params: FitParams
    source: Standardised
    target: Standardised

    @property
    def attributes(self) -> dict[str, Any]:
        """Fitted attributes that are known before the first step."""
        return {"units_": self.units, "_fitted_params": self.params}


class Fitted:
    """Attributes of every fitted transport."""

    units_: Units
    problem_: Problem
    status_: Status
    history_: list[Record]
    target_sample_: np.ndarray
    n_iter_: int
    _conditions: Conditions | None = None
    _fitted_params: FitParams
    _solution: Solution | None
    # a PointPlan, or None: files of older versions have none
    _point_plan: Any = None
    # weights of up to two earlier steps of the fit minus the last ones; None after `partial_fit`, and in older files
    _earlier_changes: Mapping[str, Mapping[str, np.ndarray]] | None = None


def has_custom_networks(params: Mapping[str, Any]) -> bool:
    """Return whether any network is custom."""
    return any(callable(params.get(name)) for name in NETWORKS)


def is_built_in(params: FitParams) -> bool:
    """Return whether networks and cost are built in.

    These support double precision and do not synchronise with the host.
    """
    return not has_custom_networks(vars(params)) and as_cost(params.cost).homogeneous
