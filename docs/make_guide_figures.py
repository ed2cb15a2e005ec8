"""Figures of the user guide, in docs/images/guide.

``python docs/make_guide_figures.py`` makes all of them in about three minutes of one core, ``python
docs/make_guide_figures.py costs data`` only those.
"""

import io
import re
import signal
import sys
import tempfile
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import sklearn
import torch
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from ot.gaussian import bures_wasserstein_mapping
from PIL import Image
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from neuralot import DomainAdapter, OTNetTransport, OTPTransport, SNOTTransport, TrajectoryTransport
from neuralot.costs import Lp
from neuralot.datasets import make_eight_gaussians, make_moons, make_one_to_many
from neuralot.exceptions import ScaleWarning, SpuriousSolutionWarning
from neuralot.plots import IMAGE, SOURCE, TARGET, plot_transport

FOLDER = Path(__file__).parent / "images" / "guide"
MAX_BYTES = 60_000
GREY, DARK = "#f0f0f0", "#555555"


def panels(n, width=8.0, height=2.8, **options):
    return plt.subplots(1, n, figsize=(width, height), layout="constrained", **options)


def legend_above(figure, axes, markerscale=2.5, keep_inner_labels=False):
    for each in [] if keep_inner_labels else figure.axes:
        each.label_outer()
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside upper center", ncols=len(labels), frameon=False, markerscale=markerscale
    )


def problem():
    """Two samples, and the map between them."""
    (X, Y), X_new = make_moons().sample(1500, random_state=0), make_moons().sample(500, random_state=1)[0]
    Y = 1.5 * Y + [6, 0]
    est = OTPTransport(random_state=0).fit(X, Y)
    figure, axes = plt.subplots(figsize=(8, 3.4), layout="constrained")
    plot_transport(X_new, est.transform(X_new), Y[:700], ax=axes)
    legend_above(figure, axes)


def choose():
    """Four questions that lead to an estimator."""
    axes = plt.subplots(figsize=(8, 3.9), layout="constrained")[1]
    axes.set(xlim=(0, 10), ylim=(0.1, 6.1))
    axes.axis("off")
    questions = [
        ("Is the source thin, or do you not know?\nMust the mass of a row split?", "OTPTransport"),
        ("Has the target separate parts?\nWill other targets follow?", "OTNetTransport"),
        ("Must the map be the gradient\nof a convex function?", "W2GNTransport"),
    ]

    def box(x, y, width, text, colour, **options):
        patch = FancyBboxPatch((x, y - 0.42), width, 0.84, boxstyle="round,pad=0.08", facecolor=colour, edgecolor=DARK)
        axes.add_patch(patch)
        axes.text(x + width / 2, y, text, ha="center", va="center", fontsize=10, **options)

    def arrow(start, end, text, x, y):
        axes.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=12, color=DARK, shrinkA=0))
        axes.text(x, y, text, color=DARK, fontsize=10, ha="center", va="center")

    for row, (question, answer) in enumerate(questions):
        y = 5.5 - 1.6 * row
        box(0.3, y, 4.9, question, GREY)
        box(7, y, 2.7, answer, SOURCE, color="white", weight="bold", family="monospace")
        arrow((5.32, y), (6.88, y), "yes", 6.05, y + 0.22)
        arrow((2.75, y - 0.52), (2.75, y - 1.08), "no", 3.05, y - 0.8)
    box(1.4, 0.7, 2.7, "SNOTTransport", SOURCE, color="white", weight="bold", family="monospace")
    text = "Labelled source, unlabelled target:\nDomainAdapter around any of them"
    axes.text(7.3, 0.7, text, ha="center", va="center", fontsize=10, color=DARK)


def map_or_plan():
    """Conditional means and draws of one fit, where mass splits."""
    pair = make_one_to_many()
    est = OTPTransport(random_state=0).fit(*pair.sample(4096, random_state=0))
    X, Y = pair.sample(600, random_state=1)
    figure, (left, right) = panels(2, height=3.6, sharex=True, sharey=True)
    plot_transport(X, est.transform(X), Y, ax=left)
    left.set_title("transform: the mean of the branches")
    plot_transport(X, est.sample(X, random_state=0)[0], Y, ax=right)
    right.set_title("sample: one draw for each row")
    legend_above(figure, right)


