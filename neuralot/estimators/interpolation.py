"""Mixin of the estimators: displacement interpolation and velocities."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils import gen_batches
from sklearn.utils.validation import check_is_fitted

from neuralot.costs import Cost, Lp, SquaredEuclidean, as_cost
from neuralot.estimators.checks import as_array, as_type_of
from neuralot.estimators.samples import Samples
from neuralot.estimators.state import Fitted
from neuralot.estimators.units import ROWS_PER_BLOCK


class Interpolating(Fitted, Samples):
    """Mixin for displacement interpolation."""

    def interpolate(self, X: Any, t: Any, random_state: Any = 0, out: np.ndarray | None = None) -> Any:
        r"""Return rows on their way to draws from the plan.

        .. math:: x_t = (1 - t) \, x + t \, y, \qquad y \sim \pi(y \mid x)

        Each row has one draw y, the same for all t, so it moves along a straight line at constant speed. If the plan is
        optimal for the squared Euclidean cost, the law of x_t is the displacement interpolation of source and target:
        the geodesic between them with respect to the Wasserstein-2 distance. This also holds for the cost
        :math:`|x - y|_p^p` of `neuralot.costs.Lp` with p > 1 and its distance, because straight lines at constant speed
        minimise the integral of :math:`|\dot x_t|_p^p` (Jensen's inequality). Other costs may have other shortest
        paths and raise an error.

        Parameters
        ----------
        X : array-like or Tensor of shape (n, n_features)
            Source rows.
        t : float or array-like of shape (k,)
            Times from 0, the source, to 1, the target.
        random_state : int, RandomState instance or None, default=0
            Seed of the draws, as in `sample`.
        out : ndarray of shape (n, n_features) or (k, n, n_features), optional
            Array for the result, as in `transform`.

        Returns
        -------
        ndarray or Tensor of shape (n, n_features) or (k, n, n_features)
            The second shape if `t` is an array. At t = 0 the rows are equal to `X`, and at t = 1 to
            ``sample(X, random_state=random_state)[0]``, without rounding errors. A tensor if `X` is a tensor, on the
            same device.

        Raises
        ------
        ValueError
            If `t` is not a number from 0 to 1 or a non-empty one-dimensional array of such numbers, if the cost is not
            the squared Euclidean one or `Lp`, or as in `transform`.
        NotFittedError
            Before `fit`.

        References
        ----------
        McCann, "A Convexity Principle for Interacting Gases", Advances in Mathematics 128, 1997.

        Examples
        --------
        >>> import numpy as np
        >>> from neuralot import SNOTTransport
        >>> X, Y = np.random.default_rng(0).normal(size=(2, 500, 2))
        >>> transport = SNOTTransport(max_iter=50, random_state=0).fit(X, Y + 8)
        >>> transport.interpolate(X, [0, 0.25, 1]).mean(axis=(1, 2)).round()
        array([0., 2., 8.])
        """
        check_is_fitted(self)
        check_straight(as_cost(self._fitted_params.cost))
        times = check_times(t)
        rows = self._check_source(X, reset=False)
        out = self._check_out(out, (*times.shape, *rows.shape), rows)
        frames = out if times.ndim else out[None]  # (k, n, d)
        # the last frame holds the draws until it is computed, so that little more memory than `out` is needed
        draws = np.empty_like(rows) if np.may_share_memory(out, rows) else frames[-1]
        self._draws(rows, 1, random_state, draws[None])
        for block in gen_batches(len(rows), ROWS_PER_BLOCK):
            x, y = rows[block], draws[block].copy()
            for frame, time in zip(frames, times.ravel().tolist(), strict=True):
                frame[block] = self.units_.with_conditions(self.units_.moved_rows((1 - time) * x + time * y), x)
        return self._like(X, out)

    def velocity(self, X: Any, random_state: Any = 0) -> Any:
        r"""Return the velocities of rows on their way to draws.

        .. math:: \dot x_t = y - x, \qquad y \sim \pi(y \mid x)

        Each row of `interpolate` keeps this velocity for all times t from 0 to 1.

        Parameters
        ----------
        X : array-like or Tensor of shape (n, n_features)
            Source rows.
        random_state : int, RandomState instance or None, default=0
            Seed of the draws, as in `interpolate`.

        Returns
        -------
        ndarray or Tensor of shape (n, n_features)
            In units of the data; the unit of time is the time from source to target. Conditions have velocity 0.

        Raises
        ------
        ValueError
            As in `interpolate`.
        NotFittedError
            Before `fit`.

        Examples
        --------
        >>> import numpy as np
        >>> from neuralot import SNOTTransport
        >>> X, Y = np.random.default_rng(0).normal(size=(2, 500, 2))
        >>> transport = SNOTTransport(max_iter=50, random_state=0).fit(X, Y + 8)
        >>> transport.velocity(X).mean(axis=0).round()
        array([8., 8.])
        """
        check_is_fitted(self)
        check_straight(as_cost(self._fitted_params.cost))
        rows = self._check_source(X, reset=False)
        return as_type_of(X, self._draws(rows, 1, random_state)[0] - rows)


def check_straight(cost: Cost) -> None:
    """Raise a ValueError unless straight lines are shortest."""
    if not isinstance(cost, (SquaredEuclidean, Lp)):
        raise ValueError(
            f"cost must be 'sqeuclidean' or neuralot.costs.Lp for interpolate, because displacement interpolation is "
            f"defined here for these costs only, got {cost!r}; fit with cost='sqeuclidean', or use sample"
        )


def check_times(t: Any, low: float = 0.0, high: float = 1.0) -> np.ndarray:
    """Return times as an array of shape () or (k,)."""
    valid = f"a number from {low:g} to {high:g}, or a non-empty one-dimensional array of such numbers"
    try:
        times = np.asarray(as_array(t))
    except ValueError as error:
        raise ValueError(f"t must be {valid}, got {t!r}") from error
    if times.dtype.kind not in "iuf" or times.ndim > 1 or not times.size:
        raise ValueError(f"t must be {valid}, got {times.dtype} of shape {times.shape}")
    outside = times[~((times >= low) & (times <= high))]  # NaN included
    if outside.size:
        raise ValueError(f"t must be {valid}, got {outside.ravel()[0]}")
    return times.astype(np.float64)
