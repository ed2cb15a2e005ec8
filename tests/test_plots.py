"""Figures: what is drawn, colours, labels, and errors for bad input."""

import subprocess
import sys

import numpy as np
import pytest
from conftest import make_tiny

from neuralot import OTPTransport
from neuralot.plots import IMAGE, SOURCE, TARGET, TransportDisplay, plot_transport

plt = pytest.importorskip("matplotlib.pyplot")
plt.switch_backend("Agg")
from matplotlib.colors import to_rgb  # noqa: E402


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def gaussian(n, d=2, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d))


@pytest.fixture(scope="module")
def transport():
    return make_tiny(OTPTransport).fit(gaussian(60), gaussian(60, seed=1) + 3)


# colours

MACHADO = {  # Machado, Oliveira and Fernandes (2009), severity 1, on linear RGB
    "normal": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def linear(colour):
    rgb = np.array(to_rgb(colour))
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def contrast(one, other):
    """Contrast ratio of two colours, as WCAG defines it."""
    dark, light = sorted(TO_XYZ[1] @ linear(colour) + 0.05 for colour in (one, other))
    return light / dark


def lab(colour, vision):
    X, Y, Z = np.cbrt(TO_XYZ @ np.clip(MACHADO[vision] @ linear(colour), 1e-6, 1) / TO_XYZ.sum(axis=1))
    return np.array([116 * Y - 16, 500 * (X - Y), 200 * (Y - Z)])


@pytest.mark.parametrize("page", ["#ffffff", "#14181e"])  # the second is the dark page of the documentation
@pytest.mark.parametrize("colour", [SOURCE, TARGET, IMAGE])
def test_colours_are_visible_on_light_and_dark_pages(colour, page):
    assert contrast(colour, page) >= 3


@pytest.mark.parametrize("vision", MACHADO)
@pytest.mark.parametrize(("one", "other"), [(SOURCE, TARGET), (SOURCE, IMAGE), (TARGET, IMAGE)])
def test_colours_differ_for_all_kinds_of_vision(one, other, vision):
    assert np.linalg.norm(lab(one, vision) - lab(other, vision)) > 20  # just noticeable is 2.3


# transport


def test_transport_draws_rows_images_and_segments():
    X, Y = gaussian(30), gaussian(20, seed=1)
    display = plot_transport(X, X + 1, Y, n_segments=10)
    np.testing.assert_allclose(display.source_.get_offsets(), X)
    np.testing.assert_allclose(display.images_.get_offsets(), X + 1)
    np.testing.assert_allclose(display.target_.get_offsets(), Y)
    segments = np.array(display.segments_.get_segments())  # (10, 2, 2)
    assert len(segments) == 10
    np.testing.assert_allclose(segments[:, 1], segments[:, 0] + 1)
    assert {tuple(row) for row in segments[:, 0]} <= {tuple(row) for row in X}
    for artist, colour in ((display.source_, SOURCE), (display.images_, IMAGE), (display.target_, TARGET)):
        np.testing.assert_allclose(artist.get_facecolor()[0, :3], to_rgb(colour))
    assert display.ax_.figure is display.figure_
    assert {text.get_text() for text in display.ax_.get_legend().get_texts()} == {"source", "image", "target"}
    assert display.ax_.get_aspect() == 1


def test_transport_draws_on_given_axes_without_legend():
    figure, (ax, other) = plt.subplots(1, 2)
    X = gaussian(30)
    display = plot_transport(X, X + 1, ax=ax)
    assert display.ax_ is ax
    assert display.figure_ is figure
    assert display.target_ is None
    assert ax.get_legend() is None
    assert not other.collections
    assert len(ax.get_legend_handles_labels()[1]) == 2  # for a legend of the caller


def test_transport_projects_onto_principal_components():
    X, Y = gaussian(50, 5), gaussian(40, 5, 1) @ np.diag([1, 5, 1, 1, 9])
    display = plot_transport(X, X, Y)
    both = np.concatenate([display.source_.get_offsets(), display.target_.get_offsets()])
    variances = np.linalg.eigvalsh(np.cov(np.concatenate([X, Y]).T))[::-1]
    np.testing.assert_allclose(np.cov(both.T), np.diag(variances[:2]), atol=1e-10)
    assert display.ax_.get_xlabel() == "first principal component"
    assert display.ax_.get_ylabel() == "second principal component"


def test_transport_draws_rows_with_one_feature_on_two_lines():
    X = gaussian(20, 1)
    display = plot_transport(X, X + 2, X + 3)
    np.testing.assert_allclose(display.source_.get_offsets(), np.hstack([X, np.zeros_like(X)]))
    np.testing.assert_allclose(display.images_.get_offsets(), np.hstack([X + 2, np.ones_like(X)]))
    assert [label.get_text() for label in display.ax_.get_yticklabels()] == ["source", "image"]


def test_labels_are_names_of_columns():
    pandas = pytest.importorskip("pandas")
    X = pandas.DataFrame(gaussian(20), columns=["age", "income"])
    display = plot_transport(X, X + 1)
    assert (display.ax_.get_xlabel(), display.ax_.get_ylabel()) == ("age", "income")


def test_display_from_estimator_draws_from_plan(transport):
    X, Y = gaussian(30, seed=2), gaussian(30, seed=3) + 3
    display = TransportDisplay.from_estimator(transport, X, Y, random_state=4, n_segments=7)
    np.testing.assert_allclose(display.images_.get_offsets(), transport.sample(X, random_state=4)[0])
    np.testing.assert_allclose(display.target_.get_offsets(), Y)
    assert len(display.segments_.get_segments()) == 7


X2 = np.ones((5, 2))
BAD_ROWS = {
    "one-dimensional": ((np.ones(5), np.ones(5)), "X must be a non-empty sample"),
    "empty": ((np.ones((0, 2)), X2), "X must be a non-empty sample"),
    "not finite": ((X2 * np.nan, X2), "X must be finite"),
    "strings": (([["a", "b"]], X2), "X must be an array of real numbers"),
    "fewer images": ((X2, X2[:4]), "images must have one row per row of X, 5, got 4; pass transport.transform"),
    "wide images": ((X2, np.ones((5, 3))), "images must have as many columns as X, 2"),
    "all draws": ((X2, X2[None]), r"images must have shape \(n, d\), got .*; pass one draw"),
    "infinite images": ((X2, X2 * np.inf), "images must be finite"),
    "wide target": ((X2, X2, np.ones((4, 3))), "target must have as many columns as X"),
    "target not finite": ((X2, X2, X2 * np.inf), "target must be finite"),
}


@pytest.mark.parametrize(("rows", "says"), BAD_ROWS.values(), ids=BAD_ROWS)
def test_bad_rows_raise_error_with_name(rows, says):
    with pytest.raises(ValueError, match=says):
        plot_transport(*rows)


@pytest.mark.parametrize("n_segments", [-1, 2.5, None, True])
def test_bad_number_of_segments_raises_error(n_segments):
    with pytest.raises(ValueError, match="n_segments must be an integer of at least 0"):
        plot_transport(X2, X2, n_segments=n_segments)


# the module


def test_import_does_not_load_matplotlib_and_error_says_how_to_install():
    code = """
import sys
sys.modules["matplotlib"] = None
import numpy as np
from neuralot.plots import plot_transport
try:
    plot_transport(np.ones((2, 2)), np.ones((2, 2)))
except ImportError as error:
    assert "pip install matplotlib" in str(error)
else:
    raise AssertionError
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_figures_leave_settings_of_matplotlib_unchanged():
    before = dict(plt.rcParams)
    plot_transport(X2, X2, X2)
    assert dict(plt.rcParams) == before
