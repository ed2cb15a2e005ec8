"""Diagnosis of a transport from held-out rows."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.pipeline import Pipeline

from neuralot._torch import isolated
from neuralot.costs import SquaredEuclidean, as_cost
from neuralot.diagnostics.blur import least_blur
from neuralot.diagnostics.curl import curl_if_known
from neuralot.diagnostics.dual import evaluate_dual
from neuralot.diagnostics.figure import landscape_of
from neuralot.diagnostics.findings import (
    findings_of_data,
    findings_of_fit,
    findings_of_masses,
    samples_with_outliers,
)
from neuralot.diagnostics.free import evaluate_free_maps
from neuralot.diagnostics.marginal import evaluate_marginal
from neuralot.diagnostics.optimality import MAX_ROWS, evaluate_plan, parts_of
from neuralot.diagnostics.report import TransportReport
from neuralot.diagnostics.statistics import (
    ROUNDING,
    Sample,
    conditional_spread,
    cost_spread,
    has_few_values,
)
from neuralot.diagnostics.verdict import decide, reason_of_spurious_solution
from neuralot.divergences import Samples, as_masses, as_points, check_features
from neuralot.methods.smoothing import MIN_ROWS_OF_THIN, intrinsic_dimension, is_thin
from neuralot.parameters import as_generator, integer
from neuralot.sampling import listed
from neuralot.solve.status import Status

N_FEW = 2  # rows with which a function is tried
EXCHANGED = "The adapter moves target rows: in this report, X are these and X_target the source rows."
TINY = np.finfo(float).tiny


@isolated
def diagnose(
    transport: Any,
    X: Samples,
    X_target: Samples,
    *,
    sample_weight: ArrayLike | None = None,
    sample_weight_target: ArrayLike | None = None,
    n_draws: int = 8,
    max_rows: int = 2000,
    random_state: int = 0,
) -> TransportReport:
    r"""Diagnose a transport on held-out rows, without a ground truth.

    A plan is optimal if its images have the law of the target and its support is c-cyclically monotone. Both are tested
    on rows that the fit has not seen, with exact optimal transport between samples. The images are draws from the plan.
    An unbalanced plan is tested between its own marginals: the rows have the masses of `source_mass` and `target_mass`.

    Parameters
    ----------
    transport : fitted transport, or callable
        An estimator with `transform`, and with `sample` if it draws from a plan; or a function of rows, (n, d) to
        (n, d), which gets rows of X in random order, as float64, and also rows near them. The image of a row must not
        depend on the other rows. A `DomainAdapter` is diagnosed by its `transport_`, from `X_target` to `X` if that is
        its direction.
    X : array-like or Tensor of shape (n, d)
        Held-out source rows. On rows of the fit the report is too favourable.
    X_target : array-like or Tensor of shape (m, d)
        Held-out target rows.
    sample_weight, sample_weight_target : array-like of shape (n,) and (m,), optional
        Masses of the rows.
    n_draws : int, default=8
        Draws of each row, for the conditional spread.
    max_rows : int, default=2000
        Rows of each side that are used, drawn at random. With more than 2000, costs and gaps are means over parts of
        at most 2000 rows, and the dual value is that of one part.
    random_state : int, default=0
        Seeds the choice of rows, the draws and the permutations.

    Returns
    -------
    TransportReport

    Raises
    ------
    ValueError
        If a sample is not finite and two-dimensional, the numbers or names of features differ, or weights are not
        valid; or if the transport has conditions, whose method `report` diagnoses them.
    TypeError
        If `transport` is neither a transport nor a function, or a Pipeline.

    References
    ----------
    Nietert and Goldfeld, "Estimation of optimal transport maps without regularity", arXiv 2512.09499.

    Examples
    --------
    >>> import numpy as np
    >>> from neuralot import diagnose
    >>> rng = np.random.default_rng(0)
    >>> X, Y = rng.normal(size=(500, 2)), rng.normal(size=(500, 2)) + 3
    >>> diagnose(lambda rows: rows + 3, X, Y).verdict.name
    'OPTIMAL'
    >>> diagnose(lambda rows: 3 - rows, X, Y).verdict.name
    'SPURIOUS'
    """
    for name, value in (("n_draws", n_draws), ("max_rows", max_rows)):
        integer(1).check(name, value)
    arguments = [
        (X, sample_weight, "X", "sample_weight"),
        (X_target, sample_weight_target, "X_target", "sample_weight_target"),
    ]
    exchanged = getattr(transport, "direction", None) == "target_to_source"
    if exchanged:
        arguments = arguments[::-1]
    (X, *_), (X_target, *_) = arguments
    transport = _single(getattr(transport, "transport_", transport))
    rng = as_generator(random_state)
    source, target = (_sample(*each, max_rows, rng) for each in arguments)
    check_features(X=source.rows, X_target=target.rows)
    columns = getattr(X, "columns", getattr(transport, "_columns", range(source.rows.shape[1])))
    names = [str(name) for name in columns]
    if hasattr(X, "columns"):
        _check_names(names, X_target)
    source, target, draws, findings = _in_plan(transport, X, source, target, n_draws, random_state)
    findings += [EXCHANGED] * exchanged
    if (in_data := getattr(transport, "_row_indices", None)) is not None:
        samples = zip((source, target), in_data, strict=True)
        source, target = (replace(each, indices=indices[each.indices]) for each, indices in samples)
    draw = lambda sample, n: _draws(transport, _as_given(X, sample), n, random_state)  # noqa: E731
    return _report(transport, names, source, target, draw, draws, findings, rng)


def _check_names(names: list[str], X_target: Any) -> None:
    """Raise a ValueError if target rows have other columns."""
    others = [str(name) for name in getattr(X_target, "columns", names)]
    if others != names:
        raise ValueError(
            f"X_target must have the columns of X in their order, {listed(names)}, got {listed(others)}; pass "
            f"X_target[X.columns]"
        )


def _report(
    transport: Any,
    names: list[str],
    source: Sample,
    target: Sample,
    draw: Callable[[Sample, int], np.ndarray],
    draws: np.ndarray,
    findings: list[str],
    rng: np.random.Generator,
) -> TransportReport:
    """Return the report on draws; `draw` draws for any rows."""
    cost = as_cost(getattr(getattr(transport, "_fitted_params", transport), "cost", "sqeuclidean"))
    unit = _unit(source, target)
    parts = parts_of(source, draws[0], target)
    marginal = evaluate_marginal(Sample(draws[0], source.masses), target, unit, rng)
    unit_of_cost = unit if isinstance(cost, SquaredEuclidean) else cost_spread(*parts[0][:2], cost)
    optimality = evaluate_plan(source, draws[0], parts, cost, unit_of_cost, marginal, rng)
    baselines = evaluate_free_maps(source, draws[0], target, cost, unit)
    split = conditional_spread(draws, source.masses, unit)
    early, history = _is_early(transport), tuple(getattr(transport, "history_", ()))
    distinct = torch.from_numpy(np.unique(source.rows[:MAX_ROWS], axis=0))
    dimension = intrinsic_dimension(distinct) if len(distinct) > 1 else 0.0
    thin = _is_thin(distinct, source, target)
    blur = least_blur(draw, source, dimension, thin, split, cost, unit)
    curl = curl_if_known(draw, source, draws[0], cost, unit) if thin is False else None
    # of a smoothed source, there are no spurious solutions; of functions, it is not known
    needs_density, units = getattr(transport, "_needs_density", None), getattr(transport, "units_", transport)
    dual = evaluate_dual(transport, *parts[0], cost, unit_of_cost)
    spurious = reason_of_spurious_solution(thin, needs_density, early, dual.relative_gap if dual else None)
    tested = marginal, optimality, baselines, blur, curl, min(source.n_effective, target.n_effective)
    verdict, reasons = decide(*tested, early, spurious, dimension, samples_with_outliers(source, target))
    in_fit = getattr(transport, "target_sample_", None), getattr(units, "source_range", None)
    of_data = findings_of_data(names, source, draws[0], target, *in_fit, dimension if thin else None, needs_density)
    of_fit = findings_of_fit(marginal, optimality, baselines, split, blur, early, thin, needs_density, history)
    return TransportReport(
        verdict,
        tuple(reasons),
        marginal,
        optimality,
        dual,
        curl,
        split,
        blur,
        baselines,
        dimension,
        (*findings, *of_data, *of_fit),
        {"source": source.rows, "images": draws[0], "target": target.rows},
        early,
        history,
        landscape_of(transport, source.rows, target.rows),
    )


def _single(transport: Any) -> Any:
    """Return the transport, unless it must be diagnosed in parts."""
    if isinstance(transport, type):
        raise TypeError(f"transport must be fitted, got the class {transport.__name__}; pass a fitted instance")
    if isinstance(getattr(transport, "__self__", transport), Pipeline):
        raise TypeError(
            "transport is a Pipeline, whose images are not in the units of X; diagnose its last step on the rows that "
            "this step receives: diagnose(pipeline[-1], pipeline[:-1].transform(X), pipeline[:-1].transform(X_target))"
        )
    if hasattr(transport, "transports_"):
        raise ValueError(
            "transport has several times, and must be diagnosed one interval at a time: call transport.report(X, "
            "time=time)"
        )
    if getattr(transport, "condition", None) is not None:
        raise ValueError(
            "transport has conditions, and must be diagnosed one condition at a time: call "
            "transport.report(X, X_target)"
        )
    return transport


def _sample(
    rows: Samples, weights: ArrayLike | None, name: str, weights_name: str, max_rows: int, rng: np.random.Generator
) -> Sample:
    """Check a sample; return some rows in random order."""
    points = as_points(rows, name)
    masses = as_masses(weights, weights_name, len(points))
    chosen = rng.permutation(np.flatnonzero(masses > 0))[:max_rows]
    return Sample(np.ascontiguousarray(points[chosen]), masses[chosen] / masses[chosen].sum(), chosen)


def _in_plan(
    transport: Any, X: Samples, source: Sample, target: Sample, n_draws: int, random_state: int
) -> tuple[Sample, Sample, np.ndarray, list[str]]:
    """Return samples with masses, draws, and findings about masses."""
    findings = []
    if hasattr(transport, "source_mass"):
        densities = transport.source_mass(_as_given(X, source)), transport.target_mass(target.rows)
        findings = findings_of_masses(*(each.masses @ s for each, s in zip((source, target), densities, strict=True)))
        source, target = (_reweighted(each, s) for each, s in zip((source, target), densities, strict=True))
    return source, target, _draws(transport, _as_given(X, source), n_draws, random_state), findings


def _as_given(X: Any, sample: Sample) -> Any:
    """Return rows as a dataframe, if X is one.

    It has the names of columns, which the fit may have seen, and for rows of X their dtypes.
    """
    if hasattr(X, "with_columns"):  # polars
        columns = dict(zip(X.columns, sample.rows.T, strict=True))
        return type(X)(columns) if sample.indices is None else X[sample.indices]
    if not hasattr(X, "iloc"):
        return sample.rows.copy()  # a function may write into it
    return type(X)(sample.rows, columns=X.columns) if sample.indices is None else X.iloc[sample.indices].copy()


def _reweighted(sample: Sample, density: np.ndarray) -> Sample:
    """Return a sample whose masses are multiplied by a density.

    Rows without mass are omitted.
    """
    if (density == 1).all():
        return sample
    masses = sample.masses * density
    kept = masses > 0
    if not kept.any():
        raise ValueError("the plan of the transport has no mass on these rows; pass rows of the laws of its fit")
    indices = None if sample.indices is None else sample.indices[kept]
    return Sample(sample.rows[kept], masses[kept] / masses[kept].sum(), indices)


def _is_early(transport: Any) -> bool:
    """Return whether the fit says that it ended too early."""
    return getattr(transport, "status_", None) in (Status.SHORT, Status.INTERRUPTED, Status.DIVERGED)


def _is_thin(distinct: torch.Tensor, source: Sample, target: Sample) -> bool | None:
    """Return whether the source is thin.

    None if it has too few distinct rows to tell, or a density only but for columns of few values.
    """
    if min(len(distinct), len(target.rows)) < MIN_ROWS_OF_THIN:
        return None
    thin = is_thin(distinct, *map(torch.from_numpy, (source.covariance, target.covariance)))
    return thin if thin or not has_few_values(source.rows) else None


def _unit(source: Sample, target: Sample) -> float:
    """The target's variance, or the source's for a constant target."""
    for sample in (target, source):
        variances = sample.masses @ (sample.rows - sample.mean) ** 2
        varies = variances > (ROUNDING * np.abs(sample.rows).max(axis=0)) ** 2
        if varies.any():
            return float(variances[varies].sum())
    return 1.0


def _draws(transport: Any, rows: Any, n_draws: int, random_state: int) -> np.ndarray:
    """Draw images of rows, shape (n_draws, n, d)."""
    if hasattr(transport, "sample"):
        draws = transport.sample(rows, n_draws, random_state)
    else:
        function = getattr(transport, "transform", transport)
        if not callable(function):
            raise TypeError(f"transport must be a fitted transport or a function of rows, got {transport!r}")
        _check_depends_on_rows(function, rows)
        draws = [function(rows)]
    draws = np.ascontiguousarray([as_points(images, "images of the transport") for images in draws])
    if draws.shape[1:] != rows.shape:
        raise ValueError(f"transport must return images of shape {rows.shape}, got shape {draws.shape[1:]}")
    return draws


def _check_depends_on_rows(function: Callable[[Any], Any], rows: Any) -> None:
    """Raise a ValueError if images do not follow their rows."""
    part = rows.iloc[:N_FEW] if hasattr(rows, "iloc") else rows[:N_FEW]
    shape = np.shape(function(deepcopy(part)))  # a function may write into them
    if shape and shape[0] != len(part):
        raise ValueError(
            f"transport must be a function of rows, but returned {shape[0]} images of {len(part)} rows; it is called "
            "with rows of X in random order, so look each row up"
        )
