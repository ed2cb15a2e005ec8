"""Domain adaptation: mapped rows, training data, pipelines and cross-validation."""

import contextlib

import numpy as np
import pandas as pd
import pytest
import sklearn
from scipy.ndimage import gaussian_filter, shift
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, KFold, StratifiedKFold, cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC

from neuralot import DomainAdapter, OTPTransport, SNOTTransport, TransportAdapter
from neuralot.adaptation.checks import DIRECTIONS
from neuralot.exceptions import ScoreWarning, UnusedWeightsWarning

FOLDS = KFold(3, shuffle=True, random_state=0)
each_direction = pytest.mark.parametrize("direction", DIRECTIONS)


@pytest.fixture(autouse=True)
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


@pytest.fixture(scope="module")
def domains():
    """Two clusters, stretched and shifted in the target: rows, labels, target rows, target labels."""
    rng = np.random.default_rng(0)
    y, y_target = rng.integers(2, size=150), rng.integers(2, size=120)
    X, X_target = (rng.normal(size=(len(labels), 2)) + 4 * labels[:, None] for labels in (y, y_target))
    return X, y, X_target * [1, 2] + [5, 5], y_target


@pytest.fixture(scope="module")
def stacked(domains):
    X, y, X_target, y_target = domains
    return np.r_[X, X_target], np.r_[y, y_target], np.repeat([1, -1], [len(X), len(X_target)])


def transport(**parameters):
    return SNOTTransport(
        **{"max_iter": 40, "batch_size": 64, "hidden_layer_sizes": (8, 8), "random_state": 0} | parameters
    )


def adapter(estimator=None, direction="source_to_target", **parameters):
    return DomainAdapter(transport(**parameters), estimator or LogisticRegression(), direction=direction)


def test_target_labels_may_be_missing(domains, stacked):
    X, y, X_target, _ = domains
    rows, _, domain = stacked
    without = np.array([*y, *[None] * len(X_target)], dtype=object)
    fitted = adapter().fit(rows, without, sample_domain=domain)
    assert fitted.classes_.dtype == y.dtype
    expected = adapter().fit(X, y, X_target=X_target).predict(X_target)
    assert np.array_equal(fitted.predict(X_target), expected)


@each_direction
@pytest.mark.parametrize("estimator", [LogisticRegression(), KNeighborsClassifier(), LinearSVC()], ids=str)
def test_adapter_predicts_target_rows_better_than_source_model(domains, direction, estimator):
    X, y, X_target, y_target = domains
    assert clone(estimator).fit(X, y).score(X_target, y_target) < 0.8
    fitted = adapter(estimator, direction).fit(X, y, X_target=X_target)
    assert fitted.score(X_target, y_target) > 0.95
    assert np.mean(fitted.predict(X_target) == y_target) == fitted.score(X_target, y_target)
    assert fitted.classes_.tolist() == [0, 1]


def test_source_to_target_trains_on_images_and_predicts_unchanged_rows(domains):
    X, y, X_target, _ = domains
    fitted = adapter().fit(X, y, X_target=X_target)
    moved = transport().fit(X, X_target).transform(X)
    expected = LogisticRegression().fit(moved, y)
    assert np.array_equal(fitted.predict_proba(X_target), expected.predict_proba(X_target))
    # source rows are moved before prediction
    domain = np.ones(len(X))
    assert np.array_equal(fitted.decision_function(X, sample_domain=domain), expected.decision_function(moved))


def test_target_to_source_trains_on_source_rows_and_predicts_images(domains):
    X, y, X_target, _ = domains
    fitted = adapter(direction="target_to_source").fit(X, y, X_target=X_target)
    images = transport().fit(X_target, X).transform(X_target)
    expected = LogisticRegression().fit(X, y)
    assert np.array_equal(fitted.predict_log_proba(X_target), expected.predict_log_proba(images))
    assert np.array_equal(fitted.predict(X, sample_domain=np.ones(len(X))), expected.predict(X))


def test_regressor_is_adapted(domains):
    X, y, X_target, y_target = domains
    fitted = adapter(Ridge()).fit(X, X.sum(axis=1) + y, X_target=X_target)
    assert is_regressor(fitted)
    assert not is_classifier(fitted)
    assert not hasattr(fitted, "predict_proba")
    truth = ((X_target - 5) / [1, 2]).sum(axis=1) + y_target
    assert fitted.score(X_target, truth) > 0.8


