"""Transport through samples at several times."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
from sklearn.base import OneToOneFeatureMixin, TransformerMixin, clone
from sklearn.utils.validation import check_is_fitted

from neuralot.estimators.base import BaseTransport
from neuralot.estimators.checks import as_random_state, as_type_of, check_n_draws, unchanged_on_error
from neuralot.estimators.interpolation import check_times
from neuralot.estimators.mixins import Documented
from neuralot.estimators.route import Route
from neuralot.estimators.samples import Samples
from neuralot.estimators.times import (
    Snapshots,
    check_start,
    check_time,
    is_list_of_samples,
    listed_snapshots,
    pick_time,
    stacked_snapshots,
)

TIMES = {"t": True, "t_start": True}


class TrajectoryTransport(Documented, OneToOneFeatureMixin, TransformerMixin, Samples):
    r"""Transport through samples at several times.

    .. math:: x_t = (1 - s) \, x_k + s \, x_{k+1}, \qquad x_{k+1} \sim \pi_k(\cdot \mid x_k), \qquad
        s = \frac{t - t_k}{t_{k+1} - t_k}

    A clone of `transport` is fitted to each pair of neighbouring samples, with plan :math:`\pi_k` between the times
    :math:`t_k` and :math:`t_{k+1}`. Rows move through these plans one after the other, and on straight lines between
    two times: the displacement interpolation, if the cost is the squared Euclidean one. The errors of the plans add up
    along the way. Straight lines at constant speed are an assumption, which the samples cannot confirm.

    Parameters
    ----------
    transport : SNOTTransport, OTPTransport or another transport of this package
        `max_time` is the time limit of each clone.

    Attributes
    ----------
    transports_ : list of n_times - 1 estimators
        The fitted clones of `transport`, in the order of time.
    times_ : ndarray of shape (n_times,)
        The different times, in increasing order.
    masses_ : ndarray of shape (n_times,)
        Total weight of each sample; the number of its rows without `sample_weight`.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features,)
        If `X` has column names.

    References
    ----------
    McCann, "A Convexity Principle for Interacting Gases", Advances in Mathematics 128, 1997.
    Schiebinger et al., "Optimal-transport analysis of single-cell gene expression identifies developmental trajectories
    in reprogramming", Cell 176, 2019.

    Examples
    --------
    >>> import numpy as np
    >>> from neuralot import SNOTTransport, TrajectoryTransport
    >>> time = np.repeat([0, 1, 3], 300)
    >>> X = np.random.default_rng(0).normal(size=(900, 2)) + 4 * time[:, None]
    >>> trajectory = TrajectoryTransport(SNOTTransport(max_iter=50, random_state=0)).fit(X, time=time)
    >>> trajectory.transform(X[:300], t=2).mean(axis=0).round()
    array([8., 8.])
    """

    # metadata requested by default from a meta-estimator
    __metadata_request__fit: ClassVar = {"time": True, "sample_weight": True}
    __metadata_request__score: ClassVar = {"time": True}
    __metadata_request__transform: ClassVar = TIMES

    transports_: list[BaseTransport]
    times_: np.ndarray
    masses_: np.ndarray

    def __init__(self, transport: BaseTransport) -> None:
        self.transport = transport

    def fit(self, X: Any, y: Any = None, *, time: Any = None, sample_weight: Any = None) -> TrajectoryTransport:
        """Fit one transport to each pair of neighbouring samples.

        Parameters
        ----------
        X : array-like of shape (n, n_features), or list of such samples
            Rows of all times in any order, or one sample per time.
        y : array-like of shape (n,), optional
            The times, in a pipeline: another name of `time`.
        time : array-like of shape (n,), or of shape (n_times,) for a list of samples
            Time of each row, or increasing times of the samples. Rows with equal times form a sample.
        sample_weight : array-like of shape (n,), or list of arrays for a list of samples, optional
            Non-negative weights of the rows. Their sums are the masses of the samples, for `growth`.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If the times are missing, not finite, all equal, or do not increase in a list; if a time has one row only,
            or as in the `fit` of `transport`. The estimator is then unchanged.
        TypeError
            If `transport` is not a transport of this package.
        """
        with unchanged_on_error(self):
            if not isinstance(self.transport, BaseTransport):
                raise TypeError(
                    f"transport must be a transport estimator, such as OTPTransport(), got {self.transport!r}"
                )
            snapshots = self._snapshots(X, pick_time(y, time), sample_weight, reset=True)
            legs = zip(pairwise(snapshots.samples), pairwise(snapshots.weights), strict=True)
            transports = [
                clone(self.transport)
                .set_output(transform="default")
                .fit(source, X_target=target, sample_weight=v, sample_weight_target=w)
                for (source, target), (v, w) in legs
            ]
            self.transports_, self.times_, self.masses_ = transports, snapshots.times, snapshots.masses
        return self

    def transform(self, X: Any, t: Any = None, t_start: Any = None) -> Any:
        """Move rows of one time to another.

        The maps of the transports are applied one after the other. Rows move to an earlier time by the inverse maps.

        Parameters
        ----------
        X : array-like or Tensor of shape (k, n_features)
            Rows at the time `t_start`.
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
        at = np.array([check_time(t, self.times_)])
        start = check_start(t_start, self.times_)
        rows = self._check_source(X, reset=False)
        knots = self._route.knots(rows, start, at, lambda transport, x: transport.transform(x))
        return as_type_of(X, self._route.frames(knots, at)[0])

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
        check_n_draws(n_draws)
        at = np.array([check_time(t, self.times_)])
        rows = self._check_source(X, reset=False)
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
        rows = self._check_source(X, reset=False)
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
        rows = self._check_source(X, reset=False)
        before, after = self._drawn(rows, t_start, ends, random_state)
        return as_type_of(X, (after - before) / float(ends[1] - ends[0]))

    def score(self, X: Any, y: Any = None, *, time: Any = None) -> float:
        """Return the mean score of the transports.

        This is minus the mean Sinkhorn divergence between the images of each sample and the sample at the next time.

        Parameters
        ----------
        X : array-like of shape (n, n_features), or list of such samples
            Held-out rows of all times of the fit.
        y, time : array-like
            The times, as in `fit`.

        Returns
        -------
        float
            Higher is better, and the unit is the square of the unit of the data.

        Raises
        ------
        ValueError
            If the times are not those of the fit.
        """
        check_is_fitted(self)
        snapshots = self._snapshots(X, pick_time(y, time), None, reset=False)
        if not np.array_equal(snapshots.times, self.times_):
            raise ValueError(
                f"time must have all times of the fit, {self.times_.tolist()}, got {snapshots.times.tolist()}"
            )
        legs = zip(self.transports_, pairwise(snapshots.samples), strict=True)
        return float(np.mean([each.score(source, X_target=target) for each, (source, target) in legs]))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def _snapshots(self, X: Any, time: Any, sample_weight: Any, *, reset: bool) -> Snapshots:
        if not is_list_of_samples(X):
            return stacked_snapshots(self._check_source(X, reset=reset), time, sample_weight)

        def check(rows: Any, k: int) -> np.ndarray:
            return self._check_target(rows, f"X[{k}]") if k else self._check_source(rows, reset=reset)

        return listed_snapshots(X, check, time, sample_weight)

    @property
    def _route(self) -> Route:
        return Route(self.transports_, self.times_)

    def _drawn(self, rows: np.ndarray, t_start: Any, at: np.ndarray, random_state: Any) -> np.ndarray:
        """Return positions at the times `at`, with one draw of each plan."""
        seeds = as_random_state(random_state)  # one after the other, so that the draws of two plans are independent
        draw = lambda transport, x: transport.sample(x, random_state=seeds)[0]  # noqa: E731
        route = self._route
        return route.frames(route.knots(rows, check_start(t_start, self.times_), at, draw), at)
