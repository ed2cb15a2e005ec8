"""Bad input raises errors that name the argument; unusual but valid input gives finite results."""

import contextlib
import warnings
from decimal import Decimal
from fractions import Fraction

import numpy as np
import ot
import pandas as pd
import pytest
import scipy.sparse
import torch
from conftest import (
    GAMES,
    TRANSPORTS,
    each_transport,
    gaussian,
    make_tiny,
    skip_unless_takes,
    streams,
    takes,
)
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from torch import nn

from neuralot import (
    CriticLoss,
    DomainAdapter,
    Optimizer,
    OTPTransport,
    SNOTTransport,
    TransportAdapter,
    W2GNTransport,
    load,
)
from neuralot.costs import Lp
from neuralot.estimators.streams import StreamTransport
from neuralot.metrics import mode_coverage, sinkhorn_divergence
from neuralot.solve import Status

N, D = 30, 2


def with_entry(value):
    rows = np.ones((N, D))
    rows[3, 1] = value
    return rows


BAD_ROWS = {
    "nan": with_entry(np.nan),
    "infinite": with_entry(-np.inf),
    "nan tensor": torch.tensor(with_entry(np.nan)),
    "no rows": np.ones((0, D)),
    "no columns": np.ones((N, 0)),
    "scalar": 3.0,
    "3-D": np.ones((N, D, 1)),
    "3-D tensor": torch.ones(N, D, 1),
    "complex": np.ones((N, D)) + 1j,
    "strings": np.full((N, D), "a"),
    "object": np.full((N, D), None),
    "mixed": [[1.0, "a"]] * N,
    "digits": [["1", "2"]] * N,
    "ragged": [[1.0, 2.0], [3.0]],
    "dict": {"a": 1},
    "text": "rows",
    "sparse": scipy.sparse.csr_array(np.eye(N, D)),
    "masked": np.ma.masked_equal(with_entry(2.0), 2.0),
    "tensor without data": torch.ones(N, D, device="meta"),
    "sparse tensor": torch.ones(N, D).to_sparse(),
}
bad_rows = pytest.mark.parametrize("bad", BAD_ROWS.values(), ids=BAD_ROWS)
ROWS_1D = np.arange(float(N))


@contextlib.contextmanager
def assert_rejected(estimator, argument, message=""):
    """Expect an error that names the argument, and an unchanged estimator."""
    before = dict(vars(estimator))
    with pytest.raises((TypeError, ValueError), match=rf"^{argument}\b(?s:.*){message}") as error:
        yield
    assert len(str(error.value)) > len(argument) + 10
    assert vars(estimator).keys() == before.keys()
    assert all(value is before[name] for name, value in vars(estimator).items())


@pytest.fixture(params=["unfitted", "fitted"])
def estimator(request, tiny, samples):
    return tiny().fit(*samples) if request.param == "fitted" else tiny()


# rows


def mapping_methods(transport):
    """Return the methods that map rows."""
    inverse = [transport.inverse_transform] if isinstance(transport, StreamTransport) else []
    return [transport.transform, transport.sample, *inverse]


@bad_rows
def test_fit_rejects_bad_rows_and_leaves_estimator_unchanged(estimator, samples, bad):
    X, Y = samples
    for argument, fit in {
        "X": lambda: estimator.fit(bad, Y),
        "y": lambda: estimator.fit(X, bad),
        "X_target": lambda: estimator.fit(X, X_target=bad),
    }.items():
        with assert_rejected(estimator, argument, message="Pass"):
            fit()


@bad_rows
def test_fitted_methods_reject_bad_rows(fitted, samples, bad):
    X, Y = samples
    for call in (*mapping_methods(fitted), lambda rows: fitted.score(rows, Y)):
        with assert_rejected(fitted, "X", message="Pass"):
            call(bad)
    for argument, call in (("y", fitted.score), ("X_target", lambda X, rows: fitted.score(X, X_target=rows))):
        with assert_rejected(fitted, argument, message="Pass"):
            call(X, bad)