@each_direction
@pytest.mark.parametrize("hidden", [-1.0, np.nan])
def test_stacked_samples_give_same_result_and_ignore_target_labels(domains, stacked, direction, hidden):
    X, y, X_target, _ = domains
    rows, labels, domain = stacked
    order = np.random.default_rng(1).permutation(len(rows))
    labels = np.where(domain > 0, labels, hidden)
    one = adapter(direction=direction).fit(X, y, X_target=X_target)
    other = adapter(direction=direction).fit(rows[order], labels[order], sample_domain=3.0 * domain[order])
    np.testing.assert_allclose(other.predict_proba(X_target), one.predict_proba(X_target), atol=1e-6)


def test_score_uses_target_rows_only(domains, stacked):
    X, y, X_target, y_target = domains
    rows, labels, domain = stacked
    fitted = adapter().fit(X, y, X_target=X_target)
    wrong = np.where(domain > 0, 1 - labels, labels)
    assert fitted.score(rows, wrong, sample_domain=domain) == fitted.score(X_target, y_target)
    weights = np.random.default_rng(0).random(len(rows)) * (labels == fitted.predict(rows))
    assert fitted.score(rows, labels, sample_weight=weights, sample_domain=domain) == 1


@pytest.mark.parametrize("mark", [-1, None, "unknown"])
def test_score_warns_of_marks_in_place_of_target_labels(domains, mark):
    X, y, X_target, y_target = domains
    fitted = adapter().fit(X, y, X_target=X_target)
    marked = np.full(len(X_target), mark, dtype=object)
    message = f"no label of the target rows is one of the classes 0, 1, got {mark}, so the score says nothing"
    with pytest.warns(ScoreWarning, match=message), contextlib.suppress(ValueError, TypeError):  # of accuracy_score
        assert fitted.score(X_target, marked) == 0
    marked[:5] = y_target[:5]
    fitted.score(X_target[:5], marked[:5])


def test_score_warns_if_cross_validation_drops_sample_domain(stacked):
    rows, labels, domain = stacked
    fitted = adapter().fit(rows, labels, sample_domain=domain)
    fitted.score(rows[domain < 0], labels[domain < 0])  # with routing, a scorer passes all metadata that it has
    with sklearn.config_context(enable_metadata_routing=False):
        fitted.score(rows, labels, sample_domain=domain)
        with pytest.warns(ScoreWarning, match="treats all rows as target rows"):
            cross_val_score(adapter(), rows, labels, cv=FOLDS, params={"sample_domain": domain}, error_score="raise")


def test_weights_apply_to_transport_and_estimator(domains):
    X, y, X_target, _ = domains
    v, w = (np.random.default_rng(seed).integers(0, 3, size=len(rows)) for seed, rows in ((0, X), (1, X_target)))
    weighted = adapter().fit(X, y, X_target=X_target, sample_weight=v, sample_weight_target=w)
    repeated = adapter().fit(np.repeat(X, v, axis=0), np.repeat(y, v), X_target=np.repeat(X_target, w, axis=0))
    np.testing.assert_allclose(weighted.predict_proba(X_target), repeated.predict_proba(X_target), atol=1e-6)
    rows, domain = np.r_[X, X_target], np.repeat([1, -1], [len(X), len(X_target)])
    both = adapter().fit(rows, np.r_[y, w], sample_domain=domain, sample_weight=np.r_[v, w])
    np.testing.assert_allclose(both.predict_proba(X_target), weighted.predict_proba(X_target), atol=1e-6)
    with pytest.warns(UnusedWeightsWarning, match="for the transport only, because KNeighborsClassifier.fit does not"):
        weighted = adapter(KNeighborsClassifier()).fit(X, y, X_target=X_target, sample_weight=v)
    alone = transport().fit(X, X_target=X_target, sample_weight=v)
    assert np.array_equal(weighted.transport_.transform(X), alone.transform(X))


def test_class_reg_appends_class_indicators(domains):
    X, y, X_target, _ = domains
    fitted = DomainAdapter(transport(), LogisticRegression(), class_reg=0.5).fit(X, y, X_target=X_target)
    expected = adapter().fit(X, y, X_target=X_target).estimator_
    size = 0.5 * np.sqrt((X.var(axis=0).sum() + X_target.var(axis=0).sum()) / 2)
    source = np.c_[X, size * (y == 0), size * (y == 1)]
    for _ in range(2):
        guess = expected.predict(X_target)
        target = np.c_[X_target, size * (guess == 0), size * (guess == 1)]
        expected = LogisticRegression().fit(transport().fit(source, target).transform(source)[:, :2], y)
    assert np.array_equal(fitted.predict_proba(X_target), expected.predict_proba(X_target))


