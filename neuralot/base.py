"""What every estimator does: check, scale, fit, map, draw, score, and travel through pickle."""

from __future__ import annotations

import contextlib
import time
import warnings
from abc import ABC, abstractmethod
from types import SimpleNamespace
from typing import Any, TypeVar

import numpy as np
import torch
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_array
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Generator, Tensor

from neuralot.callbacks import EarlyStopping, ProgressBar
from neuralot.costs import as_cost
from neuralot.divergences import sinkhorn_divergence
from neuralot.forms import Form, make_form
from neuralot.mapping import Image, map_rows, standardised
from neuralot.sampling import ArraySampler, canonical_order, distinct, hold_out, spaced
from neuralot.scaling import Units
from neuralot.semidual import CriticLoss, SemiDual
from neuralot.solve import Callback, Solution, Status, solve
from neuralot.validation import (
    as_array,
    check_cost,
    check_device,
    check_domains,
    check_n_draws,
    check_networks,
    check_out,
    check_parameters,
    check_random_state_of,
    check_weights,
    naming,
    pick_target,
    refuse_second_target,
    unchanged_on_error,
    warn_of_scales,
)

Self = TypeVar("Self", bound="BaseTransport")

DTYPES = (np.float64, np.float32)
ROWS_FOR_COST = 10_000
ROWS_FOR_SCORE = 2_000
# what a warm start takes over from the first fit where it is 'auto'
KEPT = {"hidden_layer_sizes", "activation", "noise_shape", "affine_base"}
METADATA = dict.fromkeys(["X_target", "sample_domain", "sample_weight", "sample_weight_target"], True)


def _has_inverse(estimator: BaseTransport) -> bool:
    check_is_fitted(estimator)
    if not estimator.problem_.invertible:
        raise AttributeError(
            f"This {type(estimator).__name__} has no inverse_transform: only map_form='gradient' with "
            f"bidirectional=True learns the way back"
        )
    return True