@pytest.mark.parametrize("like", [np.asarray, torch.tensor, list])
def test_one_dimensional_rows_are_rejected(estimator, fitted, samples, like):
    X, Y = samples
    rows = like(ROWS_1D)
    with assert_rejected(estimator, "X", message="Pass"):
        estimator.fit(rows, Y)
    with assert_rejected(estimator, "X_target", message="Pass"):
        estimator.fit(X, X_target=rows)
    with assert_rejected(fitted, "X", message="Pass"):
        fitted.transform(rows)


def test_other_numbers_of_features_are_rejected(estimator, fitted, samples):
    X, Y = samples
    wide = np.ones((N, D + 1))
    with assert_rejected(estimator, "y", message="3 features, but the source has 2; pass"):
        estimator.fit(X, wide)
    with assert_rejected(estimator, "X_target", message="3 features, but the source has 2; pass"):
        estimator.fit(X, X_target=wide)
    for call in (*mapping_methods(fitted), lambda rows: fitted.score(rows, Y)):
        with assert_rejected(fitted, "X", message="3 features"):
            call(wide)
    with assert_rejected(fitted, "y", message="3 features"):
        fitted.score(X, wide)


def test_missing_target_is_rejected(estimator, fitted, samples):
    labels = np.arange(N) % 2
    for call in (estimator.fit, fitted.score):
        for given in ((), (labels,), (labels.tolist(),), (torch.tensor(labels),)):
            with assert_rejected(call.__self__, "X_target is missing", message="pass X_target=Y"):
                call(samples[0], *given)


def test_two_targets_are_rejected(estimator, fitted, samples):
    X, Y = samples
    for call in (estimator.fit, fitted.score):
        with assert_rejected(call.__self__, "y and X_target", message="pass only one of them"):
            call(X, Y, X_target=Y)


# weights