@pytest.mark.parametrize("weights", [False, True])
@each_direction
def test_self_training_includes_target_rows(domains, direction, weights):
    X, y, X_target, _ = domains
    v, w = (np.linspace(1, 2, len(X)), np.linspace(3, 1, len(X_target))) if weights else (None, None)
    given = {"X_target": X_target, "sample_weight": v, "sample_weight_target": w}
    plain, fitted = (
        adapter(direction=direction).set_params(self_training=on).fit(X, y, **given) for on in (False, True)
    )
    move = plain.transport_.transform
    images, target = (move(X), X_target) if direction == "source_to_target" else (X, move(X_target))
    expected = clone(plain.estimator).fit(
        np.concatenate([images, target]),
        np.concatenate([y, plain.estimator_.predict(target)]),
        None if v is None else np.concatenate([v, w]),
    )
    assert np.array_equal(fitted.estimator_.coef_, expected.coef_)
    assert not np.array_equal(fitted.estimator_.coef_, plain.estimator_.coef_)


@pytest.mark.slow
def test_class_reg_and_self_training_improve_accuracy_on_blurred_digits():
    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.images))
    source, target, held_out = np.split(order, [600, 1200])
    blurred = np.stack([0.6 * shift(gaussian_filter(image, 0.6), (0.8, 0)) for image in digits.images]).reshape(-1, 64)
    scores = []
    for options in ({}, {"class_reg": 1.0}, {"self_training": True}):
        otp = OTPTransport(max_iter=300, random_state=0)
        fitted = DomainAdapter(otp, make_pipeline(StandardScaler(), SVC()), **options)
        fitted.fit(digits.data[source], digits.target[source], X_target=blurred[target])
        scores.append(fitted.score(blurred[held_out], digits.target[held_out]))
    assert scores[0] > 0.8
    assert min(scores[1:]) > scores[0] + 0.02


# pipelines and folds


@each_direction
def test_pipeline_applies_the_same_steps_to_target(domains, direction):
    X, y, X_target, y_target = domains
    pipe = make_pipeline(StandardScaler(), adapter(direction=direction), transform_input=["X_target"])
    pipe.fit(X, y, X_target=X_target)
    scale = StandardScaler().fit(X).transform
    expected = adapter(direction=direction).fit(scale(X), y, X_target=scale(X_target))
    np.testing.assert_allclose(pipe.predict_proba(X_target), expected.predict_proba(scale(X_target)), atol=1e-9)
    assert pipe.score(X_target, y_target) > 0.95


def test_cross_validation_splits_both_domains_and_scores_target(stacked):
    rows, labels, domain = stacked
    scores = cross_val_score(
        make_pipeline(StandardScaler(), adapter()),
        rows,
        labels,
        cv=StratifiedKFold(3, shuffle=True, random_state=0).split(rows, domain),
        params={"sample_domain": domain},
        error_score="raise",
    )
    assert scores.min() > 0.9
    # target labels are ignored in training
    expected = []
    for train, test in StratifiedKFold(3, shuffle=True, random_state=0).split(rows, domain):
        pipe = make_pipeline(StandardScaler(), adapter())
        pipe.fit(rows[train], np.where(domain > 0, labels, 7)[train], sample_domain=domain[train])
        expected.append(pipe.score(rows[test][domain[test] < 0], labels[test][domain[test] < 0]))
    assert scores.tolist() == expected


def test_grid_search_sets_nested_parameters(stacked):
    rows, labels, domain = stacked
    grid = {"transport__max_iter": [1, 40], "estimator__C": [1.0], "direction": DIRECTIONS}
    search = GridSearchCV(adapter(), grid, cv=FOLDS, error_score="raise").fit(rows, labels, sample_domain=domain)
    assert search.best_score_ > 0.9
    assert search.predict(rows[domain < 0]).shape == ((domain < 0).sum(),)


