"""Draw benchmarks/results/tabular.png from the tables of benchmarks/tabular.md.

python benchmarks/tabular_figure.py
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from neuralot.plots import IMAGE, SOURCE

FOLDER = Path(__file__).parent
OWN = ("SNOT", "OTP", "OT-Net", "W2GN")
TRANSPORTS = (*OWN, "LightSB", "flow matching", "POT EMD", "POT kernel map", "affine", "none")


def excesses(page: Path) -> dict[str, dict[str, np.ndarray]]:
    """Median, lowest and highest W2 excess in percent, by task and transport."""
    found: dict[str, dict[str, np.ndarray]] = {}
    names: list[str] = []
    for line in page.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if "W2 excess %" in cells:
            names = cells
        elif not line.startswith("|"):
            names = []
        elif names and not line.startswith("|--"):
            entry = dict(zip(names, cells, strict=True))
            numbers = entry["W2 excess %"].replace("(", " ").replace("..", " ").replace(")", " ").split()
            if numbers and entry["transport"] in TRANSPORTS:
                found.setdefault(entry[names[0]], {})[entry["transport"]] = np.resize(np.array(numbers, float), 3)
    return found


def draw(found: dict[str, dict[str, np.ndarray]], path: Path) -> None:
    """Save one panel per task: the excess of each transport, with the range over the seeds."""
    n_columns = 3
    n_rows = -(-len(found) // n_columns)
    fig, axes = plt.subplots(
        n_rows, n_columns, figsize=(9, 2.3 * n_rows), sharey=True, layout="constrained", squeeze=False
    )
    for ax in axes.flat[len(found) :]:
        ax.set_visible(False)
    for ax, (task, values) in zip(axes.flat, found.items(), strict=False):
        for y, name in enumerate(TRANSPORTS):
            if name in values:
                median, low, high = values[name]
                colour = IMAGE if name in OWN else SOURCE
                ax.plot([low, high], [y, y], color=colour, linewidth=1.5)
                ax.plot(median, y, "o" if name in OWN else "s", color=colour, markersize=5)
        ax.set_xscale("symlog", linthresh=1)
        ax.axvline(0, color="0.8", linewidth=0.8, zorder=0)
        ax.set_title(task, fontsize=9)
        ax.tick_params(labelsize=8)
    axes[0, 0].set_yticks(range(len(TRANSPORTS)), TRANSPORTS)
    axes[0, 0].invert_yaxis()
    fig.supxlabel("W2 excess, % of the target's variance (linear below 1)", fontsize=9)
    fig.savefig(path, dpi=80)
    plt.close(fig)


if __name__ == "__main__":
    draw(excesses(FOLDER / "tabular.md"), FOLDER / "results" / "tabular.png")