BAD_WEIGHTS = {
    "too few": np.ones(N - 1),
    "too many": np.ones(N + 1),
    "scalar": 1.0,
    "column": np.ones((N, 1)),
    "negative": np.r_[-1.0, np.ones(N - 1)],
    "nan": np.r_[np.nan, np.ones(N - 1)],
    "infinite": np.r_[np.inf, np.ones(N - 1)],
    "zero": np.zeros(N),
    "overflowing": np.full(N, 1e308),
    "complex": np.ones(N) + 1j,
    "strings": ["a"] * N,
    "none": [None] * N,
    "sparse": scipy.sparse.csr_array(np.ones((N, 1))),
    "masked": np.ma.masked_less(np.arange(N), 3),
    "ragged": [[1.0, 2.0], [3.0]],
    "missing": pd.Series([1, None] * (N // 2), dtype="Int64"),
    "complex tensor": torch.ones(N, dtype=torch.complex64),
    "sparse tensor": torch.ones(N).to_sparse(),
    "tensor without data": torch.ones(N, device="meta"),
    "duration": np.full(N, 3, dtype="m8[D]"),
}


@pytest.mark.parametrize("argument", ["sample_weight", "sample_weight_target"])
@pytest.mark.parametrize("bad", BAD_WEIGHTS.values(), ids=BAD_WEIGHTS)
def test_bad_weights_are_rejected(estimator, samples, bad, argument):
    X = samples[0]
    with assert_rejected(estimator, argument, message="must"):
        estimator.fit(X, X + 1, **{argument: bad})


@pytest.mark.parametrize("name", ["masked", "ragged", "tensor without data"])
def test_bad_weights_are_rejected_everywhere(samples, name):
    X, bad = samples[0], BAD_WEIGHTS[name]
    labels, domain = np.arange(N) % 2, np.where(np.arange(N) % 3, 1, -1)
    fitted = make_tiny(SNOTTransport).fit(X, X)
    adapter = DomainAdapter(fitted, LogisticRegression()).fit(X, labels, X_target=X)
    for call in (
        lambda: fitted.score(X, X, sample_weight=bad),
        lambda: fitted.report(X, X, sample_weight=bad),
        lambda: sinkhorn_divergence(X, X, sample_weight=bad),
        lambda: mode_coverage(X, X[:2], sample_weight=bad),
        lambda: adapter.score(X, labels, sample_weight=bad),
        lambda: clone(adapter).fit(X, labels, X_target=X, sample_weight=bad),
        lambda: TransportAdapter(fitted).fit(X, sample_domain=domain, sample_weight=bad),
    ):
        with pytest.raises(ValueError, match=r"^sample_weight must"):
            call()
    with pytest.raises(ValueError, match=r"^sample_domain must"):
        fitted.fit(X, sample_domain=bad)
    with pytest.raises(ValueError, match=r"^y must"):
        adapter.fit(X, bad, X_target=X)


@pytest.mark.parametrize(
    "weights",
    [
        *(np.ones(N, int), np.ones(N, bool), [1] * N, torch.ones(N), np.arange(N), np.ma.array(np.ones(N))),
        *(torch.ones(N, dtype=torch.bfloat16), torch.ones(N, requires_grad=True), np.ones(N, np.longdouble)),
        pd.Series([1.0] * N, dtype="Float64"),
    ],
)
def test_weights_of_any_numeric_type_are_accepted(tiny, samples, weights):
    X = samples[0]
    assert np.isfinite(tiny().fit(X, X + 1, sample_weight=weights, sample_weight_target=weights).transform(X)).all()


# parameters

NOT_POSITIVE_INTEGER = (0, -1, 2.0, "3", None, True, float("nan"))
NOT_POSITIVE = (0, -1.0, "1", None, True, float("nan"), float("inf"))
NOT_NON_NEGATIVE = (-1e-9, "1", None, True, float("nan"), float("inf"))
NOT_BOOL = (None, "yes", 1, 0.0)
NOT_FACTORY = (nn.Linear(2, 2).state_dict(), "mlp", 3)

BAD_PARAMETERS = {
    "map_form": ("convex", "", None, 1, ["auto"], nn.Linear(2, 2)),
    "hidden_layer_sizes": ((), 8, (8, 0), (8, 2.0), (8, "8"), (True,), "8", None, np.array([8])),
    "activation": ("cos", None, torch.tanh, 1),
    "potential_network": NOT_FACTORY,
    "height_network": NOT_FACTORY,
    "output": ("soft", "", None, 1),
    "crease_distance": (-1.0, "far", None, True, float("nan"), [1.0]),
    "n_monte_carlo": NOT_POSITIVE_INTEGER,
    "mass_tol": NOT_NON_NEGATIVE,
    "noise_dim": (-1, 2.0, "3", None, True),
    "cycle_weight": NOT_POSITIVE,
    "critic_loss": ("plain", 0, True, {"expectile": 0.9}, CriticLoss),
    "critic_loss__expectile": (0.4, 1.0, *NOT_NON_NEGATIVE),
    "critic_loss__expectile_weight": NOT_NON_NEGATIVE,
    "critic_loss__gradient_penalty": NOT_NON_NEGATIVE,
    "critic_loss__gap_weight": NOT_NON_NEGATIVE,
    "noise_shape": ("flat", None, 1),
    "eps_max": NOT_POSITIVE,
    "eps_min": NOT_POSITIVE,
    "schedule": ("cosine", None, 1),
    "cost": ("l2", "", None, 2, (1, 2)),
    "unbalanced": ("l2", "", 1, True, "KL", float("inf")),
    "reg_marginal_source": (0, -1.0, "1", None, True, float("nan"), -float("inf"), 1e30),
    "reg_marginal_target": (0, -1.0, "1", None, True, float("nan"), -float("inf"), 1e30),
    "condition": (1.5, True, (), [0.5], [None], {"dose": 1}, 7, "dose", [0, 0], [0, 1]),
    "batch_size": NOT_POSITIVE_INTEGER,
    "max_iter": NOT_POSITIVE_INTEGER,
    "max_time": tuple(value for value in NOT_POSITIVE if value is not None),
    "learning_rate_init": NOT_POSITIVE,
    "optimizer": ("sgd", "auto", None, torch.optim.Adam, Optimizer),
    "optimizer__name": ("sgd", "auto", None),
    "optimizer__weight_decay": NOT_NON_NEGATIVE,
    "optimizer__n_map_steps": NOT_POSITIVE_INTEGER,
    "optimizer__compile": ("yes", "", 1, 0, None, "True"),
    "early_stopping": NOT_BOOL,
    "validation_fraction": (1.0, *NOT_POSITIVE),
    "n_iter_no_change": NOT_POSITIVE_INTEGER,
    "tol": NOT_NON_NEGATIVE,
    "warm_start": NOT_BOOL,
    "device": ("gpu", "", 0, None, "cpu:x", "meta", "mps", "xpu"),
    "random_state": ("seed", -1, 2.5, True, np.True_, np.random.default_rng(0)),
    "verbose": (-1, 1.5, "yes", None),
    "callbacks": (print, [3], "bar", {}),
    "checkpoint": (3, "", b"fit", True, ["fit"]),
    "checkpoint_interval": (-1, None, "auto", True, float("nan"), float("inf")),
}
CASES = [
    pytest.param(cls, name, bad, id=f"{cls.__name__}-{name}-{i}")
    for cls in TRANSPORTS
    for name in cls().get_params()
    for i, bad in enumerate(BAD_PARAMETERS.get(name, ()))
]


@each_transport
def test_bad_values_of_every_parameter_are_listed(cls):
    assert set(cls().get_params()) <= set(BAD_PARAMETERS)


@pytest.mark.parametrize(("cls", "name", "bad"), CASES)
def test_bad_parameters_are_rejected(cls, name, bad, samples):
    estimator = cls().set_params(**{"max_iter": 3, "hidden_layer_sizes": (4,), name: bad})
    with assert_rejected(estimator, name, message="must"):
        estimator.fit(*samples)


class Incomparable:
    def __eq__(self, other):
        raise RuntimeError("no comparison")

    __hash__ = None


@pytest.mark.parametrize(
    "bad",
    [
        *(np.array([1, 2]), np.array(["auto", "auto"]), np.array("auto"), np.array([]), torch.tensor([1.0, 2.0])),
        *(pd.Series([1, 2]), pd.DataFrame({"a": [1]}), pd.NA, Incomparable(), np.ma.masked, 10**400, 1j, b"auto"),
        *(Decimal(3), np.timedelta64(3), np.datetime64("2020-01-01"), float("nan")),
    ],
    ids=lambda bad: f"{type(bad).__name__}",
)
@each_transport
def test_values_of_other_kinds_are_rejected_for_every_parameter(cls, samples, bad):
    for name in cls().get_params():
        estimator = make_tiny(cls).set_params(**{name: bad})
        with assert_rejected(estimator, name, message="must"):
            estimator.fit(*samples)


@pytest.mark.parametrize("large", [1e30, 2**100, np.float64(1e300)])
@pytest.mark.parametrize("name", ["critic_loss__gap_weight", "critic_loss__gradient_penalty", "eps_max", "mass_tol"])
def test_numbers_that_overflow_are_rejected(transport_class, samples, name, large):
    if name not in transport_class().get_params():
        pytest.skip("not a parameter of this estimator")
    estimator = make_tiny(transport_class).set_params(**{name: large})
    with assert_rejected(estimator, name, message=r"below 1e\+30"):
        estimator.fit(*samples)


NUMBERS = dict.fromkeys(["max_iter", "n_map_steps", "n_iter_no_change"], 3) | dict.fromkeys(
    (
        *("mass_tol", "tol", "cycle_weight", "crease_distance", "weight_decay", "gap_weight", "gradient_penalty"),
        *("expectile_weight", "eps_max", "validation_fraction"),
    ),
    0.25,
)
NUMBERS |= {"learning_rate_init": 2**-7, "expectile": 0.75, "eps_min": 0.125, "max_time": 512.0}


@pytest.mark.parametrize("kind", [Fraction, np.float32, np.float16, np.longdouble])
def test_numbers_of_other_types_give_the_same_fit(tiny, transport_class, samples, tmp_path, kind):
    def fit(convert):
        transport = tiny(activation=np.str_("softplus"))
        for name in transport.get_params():
            short = name.rpartition("__")[2]
            if short in NUMBERS:
                value = NUMBERS[short]
                transport.set_params(**{name: convert(value) if isinstance(value, float) else np.int8(value)})
        return transport.fit(*samples)

    one, other = fit(kind), fit(float)
    assert np.array_equal(one.transform(samples[0]), other.transform(samples[0]))
    assert all(a | {"seconds": 0} == b | {"seconds": 0} for a, b in zip(one.history_, other.history_, strict=True))
    one.save(tmp_path / "transport.safetensors")
    assert np.array_equal(load(tmp_path / "transport.safetensors").transform(samples[0]), other.transform(samples[0]))


def test_bad_parameter_leaves_fitted_estimator_unchanged(fitted, samples):
    X = samples[0]
    before = fitted.transform(X)
    fitted.set_params(max_iter=0)
    with assert_rejected(fitted, "max_iter"):
        fitted.fit(*samples)
    assert np.array_equal(fitted.transform(X), before)


def test_failing_callback_leaves_fitted_estimator_unchanged(fitted, samples):
    def fail(step, problem, record):
        raise RuntimeError("no")

    X = samples[0]
    before = fitted.transform(X)
    fitted.set_params(callbacks=[fail], **({"warm_start": True} if isinstance(fitted, StreamTransport) else {}))
    with pytest.raises(RuntimeError, match="no"):
        fitted.fit(X, X + 5)
    assert np.array_equal(fitted.transform(X), before)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"map_form": "gradient", "cost": lambda x, y: (x - y).abs().sum(-1)}, "map_form='gradient' needs a cost"),
        ({"map_form": "gradient", "noise_dim": 2}, "noise_dim must be 0"),
        ({"eps_min": 0.5, "eps_max": 0.1}, "eps_min and eps_max must"),
        ({"schedule": "vp", "eps_max": 1.5}, "eps_max must be below 1"),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else "",
)
def test_incompatible_parameters_are_rejected(tiny, transport_class, samples, options, message):
    skip_unless_takes(transport_class, options)
    estimator = tiny(**options)
    with assert_rejected(estimator, message):
        estimator.fit(*samples)


