"""Checks without a public function in scikit-learn.

They check parameters, weights, the target sample, domains, labels, networks, costs and devices.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from sklearn.utils import check_random_state, column_or_1d

from neuralot.costs import Cost
from neuralot.forms.base import Form
from neuralot.parameters import is_bool, is_integer, is_real

BATCH_NORMS = (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d, torch.nn.BatchNorm3d, torch.nn.SyncBatchNorm)
DIRECTIONS = ("source_to_target", "target_to_source")


def check_n_draws(n_draws: Any) -> None:
    """Raise a ValueError unless `n_draws` is a positive integer."""
    if not is_integer(n_draws, 1):
        raise ValueError(f"n_draws must be an integer of at least 1, got {n_draws!r}")


def check_out(out: Any, shape: tuple[int, ...], rows: np.ndarray) -> np.ndarray:
    """Return the output array for the images of `rows`.

    It is `out`, or a new array if `out` is None. `out` must be writeable, have this shape and the dtype of `rows`, and
    be `rows` itself or share no memory with it.
    """
    dtype = rows.dtype
    if out is None:
        return np.empty(shape, dtype=dtype)
    if not isinstance(out, np.ndarray) or out.shape != shape or out.dtype != dtype or not out.flags.writeable:
        found = f"{out.dtype} of shape {out.shape}" if isinstance(out, np.ndarray) else f"a {type(out).__name__}"
        raise ValueError(f"out must be a writeable numpy array of {dtype} and shape {shape}, got {found}")
    in_place = out.ctypes.data == rows.ctypes.data and out.size == rows.size
    if np.may_share_memory(out, rows) and not in_place:
        raise ValueError("out must be X itself or an array of its own, got one that overlaps X")
    return out


def check_weights(weights: Any, name: str, n_rows: int) -> np.ndarray:
    """Return float64 weights of shape (n_rows,), ones when None."""
    if weights is None:
        return np.ones(n_rows)
    weights = _plain(weights)
    if weights.dtype.kind not in "biuf":
        raise ValueError(f"{name} must be numbers, got dtype {weights.dtype}")
    if weights.shape != (n_rows,):
        raise ValueError(f"{name} must have shape ({n_rows},), one weight per row, got {weights.shape}")
    weights = weights.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        total = weights.sum()
    if not (np.isfinite(total) and (weights >= 0).all() and total > 0):
        raise ValueError(f"{name} must be non-negative and not all zero, with a finite sum")
    return weights


def pick_target(y: Any, X_target: Any) -> tuple[Any, str]:
    """Return the target sample of a fit and its argument.

    For ``fit(X, y, X_target=...)`` it is `X_target`, or a 2-D `y`; the second result is the name of the argument.
    """
    with naming("y"):
        is_sample = y is not None and (y.ndim if hasattr(y, "ndim") else np.asarray(y).ndim) != 1
    if is_sample and X_target is not None:
        raise ValueError("y and X_target both hold a target sample; pass one of them")
    if is_sample:
        return y, "y"
    if X_target is None:
        found = "no target sample was given" if y is None else "y is 1-D, hence labels and no target sample"
        raise ValueError(
            f"X_target is missing: {found}; pass X_target=Y with Y of shape (m, n_features), or sample_domain if X "
            f"holds both samples (which cross-validation passes on only after "
            f"sklearn.set_config(enable_metadata_routing=True))"
        )
    return X_target, "X_target"


def check_domains(sample_domain: Any, n_rows: int, both: bool = True) -> np.ndarray:
    """Return which rows of a stacked sample are source rows.

    Source rows have positive domains, target rows negative ones. With `both`, each domain must have rows.
    """
    words = "positive for source rows and negative for target rows"
    domains = _plain(sample_domain)
    if domains.dtype.kind not in "iuf" or domains.shape != (n_rows,):
        raise ValueError(
            f"sample_domain must hold one number per row of X, {words}; got {domains.dtype} of shape {domains.shape} "
            f"for {n_rows} rows"
        )
    if not (np.isfinite(domains) & (domains != 0)).all():
        raise ValueError(f"sample_domain must be {words}, got 0 or numbers that are not finite")
    is_source = domains > 0
    if both and (is_source.all() or not is_source.any()):
        raise ValueError(f"sample_domain must be {words}, and have both; all have the same sign (n_samples = {n_rows})")
    return is_source


def refuse_second_target(y: Any, X_target: Any, sample_weight_target: Any = None) -> None:
    """Raise a ValueError for a second target sample.

    A stacked sample, with `sample_domain`, holds one already. Weights for a second one are an error, too.
    """
    with naming("y"):
        is_sample = y is not None and np.asarray(as_array(y)).ndim != 1
    for name, given in (("y", is_sample), ("X_target", X_target is not None)):
        if given:
            raise ValueError(f"{name} is a target sample, and sample_domain says that X holds one; pass one of them")
    if sample_weight_target is not None:
        raise ValueError("sample_weight_target is for X_target; with sample_domain, sample_weight holds all weights")


def check_direction(direction: Any) -> None:
    """Raise a ValueError unless `direction` is one of `DIRECTIONS`."""
    if direction not in DIRECTIONS:
        raise ValueError(f"direction must be {' or '.join(map(repr, DIRECTIONS))}, got {direction!r}")


def check_class_reg(class_reg: Any, direction: str, of_classifier: bool) -> None:
    """Raise a ValueError unless `class_reg` is valid.

    It is a number of at least 0; values above 0 are for a classifier with ``direction='source_to_target'``.
    """
    if not (is_real(class_reg) and 0 <= class_reg < math.inf):
        raise ValueError(f"class_reg must be a number of at least 0, got {class_reg!r}")
    if class_reg and not (of_classifier and direction == DIRECTIONS[0]):
        raise ValueError(
            f"class_reg={class_reg} is for a classifier with direction='source_to_target'; pass class_reg=0"
        )


def check_predicts(estimator: Any) -> None:
    """Raise a TypeError unless `estimator` has `fit` and `predict`.

    It must be an instance, not a class.
    """
    if isinstance(estimator, type) or not (hasattr(estimator, "fit") and hasattr(estimator, "predict")):
        raise TypeError(f"estimator must be a classifier or regressor, such as LogisticRegression(), got {estimator!r}")


def check_self_training(self_training: Any, of_classifier: bool) -> None:
    """Raise a ValueError unless `self_training` is a valid bool.

    True is for a classifier only.
    """
    if not is_bool(self_training):
        raise ValueError(f"self_training must be True or False, got {self_training!r}")
    if self_training and not of_classifier:
        raise ValueError("self_training=True is for a classifier; pass self_training=False")


def check_labels(y: Any, n_rows: int) -> np.ndarray:
    """Return labels as an array of shape (n_rows,)."""
    if y is None:
        raise ValueError("y is missing: requires y to be passed, but the target y is None; pass labels as y")
    labels = _plain(y)
    if labels.shape == (n_rows, 1):
        labels = column_or_1d(labels, warn=True)
    if labels.shape != (n_rows,):
        raise ValueError(
            f"y must hold one label per row of X, shape ({n_rows},), got {labels.shape}; pass target rows as X_target"
        )
    return labels


def of_some(labels: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Return the labels of some rows, with their own dtype.

    The dtype of an object array is inferred again, without the other labels: integers without None, for example.
    """
    return np.array(labels[chosen].tolist()) if labels.dtype == object else labels[chosen]


