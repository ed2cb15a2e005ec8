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
from torch import Tensor

from neuralot.divergences import sinkhorn_divergence
from neuralot.estimators.checks import check_n_draws, check_out, unchanged_on_error
from neuralot.estimators.files import plain, revive, write
from neuralot.estimators.fitting import Fitter
from neuralot.estimators.laws import Law, Laws
from neuralot.estimators.samples import Samples
from neuralot.estimators.setup import is_built_in, seeded_generator
from neuralot.estimators.tasks import AVAILABLE, CallbackSupportMixin, Tasks, with_callbacks
from neuralot.estimators.units import Image, bounds_of, map_rows
from neuralot.estimators.warn import warn_of_outliers, warn_of_scales, warn_user
from neuralot.solve.status import Status

Self = TypeVar("Self", bound="BaseTransport")

ROWS_FOR_COST = 10_000
METADATA = dict.fromkeys(["X_target", "sample_domain", "sample_weight", "sample_weight_target"], True)


def _has_inverse(estimator: BaseTransport) -> bool:
    check_is_fitted(estimator)
    if not estimator.problem_.invertible:
        raise AttributeError(
            f"This {type(estimator).__name__} has no inverse_transform: only semi-dual transports with "
            f"map_form='gradient' learn the inverse map"
        )
    return True


class Documented:
    """Links the HTML representation of an estimator to its page."""

    _doc_link_module = "neuralot"
    _doc_link_template = "https://neuralot.readthedocs.io/en/latest/generated/neuralot.{name}.html"

    def _doc_link_url_param_generator(self) -> dict[str, str]:
        return {"name": type(self).__name__}