@pytest.mark.parametrize(
    ("name", "factory"),
    [
        ("map_form", lambda d: 3),
        ("map_form", lambda d: nn.Linear(d, d + 1)),
        ("map_form", lambda d: nn.Linear(d + 1, d)),
        ("potential_network", lambda d: None),
        ("potential_network", lambda d: nn.Linear(d, 2)),
        ("height_network", lambda d: nn.Linear(d + 1, 1)),
        ("height_network", lambda d: nn.Linear(d, 2)),
        ("height_network", lambda d: nn.Sequential(nn.BatchNorm1d(d), nn.Linear(d, 1))),
        ("cost", lambda x, y: x - y),
        ("cost", lambda x, y: np.sum((x - y) ** 2, 1)),
        ("cost", lambda x, y: (x - y).square().sum()),
        ("cost", lambda x, y: (x - y).square().sum(-1).long()),
        ("cost", lambda x, y: (x - y).square().sum(-1) * float("nan")),
        ("cost", lambda x, y: (x - y).square().sum(-1).sqrt()),  # infinite gradient at x = y
    ],
)
def test_invalid_custom_functions_are_rejected(tiny, transport_class, samples, name, factory):
    skip_unless_takes(transport_class, [name])
    estimator = tiny(**{name: factory})
    with assert_rejected(estimator, name):
        estimator.fit(*samples)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
