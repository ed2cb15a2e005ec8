"""Pipelines and grid search."""

import numpy as np
import pytest
import sklearn
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler


def test_pipeline_applies_same_steps_to_target(tiny, samples):
    X, Y = samples
    with sklearn.config_context(enable_metadata_routing=True):
        pipe = Pipeline([("scale", StandardScaler()), ("transport", tiny())], transform_input=["X_target"])
        images = pipe.fit(X, X_target=Y).transform(X)
    scaler = StandardScaler().fit(X)
    expected = tiny().fit(scaler.transform(X), scaler.transform(Y)).transform(scaler.transform(X))
    np.testing.assert_allclose(images, expected, atol=1e-12)


def test_fit_warns_about_unscaled_target(tiny, samples):
    X, Y = samples[0] * 500 + 70, samples[1] * 500 + 70
    pipe = Pipeline([("scale", StandardScaler()), ("transport", tiny())])
    with pytest.warns(UserWarning, match=r"factor of \d{3} \(median\).*transform_input=\['X_target'\]"):
        pipe.fit(X, Y)
    # no warning outside of a pipeline, or for a target of one point
    tiny().fit(X, Y * [10, 20])
    tiny().fit(X, np.zeros((3, 2)))


def test_score_in_pipeline_warns_about_unscaled_target(tiny, samples):
    # scikit-learn transforms the target in fit only
    X, Y = samples[0] * 500 + 70, samples[1] * 500 + 70
    domain = np.repeat([1, -1], [len(X), len(Y)])
    with sklearn.config_context(enable_metadata_routing=True):
        pipe = Pipeline([("scale", StandardScaler()), ("transport", tiny())], transform_input=["X_target"])
        pipe.fit(X, X_target=Y)
        with pytest.warns(UserWarning, match=r"columns of images and target.*\(median\)") as caught:
            pipe.score(X, X_target=Y)
        assert caught[0].filename == __file__
        stacked = pipe.score(np.concatenate([X, Y]), sample_domain=domain)
    scale, transport = pipe[0].transform, pipe[-1]
    assert stacked == pytest.approx(transport.score(scale(X), scale(Y)))


def test_grid_search_uses_score_of_rows_held_out(tiny, samples):
    X = np.concatenate([samples[0], samples[0] + 0.1])
    search = GridSearchCV(tiny(), {"max_iter": [1, 30]}, cv=2, error_score="raise").fit(X, X + 5)
    halves = np.split(X, 2)
    for max_iter, found in zip((1, 30), search.cv_results_["mean_test_score"], strict=True):
        scores = [tiny(max_iter=max_iter).fit(x, x + 5).score(out, out + 5) for x, out in (halves, halves[::-1])]
        assert found == pytest.approx(np.mean(scores))
