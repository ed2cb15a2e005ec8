"""Transport through samples at several times."""

from __future__ import annotations

import os
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted

from neuralot.diagnostics import ConditionalReport, TransportReport
from neuralot.estimators.base import BaseTransport
from neuralot.estimators.batches import is_stream
from neuralot.estimators.checks import unchanged_on_error
from neuralot.estimators.conditions import check_by_index
from neuralot.estimators.files import Chain, write
from neuralot.estimators.mixins import Documented
from neuralot.estimators.paths import Paths
from neuralot.estimators.route import mass_ratio
from neuralot.estimators.times import (
    Snapshots,
    is_list_of_samples,
    listed_snapshots,
    pick_time,
    stacked_snapshots,
    without_time,
)
from neuralot.solve.status import Status

SAVED = {"times_", "time_column_", "masses_", "growth_scales_", "n_features_in_", "feature_names_in_"}


class TrajectoryTransport(Documented, Paths, Chain):
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
        `max_time` is the time limit of each clone. A `condition` is given by indices of columns of numbers, counted
        without a column of times. If it has a `checkpoint`, the file of interval k ends with ``.k``.

    Attributes
    ----------
    transports_ : list of n_times - 1 estimators
        The fitted clones of `transport`, in the order of time.
    times_ : ndarray of shape (n_times,)
        The different times, in increasing order.
    time_column_ : str or None
        Name of the column of times, if `fit` was given one. Methods after the fit leave it out.
    masses_ : ndarray of shape (n_times,)
        Total weight of each sample; the number of its rows without `sample_weight`.
    growth_scales_ : ndarray of shape (n_times - 1,)
        Ratio of the masses of neighbouring samples over the mean of the mass ratios of the transport, for `growth`.
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
        time : array-like of shape (n,), or of shape (n_times,) for a list of samples, or str
            Time of each row, or increasing times of the samples. Rows with equal times form a sample. A string is the
            name of the column of a data frame `X` that has the times; the other columns are the rows.
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
        KeyboardInterrupt
            After Ctrl-C or SIGTERM, unless in the last interval. The estimator is then unchanged.
        """
        with unchanged_on_error(self):
            if not isinstance(self.transport, BaseTransport):
                raise TypeError(
                    f"transport must be a transport estimator, such as OTPTransport(), got {self.transport!r}"
                )
            check_by_index(self.transport, type(self).__name__)
            column = time if isinstance(time, str) else None
            X, time = without_time(X, pick_time(y, time))
            snapshots = self._snapshots(X, time, sample_weight, reset=True)
            transports: list[BaseTransport] = []
            for (source, target), (v, w) in zip(pairwise(snapshots.samples), pairwise(snapshots.weights), strict=True):
                if transports and transports[-1].status_ is Status.INTERRUPTED:
                    raise KeyboardInterrupt(f"interrupted in interval {len(transports) - 1}")
                transport = self._clone(len(transports))
                transports.append(transport.fit(source, X_target=target, sample_weight=v, sample_weight_target=w))
            self.transports_, self.times_, self.masses_ = transports, snapshots.times, snapshots.masses
            self.time_column_, self.growth_scales_ = column, self._growth_scales(snapshots)
        return self

    def score(self, X: Any, y: Any = None, *, time: Any = None) -> float:
        """Return the mean score of the transports.

        This is minus the mean Sinkhorn divergence between the images of each sample and the sample at the next time.

        Parameters
        ----------
        X : array-like of shape (n, n_features), or list of such samples
            Held-out rows of all times of the fit.
        y, time : array-like or str
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
        snapshots = self._held_out(X, y, time, None)
        legs = zip(self.transports_, pairwise(snapshots.samples), strict=True)
        return float(np.mean([each.score(source, X_target=target) for each, (source, target) in legs]))

    def report(
        self, X: Any, y: Any = None, *, time: Any = None, sample_weight: Any = None, max_rows: int = 2000
    ) -> ConditionalReport:
        """Diagnose each transport on held-out rows, without ground truth.

        A report is about the plan between two neighbouring times. It says nothing about the straight lines between
        them, nor about the errors that add up over several intervals.

        Parameters
        ----------
        X : array-like of shape (n, n_features), or list of such samples
            Held-out rows of all times of the fit.
        y, time, sample_weight
            As in `fit`.
        max_rows : int, default=2000
            Rows of each sample that are used, drawn at random.

        Returns
        -------
        ConditionalReport
            Its ``reports`` have the names of the intervals, such as ``'0 to 1'``, and the verdict is the worst one.

        Raises
        ------
        ValueError
            If the times are not those of the fit, or a sample or its weights are not valid.
        """
        snapshots = self._held_out(X, y, time, sample_weight)
        reports: dict[str, TransportReport] = {}
        legs = zip(self.transports_, pairwise(snapshots.samples), pairwise(snapshots.weights), strict=True)
        for (each, rows, (v, w)), (start, end) in zip(legs, pairwise(snapshots.times), strict=True):
            found = each.report(*rows, sample_weight=v, sample_weight_target=w, max_rows=max_rows)
            name = f"{start:g} to {end:g}"
            if isinstance(found, ConditionalReport):
                reports |= {f"{name}, {condition}": report for condition, report in found.reports.items()}
            else:
                reports[name] = found
        return ConditionalReport(reports)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Save the fitted transports to one safetensors file.

        `neuralot.load` reads the file. See `save` of the transports for what is not saved.

        Parameters
        ----------
        path : str or path-like

        Raises
        ------
        FileNotFoundError
            If the folder does not exist.
        NotFittedError
            If the trajectory is not fitted.
        """
        check_is_fitted(self)
        write(path, self)

    def _chain_state(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name in SAVED}

    @classmethod
    def _of_chain(cls, transports: list[Any], state: dict[str, Any]) -> TrajectoryTransport:
        trajectory = cls(clone(transports[0]))
        for name, value in {**state, "transports_": transports}.items():
            setattr(trajectory, name, value)
        return trajectory

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def _clone(self, k: int) -> BaseTransport:
        """Return the unfitted transport of an interval."""
        transport = clone(self.transport).set_output(transform="default")
        path = self.transport.checkpoint
        return transport.set_params(checkpoint=f"{path}.{k}") if isinstance(path, (str, os.PathLike)) else transport

    def _held_out(self, X: Any, y: Any, time: Any, sample_weight: Any) -> Snapshots:
        """Return samples at the times of the fit."""
        check_is_fitted(self)
        X, time = without_time(X, pick_time(y, time))
        snapshots = self._snapshots(X, time, sample_weight, reset=False)
        if not np.array_equal(snapshots.times, self.times_):
            raise ValueError(
                f"time must have all times of the fit, {self.times_.tolist()}, got {snapshots.times.tolist()}; in "
                f"cross-validation, split with KFold(shuffle=True) or StratifiedKFold"
            )
        return snapshots

    def _growth_scales(self, snapshots: Snapshots) -> np.ndarray:
        """Return the factors of the mass ratios, by interval."""
        legs = zip(self.transports_, snapshots.samples, snapshots.weights, strict=False)  # the last sample has no leg
        means = [np.average(mass_ratio(each, rows, each.transform(rows)), weights=w) for each, rows, w in legs]
        return snapshots.masses[1:] / snapshots.masses[:-1] / np.array(means)

    def _snapshots(self, X: Any, time: Any, sample_weight: Any, *, reset: bool) -> Snapshots:
        parts = X if isinstance(X, (list, tuple)) else [X]
        streams = [each for each in (X, *parts) if is_stream(each) and not hasattr(each, "__array__")]
        if streams:
            raise TypeError(
                f"X must have arrays or data frames, got a stream ({type(streams[0]).__name__}); pass rows in "
                f"memory, or a numpy.memmap for each time"
            )
        if not is_list_of_samples(X):
            return stacked_snapshots(self._check_source(X, reset=reset), time, sample_weight)

        def check(rows: Any, k: int) -> np.ndarray:
            return self._check_target(rows, f"X[{k}]") if k else self._check_source(rows, reset=reset)

        return listed_snapshots(X, check, time, sample_weight)