@pytest.mark.parametrize("device", ["cuda", "cuda:0", torch.device("cuda"), torch.device("cuda:1")])
def test_unavailable_cuda_device_is_rejected(tiny, samples, device):
    estimator = tiny(device=device)
    with assert_rejected(estimator, "device", message="CUDA devices; pass device='cpu'"):
        estimator.fit(*samples)


@pytest.mark.parametrize("n_draws", NOT_POSITIVE_INTEGER)
def test_bad_numbers_of_draws_are_rejected(fitted, samples, n_draws):
    with assert_rejected(fitted, "n_draws", message="must be an integer of at least 1"):
        fitted.sample(samples[0], n_draws=n_draws)


@pytest.mark.parametrize("n_pairs", NOT_POSITIVE_INTEGER)
def test_bad_numbers_of_pairs_are_rejected(fitted, samples, n_pairs):
    with assert_rejected(fitted, "n_pairs", message="must be an integer of at least 1"):
        fitted.sample_pairs(samples[0], n_pairs)


@pytest.mark.parametrize("random_state", BAD_PARAMETERS["random_state"])
def test_bad_seeds_of_draws_are_rejected(fitted, samples, random_state):
    with assert_rejected(fitted, "random_state", message="must"):
        fitted.sample(samples[0], random_state=random_state)