@contextmanager
def unchanged_on_error(estimator: Any) -> Iterator[None]:
    """Restore the attributes of an estimator if the block fails."""
    before = dict(vars(estimator))
    try:
        yield
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        raise


def as_array(X: Any) -> Any:
    """Return tensors and lists as numpy arrays.

    Other objects are returned unchanged. Strings raise a ValueError, also strings of digits.
    """
    if isinstance(X, torch.Tensor):
        return (X.float() if X.dtype in (torch.float16, torch.bfloat16) else X).detach().cpu().numpy()
    if isinstance(X, (list, tuple)):
        X = np.asarray(X)
    if isinstance(X, np.ndarray) and X.dtype.kind in "US":
        raise ValueError("expected numbers, got strings")
    return X


def _plain(values: Any) -> np.ndarray:
    return values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)


@contextmanager
def naming(argument: str) -> Iterator[None]:
    """Name the argument in the errors of scikit-learn's checks.

    The messages also say what to pass.
    """
    try:
        yield
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        words = str(error).rstrip(". \n")
        advice = "the columns of fit" if "feature names" in words else "finite numbers of shape (n_rows, n_features)"
        raise kind(f"{argument}: {words}. Pass {advice} as {argument}.") from error


def check_random_state_of(random_state: Any) -> np.random.RandomState:
    """Return the numpy RandomState of a seed.

    This is scikit-learn's check, with the name of the argument in the message.
    """
    try:
        return check_random_state(random_state)
    except ValueError as error:
        raise ValueError(
            f"random_state must be None, an integer in [0, 2**32) or a numpy RandomState, got {random_state!r}"
        ) from error


