"""Figures: what is drawn, colours, labels, and errors for bad input."""

import re
import subprocess
import sys
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from conftest import ROOT, make_tiny
from sklearn.cluster import KMeans
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from neuralot import DomainAdapter, OTNetTransport, OTPTransport, SNOTTransport, diagnose
from neuralot.drawing import POTENTIAL
from neuralot.plots import (
    IMAGE,
    SOURCE,
    TARGET,
    HistoryDisplay,
    ImagesDisplay,
    InterpolationDisplay,
    PotentialDisplay,
    ReportDisplay,
    TransportDisplay,
    plot_history,
    plot_images,
    plot_interpolation,
    plot_potential,
    plot_report,
    plot_transport,
)

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
@pytest.mark.parametrize("colour", [SOURCE, TARGET, IMAGE, POTENTIAL])
def test_colours_are_visible_on_light_and_dark_pages(colour, page):
    assert contrast(colour, page) >= 3


@pytest.mark.parametrize("vision", MACHADO)
@pytest.mark.parametrize(("one", "other"), [(SOURCE, TARGET), (SOURCE, IMAGE), (TARGET, IMAGE), (IMAGE, POTENTIAL)])
def test_colours_differ_for_all_kinds_of_vision(one, other, vision):
    assert np.linalg.norm(lab(one, vision) - lab(other, vision)) > 20  # just noticeable is 2.3


@pytest.mark.parametrize(
    ("logo", "pages"),
    [("logo", ["#ffffff"]), ("logo-dark", ["#14181e"]), ("favicon", ["#ffffff", "#14181e"])],
)
def test_logo_is_visible_on_its_pages(logo, pages):
    svg = (ROOT / "docs" / "_static" / f"{logo}.svg").read_text()
    assert ET.fromstring(svg).tag.endswith("svg")
    light, *dark = svg.split("prefers-color-scheme: dark")  # the favicon has colours for both
    for part, page in zip([light, *dark], pages, strict=True):
        colours = re.findall(r"#[0-9a-f]{6}", part)
        assert len(colours) >= 3
        assert all(contrast(colour, page) >= 3 for colour in colours)


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


# history

HISTORY = [
    {"step": 1, "discrepancy": 0.5, "gap": 2.0},
    {"step": 50, "discrepancy": 0.1, "gap": 1.0},
    {"step": 99, "discrepancy": -0.01, "gap": 0.5},
]


def test_history_draws_discrepancy_and_gap():
    display = plot_history(HISTORY)
    np.testing.assert_allclose(display.discrepancy_.get_xydata(), [(1, 0.5), (50, 0.1), (99, -0.01)])
    np.testing.assert_allclose(display.gap_.get_xydata(), [(1, 2.0), (50, 1.0), (99, 0.5)])
    assert display.discrepancy_.axes is display.ax_
    assert display.gap_.axes is display.gap_ax_ is not display.ax_
    assert display.gap_ax_.get_ylim()[0] == 0
    assert display.affine_ is None
    assert "energy distance" in display.ax_.get_ylabel()
    assert "gap" in display.gap_ax_.get_ylabel()
    assert display.discrepancy_.get_color() == IMAGE


def test_history_without_gap_has_one_axis():
    display = plot_history([{"step": 1, "discrepancy": 0.5}, {"step": 2, "discrepancy": 0.1}])
    assert display.gap_ is display.gap_ax_ is None
    assert len(display.figure_.axes) == 1


def test_history_shows_affine_map_that_was_kept():
    display = plot_history([*HISTORY[:2], HISTORY[2] | {"affine": 0.02}])
    np.testing.assert_allclose(display.affine_.get_xydata(), [(99, 0.02)])
    assert [text.get_text() for text in display.ax_.get_legend().get_texts()] == ["affine map"]


def test_history_of_estimator_is_its_records(transport):
    _, ax = plt.subplots()
    display = plot_history(transport, ax=ax)
    assert display.ax_ is ax
    expected = [(record["step"], record["discrepancy"]) for record in transport.history_]
    np.testing.assert_allclose(display.discrepancy_.get_xydata(), expected)
    same = HistoryDisplay.from_estimator(transport)
    np.testing.assert_allclose(same.discrepancy_.get_xydata(), expected)