@streams
@pytest.mark.parametrize("options", [{"hidden_layer_sizes": (5,)}, {"map_form": "network"}], ids=str)
def test_warm_start_requires_same_networks(tiny, transport_class, samples, options):
    if not takes(transport_class, options):
        pytest.skip("not a parameter of this estimator")
    estimator = tiny(warm_start=True).fit(*samples).set_params(**options)
    with assert_rejected(estimator, "warm_start", message="pass warm_start=False"):
        estimator.fit(*samples)


@streams
def test_warm_start_requires_same_directions(tiny, samples):
    X, Y = samples
    estimator = tiny(warm_start=True).fit(X * [1, 0], Y * [1, 0])
    with assert_rejected(estimator, "warm_start", message="pass warm_start=False"):
        estimator.fit(X, Y)


@streams
def test_warm_start_requires_same_columns(tiny, samples):
    estimator = tiny(warm_start=True).fit(*samples)
    with assert_rejected(estimator, "warm_start", message="pass warm_start=False"):
        estimator.fit(*(np.c_[rows, rows] for rows in samples))


@streams
def test_early_stopping_requires_rows_to_hold_out(tiny, samples):
    estimator = tiny(early_stopping=True)
    with assert_rejected(estimator, "validation_fraction", message="at least 2 distinct rows"):
        estimator.fit(samples[0][:1], samples[1])


# unusual but valid input