class BaseTransport(Documented, CallbackSupportMixin, OneToOneFeatureMixin, TransformerMixin, Samples, Fitter, ABC):
    """Base class of the transport estimators."""

    # what a meta-estimator may pass on to fit without being asked, for Pipeline(transform_input=["X_target"])
    __metadata_request__fit = METADATA
    __metadata_request__score = dict.fromkeys(["X_target", "sample_domain"], True)

    @with_callbacks
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
        X : array-like or Tensor of shape (n, n_features)
            Source sample. The order of the rows does not matter.
        y : array-like or Tensor of shape (m, n_features), optional
            Target sample. A 1-D `y` is taken for labels and ignored; then `X_target` is needed.
        X_target : array-like or Tensor of shape (m, n_features), optional
            Target sample, by name; the form for pipelines.
        sample_domain : array-like of shape (n,), optional
            Says that `X` holds both samples: rows with a positive number are the source's, with a negative one the
            target's. The form for cross-validation, whose folds then hold rows of both.
        sample_weight : array-like of shape (n,), optional
            Weights of the source rows, non-negative; they need not sum to one.
        sample_weight_target : array-like of shape (m,), optional
            Weights of the target rows.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If there is no target sample or two, if the feature counts differ, if a sample is empty, not
            two-dimensional or not finite, or if a parameter is outside of its range. The estimator then stays as it
            was.
        TypeError
            If a sample is sparse or `device` is no device.
        FloatingPointError
            If the weights were never finite.

        Warns
        -----
        ConvergenceWarning
            If the fit diverged, and its best weights are restored, if its budget was too short, or if Ctrl-C ended it.
        UserWarning
            If source and target vary on scales that differ by more than a factor of 30, as when only one was scaled, if
            a warm start gets rows that vary so much more or less than those before, or if a few rows lie so far
            outside of the rest that the others are nearly one point beside them.
        """
        start = time.perf_counter()
        metadata = {
            "X_target": X_target,
            "sample_domain": sample_domain,
            "sample_weight": sample_weight,
            "sample_weight_target": sample_weight_target,
        }
        tasks = Tasks(self, X, y, metadata) if AVAILABLE else None
        with unchanged_on_error(self):
            self._check_parameters()
            laws = self._check_laws(X, y, reset=True, **metadata)
            self._take(self._fit(laws, self._generator(), start, tasks), laws)
        if tasks is not None:
            tasks.end()
        self._warn(laws)
        return self

    def transform(self, X: Any, out: np.ndarray | None = None) -> Any:
        """Map source rows.

        The map is deterministic and works row by row, in float32 for float32 rows and else in float64.

        Parameters
        ----------
        X : array-like or Tensor of shape (k, n_features)
        out : ndarray of shape (k, n_features), optional
            Where the images are written and what is returned; a `numpy.memmap` for more rows than fit into memory.

        Returns
        -------
        ndarray or Tensor of shape (k, n_features)
            A tensor, on the device of `X`, where `X` is one.

        Raises
        ------
        ValueError
            If `X` is not finite, not two-dimensional, or has other columns than in `fit`, or if `out` has another
            shape or dtype than the images.
        NotFittedError
            Before `fit`.
        """
        check_is_fitted(self)
        rows = self._check_source(X, reset=False)
        out = check_out(out, rows.shape, rows)
        return _like(X, self._to_target(rows, lambda problem, x: problem.map(x), out))

    def sample(self, X: Any, n_draws: int = 1, random_state: Any = None, out: np.ndarray | None = None) -> Any:
        """Draw images of rows from the plan pi(y | x).

        Parameters
        ----------
        X : array-like or Tensor of shape (k, n_features)
        n_draws : int
            Independent draws per row. For a deterministic map all draws are equal.
        random_state : int, RandomState instance or None
        out : ndarray of shape (n_draws, k, n_features), optional
            Where the draws are written, as in `transform`.

        Returns
        -------
        ndarray or Tensor of shape (n_draws, k, n_features)

        Raises
        ------
        ValueError
            As `transform`, or if `n_draws` is less than 1.
        """
        check_is_fitted(self)
        check_n_draws(n_draws)
        rows = self._check_source(X, reset=False)
        out = check_out(out, (n_draws, *rows.shape), rows)
        return _like(X, self._draws(rows, n_draws, random_state, out))

    @available_if(_has_inverse)
    def inverse_transform(self, X: Any, out: np.ndarray | None = None) -> Any:
        """Map target rows to the source.

        Parameters
        ----------
        X : array-like or Tensor of shape (k, n_features)
            Rows of the target.
        out : ndarray of shape (k, n_features), optional
            As in `transform`.

        Returns
        -------
        ndarray or Tensor of shape (k, n_features)

        Raises
        ------
        AttributeError
            If the fitted method has no inverse.
        """
        check_is_fitted(self)
        rows = self._check_source(X, reset=False)
        out = check_out(out, rows.shape, rows)
        enter, leave = self.units_.from_target, self.units_.to_source
        image: Image = lambda problem, y: problem.inverse(y)  # noqa: E731
        return _like(X, map_rows(self.problem_, rows, image, enter, leave, out, exact=self._is_built_in))

    def score(
        self,
        X: Any,
        y: Any = None,
        *,
        X_target: Any = None,
        sample_domain: Any = None,
        sample_weight: Any = None,
        sample_weight_target: Any = None,
    ) -> float:
        """Return minus the debiased Sinkhorn divergence of images to target.

        The images are draws from the plan; at most 2000 rows of each side are used, picked evenly. Higher is
        better, 0 is a perfect match of the laws, and the unit is that of the data, squared. It says nothing about
        the optimality of the map, only about its image.

        Parameters
        ----------
        X : array-like or Tensor of shape (k, n_features)
            Held-out source rows.
        y, X_target : array-like or Tensor of shape (l, n_features)
            Held-out target rows, as in `fit`.
        sample_domain : array-like of shape (k,), optional
            Which rows of `X` are whose, as in `fit`.
        sample_weight, sample_weight_target : array-like, optional
            Weights, as in `fit`.

        Returns
        -------
        float

        Warns
        -----
        UserWarning
            If images and target vary on scales that differ by more than a factor of 30: a Pipeline transforms
            `X_target` in `fit` alone, and only stacked samples in `score`.
        """
        check_is_fitted(self)
        laws = self._check_laws(X, y, X_target, sample_domain, sample_weight, sample_weight_target, reset=False)
        source, target = laws[0].few().repeated(), laws[1].few()
        draws = self._draws(source.rows, 1, random_state=0)[0]
        warn_of_scales(draws, target.rows, "images")
        return -sinkhorn_divergence(
            draws, target.rows, sample_weight=source.weights, sample_weight_target=target.weights
        )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted transport to a safetensors file, for `neuralot.load`.

        The file holds arrays, and parameters, history and versions as JSON; loading it runs no code. A cost or networks
        of your own are not in it: pass them to `load` again. `callbacks`, a `random_state` that is a generator, and
        what `set_output` and its like have set are left out, and so are the optimisers of a stream, which begins with
        new ones after `load`. The file takes its place when it is complete: a crash leaves the old one.

        Parameters
        ----------
        path : str or path-like

        Raises
        ------
        NotFittedError
            Before `fit`.
        """
        check_is_fitted(self)
        write(path, self)

    def __getstate__(self) -> dict[str, Any]:
        # arrays, numbers and names only: what is pickled loads anywhere, also a GPU fit on a CPU
        return plain(super().__getstate__())

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        revive(self, self._build)

    def _take(self, fitted: dict[str, Any], laws: Laws) -> None:
        """Set the fitted attributes, and those that follow from them."""
        for name, value in fitted.items():
            setattr(self, name, value)
        self._certify()
        self.transport_cost_ = self._transport_cost(laws[0].some(ROWS_FOR_COST))

    def _certify(self) -> None:
        """Set the attributes that certify the fit."""
        return None

    def _warn(self, laws: Laws) -> None:
        source, target = (law.some().rows for law in laws)
        warn_of_scales(source, target)
        moved = self.units_.source_bounds, self.units_.target_bounds
        for law, name, at in zip(laws, ("the source", "the target"), moved, strict=True):
            bounds = bounds_of(law.rows, law.order, self.units_.scale) if at is None else at
            if bounds is not None:
                warn_of_outliers(law.rows, law.order, bounds, at is not None, name)
        if not self.status_.ok:
            advice = self._advice if self.status_ in (Status.SHORT, Status.DIVERGED) else ""
            warn_user(self.status_.message + advice, ConvergenceWarning)

    def _transport_cost(self, law: Law) -> float:
        """Mean cost of the learned plan, in the user's units."""
        images = self._draws(law.rows, 1, random_state=0)[0]
        cost = self._cost
        # a user's own function is used in the precision in which it was trained
        dtype = torch.double if cost.homogeneous else torch.float
        values = cost(torch.from_numpy(law.rows).to(dtype), torch.from_numpy(images).to(dtype))
        return float(np.average(values.detach().numpy(), weights=law.weights))

    # what maps rows

    def _draws(self, rows: np.ndarray, n_draws: int, random_state: Any, out: np.ndarray | None = None) -> np.ndarray:
        out = np.empty((n_draws, *rows.shape), dtype=rows.dtype) if out is None else out
        generator = seeded_generator(random_state, next(self.problem_.parameters()).device)
        for images in out:
            self._to_target(rows, lambda problem, x: problem.draw(x, generator), images)
        return out

    def _to_target(self, rows: np.ndarray, image: Image, out: np.ndarray) -> np.ndarray:
        enter, leave = self.units_.from_source, self.units_.to_target
        return map_rows(self.problem_, rows, image, enter, leave, out, exact=self._is_built_in)

    @property
    def _is_built_in(self) -> bool:
        return is_built_in(self._fitted_params)


def _like(X: Any, rows: np.ndarray) -> Any:
    """Return `rows` as the kind of thing that `X` is."""
    return torch.from_numpy(rows).to(X.device) if isinstance(X, Tensor) else rows
