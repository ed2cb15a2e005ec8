"""Tables and figures of papers.py, from its results."""

import math
import statistics
from collections.abc import Sequence
from pathlib import Path

from common import heading, median_and_range, row

# relative errors of plan and cost up to which the plan counts as recovered
RECOVERED = 0.1
LEVELS = (0.25, 0.15, 0.08, 0.04, 0.02, 0.01, 0.005, 0.002)
COLOURS = {"SNOT, plain": "#c44e52", "SNOT, ours": "#dd8452", "OTP, ours": "#4c72b0", "OTP, plain": "#8172b3"}

Results = list[dict[str, str]]
SCORES = ("D_target", "floor", "D_cost", "exact cost", "spread", "plan error", "plan floor", "relative error")


def numbers(results: Results, column: str) -> list[float]:
    """Values of a column, without the rounding errors of exact zeros."""
    return [round(float(each[column]), 12) for each in results if each[column] != ""]


def excess(result: dict[str, str]) -> float:
    """Error of the plan above its floor, relative to the smaller of the exact cost and the target's variance.

    These are the errors of the identity and of the target's mean. Where the plan is not unique, the distance to the
    target above its floor takes the place of the error.
    """
    scale = min(float(result["exact cost"]), float(result["variance"]))
    error, floor = ("plan error", "plan floor") if result["plan error"] != "" else ("D_target", "floor")
    return (float(result[error]) - float(result[floor])) / scale


def is_recovered(result: dict[str, str]) -> bool:
    """Whether the plan is right: in high dimension or with split mass, contracted images can hide in the floor."""
    return excess(result) <= RECOVERED and float(result["D_cost"]) <= RECOVERED * float(result["exact cost"])


def ended(results: Results) -> str:
    """How many fits diverged, and in how many the affine map replaced the learned one."""
    counts = {name: sum(each[name] == "1" for each in results) for name in ("diverged", "affine")}
    return ", ".join(f"{n} {name}" for name, n in counts.items() if n)


def grouped(results: Results, by: Sequence[str]) -> dict[tuple[str, ...], Results]:
    """Results by their values in the columns `by`, in numerical order."""

    def order(text: str) -> tuple[float, str]:
        try:
            return float(text), ""
        except ValueError:
            return math.inf, text

    groups: dict[tuple[str, ...], Results] = {}
    for each in results:
        groups.setdefault(tuple(each[column] for column in by), []).append(each)
    return dict(sorted(groups.items(), key=lambda item: [order(text) for text in item[0]]))


def scores_table(results: Results, by: Sequence[str]) -> str:
    """One line per group: scores, number of seeds, seconds, and how the fits ended."""
    lines = [heading([*by, *SCORES, "recovered", "s", "ended"])]
    for key, group in grouped(results, by).items():
        group = [each | {"relative error": str(excess(each))} for each in group]
        cells = [median_and_range(numbers(group, name), ".3g") if numbers(group, name) else "" for name in SCORES]
        recovered = f"{sum(map(is_recovered, group))} of {len(group)}"
        seconds = f"{statistics.median(numbers(group, 'seconds')):.0f}"
        lines.append(row([*key, *cells, recovered, seconds, ended(group)]))
    return "\n".join(lines)


def runs_of(group: Results) -> list[Results]:
    """Records of each seed, in the order of the steps."""
    return list(grouped(group, ["seed"]).values())


def at_level(run: Results, level: float) -> float:
    """Error of the plan at the record whose level is closest."""
    closest = min(run, key=lambda each: abs(math.log(float(each["eps"]) / level)))
    return float(closest["plan error"]) - float(closest["plan floor"])


