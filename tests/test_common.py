"""scikit-learn's own checks of every transport estimator, listed by name."""

import numpy as np
from conftest import TRANSPORTS
from sklearn.utils import check_array
from sklearn.utils.estimator_checks import parametrize_with_checks


def with_target(cls):
    """A subclass that supplies a target, the shifted source, where the checks give none."""

    def lacks_target(y, X_target):
        return X_target is None and (y is None or np.asarray(y).ndim == 1)

    def fit(self, X, y=None, *, X_target=None, sample_weight=None, sample_weight_target=None):
        if lacks_target(y, X_target):
            sample_weight_target = sample_weight
            try:
                X_target = check_array(X, dtype=(np.float64, np.float32)) + 1
            except (TypeError, ValueError):
                X_target = X  # bad input is for the estimator to refuse
        weights = {"sample_weight": sample_weight, "sample_weight_target": sample_weight_target}
        return cls.fit(self, X, y, X_target=X_target, **weights)

    def score(self, X, y=None, *, X_target=None):
        if lacks_target(y, X_target):
            X_target = np.eye(3, self.n_features_in_)
        return cls.score(self, X, y, X_target=X_target)

    return type(cls.__name__, (cls,), {"fit": fit, "score": score, "__module__": __name__})


CHECKED = [with_target(cls) for cls in TRANSPORTS]
globals().update({cls.__name__: cls for cls in CHECKED})  # some checks pickle their estimator


@parametrize_with_checks([cls(max_iter=5, batch_size=32, hidden_layer_sizes=(8, 8)) for cls in CHECKED])
def test_sklearn_check(estimator, check):
    check(estimator)