UNUSUAL = {
    "offset": (gaussian(N, D) + 1e8, gaussian(N, D, seed=1) + 1e8),
    "opposite offsets": (gaussian(N, D) + 1e8, gaussian(N, D, seed=1) - 1e8),
    "small": (1e-8 * gaussian(N, D), 1e-8 * gaussian(N, D, seed=1)),
    "large": (1e8 * gaussian(N, D), 1e8 * gaussian(N, D, seed=1)),
    "tiny": (1e-150 * gaussian(N, D), 1e-150 * gaussian(N, D, seed=1)),
    "huge": (1e150 * gaussian(N, D), 1e150 * gaussian(N, D, seed=1)),
    "uneven columns": (gaussian(N, D) * [1e-6, 1e6], gaussian(N, D, seed=1) * [1e-6, 1e6]),
    "constant columns": (gaussian(N, D) * [1, 0], gaussian(N, D, seed=1) * [0, 1] + 3),
    "equal rows": (np.full((5, 2), 7.0), np.full((6, 2), 9.0)),
    "equal source rows": (np.full((5, 2), 7.0), gaussian(N, D)),
    "equal target rows": (gaussian(N, D), np.full((5, 2), 7.0)),
    "duplicates": (np.repeat(gaussian(3, D), 9, axis=0), np.repeat(gaussian(2, D, seed=1), 9, axis=0)),
    "one row each": (gaussian(1, D), gaussian(1, D, seed=1)),
    "one source row": (gaussian(1, D), gaussian(N, D)),
    "one target row": (gaussian(N, D), gaussian(1, D, seed=1)),
    "one column": (gaussian(N, 1), gaussian(N, 1, seed=1)),
    "more columns than rows": (gaussian(5, 50), gaussian(5, 50, seed=1)),
    "integers": (np.arange(20).reshape(10, 2), np.arange(20, 40).reshape(10, 2)),
    "small integers": (np.arange(20, dtype=np.uint8).reshape(10, 2), np.arange(20, dtype=np.int8).reshape(10, 2)),
    "booleans": (gaussian(N, D) > 0, gaussian(N, D, seed=1) > 0),
    "half precision": (gaussian(N, D).astype(np.float16), gaussian(N, D, seed=1).astype(np.float16)),
    "single precision, offset": (
        gaussian(N, D).astype(np.float32) + 1000,
        gaussian(N, D, seed=1).astype(np.float32) + 1000,
    ),
    "an outlier": (np.r_[gaussian(N, D), [[1e6, 1e6]]], gaussian(N, D, seed=1)),
}
FORMS = [{}, {"map_form": "network"}, {"cost": Lp(1.5)}, {"output": "smooth"}]


@pytest.mark.filterwarnings(
    "ignore:The source has outliers",
    "ignore:The transport ignores columns that vary less than a hundredth",
    "ignore:There are too few rows",
    "ignore:Few source rows hold much of the mass",
)
@pytest.mark.parametrize("options", FORMS, ids=["default", "network", "Lp", "smooth"])
@pytest.mark.parametrize("case", UNUSUAL)
def test_unusual_rows_give_finite_images(tiny, transport_class, case, options):
    skip_unless_takes(transport_class, options)
    X, Y = UNUSUAL[case]
    estimator = tiny(**options).fit(X, Y)
    assert estimator.status_ not in (Status.DIVERGED, Status.FAILED)
    for images in (estimator.transform(X), estimator.sample(X, 2)[1]):
        assert images.shape == X.shape
        assert np.isfinite(images).all()
    assert np.isfinite(estimator.transport_cost_)
    assert np.isfinite(estimator.units_.scale)
    if hasattr(estimator, "inverse_transform"):
        assert np.isfinite(estimator.inverse_transform(Y)).all()


@pytest.mark.parametrize("case", ["offset", "opposite offsets", "small", "large", "tiny", "huge", "half precision"])
def test_units_do_not_change_the_map(tiny, transport_class, case):
    # shifted and scaled rows have shifted and scaled images; those of semi-dual transports have the target's mean
    X, Y = UNUSUAL[case]
    images = tiny().fit(X, Y).transform(X)
    plain = tiny().fit(gaussian(N, D), gaussian(N, D, seed=1)).transform(gaussian(N, D))
    scaled, expected = ((each - each.mean(0)) / each.std(0) for each in (images.astype(float), plain))
    # rounding may move rows at the boundary of a cell to the neighbouring cell
    assert np.isclose(scaled, expected, atol=0.02).all(axis=1).mean() > 0.8
    if issubclass(transport_class, StreamTransport):
        assert np.abs(images.mean(0) - Y.mean(0)).max() < 0.02 * Y.std()