class BaseTransport(OneToOneFeatureMixin, TransformerMixin, BaseEstimator, ABC):
    """Base class of the transport estimators; a subclass stores its parameters and names its method."""

    # what a meta-estimator may pass on to fit without being asked, for Pipeline(transform_input=["X_target"])
    __metadata_request__fit = dict.fromkeys(
        ["X_target", "sample_domain", "sample_weight", "sample_weight_target"], True
    )
    __metadata_request__score = dict.fromkeys(["X_target", "sample_domain"], True)

    units_: Units
    problem_: SemiDual
    _fitted_params: dict[str, Any]

    @abstractmethod
    def _method(self, params: Any, form: Form, generator: Generator) -> SemiDual:
        """Build the method from the parameters of a fit (attributes of `params`) and a form."""

    @abstractmethod
    def _resolved(self, rows: Tensor, n_source: int, n_rows: int) -> dict[str, Any]:
        """Values of the parameters given as ``'auto'``.

        `rows` are at most 2000 distinct standardised rows of the source, which has `n_source` of them; `n_rows` is the
        number in the smaller sample.
        """

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
        """Learn the transport from the law of the rows of `X` to that of the target rows.

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
            If the fit diverged; the best weights are restored.
        UserWarning
            If source and target vary on scales that differ by more than a factor of 30, as when only one was scaled.
        """
        start = time.perf_counter()
        with unchanged_on_error(self):
            check_parameters(self.get_params(deep=False))
            laws = self._check_laws(X, y, X_target, sample_domain, sample_weight, sample_weight_target, reset=True)
            with torch.inference_mode(False), torch.enable_grad():  # whatever the caller has switched off
                self._fit_laws(*laws, start)
        warn_of_scales(*(_at_most(rows, ROWS_FOR_SCORE) for rows in (laws[0], laws[2])))
        if not self.status_.ok:
            warnings.warn(self.status_.sentence, ConvergenceWarning, stacklevel=2)
        return self

    def transform(self, X: Any, out: np.ndarray | None = None) -> Any:
        """Map source rows: deterministic, row by row, in float32 for float32 rows, else in float64.

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
        return _like(X, self._to_target(rows, lambda problem, x: problem.transport(x), out))

    def sample(self, X: Any, n_draws: int = 1, random_state: Any = None, out: np.ndarray | None = None) -> Any:
        """Draw images of source rows from the learned plan pi(y | x).

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
        """Map target rows back to the source; only where the fitted method learned the way back.

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
        return _like(X, map_rows(self.problem_, rows, image, enter, leave, out, exact=self._is_ours))

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
        """Minus the debiased Sinkhorn divergence between the images of source rows and target rows.

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
        """
        check_is_fitted(self)
        source, v, target, w = self._check_laws(
            X, y, X_target, sample_domain, sample_weight, sample_weight_target, reset=False
        )
        source, target = _alike(source, v), _alike(target, w)
        return -sinkhorn_divergence(self._draws(source, 1, random_state=0)[0], target)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def __getstate__(self) -> dict[str, Any]:
        # arrays only: what is pickled loads anywhere, also a GPU fit on a CPU
        state = dict(super().__getstate__())
        if "problem_" in state:
            state["problem_"] = {name: weight.cpu().numpy() for name, weight in _weights(self.problem_).items()}
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if "problem_" in state:
            weights = {name: torch.as_tensor(array) for name, array in state["problem_"].items()}
            problem = self._build(_generator(0, torch.device("cpu")))
            problem.load_state_dict(weights, strict=False)  # a weight that has two names is there once
            try:
                device = check_device(self.device)
            except ValueError:  # fitted on a GPU, loaded where there is none
                device = torch.device("cpu")
            self.problem_ = problem.requires_grad_(False).to(device)

    # what fit is made of

    def _fit_laws(self, X: np.ndarray, v: np.ndarray, Y: np.ndarray, w: np.ndarray, start: float) -> None:
        """Fit on two weighted samples; `start` is when the fit's time began."""
        generator = _generator(self.random_state, check_device(self.device))
        warm = self.warm_start and hasattr(self, "problem_")
        if warm and len(self.units_.source_centre) != self.n_features_in_:
            raise ValueError(
                f"warm_start=True needs the {len(self.units_.source_centre)} columns of the previous fit, got "
                f"{self.n_features_in_}; pass warm_start=False"
            )
        check_cost(as_cost(self.cost), self.n_features_in_)
        if not warm:
            own = self.map_network is None and self.potential_network is None
            self.units_ = Units.of(X, Y, v, w, as_cost(self.cost), reduce=own)
        elif not self.units_.cover(_at_most(X, ROWS_FOR_SCORE), _at_most(Y, ROWS_FOR_SCORE)):
            raise ValueError(
                "warm_start=True needs rows in the directions in which those of the previous fit varied, and the same "
                "centre beside them; pass warm_start=False"
            )
        order, order_target = canonical_order(X, v), canonical_order(Y, w)
        v, w = v[order], w[order_target]
        x = standardised(X, order, self.units_.from_source, self.units_.n_directions, generator)
        y = standardised(Y, order_target, self.units_.from_target, self.units_.n_directions, generator)
        rows, rows_target = distinct(x), distinct(y)
        some, n_rows = x[_at_most(rows, ROWS_FOR_SCORE)], min(len(rows), len(rows_target))
        chosen = self._resolved(some, len(rows), n_rows)
        if warm:  # the weights belong to the networks of the first fit
            kept = {name: self._fitted_params[name] for name in KEPT & chosen.keys()}
            chosen |= {name: value for name, value in kept.items() if getattr(self, name, "auto") == "auto"}
        # what the networks of this fit are made from; a later set_params must not change them
        self._fitted_params = {**self.get_params(deep=False), **chosen, "random_state": None, "callbacks": None}
        problem = self._build(generator)
        if warm:
            _load(problem, self.problem_)
        source, x_held = self._hold_out(x, v, generator)
        target, y_held = self._hold_out(y, w, generator)
        stopping = None
        if x_held is not None and y_held is not None:
            stopping = EarlyStopping(x_held, y_held, tol=self.tol, n_iter_no_change=self.n_iter_no_change)
        solution = self._solve(problem, source, target, generator, stopping, start)
        if solution.status is Status.FAILED:
            raise FloatingPointError(solution.status.sentence)
        if stopping is not None and solution.status.ok:
            stopping.restore(solution.problem)
        self.problem_ = solution.problem.requires_grad_(False)
        self.status_, self.history_, self.n_iter_ = solution.status, solution.history, solution.n_iter
        self.transport_cost_ = self._transport_cost(X[_at_most(order, ROWS_FOR_COST)], _at_most(v, ROWS_FOR_COST))

    def _build(self, generator: Generator) -> SemiDual:
        """Build the problem of `_fitted_params`, on the device of `generator`."""
        params = SimpleNamespace(**self._fitted_params)
        form = make_form(
            self.units_.n_directions,
            self.units_.cost(as_cost(params.cost), generator.device),
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
        check_networks(form, self.units_.n_directions)
        return self._method(params, form, generator).to(generator.device, torch.float32).eval()

    def _solve(
        self,
        problem: SemiDual,
        source: ArraySampler,
        target: ArraySampler,
        generator: Generator,
        stopping: EarlyStopping | None,
        start: float,
    ) -> Solution:
        callbacks: list[Callback] = [] if stopping is None else [stopping]
        params = SimpleNamespace(**self._fitted_params)
        with contextlib.ExitStack() as stack:
            if self.verbose:
                callbacks.append(stack.enter_context(ProgressBar()))
            return solve(
                problem,
                source,
                target,
                max_iter=params.max_iter,
                max_time=_seconds_left(params.max_time, start),
                batch_size=params.batch_size,
                optimizer=params.optimizer,
                learning_rate=params.learning_rate_init,
                weight_decay=params.weight_decay,
                generator=generator,
                callbacks=[*callbacks, *(self.callbacks or ())],
                capture=self._is_ours,
            )

    def _hold_out(self, rows: Tensor, weights: np.ndarray, generator: Generator) -> tuple[ArraySampler, Tensor | None]:
        """Return a sampler of the rows, without what early stopping holds out, and some rows of that."""
        held_rows = None
        if self.early_stopping:
            weights, held = hold_out(weights, len(distinct(rows)), self.validation_fraction, generator)
            if not weights.any():
                raise ValueError(
                    f"early_stopping=True needs at least 2 rows in each sample and a validation_fraction that leaves "
                    f"some, got {len(rows)} rows and {self.validation_fraction}"
                )
            held_rows = rows[torch.from_numpy(spaced(held, min(int(np.count_nonzero(held)), ROWS_FOR_SCORE)))]
        uniform = bool((weights == weights[0]).all())
        return ArraySampler(rows, None if uniform else torch.as_tensor(weights)), held_rows

    def _transport_cost(self, rows: np.ndarray, weights: np.ndarray) -> float:
        """Mean cost of the learned plan on weighted rows, in the user's units."""
        images = self._draws(rows, 1, random_state=0)[0]
        cost = as_cost(self.cost)
        # a user's own function is used in the precision in which it was trained
        dtype = torch.double if cost.homogeneous else torch.float
        values = cost(torch.from_numpy(rows).to(dtype), torch.from_numpy(images).to(dtype))
        return float(np.average(values.detach().numpy(), weights=weights))

    # what maps rows

    def _draws(self, rows: np.ndarray, n_draws: int, random_state: Any, out: np.ndarray | None = None) -> np.ndarray:
        out = np.empty((n_draws, *rows.shape), dtype=rows.dtype) if out is None else out
        generator = _generator(random_state, next(self.problem_.parameters()).device)
        for images in out:
            self._to_target(rows, lambda problem, x: problem.draw(x, generator), images)
        return out

    def _to_target(self, rows: np.ndarray, image: Image, out: np.ndarray) -> np.ndarray:
        enter, leave = self.units_.from_source, self.units_.to_target
        return map_rows(self.problem_, rows, image, enter, leave, out, exact=self._is_ours)

    @property
    def _is_ours(self) -> bool:
        """Whether networks and cost are this package's: they work in double precision, and on the device alone."""
        own = self._fitted_params["map_network"] or self._fitted_params["potential_network"]
        return own is None and as_cost(self._fitted_params["cost"]).homogeneous

    def _check_laws(
        self, X: Any, y: Any, X_target: Any, sample_domain: Any, v: Any, w: Any, *, reset: bool
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return source rows, their weights, target rows and their weights."""
        if sample_domain is None:
            target, name = pick_target(y, X_target)
            source = self._check_source(X, reset=reset)
            target = self._check_target(target, name)
            v = check_weights(v, "sample_weight", len(source))
            return source, v, target, check_weights(w, "sample_weight_target", len(target))
        refuse_second_target(y, X_target, w)
        rows = self._check_source(X, reset=reset)
        is_source = check_domains(sample_domain, len(rows))
        weights = check_weights(v, "sample_weight", len(rows))
        v, w = (
            check_weights(weights[of_domain], "sample_weight", of_domain.sum()) for of_domain in (is_source, ~is_source)
        )
        return rows[is_source], v, rows[~is_source], w

    def _check_source(self, X: Any, *, reset: bool) -> np.ndarray:
        with naming("X"):
            return validate_data(self, as_array(X), reset=reset, dtype=DTYPES, order="C")

    def _check_target(self, target: Any, name: str) -> np.ndarray:
        with naming(name):
            rows = check_array(as_array(target), dtype=DTYPES, order="C", estimator=self, input_name=name)
        if rows.shape[1] != self.n_features_in_:
            raise ValueError(
                f"{name} has {rows.shape[1]} features, but the source has {self.n_features_in_}; pass target rows with "
                f"the columns of X"
            )
        if hasattr(self, "feature_names_in_") and hasattr(target, "columns"):
            with naming(name):
                validate_data(self, target, reset=False, skip_check_array=True)  # the same column names
        return rows


def _generator(random_state: Any, device: torch.device) -> Generator:
    return Generator(device).manual_seed(int(check_random_state_of(random_state).randint(np.iinfo(np.int32).max)))


def _seconds_left(max_time: float | None, start: float) -> float | None:
    return None if max_time is None else max(max_time - (time.perf_counter() - start), 1e-3)


def _at_most(rows: Any, n_rows: int) -> Any:
    return rows[np.linspace(0, len(rows) - 1, n_rows).astype(int)] if len(rows) > n_rows else rows


def _alike(rows: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """At most `ROWS_FOR_SCORE` rows that count alike, for rows with weights."""
    n_rows = min(len(rows), ROWS_FOR_SCORE) if (weights == weights[0]).all() else ROWS_FOR_SCORE
    return rows[spaced(weights, n_rows)]


def _like(X: Any, rows: np.ndarray) -> Any:
    """Return `rows` as the kind of thing that `X` is."""
    return torch.from_numpy(rows).to(X.device) if isinstance(X, Tensor) else rows


def _weights(problem: SemiDual) -> dict[str, Tensor]:
    """Parameters and buffers, each once."""
    return {**dict(problem.named_parameters()), **dict(problem.named_buffers())}


def _load(problem: SemiDual, previous: SemiDual) -> None:
    try:
        problem.load_state_dict(previous.state_dict())
    except RuntimeError as error:
        raise ValueError(
            f"warm_start=True needs the networks of the previous fit; pass warm_start=False or the same sizes. {error}"
        ) from error