@pytest.mark.parametrize("history", [[], [{"step": 1}], [3], [{"discrepancy": 1.0}]], ids=str)
def test_bad_history_raises_error(history):
    with pytest.raises(ValueError, match=r"transport_or_history .*; pass"):
        plot_history(history)
    with pytest.raises(ValueError, match=r"^history .*; pass"):
        HistoryDisplay(history)


def test_history_of_retargeted_transport_raises_error():
    net = make_tiny(OTNetTransport).fit(gaussian(60), gaussian(60, seed=1))
    retargeted = net.retarget(gaussian(60, seed=2))
    with pytest.raises(ValueError, match="estimator has no records"):
        HistoryDisplay.from_estimator(retargeted)


# report


def test_report_and_function_draw_the_same(transport):
    report = transport.report(gaussian(40, seed=2), gaussian(40, seed=3) + 3)
    display, axes = plot_report(report), report.plot()
    assert isinstance(display, ReportDisplay)
    assert len(display.axes_) == len(axes) == 3
    assert display.ax_ is display.axes_[0]
    for one, other in zip(display.figure_.axes, axes[0].figure.axes, strict=True):
        assert one.get_title() == other.get_title()
        assert one.get_xlabel() == other.get_xlabel()
        assert len(one.collections) == len(other.collections)
        for a, b in zip(one.collections, other.collections, strict=True):
            np.testing.assert_array_equal(a.get_offsets(), b.get_offsets())
            np.testing.assert_array_equal(a.get_facecolor(), b.get_facecolor())
        for a, b in zip(one.lines, other.lines, strict=True):
            np.testing.assert_array_equal(a.get_xydata(), b.get_xydata())


def test_report_has_the_colours_of_the_package():
    X, Y = gaussian(40), gaussian(40, seed=1)
    target, _, source, images = plot_report(diagnose(lambda rows: rows + 1, X, Y)).ax_.collections
    for artist, colour in ((source, SOURCE), (images, IMAGE), (target, TARGET)):
        np.testing.assert_allclose(artist.get_facecolor()[0, :3], to_rgb(colour))
    np.testing.assert_allclose(images.get_offsets(), source.get_offsets() + 1)


def test_report_is_drawn_on_given_axes(transport):
    X, Y = gaussian(40, seed=2), gaussian(40, seed=3) + 3
    figure, axes = plt.subplots(1, 3)
    display = ReportDisplay.from_estimator(transport, X, Y, ax=axes)
    assert display.figure_ is figure
    assert list(display.axes_) == list(axes)
    with pytest.raises(ValueError, match=r"ax must contain 3 axes, got 2; pass plt.subplots\(1, 3\)"):
        display.plot(axes[:2])


def test_report_of_one_feature_is_drawn():
    transport = make_tiny(SNOTTransport).fit(gaussian(60, 1), gaussian(60, 1, 1))
    display = ReportDisplay.from_estimator(transport, gaussian(40, 1, 2), gaussian(40, 1, 3))
    assert len(display.axes_) == 3
    assert display.axes_[1].get_ylabel() == "potential"


@pytest.mark.parametrize("report", [None, "OPTIMAL", {}], ids=str)
def test_bad_report_raises_error(report):
    with pytest.raises(TypeError, match=r"a TransportReport or ConditionalReport, got .*; pass transport.report"):
        plot_report(report)


# potential


class Quadratic:
    """Transport with the potential V(y) = a y + |y|^2."""

    def __init__(self, a):
        self.a = np.array(a)
        self.is_fitted_ = True

    def fit(self):
        return self

    def __sklearn_tags__(self):
        return SNOTTransport().__sklearn_tags__()

    def potential(self, y):
        return y @ self.a + (y**2).sum(axis=1)


def test_potential_is_evaluated_on_the_plane():
    Y = gaussian(50)
    display = plot_potential(Quadratic([3.0, -1.0]), Y)
    first, second, values = (getattr(display.landscape, name) for name in ("first", "second", "values"))
    np.testing.assert_allclose(values[7, 40], 3 * first[40] - second[7] + first[40] ** 2 + second[7] ** 2)
    assert first[0] < Y[:, 0].min() < Y[:, 0].max() < first[-1]
    np.testing.assert_allclose(display.ax_.collections[0].get_offsets(), Y)
    assert display.ax_.get_xlabel() == ""
    assert len(display.figure_.axes) == 2  # with the colours' values


