"""scikit-learn's common checks of every public estimator."""

import inspect

import numpy as np
import pytest
from conftest import ROOT, TRANSPORTS, make
from sklearn.base import BaseEstimator
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.utils import check_array
from sklearn.utils.estimator_checks import parametrize_with_checks

import neuralot
from neuralot import DomainAdapter, SNOTTransport, TrajectoryTransport, TransportAdapter
from neuralot.adaptation.checks import DIRECTIONS


def shifted(X):
    try:
        return check_array(X, dtype=(np.float64, np.float32)) + 1
    except (TypeError, ValueError):
        return X  # the estimator must raise the error


def with_target(cls):
    """Return a subclass that uses the shifted source as target if a check passes no target."""

    def lacks_target(y, X_target):
        return X_target is None and (y is None or np.asarray(y).ndim == 1)

    def with_default_target(method):
        def fit(self, X, y=None, *, X_target=None, sample_weight=None, sample_weight_target=None):
            if lacks_target(y, X_target):
                X_target, sample_weight_target = shifted(X), sample_weight
            weights = {"sample_weight": sample_weight, "sample_weight_target": sample_weight_target}
            return method(self, X, y, X_target=X_target, **weights)

        return fit

    def score(self, X, y=None, *, X_target=None, **metadata):
        if lacks_target(y, X_target):
            X_target = np.eye(3, self.n_features_in_)
        return cls.score(self, X, y, X_target=X_target, **metadata)

    methods = {name: with_default_target(getattr(cls, name)) for name in ("fit", "partial_fit") if hasattr(cls, name)}
    return type(cls.__name__, (cls,), {**methods, "score": score, "__module__": __name__})


def domains_from_rows(X):
    """Return domains that depend on the values of each row, so that equal rows have equal domains."""
    try:
        digits = np.floor(1e4 * check_array(X, dtype=np.float64).sum(axis=1)) % 2
    except (TypeError, ValueError):
        return [1, -1]  # the estimator must raise the error
    return np.where(digits == 0, 1, -1) if 0 < digits.mean() < 1 else np.resize([1, -1], len(digits))


class Adapter(DomainAdapter):
    def fit(self, X, y=None, *, X_target=None, sample_domain=None, sample_weight=None, sample_weight_target=None):
        if X_target is None and sample_domain is None:
            X_target, sample_weight_target = X, sample_weight
        weights = {"sample_weight": sample_weight, "sample_weight_target": sample_weight_target}
        return super().fit(X, y, X_target=X_target, sample_domain=sample_domain, **weights)


class Step(TransportAdapter):
    def fit(self, X, y=None, *, sample_domain=None, sample_weight=None):
        if sample_domain is None:
            sample_domain = domains_from_rows(X)
        return super().fit(X, y, sample_domain=sample_domain, sample_weight=sample_weight)


class Trajectory(TrajectoryTransport):
    def fit(self, X, y=None, *, sample_weight=None):
        return super().fit(X, time=domains_from_rows(X), sample_weight=sample_weight)

    def score(self, X, y=None):
        return super().score(X, time=domains_from_rows(X))


CHECKED = [with_target(cls) for cls in TRANSPORTS]
globals().update({cls.__name__: cls for cls in CHECKED})  # some checks pickle their estimator
SMALL = {"max_iter": 5, "batch_size": 32, "hidden_layer_sizes": (8, 8)}
INNER = SNOTTransport(**SMALL, random_state=0)  # the checks seed the outer estimator only
ADAPTERS = [
    adapter
    for direction in DIRECTIONS
    for adapter in (
        Adapter(INNER, LogisticRegression(), direction=direction),
        Adapter(INNER, Ridge(), direction=direction),
        Step(INNER, direction=direction),
    )
]
ADAPTERS.append(Trajectory(INNER))


def test_all_public_estimators_are_checked():
    public = {cls for cls in vars(neuralot).values() if inspect.isclass(cls) and issubclass(cls, BaseEstimator)}
    checked = {cls for instance in [*(cls() for cls in CHECKED), *ADAPTERS] for cls in type(instance).__mro__}
    assert public <= checked


@parametrize_with_checks([*(make(cls, **SMALL) for cls in CHECKED), *ADAPTERS])
def test_estimator_passes_sklearn_check(estimator, check):
    check(estimator)


@pytest.mark.parametrize(
    "estimator",
    [cls() for cls in TRANSPORTS]
    + [DomainAdapter(INNER, Ridge()), TransportAdapter(INNER), TrajectoryTransport(INNER)],
)
def test_html_representation_links_to_documentation(estimator):
    name = type(estimator).__name__
    html = estimator._repr_html_()
    assert f"neuralot.readthedocs.io/en/latest/generated/neuralot.{name}.html" in html
    assert f"Documentation for {name}" in html
    assert name in (ROOT / "docs" / "api.rst").read_text()
