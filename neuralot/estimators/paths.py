"""Mixin of trajectories: paths of rows through several times."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.base import OneToOneFeatureMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from neuralot.estimators.checks import as_random_state, as_type_of, check_count
from neuralot.estimators.interpolation import check_times
from neuralot.estimators.route import Route
from neuralot.estimators.samples import Samples
from neuralot.estimators.times import check_start, check_time, rows_of_time


class Paths(OneToOneFeatureMixin, TransformerMixin, Samples):
    """Mixin for the paths of rows through fitted transports."""

    __metadata_request__transform: ClassVar = {"t": True, "t_start": True}

    transports_: list[Any]
    times_: np.ndarray
    growth_scales_: np.ndarray

    def transform(self, X: Any, t: Any = None, t_start: Any = None) -> Any:
        """Move rows of one time to another.

        The maps of the transports are applied one after the other. Rows move to an earlier time by the inverse maps.

        Parameters
        ----------
        X : array-like or Tensor of shape (k, n_features)
            Rows at the time `t_start`. A data frame may have the column of times of the fit.
        t : float, optional
            A time from the first to the last of the fit; the last when None.
        t_start : float, optional
            One of the times of the fit; the first when None.

        Returns
        -------
        ndarray or Tensor of shape (k, n_features)

        Raises
        ------
        ValueError
            If `t` or `t_start` is not valid, if `t` is earlier than `t_start` and the transport has no inverse, if `t`
            is not a time of the fit and the cost is neither the squared Euclidean one nor `Lp`, or if `X` is not valid.
        NotFittedError
            Before `fit`.
        """
        check_is_fitted(self)
        at, start = np.array([check_time(t, self.times_)]), check_start(t_start, self.times_)
        rows = self._rows_at(X, t_start)
        return as_type_of(X, self._route.frames(self._moved(rows, start, at), at)[0])

    def sample(self, X: Any, t: Any = None, n_draws: int = 1, random_state: Any = None, t_start: Any = None) -> Any:
        """Draw where rows of one time are at another.

        Parameters
        ----------
        X : array-like or Tensor of shape (k, n_features)
            Rows at the time `t_start`.
        t : float, optional
            As in `transform`. Draws at earlier times than `t_start` are all equal, those of the inverse maps.
        n_draws : int, default=1
            Number of independent draws per row.
        random_state : int, RandomState instance or None
            Seed of the draws.
        t_start : float, optional
            As in `transform`.

        Returns
        -------
        ndarray or Tensor of shape (n_draws, k, n_features)

        Raises
        ------
        ValueError
            As in `transform`, or if `n_draws` is less than 1.
        """
        check_is_fitted(self)
        check_count(n_draws, "n_draws")
        at = np.array([check_time(t, self.times_)])
        rows = self._rows_at(X, t_start)
        draws = self._drawn(np.tile(rows, (n_draws, 1)), t_start, at, random_state)[0]
        return as_type_of(X, draws.reshape(n_draws, *rows.shape))

    def interpolate(self, X: Any, t: Any, random_state: Any = 0, t_start: Any = None) -> Any:
        """Return the paths of rows, at one or several times.

        Each row has one draw of each plan, the same for all t. Its path is a broken line with corners at the times of
        the fit.

        Parameters
        ----------
        X : array-like or Tensor of shape (n, n_features)
            Rows at the time `t_start`.
        t : float or array-like of shape (k,)
            Times from the first to the last of the fit.
        random_state : int, RandomState instance or None, default=0
            Seed of the draws.
        t_start : float, optional
            As in `transform`.

        Returns
        -------
        ndarray or Tensor of shape (n, n_features) or (k, n, n_features)
            The second shape if `t` is an array. At `t_start` the rows are equal to `X`.

        Raises
        ------
        ValueError
            As in `transform`.
        """
        check_is_fitted(self)
        times = check_times(t, self.times_[0], self.times_[-1])
        rows = self._rows_at(X, t_start)
        frames = self._drawn(rows, t_start, times.ravel(), random_state)
        return as_type_of(X, frames if times.ndim else frames[0])

    def velocity(self, X: Any, t: Any, random_state: Any = 0, t_start: Any = None) -> Any:
        r"""Return the velocities of rows on their paths.

        .. math:: \dot x_t = \frac{x_{k+1} - x_k}{t_{k+1} - t_k}, \qquad t_k \le t < t_{k+1}

        Parameters
        ----------
        X : array-like or Tensor of shape (n, n_features)
            Rows at the time `t_start`.
        t : float
            A time from the first to the last of the fit. The last one has the velocity of the last interval.
        random_state : int, RandomState instance or None, default=0
            Seed of the draws: with the same seed, the velocities are those of the paths of `interpolate`.
        t_start : float, optional
            As in `transform`.

        Returns
        -------
        ndarray or Tensor of shape (n, n_features)
            Units of the data per unit of time.

        Raises
        ------
        ValueError
            As in `transform`.
        """
        check_is_fitted(self)
        k = self._route.interval(check_time(t, self.times_))
        self._route.check_straight()
        ends = self.times_[k : k + 2]
        rows = self._rows_at(X, t_start)
        before, after = self._drawn(rows, t_start, ends, random_state)
        return as_type_of(X, (after - before) / float(ends[1] - ends[0]))

    def growth(self, X: Any, t: Any = None, t_start: Any = None) -> np.ndarray:
        r"""Return the factors by which the masses of rows grow.

        .. math:: g(x) = \prod_k \Big( a_k \, \frac{s_k(x_k)}{r_k(x_{k+1})} \Big)^{\tau_k}

        :math:`s_k` and :math:`r_k` are the masses that the plan k takes from its source and brings to its target
        (`source_mass` and `target_mass`), relative to their laws. Both are one for a balanced transport, where all
        rows grow alike. The factor :math:`a_k` (`growth_scales_`) gives the sample at :math:`t_k` the mass of the
        next one. :math:`\tau_k` is the part of the interval k between `t_start` and `t`: within an interval, each
        row grows at a constant rate. The masses of the samples are numbers of rows by default. Where these are not
        proportional to the size of the population, pass `sample_weight` in `fit`.

        Parameters
        ----------
        X : array-like or Tensor of shape (k, n_features)
            Rows at the time `t_start`.
        t : float, optional
            As in `transform`.
        t_start : float, optional
            As in `transform`.

        Returns
        -------
        ndarray of shape (k,)
            One at `t_start`. A row of mass w has the mass ``w * growth`` at the time `t`.

        Raises
        ------
        ValueError
            As in `transform`.
        """
        check_is_fitted(self)
        at, start = check_time(t, self.times_), check_start(t_start, self.times_)
        rows = self._rows_at(X, t_start)
        return self._route.growth(self._moved(rows, start, self._route.ends(at)), self.growth_scales_, start, at)

    @property
    def _route(self) -> Route:
        return Route(self.transports_, self.times_)

    def _rows_at(self, X: Any, t_start: Any) -> np.ndarray:
        """Return rows at a time, without the column of times."""
        start = self.times_[check_start(t_start, self.times_)]
        return self._check_source(rows_of_time(X, getattr(self, "time_column_", None), start), reset=False)

    def _moved(self, rows: np.ndarray, start: int, at: np.ndarray) -> dict[int, np.ndarray]:
        """Return images at the fitted times around `at`."""
        return self._route.knots(rows, start, at, lambda transport, x: transport.transform(x))

    def _drawn(self, rows: np.ndarray, t_start: Any, at: np.ndarray, random_state: Any) -> np.ndarray:
        """Return positions, with one draw of each plan."""
        seeds = as_random_state(random_state)  # one after the other, so that the draws of two plans are independent
        draw = lambda transport, x: transport.sample(x, random_state=seeds)[0]  # noqa: E731
        route = self._route
        return route.frames(route.knots(rows, check_start(t_start, self.times_), at, draw), at)