def test_potential_of_many_features_is_that_on_the_plane_of_components():
    Y = gaussian(60, 4) @ np.diag([9, 1, 4, 1]) + 5
    display = plot_potential(Quadratic([0.0] * 4), Y)
    plane, mean = display.plane, Y.mean(axis=0)
    place = (
        mean
        + display.landscape.first[3] * plane.directions[:, 0]
        + display.landscape.second[8] * plane.directions[:, 1]
    )
    np.testing.assert_allclose(display.landscape.values[8, 3], place @ place)
    assert display.ax_.get_ylabel() == "second principal component"


def test_potential_of_one_feature_is_a_curve():
    X, Y = gaussian(50, 1), gaussian(40, 1, 1)
    display = PotentialDisplay.from_estimator(Quadratic([2.0]), X, Y)
    y, values = display.potential_.get_data()
    np.testing.assert_allclose(values, 2 * y + y**2)
    target, source = display.ax_.collections
    np.testing.assert_allclose(source.get_offsets()[:, :1], X)
    np.testing.assert_allclose(target.get_offsets()[:, :1], Y)
    assert target.get_offsets()[0, 1] < values.min()


def test_potential_of_estimator_is_drawn(transport):
    X, Y = gaussian(40), gaussian(50, seed=1) + 3
    display = plot_potential(transport, Y, X=X)
    grid = np.array([[display.landscape.first[5], display.landscape.second[20]]])
    np.testing.assert_allclose(display.landscape.values[20, 5], transport.potential(grid)[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(display.ax_.collections[1].get_offsets(), X)


BAD_POTENTIALS = {
    "target not finite": (np.full((5, 2), np.nan), None, "X_target must be finite"),
    "target of another width": (np.ones((5, 3)), None, "X_target has 3 features"),
    "source of another width": (np.ones((5, 2)), np.ones((5, 3)), "X must have as many columns as X_target"),
    "source not finite": (np.ones((5, 2)), np.full((5, 2), np.inf), "X must be finite"),
}


@pytest.mark.parametrize(("target", "source", "says"), BAD_POTENTIALS.values(), ids=BAD_POTENTIALS)
def test_potential_of_bad_rows_raises_error(transport, target, source, says):
    with pytest.raises(ValueError, match=says):
        plot_potential(transport, target, X=source)


# interpolation


def test_interpolation_moves_rows_to_images():
    X, Y = gaussian(30), gaussian(30, seed=1) + 5
    display = plot_interpolation(X, Y, Y, n_frames=5)
    np.testing.assert_allclose(display.moving_.get_offsets(), (X + Y) / 2)  # the still
    frames = list(display.animation_.new_frame_seq())
    np.testing.assert_allclose(frames, [0, 0.25, 0.5, 0.75, 1])
    for t in frames:
        display.set_time(t)
        np.testing.assert_allclose(display.moving_.get_offsets(), (1 - t) * X + t * Y)
        np.testing.assert_allclose(np.array(display.segments_.get_segments())[:, 1], (1 - t) * X + t * Y)
        assert display.text_.get_text() == f"t = {t:.2f}"
    np.testing.assert_allclose(display.source_.get_offsets(), X)
    np.testing.assert_allclose(display.moving_.get_facecolor()[0, :3], to_rgb(IMAGE))


def test_limits_of_interpolation_contain_all_frames():
    X = gaussian(30)
    display = plot_interpolation(X, X + 100)
    low, high = display.ax_.get_xlim()
    assert low < X[:, 0].min()
    assert high > X[:, 0].max() + 100


def test_still_of_interpolation_is_kept_when_saved(tmp_path):
    X = gaussian(30)
    display = plot_interpolation(X, X + 1, n_frames=4)
    display.figure_.savefig(tmp_path / "still.png")
    np.testing.assert_allclose(display.moving_.get_offsets(), X + 0.5)


def test_interpolation_is_saved_as_gif(tmp_path):
    image = pytest.importorskip("PIL.Image")
    X = gaussian(30)
    display = plot_interpolation(X, X + 1, n_frames=4)
    assert display.save(str(tmp_path / "a.gif"), fps=10, dpi=30) == tmp_path / "a.gif"
    with image.open(tmp_path / "a.gif") as gif:
        assert gif.n_frames == 4
        assert gif.info["duration"] == 100
    np.testing.assert_allclose(display.moving_.get_offsets(), X + 0.5)  # the still again


def test_interpolation_from_estimator_and_on_axes(transport):
    X, (_, (ax, _)) = gaussian(30, seed=2), plt.subplots(1, 2)
    display = InterpolationDisplay.from_estimator(transport, X, n_frames=2, random_state=3, ax=ax)
    display.set_time(1.0)
    np.testing.assert_allclose(display.moving_.get_offsets(), transport.sample(X, random_state=3)[0])
    assert display.ax_ is ax
    assert ax.get_legend() is None
    assert display.target_ is None


def test_animation_that_is_not_used_gives_no_warning():
    code = """
import gc, matplotlib
matplotlib.use("Agg")
import matplotlib.pyplot as plt, numpy as np
from neuralot.plots import plot_interpolation
plot_interpolation(np.ones((3, 2)), np.zeros((3, 2)))
plt.close("all"); gc.collect()
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert not done.stderr


@pytest.mark.parametrize("n_frames", [0, -3, 2.5, "ten"])
def test_bad_number_of_frames_raises_error(n_frames):
    with pytest.raises(ValueError, match="n_frames must be an integer of at least 1"):
        plot_interpolation(X2, X2, n_frames=n_frames)


@pytest.mark.parametrize(("rows", "says"), BAD_ROWS.values(), ids=BAD_ROWS)
def test_interpolation_of_bad_rows_raises_error(rows, says):
    with pytest.raises(ValueError, match=says):
        plot_interpolation(*rows)


def test_bad_time_suffix_and_speed_raise_errors(tmp_path):
    display = plot_interpolation(X2, X2 + 1)
    for t in (-0.1, 1.1, np.nan):
        with pytest.raises(ValueError, match="t must be a number"):
            display.set_time(t)
    with pytest.raises(ValueError, match=r"path must end in .gif, got 'a.mp4'; for other formats"):
        display.save("a.mp4")
    with pytest.raises(ValueError, match="fps must be an integer of at least 1"):
        display.save(tmp_path / "a.gif", fps=0)


# images


def test_images_are_drawn_in_a_grid():
    rows = np.random.default_rng(0).uniform(size=(5, 12))
    display = plot_images(rows, (1, 3, 4), n_columns=2)
    grid = display.image_.get_array()  # one pixel between images
    assert grid.shape == (3 * 4 - 1, 2 * 5 - 1, 4)
    np.testing.assert_allclose(grid[4:7, 5:9, 0], rows[3].reshape(3, 4))
    np.testing.assert_allclose(grid[4:7, 5:9, 2], rows[3].reshape(3, 4))
    np.testing.assert_allclose(grid[8:11, 5:9], 0)  # transparent: there is no sixth image
    assert (grid[8:11, :4, 3] == 1).all()
    assert display.n_lines == 3


@pytest.mark.parametrize("channels", [3, 4])
def test_colours_are_channels_first(channels):
    rows = np.random.default_rng(0).uniform(size=(1, channels * 6))
    grid = plot_images(rows, (channels, 2, 3)).image_.get_array()
    for channel in range(channels):
        np.testing.assert_allclose(grid[..., channel], rows.reshape(channels, 2, 3)[channel])
    if channels == 3:
        assert (grid[..., 3] == 1).all()


def test_values_are_scaled_and_clipped():
    bytes_ = np.array([[0, 51, 255, 102]], dtype=np.uint8)
    np.testing.assert_allclose(plot_images(bytes_, (1, 2, 2)).image_.get_array()[..., 0], [[0, 0.2], [1, 0.4]])
    near = [[-0.2, 0.5, 1.3, 1.0]]
    np.testing.assert_allclose(plot_images(near, (1, 2, 2)).image_.get_array()[..., 0], [[0, 0.5], [1, 1]])
    other = [[-1.0, 0.0, 1.0, 3.0]]
    display = plot_images(other, (1, 2, 2), value_range=(-1, 1))
    np.testing.assert_allclose(display.image_.get_array()[..., 0], [[0, 0.5], [1, 1]])


def test_titles_stand_above_their_images():
    display = plot_images(np.zeros((3, 48)), (3, 4, 4), n_columns=2, titles=["a", "b", "c"])
    assert [text.get_text() for text in display.titles_] == ["a", "b", "c"]
    (ax, ay), (bx, by), (cx, cy) = (text.get_position() for text in display.titles_)
    assert ay == by < cy
    assert ax == cx < bx
    alpha = display.image_.get_array()[..., 3]
    assert alpha[int(cy) + 1, int(cx)] == 1  # the image begins below its title
    assert alpha[int(cy), int(cx)] == 0


def test_images_from_estimator_are_source_draws_and_target():
    X = np.random.default_rng(0).uniform(size=(60, 4))
    transport = make_tiny(SNOTTransport).fit(X, 1 - X)
    display = ImagesDisplay.from_estimator(transport, X, 1 - X, image_shape=(1, 2, 2), n_columns=3, n_draws=2)
    assert [text.get_text() for text in display.line_titles_] == ["source", "image", "image", "target"]
    pixels = display.pixels[..., 0].reshape(4, 3, 4)  # by line
    np.testing.assert_allclose(pixels[0], X[:3])
    np.testing.assert_allclose(pixels[1], np.clip(transport.transform(X[:3]), 0, 1), atol=1e-6)
    np.testing.assert_allclose(pixels[1], pixels[2])  # a deterministic map
    np.testing.assert_allclose(pixels[3], 1 - X[:3])
    assert display.titles_ == []


IMAGES = np.zeros((4, 12))
BAD_IMAGES = {
    "length": ((IMAGES, (1, 3, 5)), {}, r"image_shape=\(1, 3, 5\) needs rows with 15 values, but rows has shape"),
    "channels": ((IMAGES, (2, 3, 2)), {}, r"image_shape must be \(channels, height, width\) with 1, 3 or 4 channels"),
    "two sizes": ((IMAGES, (3, 4)), {}, "image_shape must be"),
    "a number": ((IMAGES, 12), {}, "image_shape must be"),
    "fractions": ((IMAGES, (3, 2.0, 2)), {}, "image_shape must be"),
    "not finite": ((IMAGES + np.nan, (3, 2, 2)), {}, "rows must be finite"),
    "images not flat": ((np.zeros((4, 3, 2, 2)), (3, 2, 2)), {}, "rows must be a non-empty sample of shape"),
    "values": ((IMAGES + 16, (3, 2, 2)), {}, r"rows must have values between 0 and 1, got .*; pass value_range"),
    "range": ((IMAGES, (3, 2, 2)), {"value_range": (1, 0)}, "value_range must be"),
    "columns": ((IMAGES, (3, 2, 2)), {"n_columns": 0}, "n_columns must be an integer of at least 1"),
    "titles": ((IMAGES, (3, 2, 2)), {"titles": ["a"]}, "titles must be a list with one title per image, 4, got 1"),
    "title": ((IMAGES, (3, 2, 2)), {"titles": "abcd"}, "titles must be a list .* got the string"),
}


@pytest.mark.parametrize(("arguments", "options", "says"), BAD_IMAGES.values(), ids=BAD_IMAGES)
def test_bad_images_raise_error(arguments, options, says):
    with pytest.raises(ValueError, match=says):
        plot_images(*arguments, **options)


def test_bad_line_titles_and_draws_raise_errors(transport):
    with pytest.raises(ValueError, match="line_titles must be a list with one title per line, 1, got 2"):
        ImagesDisplay(IMAGES, (3, 2, 2), line_titles=["a", "b"])
    with pytest.raises(ValueError, match="n_draws must be an integer of at least 1"):
        ImagesDisplay.from_estimator(transport, X2, image_shape=(1, 1, 2), n_draws=0)
    with pytest.raises(ValueError, match=r"needs rows with 3 values, but X has shape \(5, 2\)"):
        ImagesDisplay.from_estimator(transport, X2, image_shape=(1, 1, 3))


# estimators

FROM_ESTIMATOR = {
    TransportDisplay: {},
    HistoryDisplay: {},
    ReportDisplay: {},
    PotentialDisplay: {},
    InterpolationDisplay: {},
    ImagesDisplay: {"image_shape": (1, 1, 2)},
}
each_display = pytest.mark.parametrize(("display", "options"), FROM_ESTIMATOR.items(), ids=lambda d: str(d))


@each_display
def test_unfitted_estimator_raises_error(display, options):
    with pytest.raises(NotFittedError, match=r"estimator must be a fitted transport.*not fitted, call fit first"):
        display.from_estimator(SNOTTransport(), X2, X2, **options)


@each_display
@pytest.mark.parametrize(
    "estimator", [SNOTTransport, None, "SNOT", lambda rows: rows], ids=["class", "None", "text", "function"]
)
def test_what_is_no_estimator_raises_error(display, options, estimator):
    with pytest.raises(TypeError, match="estimator must be a fitted transport, such as OTPTransport"):
        display.from_estimator(estimator, X2, X2, **options)


@pytest.mark.parametrize("display", [HistoryDisplay, ReportDisplay, PotentialDisplay])
def test_estimator_without_potential_history_or_report_raises_error(display):
    estimator = KMeans(2, n_init=1, random_state=0).fit(gaussian(10))
    with pytest.raises(TypeError, match=r"this KMeans has no (history_|report|potential)"):
        display.from_estimator(estimator, X2, X2)


@pytest.mark.parametrize("display", [TransportDisplay, InterpolationDisplay])
def test_estimator_without_transform_raises_error(display):
    estimator = LogisticRegression().fit([[0.0], [1.0]], [0, 1])
    with pytest.raises(TypeError, match="this LogisticRegression has no transform"):
        display.from_estimator(estimator, [[0.0]])


@pytest.mark.parametrize("display", [ReportDisplay, PotentialDisplay])
def test_missing_target_raises_error(display, transport):
    with pytest.raises(ValueError, match="X_target is missing: pass target rows"):
        display.from_estimator(transport, X2)


def test_pipelines_and_adapters_are_drawn():
    X, Y = gaussian(60), gaussian(60, seed=1) + 3
    adapter = DomainAdapter(make_tiny(SNOTTransport), LogisticRegression()).fit(X, X[:, 0] > 0, X_target=Y)
    display = TransportDisplay.from_estimator(adapter, X, Y)
    np.testing.assert_allclose(display.images_.get_offsets(), adapter.transport_.transform(X), rtol=1e-5)
    scaler = make_pipeline(StandardScaler()).fit(X)  # has transform, and no sample
    np.testing.assert_allclose(TransportDisplay.from_estimator(scaler, X).images_.get_offsets(), scaler.transform(X))
    with pytest.raises(ValueError, match="n_draws must be 1 for Pipeline, which has no sample"):
        ImagesDisplay.from_estimator(scaler, X2, image_shape=(1, 1, 2), n_draws=2)


def test_bad_axes_raise_error(transport):
    for ax in (plt.subplots(1, 2)[1], "ax", plt.figure()):
        for plot in (
            lambda ax: plot_transport(X2, X2, ax=ax),
            lambda ax: plot_history(HISTORY, ax=ax),
            lambda ax: plot_potential(transport, X2, ax=ax),
            lambda ax: plot_interpolation(X2, X2, ax=ax),
            lambda ax: plot_images(IMAGES, (3, 2, 2), ax=ax),
        ):
            with pytest.raises(TypeError, match=r"ax must be matplotlib Axes, got a .*; pass plt.subplots\(\)\[1\]"):
                plot(ax)


def test_small_figures_are_drawn():
    assert len(plot_transport(X2[:1], X2[:1], n_segments=0).segments_.get_segments()) == 0
    one = np.ones((1, 4))  # a single row has no second component
    np.testing.assert_allclose(plot_transport(one, 2 * one).source_.get_offsets()[0, 1], 0, atol=1e-12)
    constant = np.ones((5, 2))
    assert np.isfinite(plot_potential(Quadratic([1.0, 1.0]), constant).landscape.values).all()


def test_interpolation_in_subfigure_is_saved(tmp_path):
    ax = plt.figure().subfigures(1, 2)[0].subplots()
    assert plot_interpolation(X2, X2 + 1, n_frames=2, ax=ax).save(tmp_path / "a.gif", dpi=20).exists()


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
    plot_history(HISTORY)
    plot_images(IMAGES, (3, 2, 2), titles=list("abcd"))
    plot_interpolation(X2, X2 + 1, n_frames=2).set_time(1)
    assert dict(plt.rcParams) == before