@pytest.mark.parametrize("point", [-3.0, 1e8])
def test_images_approach_target_of_one_point(tiny, samples, point):
    X = samples[0]
    images = tiny(max_iter=200, learning_rate_init=0.01).fit(X, np.full((9, D), point)).transform(X)
    assert (np.abs(images - point).mean(0) < 0.4 * np.abs(X - X.mean(0)).mean(0)).all()


def test_single_row_can_be_mapped(fitted, samples):
    X = samples[0]
    np.testing.assert_allclose(fitted.transform(X[:1]), fitted.transform(X)[:1], rtol=1e-12)


@pytest.mark.parametrize("cls", [SNOTTransport, OTPTransport])
@pytest.mark.parametrize("max_iter", [1, 100])
def test_all_images_are_at_target_of_one_row(cls, max_iter):
    X = gaussian(3, 2) * [1, 5]
    transport = cls(max_iter=max_iter, random_state=0).fit(X, np.array([[1.0, 2.0]]))
    np.testing.assert_allclose(transport.transform(X), [[1, 2]] * 3, atol=2e-3)  # rounding of the centres
    assert transport.status_ is Status.MAX_ITER


def with_outliers(n=200, seed=0, at=(17, 40)):
    rows = gaussian(n, 2, seed)
    rows[list(at), 1] = 9999
    return rows


@pytest.mark.parametrize("side", ["source", "target"])
def test_outliers_are_listed_in_warning(tiny, side):
    X, Y = np.random.default_rng(1).normal(size=(2, 200, 2))
    samples = (with_outliers(), Y) if side == "source" else (X, with_outliers())
    with pytest.warns(UserWarning, match=rf"The {side} has outliers: rows 17, 40 "):
        tiny().fit(*samples)


@pytest.mark.parametrize("side", ["source", "target"])
@pytest.mark.parametrize(
    "cls", [*GAMES, pytest.param(W2GNTransport, marks=pytest.mark.slow)], ids=lambda cls: cls.__name__
)
def test_outlier_does_not_change_images_of_other_rows(cls, side):
    rng = np.random.default_rng(229)
    X, Y = rng.normal(size=(500, 2)), rng.normal(size=(500, 2)) + 3
    (X if side == "source" else Y)[17] = 9999
    others = np.arange(500) != 17
    with pytest.warns(UserWarning, match="has outliers"):
        transport = cls(max_iter=300, random_state=0).fit(X, Y)

    def distance(images):
        return np.median(np.linalg.norm(images[others] - X[others] - 3, axis=1))

    assert distance(transport.transform(X)) < 2 * distance(Y[ot.emd([], [], ot.dist(X, Y)).argmax(axis=1)])
    if side == "source":  # the outlier is clipped, and so are rows that are even farther away
        far = transport.transform([[9999.0, 9999.0], [1e6, 1e6]])
        np.testing.assert_allclose(far[0], far[1])
        assert np.abs(far[0]).max() < 100


def test_transport_with_clipped_outliers_is_restored_from_file(tmp_path):
    transport = make_tiny(SNOTTransport)
    with pytest.warns(UserWarning, match="has outliers"):
        transport.fit(with_outliers(), with_outliers(seed=1))
    transport.save(tmp_path / "transport.safetensors")
    loaded = load(tmp_path / "transport.safetensors")
    np.testing.assert_array_equal(loaded.transform(with_outliers()), transport.transform(with_outliers()))


def test_heavy_tails_give_finite_images(tiny):
    X, Y = np.random.default_rng(0).standard_cauchy(size=(2, 400, 3)) ** 3
    with warnings.catch_warnings(action="ignore"):
        assert np.isfinite(tiny().fit(X, Y).transform(X)).all()


def test_outliers_of_weight_zero_cause_no_warning(tiny):
    X, Y = with_outliers(), gaussian(200, 2, seed=1)
    with warnings.catch_warnings(action="error", category=UserWarning):
        warnings.filterwarnings("ignore", category=ConvergenceWarning)
        tiny().fit(X, Y, sample_weight=X[:, 1] < 100)