def trajectories():
    """Rows at five times, of which three have samples."""

    def rows(t, n, rng):
        x, y = rng.normal(size=(2, n))
        return np.stack([0.4 * x + 3 * min(t, 1) + 3 * max(t - 1, 0), 0.4 * y + 2 * np.sign(y) * max(t - 1, 0)], axis=1)

    rng = np.random.default_rng(0)
    samples = [rows(t, 1500, rng) for t in (0, 1, 2)]
    trajectory = TrajectoryTransport(OTNetTransport(max_iter=500, random_state=0)).fit(samples, time=[0, 1, 2])
    times = [0, 0.5, 1, 1.5, 2]
    figure, axes = plt.subplots(figsize=(8, 3.2), layout="constrained")
    for k, sample in enumerate(samples):
        axes.scatter(*sample[:500].T, s=14, color=TARGET, linewidths=0, label=None if k else "samples, days 0, 1 and 2")
    frames = trajectory.interpolate(rows(0, 300, rng), times)
    axes.plot(*frames[:, :40].transpose(2, 0, 1), color="black", linewidth=0.4, alpha=0.5)
    for k, frame in enumerate(frames):
        axes.scatter(
            *frame.T, s=4, color=IMAGE if k else SOURCE, linewidths=0, label=("new rows", "moved")[k] if k < 2 else None
        )
    legend_above(figure, axes)


def smoothing():
    """Smoothed sources and draws, for three shapes of the noise."""
    pair, turn = make_one_to_many(), np.array([[0.9, 0.436], [-0.436, 0.9]])
    X_fit, Y_fit = (rows @ turn for rows in pair.sample(4096, random_state=0))
    X, Y = (rows @ turn for rows in pair.sample(500, random_state=1))
    figure, axes = plt.subplots(2, 3, figsize=(8, 5.4), sharex=True, sharey=True, layout="constrained")
    for (top, bottom), shape in zip(axes.T, ("isotropic", "covariance", "thin"), strict=True):
        est = OTPTransport(noise_shape=shape, eps_min=0.1, random_state=0).fit(X_fit, Y_fit)
        units, generator = est.units_, torch.Generator().manual_seed(0)
        rows = torch.as_tensor((X - units.source_centre) / units.scale, dtype=torch.float)
        noisy = est.problem_.perturb(rows, generator, progress=1.0).numpy() * units.scale + units.source_centre
        top.scatter(*Y.T, s=14, color=TARGET, linewidths=0)
        top.scatter(*noisy.T, s=4, color=SOURCE, linewidths=0)
        top.set_title(f"noise_shape='{shape}'", fontsize=10)
        top.set_aspect("equal")
        plot_transport(X, est.sample(X, random_state=0)[0], Y, ax=bottom)
    axes[0, 0].set_ylabel("smoothed source")
    axes[1, 0].set_ylabel("draws")
    legend_above(figure, axes[1, 0])


def blobs(n, rng):
    return rng.normal(size=(n, 2)) * 0.5 + np.where(rng.random((n, 1)) < 0.5, -4.0, 4.0) * [1, 0] + [0, -5]


def unbalanced():
    """Balanced and unbalanced maps between clusters with other masses."""
    rng = np.random.default_rng(0)
    X, Y = (
        0.6 * rng.normal(size=(1000, 2)) + np.where(rng.random(1000)[:, None] < share, [-3, height], [3, height])
        for share, height in ((0.5, 0), (0.9, 3))
    )
    figure, axes = panels(2, height=4.2, sharex=True, sharey=True)
    for each, kind in zip(axes, (None, "kl"), strict=True):
        est = SNOTTransport(unbalanced=kind, max_iter=600, random_state=0).fit(X, Y)
        images, mass = est.transform(X), est.source_mass(X)
        plot_transport(X[:500], images[:500], Y[:500], ax=each)
        is_left = X[:, 0] < 0
        masses = f"masses {mass[is_left].mean():.2f} and {mass[~is_left].mean():.2f}"
        each.set_title("balanced" if kind is None else f"unbalanced='kl': {masses}")
    legend_above(figure, axes[0])


