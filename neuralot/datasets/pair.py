"""Transport problems with known solutions, and tolerances for solvers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from neuralot.parameters import as_generator, size

Sampler: TypeAlias = Callable[[int, np.random.Generator], np.ndarray]
Map: TypeAlias = Callable[[np.ndarray], np.ndarray]
Plan: TypeAlias = Callable[[np.ndarray, np.random.Generator], np.ndarray]
Moments: TypeAlias = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
Seed: TypeAlias = int | np.random.RandomState | np.random.Generator | None


@dataclass(frozen=True)
class Tolerance:
    """Tolerances of a solver on one transport pair.

    Parameters
    ----------
    cost : float, default=0.03
        Largest relative error of the transport cost ``E|x - T(x)|^2``.
    target_factor, target_offset : float, default=2.0 and 0.002
        ``D_target <= target_factor * floor + target_offset``, in squared units of the data, where the floor is
        `neuralot.metrics.target_floor` for samples of the same size.
    l2_uvp : float or None, default=None
        Largest L2-UVP of a deterministic map, in percent; None without an exact map.
    cosine : float or None, default=None
        Smallest cosine between the displacement fields; 1 is ideal.
    otp_l2_uvp : float or None, default=None
        Largest L2-UVP, in percent, of a method that smooths the source; its terminal noise adds to the error.

    Examples
    --------
    >>> from neuralot.datasets import Tolerance
    >>> Tolerance(l2_uvp=0.5).cost
    0.03
    """

    cost: float = 0.03
    target_factor: float = 2.0
    target_offset: float = 0.002
    l2_uvp: float | None = None
    cosine: float | None = None
    otp_l2_uvp: float | None = None


@dataclass(frozen=True)
class TransportPair:
    r"""Source and target laws with known optimal transport.

    The problem is :math:`\min_\pi E_\pi |x - y|^2 + 2 \epsilon \, \mathrm{KL}(\pi \,|\, \mu \otimes \nu)` over the
    plans :math:`\pi` with marginals source and target. It is entropic only for `make_entropic_plan`: all other pairs
    have :math:`\epsilon = 0`. An attribute is None if it is not known or not unique.

    Parameters
    ----------
    name : str
        A label, usable as a test id.
    n_features : int
        The dimension d.
    source, target : callable ``(n, rng) -> ndarray of shape (n, d)``
        Samplers of the two laws; `rng` is a `numpy.random.Generator`.
    exact_map : callable ``(X) -> ndarray of shape (n, d)`` or None
        The Monge map, if it exists and is unique.
    exact_plan : callable ``(X, rng) -> ndarray of shape (n, d)`` or None
        One draw of y for each row x, if the optimal plan is unique. Equals `exact_map` if that exists.
    cost : float or None
        The optimal ``E|x - y|^2``, in squared units of the data.
    modes : ndarray of shape (n_modes, d) or None
        Centres of the target's modes, for mode coverage.
    target_variance : float or None
        The total variance of the target, summed over coordinates, in squared units of the data.
    tolerance : Tolerance
        Tolerances of a solver on this pair.
    eps : float, default=0.0
        The entropic regularisation, in squared units of the data.
    conditional_moments : callable ``(X) -> (means, covariances)`` or None
        Mean and covariance of y given each row x, of shapes (n, d) and (n, d, d), for
        `neuralot.metrics.conditional_bures_uvp`.

    Examples
    --------
    >>> from neuralot.datasets import make_parallel
    >>> pair = make_parallel()
    >>> X, Y = pair.sample(5, 3, random_state=0)
    >>> X.shape, Y.shape
    ((5, 2), (3, 2))
    >>> float(((X - pair.exact_map(X)) ** 2).sum(axis=1).mean()) == pair.cost
    True
    """

    name: str
    n_features: int
    source: Sampler
    target: Sampler
    exact_map: Map | None = None
    exact_plan: Plan | None = None
    cost: float | None = None
    modes: np.ndarray | None = None
    target_variance: float | None = None
    tolerance: Tolerance = field(default_factory=Tolerance)
    eps: float = 0.0
    conditional_moments: Moments | None = None

    def sample(
        self, n_source: int, n_target: int | None = None, random_state: Seed = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draw an unpaired sample of each law.

        Parameters
        ----------
        n_source : int
            Rows of the source sample.
        n_target : int or None, default=None
            Rows of the target sample; None draws `n_source`.
        random_state : int, RandomState, Generator or None, default=None
            An int gives the same draws in each call; the source rows then do not depend on `n_target`.

        Returns
        -------
        X : ndarray of shape (n_source, n_features)
        Y : ndarray of shape (n_target, n_features)
            Independent of X. Both are float64.

        Raises
        ------
        ValueError
            If a number of rows is less than 1.
        """
        n_target = n_source if n_target is None else n_target
        check_at_least("n_source", n_source, 1)
        check_at_least("n_target", n_target, 1)
        rng = as_generator(random_state)
        X = self.source(n_source, rng)
        return X, self.target(n_target, rng)


def check_at_least(name: str, value: int, minimum: int) -> int:
    """Return `value` as an int of at least `minimum`.

    Raises a ValueError that names the argument.
    """
    size(minimum).check(name, value)
    return int(value)


def plan_of(exact_map: Map) -> Plan:
    """Return a Monge map as a deterministic plan."""

    def exact_plan(X: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return exact_map(X)

    return exact_plan
