"""Validation for which scikit-learn has no public function.

It covers target samples, domains, networks, costs, seeds and devices.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from sklearn.utils import check_random_state

from neuralot._torch import as_numpy
from neuralot.costs import Cost
from neuralot.estimators.batches import is_arrow, is_stream
from neuralot.estimators.conditions import column_of, name_of
from neuralot.forms.base import Form
from neuralot.parameters import is_bool, is_integer, is_text
from neuralot.sampling import listed

# beginnings of the names of types in numpy, pandas, polars and Arrow
DATES = re.compile("date|time|duration|period", re.IGNORECASE)

BATCH_NORMS = (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d, torch.nn.BatchNorm3d, torch.nn.SyncBatchNorm)


def check_count(value: Any, name: str) -> None:
    """Raise a ValueError unless the value is a positive integer."""
    if not is_integer(value, 1):
        raise ValueError(f"{name} must be an integer of at least 1, got {value!r}")


def check_out(out: Any, shape: tuple[int, ...], rows: np.ndarray) -> np.ndarray:
    """Return the output array for the images of `rows`.

    This is `out`, or a new array if `out` is None. `out` must be writeable, must have the given shape and the dtype of
    `rows`, and must be `rows` itself or share no memory with it.
    """
    dtype = rows.dtype
    if out is None:
        return np.empty(shape, dtype=dtype)
    if not isinstance(out, np.ndarray) or out.shape != shape or out.dtype != dtype or not out.flags.writeable:
        found = f"{out.dtype} of shape {out.shape}" if isinstance(out, np.ndarray) else f"a {type(out).__name__}"
        raise ValueError(f"out must be a writeable numpy array of {dtype} and shape {shape}, got {found}")
    in_place = out.ctypes.data == rows.ctypes.data and out.size == rows.size
    if np.may_share_memory(out, rows) and not in_place:
        raise ValueError("out must be X itself or share no memory with X, got an array that overlaps X")
    return out


def _has_one_axis(y: Any) -> bool:
    return (len(y.shape) if hasattr(y, "shape") else np.asarray(y).ndim) == 1


def pick_target(y: Any, X_target: Any) -> tuple[Any, str]:
    """Return the target sample and the name of the argument.

    The target sample is `X_target`, or `y` if it is not 1-D.
    """
    with naming("y"):
        is_sample = y is not None and (is_stream(y) or not _has_one_axis(y))
    if is_sample and X_target is not None:
        raise ValueError("y and X_target are both target samples; pass only one of them")
    if is_sample:
        return y, "y"
    if X_target is None:
        reason = "no target sample was passed" if y is None else "y is 1-D and treated as labels"
        raise ValueError(
            f"X_target is missing: {reason}; pass X_target=Y with Y of shape (m, n_features), or pass sample_domain if "
            f"X contains both samples (cross-validation passes sample_domain only after "
            f"sklearn.set_config(enable_metadata_routing=True))"
        )
    return X_target, "X_target"


def check_domains(sample_domain: Any, n_rows: int, both: bool = True) -> np.ndarray:
    """Return the mask of source rows in a stacked sample.

    The values of `sample_domain` are positive for source rows and negative for target rows. With `both`, there must be
    rows of each.
    """
    valid = "positive for source rows and negative for target rows"
    domains = as_numpy(sample_domain, "sample_domain")
    if domains.dtype.kind not in "iuf" or domains.shape != (n_rows,):
        raise ValueError(
            f"sample_domain must contain one number per row of X, {valid}, got {domains.dtype} of shape "
            f"{domains.shape} for {n_rows} rows"
        )
    if not (np.isfinite(domains) & (domains != 0)).all():
        raise ValueError(f"sample_domain must be {valid}, got values that are 0 or not finite")
    is_source = domains > 0
    if both and (is_source.all() or not is_source.any()):
        raise ValueError(f"sample_domain must be {valid}, with rows of both, got one sign only (n_samples = {n_rows})")
    return is_source


def refuse_second_target(y: Any, X_target: Any, sample_weight_target: Any = None) -> None:
    """Raise a ValueError for a second target sample.

    With `sample_domain`, `X` already contains the target sample. Separate target weights are an error, too.
    """
    with naming("y"):
        is_sample = y is not None and not _has_one_axis(y)
    for name, is_passed in (("y", is_sample), ("X_target", X_target is not None)):
        if is_passed:
            raise ValueError(
                f"{name} is a target sample, but with sample_domain X already contains one; pass either {name} or "
                f"sample_domain"
            )
    if sample_weight_target is not None:
        raise ValueError(
            "sample_weight_target must be None with sample_domain; pass the weights of all rows of X as sample_weight"
        )


@contextmanager
def unchanged_on_error(estimator: Any) -> Iterator[None]:
    """Restore the attributes of an estimator if the block raises."""
    before = dict(vars(estimator))
    try:
        yield
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        raise


def as_array(X: Any) -> Any:
    """Convert tensors and lists to numpy arrays.

    Other objects are returned unchanged. Strings, including strings of digits, and masked entries raise a ValueError,
    dates and durations a TypeError.
    """
    if np.ma.is_masked(X):
        raise ValueError("expected numbers, got masked entries")
    if isinstance(X, torch.Tensor):
        is_low = X.is_floating_point() and X.dtype not in (torch.float32, torch.float64)
        return (X.float() if is_low else X).detach().cpu().numpy()
    if isinstance(X, (list, tuple)):
        X = np.asarray(X)
    if isinstance(X, np.ndarray) and X.dtype.kind in "US":
        raise ValueError("expected numbers, got strings")
    _refuse_dates(X)
    return X


def _refuse_dates(X: Any) -> None:
    """Raise a TypeError for dates and durations."""
    if is_arrow(X):
        types, names = X.schema.types, [repr(name) for name in X.schema.names]
    elif hasattr(X, "columns") and hasattr(X, "dtypes"):
        types, names = X.dtypes, [repr(name) for name in X.columns]
    else:
        types, names = [getattr(X, "dtype", None)], ["all columns"]
    dates = [name for name, each in zip(names, types, strict=True) if DATES.match(str(each))]
    if dates:
        raise TypeError(f"not finite numbers in {listed(dates)}: dates or durations; convert them, for example to days")


def refuse_stream(X: Any) -> None:
    """Raise a TypeError for streams other than arrays."""
    if is_stream(X) and not hasattr(X, "__array__"):
        raise TypeError(f"a stream of batches ({type(X).__name__}) is accepted by fit only, as X, y or X_target")


def as_type_of(X: Any, rows: np.ndarray) -> Any:
    """Return `rows` as a tensor if `X` is a tensor."""
    return torch.from_numpy(rows).to(X.device) if isinstance(X, torch.Tensor) else rows


@contextmanager
def naming(argument: str, rows: Any = None, categories: Container[str] = ()) -> Iterator[None]:
    """Add the argument's name to the errors of scikit-learn's checks.

    The messages also say what to pass, and which columns of a data frame `rows` are not finite numbers, apart from the
    columns with an index in `categories`.
    """
    try:
        yield
    except (RuntimeError, TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        message = str(error).rstrip(". \n")
        is_about_names = "feature names" in message
        valid = "rows with the columns of the fit" if is_about_names else "finite numbers of shape (n_rows, n_features)"
        culprits = "" if is_about_names else _culprits(rows, categories)
        raise kind(f"{argument}: {culprits}{message}. Pass {valid} as {argument}.") from error


def _culprits(rows: Any, categories: Container[str]) -> str:
    """Name the columns that are not finite numbers."""
    rows = rows.to_pandas() if is_arrow(rows) else rows
    if not (hasattr(rows, "iloc") or hasattr(rows, "with_columns")):  # pandas, polars
        return ""
    numbers = (j for j in range(rows.shape[1]) if str(j) not in categories)
    names = [repr(name_of(rows, j)) for j in numbers if not _is_finite(column_of(rows, j))]
    return f"not finite numbers in {listed(names)}: " if names else ""


def _is_finite(column: Any) -> bool:
    values = np.asarray(column)
    try:
        return values.dtype.kind in "biufO" and bool(np.isfinite(values.astype(np.float64)).all())
    except (TypeError, ValueError):
        return False


def as_random_state(random_state: Any) -> np.random.RandomState:
    """Convert a seed to a numpy RandomState.

    This is scikit-learn's `check_random_state` with the argument's name in the message.
    """
    try:
        if is_bool(random_state):
            raise ValueError("a bool is not a seed")
        return check_random_state(random_state)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"random_state must be None, an integer in [0, 2**32) or a numpy RandomState, got {random_state!r}"
        ) from error


def check_cost(cost: Cost, source: np.ndarray, target: np.ndarray, map_form: Any = None) -> None:
    """Evaluate a cost on rows of the data.

    Raises a ValueError unless the result is differentiable in torch, has the right shape and dtype, and is finite with
    a finite gradient, and, for the gradient form, symmetric.
    """
    x, y = (torch.from_numpy(rows[[0, -1]]).float().requires_grad_() for rows in (source, target))
    # also at x = y, because maps are initialised close to the identity
    for image, place in ((y, "rows of X and of the target"), (x.detach().clone().requires_grad_(), "equal rows x = y")):
        value = _try("cost", cost, (x, image), {(2,)})
        if not value.is_floating_point():
            raise ValueError(f"cost must return floating point numbers, got {value.dtype}")
        results = {"value": value}
        if value.requires_grad:
            gradient = torch.autograd.grad(value.sum(), image, allow_unused=True, materialize_grads=True)[0]
            results["gradient"] = gradient
        for name, result in results.items():
            # the fit evaluates homogeneous costs on standardised rows, and other costs on rows in the data's units
            if not (cost.homogeneous or result.isfinite().all()):
                raise ValueError(
                    f"cost must be finite and have a finite gradient in float32, got a {name} that is not finite at "
                    f"{place}; a square root, for example, has no finite gradient at 0: use (x - y).norm(dim=-1) for "
                    f"the distance"
                )
    if map_form == "gradient" and not torch.allclose(cost(x, y), cost(y, x), rtol=1e-3, equal_nan=True):
        raise ValueError(
            "cost must be symmetric with map_form='gradient', which learns both directions, but c(x, y) differs from "
            "c(y, x) at rows of X and of the target; pass map_form='network'"
        )


def check_networks(form: Form, n_features: int) -> None:
    """Evaluate the networks of a form on two rows.

    Raises a ValueError that names the network if its result is invalid.
    """
    x = torch.zeros(2, n_features, dtype=torch.float32)
    noise = () if form.noise_dim == 0 else (torch.zeros(2, form.noise_dim, dtype=torch.float32),)
    for name, network in copy.deepcopy(form.networks).eval().items():
        if name == "map":
            _try("map_form" if noise else "map_form (noise_dim=0)", network, (x, *noise), {(2, n_features)})
        else:
            _try("potential_network", network, (x,), {(2,), (2, 1)})


def check_height_network(network: torch.nn.Module, n_features: int) -> None:
    """Evaluate a height network on two rows.

    Raises a ValueError if its result is invalid or may depend on other rows.
    """
    if any(isinstance(module, BATCH_NORMS) for module in network.modules()):
        raise ValueError("height_network must map rows independently, got one with batch normalisation; use LayerNorm")
    x = torch.stack([torch.zeros(n_features), torch.ones(n_features)])
    network = copy.deepcopy(network).eval()
    _try("height_network", network, (x,), {(2,), (2, 1)})
    with torch.no_grad():
        if not torch.allclose(network(x)[1], network(x[1:])[0], rtol=1e-3, atol=1e-5, equal_nan=True):
            raise ValueError("height_network must map rows independently, but a value depends on other rows")


def check_refine_steps(refine_steps: Any) -> None:
    """Raise a ValueError unless `refine_steps` is a non-negative integer."""
    if not is_integer(refine_steps, 0):
        raise ValueError(f"refine_steps must be an integer of at least 0, got {refine_steps!r}")


def _try(argument: str, function: Callable[..., Any], rows: tuple[torch.Tensor, ...], shapes: set[Any]) -> torch.Tensor:
    try:
        with torch.enable_grad():  # as in a fit, so that operations outside of torch raise
            result = function(*rows)
    except Exception as error:
        row_shapes = " and ".join(f"(n, {each.shape[1]})" for each in rows)
        raise ValueError(
            f"{argument} must consist of torch operations and accept rows of shape {row_shapes}, but raised: {error}"
        ) from error
    if not isinstance(result, torch.Tensor) or tuple(result.shape) not in shapes:
        found = f"shape {tuple(result.shape)}" if isinstance(result, torch.Tensor) else repr(result)
        raise ValueError(f"{argument} must return a tensor of shape {min(shapes)} for 2 rows, got {found}")
    return result


def check_device(device: Any) -> torch.device:
    """Return the torch device of a parameter, if available.

    `device` is ``'auto'``, a name or a `torch.device`. Other values raise a ValueError or TypeError.
    """
    valid = "'auto', 'cpu', 'cuda' or a torch.device"
    if is_text(device, "auto"):
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if not isinstance(device, (str, torch.device)):
        raise TypeError(f"device must be {valid}, got {device!r}")
    try:
        found = torch.device(device)
    except RuntimeError:
        raise ValueError(f"device must be {valid}, got {device!r}") from None
    if found.type not in ("cpu", "cuda"):
        raise ValueError(f"device must be {valid}, got {device!r}")
    n_cuda = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if found.type == "cuda" and (found.index or 0) >= n_cuda:
        raise ValueError(f"device={device!r} is not available: torch found {n_cuda} CUDA devices; pass device='cpu'")
    return found
