"""Base class of the transport estimators."""

from __future__ import annotations

import os
import time
from abc import ABC
from typing import Any, TypeVar

import numpy as np
import torch
from sklearn.base import OneToOneFeatureMixin, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted
from torch import Generator

from neuralot._torch import isolated
from neuralot.estimators.checkpoints import open_checkpoint
from neuralot.estimators.checks import check_count, unchanged_on_error
from neuralot.estimators.files import plain, revive, write
from neuralot.estimators.fitting import Fitter, Outcome
from neuralot.estimators.interpolation import Interpolating
from neuralot.estimators.laws import Law, Laws, of_columns
from neuralot.estimators.lazy import on_dask
from neuralot.estimators.mixins import Density, Documented, Reporting, has_inverse
from neuralot.estimators.pairs import Pairing
from neuralot.estimators.processes import in_processes
from neuralot.estimators.setup import seeded_generator
from neuralot.estimators.state import is_built_in
from neuralot.estimators.tasks import AVAILABLE, CallbackSupportMixin, Tasks, with_callbacks
from neuralot.estimators.units import MapFunction, map_rows
from neuralot.estimators.warn import warn_of_far_conditions, warn_of_laws, warn_user
from neuralot.solve.distributed import current
from neuralot.solve.status import Status

Self = TypeVar("Self", bound="BaseTransport")

ROWS_FOR_COST, ROWS_OF_TARGET = 10_000, 1_000
METADATA = dict.fromkeys(["X_target", "sample_domain", "sample_weight", "sample_weight_target"], True)