def test_transport_accepts_stacked_samples(stacked, domains):
    X, _, X_target, _ = domains
    rows, labels, domain = stacked
    weights = np.random.default_rng(0).random(len(rows))
    v, w = weights[domain > 0], weights[domain < 0]
    one = transport().fit(X, X_target, sample_weight=v, sample_weight_target=w)
    other = transport().fit(rows, labels, sample_domain=domain, sample_weight=weights)
    assert np.array_equal(one.transform(X), other.transform(X))
    assert one.score(X, X_target) == one.score(rows, labels, sample_domain=domain)
    scores = [
        one.score(X, X_target, sample_weight=v, sample_weight_target=w),
        one.score(rows, sample_domain=domain, sample_weight=weights),
    ]
    assert scores[0] == scores[1] != one.score(X, X_target)


def test_grid_search_of_transport_holds_out_rows_of_both_samples(stacked, monkeypatch):
    rows, _, domain = stacked
    seen = []
    original = SNOTTransport.score

    def score(self, X, y=None, **metadata):
        seen.append((len(X), (metadata["sample_domain"] < 0).sum()))
        return original(self, X, y, **metadata)

    monkeypatch.setattr(SNOTTransport, "score", score)
    search = GridSearchCV(transport(map_form="network"), {"max_iter": [1, 200]}, cv=FOLDS, error_score="raise")
    search.fit(rows, sample_domain=domain)
    assert search.best_params_ == {"max_iter": 200}
    assert sum(n for n, _ in seen[::2]) == len(rows)
    assert all(20 < n_target < n - 20 for n, n_target in seen)


# TransportAdapter, a step for pipelines with domain labels


@each_direction
def test_transport_adapter_moves_rows_of_one_domain(stacked, direction):
    rows, _, domain = stacked
    step = TransportAdapter(transport(), direction=direction).fit(rows, sample_domain=domain)
    images = step.transform(rows, sample_domain=domain)
    is_moved = domain > 0 if direction == "source_to_target" else domain < 0
    assert np.array_equal(images[~is_moved], rows[~is_moved])
    assert np.array_equal(images[is_moved], step.transport_.transform(rows[is_moved]))
    assert np.array_equal(images, clone(step).fit_transform(rows, sample_domain=domain))
    alone = step.transform(rows[domain < 0])
    assert np.array_equal(alone, images[domain < 0])


def test_transport_adapter_keeps_names_and_dtypes(stacked):
    rows, _, domain = stacked
    frame = pd.DataFrame(rows.astype(np.float32), columns=["a", "b"])
    step = TransportAdapter(transport()).set_output(transform="pandas").fit(frame, sample_domain=pd.Series(domain))
    images = step.transform(frame, sample_domain=pd.Series(domain))
    assert images.columns.tolist() == step.get_feature_names_out().tolist() == ["a", "b"]
    assert (images.dtypes == np.float32).all()


@each_direction
def test_transport_adapter_works_in_skada(stacked, direction):
    skada = pytest.importorskip("skada")
    from skada.metrics import PredictionEntropyScorer

    rows, labels, domain = stacked
    masked = np.where(domain > 0, labels, -1)
    pipe = skada.make_da_pipeline(
        StandardScaler(), TransportAdapter(transport(), direction=direction), LogisticRegression()
    )
    pipe.fit(rows, masked.copy(), sample_domain=domain)
    assert pipe.score(rows[domain < 0], labels[domain < 0]) > 0.95
    grid = {"transportadapter__transport__max_iter": [1, 40]}
    for estimator, names in ((pipe, grid), (adapter(), {"transport__max_iter": [1, 40]})):
        search = GridSearchCV(estimator, names, cv=FOLDS, scoring=PredictionEntropyScorer(), error_score="raise")
        search.fit(rows, masked.copy(), sample_domain=domain)
        assert np.isfinite(search.cv_results_["mean_test_score"]).all()


# invalid arguments