def otnet():
    """A target of two parts: SNOT's images between them, and OT-Net's."""
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(4000, 2)), blobs(1000, rng)
    net = OTNetTransport(random_state=0).fit(X, Y)
    images = {"SNOT": SNOTTransport(random_state=0).fit(X, Y).transform(X)}
    images["OT-Net, hard"] = net.transform(X)
    images["OT-Net, smooth"] = net.set_params(output="smooth").transform(X)
    figure, axes = panels(3, height=2.9, sharex=True, sharey=True)
    for each, (name, rows) in zip(axes, images.items(), strict=True):
        plot_transport(X[:600], rows[:600], Y, ax=each)
        between = np.mean(np.abs(rows[:, 0]) < 2)
        each.set_title(f"{name}: {between:.1%} between", fontsize=10)
    legend_above(figure, axes[0])


def weighted(x, y):
    return ((x - y).square() * torch.tensor([10.0, 1.0])).sum(-1)


def costs():
    """One pair and three costs."""
    pair = make_eight_gaussians()
    X_fit, Y_fit = pair.sample(2000, random_state=0)
    X, Y = pair.sample(500, random_state=1)
    figure, axes = panels(3, height=3.1, sharex=True, sharey=True)
    titles = ["'sqeuclidean'", "Lp(4)", "10 in the first column"]
    for each, cost, title in zip(axes, ["sqeuclidean", Lp(4), weighted], titles, strict=True):
        est = SNOTTransport(cost=cost, random_state=0).fit(X_fit, Y_fit)
        plot_transport(X[:80], est.transform(X[:80]), Y, ax=each)
        each.set_title(title, fontsize=10)
    legend_above(figure, axes[0])


def turning(dose):
    """Map from N(0, diag(1, 1/4)) to a Gaussian whose axes turn with the dose."""
    turn = np.array([[np.cos(dose), -np.sin(dose)], [np.sin(dose), np.cos(dose)]])
    covariance = turn @ np.diag([1, 0.1]) @ turn.T
    return bures_wasserstein_mapping(np.zeros(2), np.zeros(2), np.diag([1, 0.25]), covariance)[0]


def conditions():
    """A covariance that turns with the dose, also under a dose that the fit has not seen."""
    rng, doses = np.random.default_rng(0), np.repeat([0, 1 / 3, 2 / 3, 1], 500)
    x, z = rng.normal(size=(2, 2000, 2)) * [1, 0.5]
    y = np.stack([turning(np.pi / 2 * dose) @ row for dose, row in zip(doses, z, strict=True)])
    est = SNOTTransport(condition=2, random_state=0).fit(np.c_[x, doses], np.c_[y, doses])
    figure, axes = panels(3, height=2.9, sharex=True, sharey=True)
    new = rng.normal(size=(300, 2)) * [1, 0.5]
    for ax, dose, name in zip(axes, (0, 0.5, 1), ("dose 0", "dose 0.5, not seen", "dose 1"), strict=True):
        plot_transport(
            new, est.transform(np.c_[new, np.full(300, dose)])[:, :2], new @ turning(np.pi / 2 * dose), ax=ax
        )
        ax.set_title(name)
    legend_above(figure, axes[0])


def flats(n, seed):
    """Rents in euros, and rooms, which the squared distance does not see beside them."""
    rng = np.random.default_rng(seed)
    X = np.column_stack([rng.normal(3000, 800, n), rng.normal(2, 0.4, n)])
    Y = np.column_stack([rng.normal(3600, 900, n), np.where(rng.random(n) < 0.5, 1.0, 4.0) + 0.3 * rng.normal(size=n)])
    return X, Y