class BaseTransport(
    Documented,
    Reporting,
    Interpolating,
    Pairing,
    CallbackSupportMixin,
    OneToOneFeatureMixin,
    TransformerMixin,
    Fitter,
    ABC,
):
    """Base class of the transport estimators."""

    # metadata requested by default, which Pipeline(transform_input=["X_target"]) requires
    __metadata_request__fit = METADATA
    __metadata_request__score = dict.fromkeys(["X_target", "sample_domain"], True)

    @with_callbacks
    @isolated
    @in_processes
    def fit(
        self: Self,
        X: Any,
        y: Any = None,
        *,
        X_target: Any = None,
        sample_domain: Any = None,
        sample_weight: Any = None,
        sample_weight_target: Any = None,
    ) -> Self:
        """Learn the transport from source to target.

        Parameters
        ----------
        X : array-like, Tensor or stream of shape (n, n_features)
            Source sample, in any order. With `sample_domain`, both samples. A stream is read in batches: a `DataLoader`
            or data set of torch, a dask array or data frame, a long `numpy.memmap`, or an iterable of batches or a
            function without arguments that returns one, see :ref:`streams`.
        y : array-like, Tensor or stream of shape (m, n_features), optional
            Target sample. A 1-D `y` is treated as labels and ignored; the target is then `X_target`.
        X_target : array-like, Tensor or stream of shape (m, n_features), optional
            Target sample as a keyword argument, for use in pipelines.
        sample_domain : array-like of shape (n,), optional
            Domain of each row if `X` contains both samples: positive for source rows and negative for target rows.
            Cross-validation requires this form, because each fold then contains rows of both samples.
        sample_weight : array-like of shape (n,), optional
            Non-negative weights of the rows of `X`. They need not sum to one.
        sample_weight_target : array-like of shape (m,), optional
            Non-negative weights of the rows of the target sample.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If there is no target sample or more than one, if the numbers of features differ, if a sample is empty, not
            two-dimensional or not finite, if a parameter is invalid, or if `checkpoint` is a file that another fit has
            written. For a stream, also if it can be read only once, if it has weights, or if a batch is invalid, which
            the error names. The estimator is then unchanged.
        TypeError
            If a sample is sparse or `device` is not a device.
        FileNotFoundError
            If the folder of `checkpoint` does not exist.
        FloatingPointError
            If the weights of the networks were never finite.
        LostProcessError
            If several processes share the fit and one of them ends or does not answer.

        Warns
        -----
        ConvergenceWarning
            If the fit diverged and restored its best weights, if its budget was too short, or if Ctrl-C ended it.
        SpuriousSolutionWarning
            Before the first step, if the method needs a source with a density and the source lies on a thin set. This
            and the following classes are in `neuralot.exceptions`.
        SmoothingWarning
            If `eps_min` is far from its default.
        CheckpointWarning
            If the checkpoint cannot be written. The fit continues without it.
        ScaleWarning
            If a column varies less than a hundredth of another one, or if the scales of source and target, or of a warm
            start and its previous fit, differ by more than a factor of 30.
        StreamWarning
            If the first pass over a stream takes longer than a quarter of `max_time`.
        OutlierWarning, FewRowsWarning
            If a few far rows have most of the variance; if both samples have fewer rows than columns.
        """
        start = time.perf_counter()
        metadata = {
            "X_target": X_target,
            "sample_domain": sample_domain,
            "sample_weight": sample_weight,
            "sample_weight_target": sample_weight_target,
        }
        tasks = Tasks(self, X, y, metadata) if AVAILABLE and current().is_first else None
        with unchanged_on_error(self):
            self._check_parameters()
            laws = self._check_laws(X, y, reset=True, streams=True, **metadata)
            generator = self._generator(laws)
            checkpoint = open_checkpoint(self, laws, generator)
            self._set_fitted_attributes(self._fit(laws, generator, start, tasks, checkpoint), laws)
        if checkpoint is not None and self.status_ is not Status.INTERRUPTED:
            checkpoint.remove()
        if tasks is not None:
            tasks.end()
        self._warn(laws)
        return self

    @on_dask
    def transform(self, X: Any, out: np.ndarray | None = None) -> Any:
        """Map source rows to the target.

        The map is deterministic and applies to each row independently. The images are float32 for float32 rows and
        float64 otherwise.

        Parameters
        ----------
        X : array-like, Tensor, dask array or data frame of shape (k, n_features)
        out : ndarray of shape (k, n_features), optional
            Array for the images, which is returned; a `numpy.memmap` if they do not fit into memory.

        Returns
        -------
        ndarray, Tensor, dask array or data frame of shape (k, n_features)
            On the device of `X`. Images of dask collections are computed on demand.

        Raises
        ------
        ValueError
            If `X` is not finite or not two-dimensional, if its columns are not those of `fit`, or if the shape or dtype
            of `out` is not that of the images.
        NotFittedError
            If the transport is not fitted.
        """
        check_is_fitted(self)
        rows = self._check_source(X, reset=False)
        out = self._check_out(out, rows.shape, rows)
        return self._like(X, self._to_target(rows, lambda problem, x: problem.map(x), out))

    @on_dask
    def sample(self, X: Any, n_draws: int = 1, random_state: Any = None, out: np.ndarray | None = None) -> Any:
        """Draw images of rows from the plan pi(y | x).

        Parameters
        ----------
        X : array-like, Tensor, dask array or data frame of shape (k, n_features)
        n_draws : int
            Number of independent draws per row. For a deterministic map, all draws are equal.
        random_state : int, RandomState instance or None
            Seed of the draws.
        out : ndarray of shape (n_draws, k, n_features), optional
            Array for the draws, as in `transform`.

        Returns
        -------
        ndarray, Tensor or dask array of shape (n_draws, k, n_features)
            For a dask data frame, a data frame with `n_draws` rows for each of its rows. Each part has its own seed.

        Raises
        ------
        ValueError
            As in `transform`, or if `n_draws` is less than 1.
        """
        check_is_fitted(self)
        check_count(n_draws, "n_draws")
        rows = self._check_source(X, reset=False)
        out = self._check_out(out, (n_draws, *rows.shape), rows)
        return self._like(X, self._draws(rows, n_draws, random_state, out))

    @available_if(has_inverse)
    @on_dask
    def inverse_transform(self, X: Any, out: np.ndarray | None = None) -> Any:
        """Map target rows to the source.

        Parameters
        ----------
        X : array-like or Tensor of shape (k, n_features)
            Target rows.
        out : ndarray of shape (k, n_features), optional
            As in `transform`.

        Returns
        -------
        ndarray or Tensor of shape (k, n_features)

        Raises
        ------
        AttributeError
            If the inverse map was not learned.
        """
        check_is_fitted(self)
        rows = self._check_source(X, reset=False)
        out = self._check_out(out, rows.shape, rows)
        units = self.units_
        image: MapFunction = lambda problem, y: problem.inverse(y)  # noqa: E731
        map_rows(self.problem_, rows, image, units.from_target, units.to_source, out, exact=self._is_built_in)
        return self._like(X, out)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def save(self, path: str | os.PathLike[str]) -> None:
        """Save the fitted transport to a safetensors file.

        `neuralot.load` reads the file. It contains arrays, and the parameters, history and versions as JSON; loading it
        runs no code. Custom costs and networks are not saved: pass them to `load` again. Also omitted are `callbacks`,
        a `random_state` that is a generator, settings of `set_output` and similar methods, and the optimisers of a
        stream, which continues with new ones after `load`. A crash leaves an existing file intact.

        Parameters
        ----------
        path : str or path-like

        Raises
        ------
        FileNotFoundError
            If the folder does not exist.
        NotFittedError
            If the transport is not fitted.
        """
        check_is_fitted(self)
        write(path, self)

    def __getstate__(self) -> dict[str, Any]:
        # only arrays, numbers and names, so that a fit on a GPU can be unpickled on a CPU
        return plain(super().__getstate__())

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        revive(self, self._build)

    def _set_fitted_attributes(self, outcome: Outcome, laws: Laws) -> None:
        """Set the fitted attributes, and those derived from them."""
        for name, value in outcome.attributes.items():
            setattr(self, name, value)
        self._certify()
        self.target_sample_ = laws[1].reduced(ROWS_OF_TARGET).rows.copy()
        self.transport_cost_ = self._transport_cost(laws[0].subsample(ROWS_FOR_COST))

    def _certify(self) -> None:
        """Set the attributes with error estimates, if there are any."""
        return None

    def _warn(self, laws: Laws) -> None:
        names = self._column_names
        if self._conditions is not None:
            warn_of_far_conditions(laws, self._conditions)
            laws, names = of_columns(laws, self._conditions.moved), names[self._conditions.moved]
        warn_of_laws(laws, self.units_, list(names))
        if not self.status_.ok:
            advice = self._advice if self.status_ in (Status.SHORT, Status.DIVERGED) else ""
            if self.history_ and "affine" in self.history_[-1]:
                advice = f" Here, the affine map replaced the learned map, and draws do not split mass.{advice}"
            if self.status_ is Status.INTERRUPTED and self.checkpoint is not None:
                advice = f" The same fit continues from the checkpoint {self.checkpoint}."
            warn_user(self.status_.message + advice, ConvergenceWarning)

    def _transport_cost(self, law: Law) -> float:
        """Return the learned plan's mean cost in the data's units."""
        images, masses = self._weighted_draw(law.rows, random_state=0)
        x, y = (self.units_.moved_rows(rows) for rows in (law.rows, images))
        cost = self._cost
        # a custom cost is evaluated in the precision of the fit
        dtype = torch.double if cost.homogeneous else torch.float
        costs = cost(torch.from_numpy(x).to(dtype), torch.from_numpy(y).to(dtype)).detach().numpy()
        return float(np.average(costs if masses is None else costs * masses, weights=law.weights))

    @property
    def _densities(self) -> tuple[Density, Density]:
        """`source_mass` and `target_mass` of validated rows."""
        ones: Density = lambda rows: np.ones(len(rows), dtype=rows.dtype)  # noqa: E731
        return ones, ones

    def _weighted_draw(self, rows: np.ndarray, random_state: Any) -> tuple[np.ndarray, np.ndarray | None]:
        """Return one draw per row, and masses if they change."""
        return self._draws(rows, 1, random_state)[0], None

    def _draws(self, rows: np.ndarray, n_draws: int, random_state: Any, out: np.ndarray | None = None) -> np.ndarray:
        out = np.empty((n_draws, *rows.shape), dtype=rows.dtype) if out is None else out
        generator = seeded_generator(random_state, next(self.problem_.parameters()).device)
        return self._to_target(rows, lambda problem, x: problem.draw(x, generator), out, generator)

    def _to_target(
        self, rows: np.ndarray, image: MapFunction, out: np.ndarray, generator: Generator | None = None
    ) -> np.ndarray:
        """Fill `out` with images.

        For draws, `out` has a further first dimension, and `generator` is theirs.
        """
        units = self.units_
        return map_rows(self.problem_, rows, image, units.from_source, units.to_target, out, exact=self._is_built_in)

    @property
    def _is_built_in(self) -> bool:
        return is_built_in(self._fitted_params)