def test_invalid_arguments_raise(domains, stacked):
    X, y, X_target, _ = domains
    rows, labels, domain = stacked
    for message, call in {
        "X_target is missing": lambda: adapter().fit(X, y),
        "pass target rows as X_target": lambda: adapter().fit(X, X_target),
        "y is missing": lambda: adapter().fit(X, None, X_target=X_target),
        "y must be finite for source rows": lambda: adapter().fit(X, np.r_[np.nan, y[1:]], X_target=X_target),
        "y must contain classes: Unknown label type": lambda: adapter().fit(X, X[:, 0], X_target=X_target),
        "sample_weight_target must have shape": lambda: adapter(direction="target_to_source").fit(
            X, y, X_target=X_target, sample_weight_target=np.ones(3)
        ),
        "y must contain one label per row of X": lambda: adapter().fit(X, y[1:], X_target=X_target),
        "X_target is a target sample, but with sample_domain": lambda: adapter().fit(
            rows, labels, X_target=X_target, sample_domain=domain
        ),
        "sample_weight_target must be None with sample_domain": lambda: adapter().fit(
            rows, labels, sample_domain=domain, sample_weight_target=np.ones(3)
        ),
        "X_target: X has 1 features": lambda: adapter().fit(X, y, X_target=X_target[:, :1]),
        "got one sign only": lambda: adapter().fit(X, y, sample_domain=y + 1),
        "got values that are 0 or not finite": lambda: adapter().fit(X, y, sample_domain=y),
        "one number per row of X": lambda: adapter().fit(X, y, sample_domain=[1, -1]),
        "sample_domain must contain": lambda: adapter().fit(X, y, sample_domain=np.where(y > 0, "source", "target")),
        "direction must be 'source_to_target' or 'target_to_source', got 'back'": lambda: adapter(direction="back").fit(
            X, y, X_target=X_target
        ),
        "class_reg must be a number of at least 0, got -1": lambda: DomainAdapter(
            transport(), LogisticRegression(), class_reg=-1
        ).fit(X, y, X_target=X_target),
        "requires a classifier and direction='source_to_target'": lambda: DomainAdapter(
            transport(), Ridge(), class_reg=1
        ).fit(X, y, X_target=X_target),
        "self_training must be True or False, got 2": lambda: (
            adapter().set_params(self_training=2).fit(X, y, X_target=X_target)
        ),
        "self_training=True requires a classifier": lambda: DomainAdapter(transport(), Ridge(), self_training=True).fit(
            X, y, X_target=X_target
        ),
        "sample_domain is missing": lambda: TransportAdapter(transport()).fit(rows),
        "no target rows": lambda: adapter().fit(X, y, X_target=X_target).score(X, y, sample_domain=np.ones(len(X))),
        "y is a target sample, but with sample_domain": lambda: transport().fit(rows, X_target, sample_domain=domain),
        "sample_domain must be positive": lambda: transport().fit(rows, sample_domain=np.ones(len(rows))),
    }.items():
        with pytest.raises(ValueError, match=message):
            call()
    for estimator in (None, StandardScaler(), LogisticRegression):
        with pytest.raises(TypeError, match="estimator must be a classifier or regressor, such as"):
            DomainAdapter(transport(), estimator).fit(X, y, X_target=X_target)
    with pytest.raises(TypeError, match="transport must be a transport estimator"):
        DomainAdapter(LogisticRegression(), LogisticRegression()).fit(X, y, X_target=X_target)
    with pytest.raises(NotFittedError):
        adapter().predict(X)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, r"does not accept the X_target parameter"),
        ({"transform_input": ["X_target"]}, r"transform_input.*metadata routing is enabled"),
    ],
    ids=["plain", "transform_input"],
)
def test_pipeline_without_routing_rejects_target(domains, options, message):
    X, y, X_target, _ = domains
    with sklearn.config_context(enable_metadata_routing=False):
        for last in (adapter(), transport()):
            pipe = make_pipeline(StandardScaler(), last, **options)
            with pytest.raises(ValueError, match=message):
                pipe.fit(X, y, X_target=X_target)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_invalid_arguments_are_refused_before_the_first_step(domains, direction):
    X, y, X_target, _ = domains
    steps = []
    fresh = adapter(direction=direction, callbacks=[lambda step, *args: steps.append(step)])
    for labels, weights, weights_target in (
        (np.r_[np.nan, y[1:]], None, None),
        (X[:, 0], None, None),
        (y, -np.ones(len(X)), None),
        (y, None, np.zeros(len(X_target))),
    ):
        with pytest.raises(ValueError, match=r"^(y|sample_weight(_target)?) must"):
            fresh.fit(X, labels, X_target=X_target, sample_weight=weights, sample_weight_target=weights_target)
    assert steps == []


def test_failed_fit_leaves_adapter_unchanged(domains):
    X, y, X_target, _ = domains
    for fitted in (adapter(), adapter().fit(X, y, X_target=X_target)):
        before = dict(vars(fitted))
        for labels, target in ((y[1:], X_target), (np.full(len(X), np.nan), X_target), (y, X_target[:, :1])):
            with pytest.raises(ValueError, match=r"^(y must|X_target)"):
                fitted.fit(X, labels, X_target=target)
            assert vars(fitted) == before