def data():
    """The same fit without and with a common scale of the columns."""
    X, Y = flats(2000, 0)
    with warnings.catch_warnings(action="ignore", category=ScaleWarning):
        plain = OTPTransport(random_state=0).fit(X, Y)
    with sklearn.config_context(enable_metadata_routing=True):
        steps = StandardScaler(), OTPTransport(random_state=0)
        pipe = make_pipeline(*steps, transform_input=["X_target"]).fit(X, X_target=Y)
    figure, axes = panels(2, height=3.3, sharex=True, sharey=True)
    for each, images, title in (
        (axes[0], plain.transform(X), "columns as they are"),
        (axes[1], pipe[0].inverse_transform(pipe.transform(X)), "after StandardScaler"),
    ):
        plot_transport(X[:600], images[:600], Y[:600], ax=each)
        each.set(title=title, xlabel="rent", aspect="auto")
    axes[0].set_ylabel("rooms")
    legend_above(figure, axes[0])


def domains(seed=0):
    """Two classes, measured with another gain and offset in the target."""
    rng = np.random.default_rng(seed)
    y, y_new = rng.integers(2, size=300), rng.integers(2, size=200)
    X = rng.normal(size=(300, 2)) + 4 * y[:, None]
    X_new = (rng.normal(size=(200, 2)) + 4 * y_new[:, None]) * [1, 2] + 5
    return X, y, X_new, y_new


def adaptation():
    """Decision boundaries on the target, without and with a transport."""
    X, y, X_new, y_new = domains()
    models = {
        "trained on the source": LogisticRegression().fit(X, y),
        "DomainAdapter": DomainAdapter(SNOTTransport(random_state=0), LogisticRegression()).fit(X, y, X_target=X_new),
    }
    figure, axes = panels(2, height=3.6, sharex=True, sharey=True)
    corners = np.vstack([X, X_new])
    spans = [np.linspace(low - 1, high + 1, 200) for low, high in zip(corners.min(0), corners.max(0), strict=True)]
    grid = np.stack(np.meshgrid(*spans), axis=-1)
    for each, (name, model) in zip(axes, models.items(), strict=True):
        for label, marker in enumerate("ov"):
            each.scatter(*X[y == label].T, s=9, color=SOURCE, marker=marker, linewidths=0, label=f"source, {label}")
            rows = X_new[y_new == label]
            each.scatter(*rows.T, s=12, color="#999999", marker=marker, linewidths=0, label=f"target, {label}")
        each.contour(*spans, model.predict(grid.reshape(-1, 2)).reshape(grid.shape[:2]), [0.5], colors=IMAGE)
        each.plot([], [], color=IMAGE, label="boundary")
        each.set_title(f"{name}: accuracy {model.score(X_new, y_new):.2f}", fontsize=10)
    legend_above(figure, axes[0])


def long_fits():
    """Discrepancy and dual gap along fits of three lengths."""
    X, Y = make_moons().sample(2000, random_state=0)
    figure, axes = panels(2, height=3.2)
    for n_steps, colour in ((150, IMAGE), (600, "#888888"), (2400, SOURCE)):
        est = OTPTransport(max_iter=n_steps, random_state=0).fit(X, Y)
        for each, name in zip(axes, ("discrepancy", "gap"), strict=True):
            steps, values = zip(*[(record["step"], record[name]) for record in est.history_], strict=True)
            each.plot(steps, values, ".-", color=colour, label=f"max_iter={n_steps}: {est.status_.name}")
            each.set(title=name, xlabel="step")
            each.set_xscale("log")
            each.spines[["top", "right"]].set_visible(False)
    axes[0].set_yscale("symlog", linthresh=1e-3)
    axes[1].set_ylim(bottom=0)
    legend_above(figure, axes[0], markerscale=1, keep_inner_labels=True)


def checkpoints():
    """A fit that was ended and continued, on a fit without an interruption."""
    X, Y = make_moons().sample(1000, random_state=0)

    def end(step, problem, record):
        if step >= 480:
            signal.raise_signal(signal.SIGTERM)
        return False

    with tempfile.TemporaryDirectory() as folder:
        options = {"max_iter": 1200, "random_state": 0}
        saved = options | {"checkpoint": f"{folder}/fit"}
        histories = [
            OTPTransport(**options).fit(X, Y).history_,
            OTPTransport(**saved, callbacks=[end]).fit(X, Y).history_,
            OTPTransport(**saved).fit(X, Y).history_,
        ]
    figure, axes = panels(1, height=2.6)
    styles = [("without an interruption", TARGET, 6), ("continued", IMAGE, 2), ("ended after 480 steps", SOURCE, 2)]
    for history, (label, colour, width) in zip([histories[0], histories[2], histories[1]], styles, strict=True):
        steps, values = zip(*((record["step"], record["discrepancy"]) for record in history), strict=True)
        axes.semilogy(steps, np.maximum(values, 1e-4), color=colour, linewidth=width, label=label)
    axes.set(xlabel="step", ylabel="discrepancy")
    legend_above(figure, axes)