def check_cost(cost: Cost, source: np.ndarray, target: np.ndarray) -> None:
    """Try a cost on rows of the data.

    Raises a ValueError unless the result is differentiable in torch, of the right shape and dtype, and finite with
    a finite gradient.
    """
    x, y = (torch.from_numpy(rows[[0, -1]]).float().requires_grad_() for rows in (source, target))
    # also at x = y, where maps start
    for image, words in ((y, "at rows of X and of the target"), (x.detach().clone().requires_grad_(), "where x = y")):
        value = _try("cost", cost, (x, image), {(2,)})
        if not value.is_floating_point():
            raise ValueError(f"cost must return floating point numbers, got {value.dtype}")
        found = {"value": value}
        if value.requires_grad:
            slope = torch.autograd.grad(value.sum(), image, allow_unused=True, materialize_grads=True)[0]
            found["gradient"] = slope
        for name, each in found.items():
            # the fit evaluates homogeneous costs on standardised rows, others on rows in the user's units, as here
            if not (cost.homogeneous or each.isfinite().all()):
                raise ValueError(
                    f"cost must be finite and have a finite gradient in float32, got a {name} that is not {words}; a "
                    f"root, for example, has none at 0: take (x - y).norm(dim=-1) for the distance"
                )


def check_networks(form: Form, n_features: int) -> None:
    """Try the networks of a form on two rows.

    Raises a ValueError that names the network with a wrong result.
    """
    x = torch.zeros(2, n_features, dtype=torch.float32)
    noise = () if form.noise_dim == 0 else (torch.zeros(2, form.noise_dim, dtype=torch.float32),)
    for name, network in copy.deepcopy(form.networks).eval().items():
        if name == "map":
            _try("map_form" if noise else "map_form (noise_dim=0)", network, (x, *noise), {(2, n_features)})
        else:
            _try("potential_network", network, (x,), {(2,), (2, 1)})


def check_height_network(network: torch.nn.Module, n_features: int) -> None:
    """Try a network of heights on two rows.

    Raises a ValueError if its result is wrong or may depend on other rows.
    """
    if any(isinstance(module, BATCH_NORMS) for module in network.modules()):
        raise ValueError("height_network must see each row for itself, got one with batch normalisation; use LayerNorm")
    x = torch.stack([torch.zeros(n_features), torch.ones(n_features)])
    network = copy.deepcopy(network).eval()
    _try("height_network", network, (x,), {(2,), (2, 1)})
    with torch.no_grad():
        if not torch.allclose(network(x)[1], network(x[1:])[0], rtol=1e-3, atol=1e-5, equal_nan=True):
            raise ValueError("height_network must see each row for itself: its value at a row depends on other rows")


def check_refine_steps(refine_steps: Any) -> None:
    """Raise a ValueError unless `refine_steps` is a non-negative integer."""
    if not is_integer(refine_steps, 0):
        raise ValueError(f"refine_steps must be an integer of at least 0, got {refine_steps!r}")


def _try(argument: str, function: Callable[..., Any], rows: tuple[torch.Tensor, ...], shapes: set[Any]) -> torch.Tensor:
    try:
        with torch.enable_grad():  # as in a fit: operations outside of torch fail here
            result = function(*rows)
    except Exception as error:
        shapes_of = " and ".join(f"(n, {each.shape[1]})" for each in rows)
        raise ValueError(
            f"{argument} must be made of torch operations on rows of shape {shapes_of}, but raised: {error}"
        ) from error
    if not isinstance(result, torch.Tensor) or tuple(result.shape) not in shapes:
        found = tuple(result.shape) if isinstance(result, torch.Tensor) else repr(result)
        raise ValueError(f"{argument} must return a tensor of shape {min(shapes)} for 2 rows, got {found}")
    return result


def check_device(device: Any) -> torch.device:
    """Return the torch device of a parameter, if available.

    `device` is ``'auto'``, a name or a `torch.device`. Raises a ValueError or TypeError for others.
    """
    words = "'auto', 'cpu', 'cuda' or a torch.device"
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if not isinstance(device, (str, torch.device)):
        raise TypeError(f"device must be {words}, got {device!r}")
    try:
        found = torch.device(device)
    except RuntimeError:
        raise ValueError(f"device must be {words}, got {device!r}") from None
    if found.type not in ("cpu", "cuda"):
        raise ValueError(f"device must be {words}, got {device!r}")
    n_cuda = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if found.type == "cuda" and (found.index or 0) >= n_cuda:
        raise ValueError(f"device={device!r} was asked for, but torch sees {n_cuda} CUDA devices; pass device='cpu'")
    return found