def convergence_table(results: Results, by: Sequence[str]) -> str:
    """Error of the plan above its floor at noise levels, and how it ended."""
    lines = [heading([*by, *(f"eps {level}" for level in LEVELS), "ends above 1.5 best + .01", "seeds", "s"])]
    for key, group in grouped(results, by).items():
        runs = runs_of(group)
        cells = [median_and_range([at_level(run, level) for run in runs], ".3f") for level in LEVELS]
        errors = [[float(each["plan error"]) - float(each["plan floor"]) for each in run] for run in runs]
        worse = sum(run[-1] > 1.5 * max(min(run), 0) + 0.01 for run in errors)
        seconds = f"{statistics.median(numbers(group, 'seconds')):.0f}"
        lines.append(row([*key, *cells, f"{worse} of {len(runs)}", len(runs), seconds]))
    return "\n".join(lines)


# figures


def draw_convergence(results: Results, path: Path) -> None:
    import matplotlib.pyplot as plt

    groups = grouped(results, ["method", "pair"])
    fig, axes = plt.subplots(1, len(groups), figsize=(3.2 * len(groups), 3), sharey=True, layout="constrained")
    for ax, ((method, pair), group) in zip(axes, groups.items(), strict=True):
        for run in runs_of(group):
            ax.loglog(numbers(run, "eps"), numbers(run, "plan error"), color=COLOURS[method], lw=0.8, alpha=0.7)
        if floor := numbers(group, "plan floor")[0]:
            ax.axhline(floor, color="grey", lw=0.8, ls="--")
        ax.set(title=f"{method}: {pair.replace('_', ' ')}", xlabel="eps (the fit runs to the right)")
        ax.invert_xaxis()
    axes[0].set_ylabel("error of the plan; dashed: floor")
    fig.savefig(path, dpi=80)


def draw_dimension(results: Results, path: Path) -> None:
    import matplotlib.pyplot as plt

    titles = {"cross": "crosses", "no map": "no map exists", "spurious": "spurious maps exist"}
    titles |= {"unique": "unique, condition fails", "theorem": "unique by the theorem"}
    panel = {"cross" if each["pair"].endswith("cross") else each["saddle points"]: [] for each in results}
    for each in results:
        panel["cross" if each["pair"].endswith("cross") else each["saddle points"]].append(each)
    fig, axes = plt.subplots(1, len(titles), figsize=(13, 3), sharey=True, layout="constrained")
    for ax, (kind, title) in zip(axes, titles.items(), strict=True):
        for shift, ((method,), group) in enumerate(grouped(panel[kind], ["method"]).items()):
            x = [float(each["dimension"]) + 0.04 * (shift - 1) for each in group]
            y = [max(excess(each), 1e-4) for each in group]
            ax.semilogy(x, y, "o", ms=4, color=COLOURS[method], alpha=0.7, label=method)
        ax.axhline(RECOVERED, color="grey", lw=0.8, ls="--")
        ax.set(title=title, xlabel="dimension of the source", xlim=(0.1, 2.2))
    axes[0].set_ylabel("relative error of the plan")
    axes[2].legend(fontsize=7)
    fig.savefig(path, dpi=80)


def draw_intrinsic(results: Results, path: Path) -> None:
    import matplotlib.pyplot as plt

    panels = grouped(results, ["m"])
    fig, axes = plt.subplots(1, len(panels), figsize=(9, 3), sharey=True, layout="constrained")
    for ax, ((m,), panel) in zip(axes, panels.items(), strict=True):
        for colour, ((n,), group) in zip(("#4c72b0", "#c44e52"), grouped(panel, ["n"]).items(), strict=False):
            medians = {
                level: (statistics.median(numbers(each, "eps_min")), statistics.median(map(excess, each)))
                for (level,), each in grouped(group, ["level"]).items()
            }
            fixed = sorted(point for level, point in medians.items() if level != "auto")
            ax.loglog(*zip(*fixed, strict=True), "o-", ms=4, color=colour, label=f"n = {n}")
            ax.loglog(*medians["auto"], "*", ms=12, color=colour)
        ax.set(title=f"m = {m}", xlabel="eps_min (star: auto)")
    axes[0].set_ylabel("relative error of the plan")
    axes[0].legend(fontsize=7)
    fig.savefig(path, dpi=80)


FIGURES = {"convergence": draw_convergence, "dimension": draw_dimension, "intrinsic": draw_intrinsic}