def numbers_of(name):
    """Rows of the first table in a file of results."""
    text = (Path(__file__).parents[1] / "benchmarks" / "results" / name).read_text()
    lines = re.findall(r"^\| (.*) \|$", text.split("\n\n", 3)[2], re.MULTILINE)
    return [line.split(" | ") for line in lines[1:]]


def streams():
    """Memory of a fit to two streams of 100 million rows."""
    figure, axes = panels(1, height=2.6)
    for (name, *cells), colour in zip(numbers_of("streams.md"), (SOURCE, TARGET, IMAGE), strict=True):
        axes.plot(range(1, 11), [float(cell) for cell in cells[:10]], "o-", color=colour, label=name)
    axes.axhline(6104, color=DARK, linestyle="--", linewidth=1)
    axes.text(1, 5300, "one of the streams", color=DARK, va="top", fontsize=9)
    axes.set(xlabel="tenth", ylabel="memory in MiB", ylim=(0, 6700), xticks=range(1, 11))
    legend_above(figure, axes, markerscale=1)


def many_rows():
    """Processor time of matchings and of a map."""
    rows = [cells for cells in numbers_of("million.md") if len(cells) > 4]
    pairs = list(dict.fromkeys(cells[0] for cells in rows))
    figure, axes = panels(len(pairs), height=2.8, sharey=True)
    for each, pair in zip(axes, pairs, strict=True):
        marks = {"exact": (DARK, "s"), "exact, lazy": (TARGET, "s"), "bijection": (SOURCE, "o"), "SNOT": (IMAGE, "o")}
        for method, (colour, mark) in marks.items():
            found = [(int(n[2:]), seconds) for name, n, of, _, seconds, *_ in rows if (name, of) == (pair, method)]
            ended = [(n, float(cell.split()[0])) for n, cell in found if not cell.startswith("over")]
            over = [(n, float(cell.split()[1])) for n, cell in found if cell.startswith("over")]
            each.plot(*np.reshape(ended, (-1, 2)).T, f"{mark}-", color=colour, label=method)
            each.plot(*np.reshape(over, (-1, 2)).T, "^", color=colour)  # at least this long
        each.set(
            title=pair,
            yscale="log",
            xlabel="rows",
            xticks=(14, 17, 20),
            xticklabels=("$2^{14}$", "$2^{17}$", "$2^{20}$"),
        )
        each.title.set_fontsize(9)
    axes[0].set_ylabel("seconds of CPU")
    axes[0].margins(x=0.1)
    legend_above(figure, axes[0], markerscale=1)


def processes():
    """Time of a step in one process and in two."""
    figure, axes = panels(1, height=2.6)
    rows = numbers_of("distributed.md")
    for offset, column, colour, label in ((-0.2, 3, SOURCE, "one process"), (0.2, 4, IMAGE, "two processes")):
        values = [float(cells[column].split()[0]) for cells in rows]
        bars = axes.bar(np.arange(len(rows)) + offset, values, 0.38, color=colour, label=label)
        axes.bar_label(bars, fmt="{:.3g}", fontsize=9)
    names = [f"d = {d}, width {width}, {n} rows" for d, width, n, *_ in rows]
    axes.set(xticks=range(len(rows)), xticklabels=names, ylabel="ms per step", yscale="log")
    axes.margins(y=0.15)
    legend_above(figure, axes, markerscale=1)


def machines():
    """Errors after some seconds on one core and on a GPU, from a table of benchmarks/README.md."""
    text = (Path(__file__).parents[1] / "benchmarks" / "README.md").read_text()
    table = text.split("L2-UVP in %, seed 20")[1].split("Goals")[0]
    figure, axes = panels(3, height=2.8, sharey=True)
    for each, row in zip(axes, re.findall(r"^\| (\d+ \|.*)\|$", table, re.MULTILINE), strict=True):
        d, *gpu, core = [cell.strip() for cell in row.split("|")]
        found = [(s, float(cell.split()[0])) for s, cell in zip((5, 15, 60), gpu, strict=True) if cell]
        errors = [float(value) for value in core.split("/")]
        each.plot((5, 15, 60, 300), errors, "o-", color=SOURCE, label="one CPU core")
        each.plot(*zip(*found, strict=True), "s--", color=IMAGE, label="H100")
        each.set(xscale="log", yscale="log", title=f"d = {d}", xlabel="seconds of fit", xticks=(5, 15, 60, 300))
        each.set_xticklabels(["5", "15", "60", "300"])
        each.minorticks_off()
        each.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("L2-UVP, %")
    legend_above(figure, axes[0], markerscale=1)


def report():
    """The plot of a report."""
    pair = make_moons()
    est = OTPTransport(max_iter=600, random_state=0).fit(*pair.sample(2000, random_state=0))
    est.report(*pair.sample(1000, random_state=1)).plot()
    plt.gcf().set_size_inches(12, 4)


def files():
    """What a file holds, and what it does not."""
    axes = plt.subplots(figsize=(8, 2.3), layout="constrained")[1]
    axes.set(xlim=(0, 10), ylim=(0, 3))
    axes.axis("off")

    def box(x, y, width, height, text, colour, text_colour="black", **options):
        patch = FancyBboxPatch((x, y), width, height, boxstyle="round,pad=0.06", facecolor=colour, edgecolor=DARK)
        axes.add_patch(patch)
        axes.text(x + width / 2, y + height / 2, text, ha="center", va="center", color=text_colour, **options)

    code = {"family": "monospace", "fontsize": 10}
    box(0.2, 1.6, 1.9, 0.8, "est.save(path)", SOURCE, "white", **code)
    box(3.3, 0.3, 3.3, 2.4, "", GREY)
    axes.text(4.95, 2.35, "transport.safetensors", ha="center", va="center", **code)
    box(3.6, 1.3, 2.7, 0.65, "weights, units, target rows", "white", fontsize=10)
    box(3.6, 0.45, 2.7, 0.65, "parameters, history (JSON)", "white", fontsize=10)
    box(7.8, 1.6, 2, 0.8, "neuralot.load(path)", SOURCE, "white", family="monospace", fontsize=9)
    axes.text(8.8, 0.75, "your networks and cost:\npass them again", ha="center", va="center", fontsize=10, color=DARK)
    for start, end in (((2.2, 2.0), (3.2, 2.0)), ((6.7, 2.0), (7.7, 2.0)), ((8.8, 1.05), (8.8, 1.52))):
        axes.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=12, color=DARK, shrinkA=0))


FIGURES = (
    problem, choose, map_or_plan, trajectories, smoothing, otnet, unbalanced, costs, conditions, data, adaptation,
    long_fits, checkpoints,
    streams, many_rows, machines, processes, report, files
)  # fmt: skip


def save(name):
    """Save the current figure with few colours, which makes the file small."""
    buffer = io.BytesIO()
    plt.gcf().savefig(buffer, format="png", dpi=100)
    picture = Image.open(buffer).convert("RGB").quantize(64, dither=Image.Dither.NONE)
    picture.save(FOLDER / f"{name}.png", optimize=True)
    assert (FOLDER / f"{name}.png").stat().st_size <= MAX_BYTES, name
    plt.close("all")


if __name__ == "__main__":
    warnings.filterwarnings("ignore", category=ConvergenceWarning)
    warnings.filterwarnings("ignore", category=SpuriousSolutionWarning)
    FOLDER.mkdir(parents=True, exist_ok=True)
    for make in FIGURES:
        if not sys.argv[1:] or make.__name__ in sys.argv[1:]:
            make()
            save(make.__name__)
