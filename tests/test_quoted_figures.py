"""Figures that prose quotes come from committed tables.

`QUOTES` has a list for each page. An entry is a phrase of the page, with the quoted numbers in brackets, and one cell
for each number. A test fails if the phrase is no longer in the page, or if a cell no longer rounds to its number.
Another test fails if a page has a number with a decimal point, or a percentage, that is in no phrase and not in
`SETTINGS`.
"""

import re
from dataclasses import dataclass
from functools import cache

import pytest
from conftest import ROOT

NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e-?\d+)?")
BRACKETS = re.compile(r"\[(-?[\d. ]+)\]")


@dataclass(frozen=True)
class Cell:
    """A number in a Markdown table.

    `row` has the contents of other columns of its row, which must select exactly one row of the file. `part` counts the
    numbers of the cell: in ``median (lowest..highest)`` they are 0, 1 and 2.
    """

    file: str
    row: dict[str, str]
    column: str
    part: int = 0

    @property
    def value(self):
        """The number."""
        rows = [row for row in table_rows(self.file) if self.column in row and self.row.items() <= row.items()]
        assert len(rows) == 1, f"{len(rows)} rows of {self.file} have {self.row} and a column {self.column!r}"
        return numbers_in(rows[0][self.column])[self.part]


@dataclass(frozen=True)
class Passage:
    """A number in the prose beside a table, in brackets."""

    file: str
    phrase: str

    @property
    def value(self):
        quote = Quote(self.phrase, ())
        assert quote.text in words(self.file), f"{self.file} no longer has {quote.text!r}"
        return numbers_in(quote.numbers[0])[0]


@dataclass(frozen=True)
class Quote:
    """A phrase with numbers in brackets, and their cells."""

    phrase: str
    cells: tuple[Cell | Passage, ...]

    @property
    def text(self):
        """The phrase without brackets."""
        return BRACKETS.sub(r"\1", self.phrase)

    @property
    def numbers(self):
        """The numbers in brackets, as they are written."""
        return BRACKETS.findall(self.phrase)


def numbers_in(text):
    """All numbers of a text; ``323 000`` is one of them."""
    return [float(number) for number in NUMBER.findall(re.sub(r"(?<=\d) (?=\d{3}\b)", "", text))]


@cache
def table_rows(file):
    """All rows of all tables of a file, as dictionaries by column."""
    rows, header = [], None
    for line in (ROOT / file).read_text().splitlines():
        if not line.startswith("|"):
            header = None
            continue
        cells = [cell.strip().replace(r"\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if header is None:
            header = cells
        elif not set(line) <= set("|-: "):
            rows.append(dict(zip(header, cells, strict=True)))
    return rows


@cache
def words(page):
    """The text of a page on one line."""
    return " ".join((ROOT / page).read_text().split())


def is_rounded(value, number):
    """Whether a value rounds to a number, as it is written."""
    decimals = len(number.partition(".")[2])
    return abs(value - numbers_in(number)[0]) <= 0.5 * 10**-decimals * (1 + 1e-9)


# tables

MAIN, PAPERS, TABULAR = "benchmarks/README.md", "benchmarks/papers.md", "benchmarks/tabular.md"
TRIED = "benchmarks/TRIED.md"
RECOVERY, CERTIFICATES = "benchmarks/results/recovery.md", "benchmarks/results/certificates.md"
THEORY, TRAJECTORIES = "benchmarks/results/theory.md", "benchmarks/results/trajectories.md"


def w2(solver, d, column):
    return Cell(MAIN, {"d": str(d), "solver": solver}, column)


def papers(pair, method, column, d="2"):
    return Cell(PAPERS, {"pair": pair, "d": d, "method": method}, column)


def thin(pair, method):
    return Cell(PAPERS, {"pair": pair, "method": method}, "relative error")


def along(method, column, part=0, pair="one_to_many"):
    return Cell(PAPERS, {"pair": pair, "method": method}, column, part)


def last_level(m, n, level):
    return Cell(PAPERS, {"m": str(m), "n": str(n), "level": level}, "relative error")


def task(name, transport, column, part=0):
    return Cell(TABULAR, {"task": name, "transport": transport}, column, part)


def masses(d, solver, column="10 s"):
    return Cell(MAIN, {"d": str(d), "solver": solver}, column)


def jump(name):
    return Cell(MAIN, {"map": name}, "images between the blobs")


def adapted(method):
    return Cell(MAIN, {"method": method}, "mean")


def entropic(column):
    return Cell(TABULAR, {"plan": "mixture, d = 2, eps = 1"}, column)


def work(name, part):
    return Cell(MAIN, {"work": name}, "result", part)


def recovered(pair, column, part=0):
    return Cell(MAIN, {"pair": pair, "method": "OTP"}, column, part)


def other_cost(pair, p, column):
    return Cell(TRIED, {"pair": pair, "p": p, "noise": "Gaussian"}, column)


def drawn(figure, quantity):
    return Cell(THEORY, {"figure": figure, "quantity": quantity}, "value")


SNOT, ENOT = "neuralot SNOT", "ott-jax ENOT"
MOONS, DIGITS, COUNTS = "Gaussians to moons, d = 2", "digits, batches, d = 16", "counts, d = 50"
WINE, DAYS = "wine, batches, d = 13", "day 2 to 4"
SEMIDISCRETE = "POT semidiscrete, batches of 256"
IN_DIMENSIONS = [2, 16, 64]

ACCURACY = [
    Quote(
        "L2-UVP is [0.020] % (d = 2), [1.2] % (d = 16) and [4.3] % (d = 64) after 5 s",
        tuple(w2(SNOT, d, "5 s") for d in IN_DIMENSIONS),
    ),
    Quote("ott-jax's ENOT has [0.43], [12.4] and [38] %", tuple(w2(ENOT, d, "60 s") for d in IN_DIMENSIONS)),
    Quote("where POT's Sinkhorn map leaves [5] %", (jump("POT Sinkhorn"),)),
]

QUOTES = {
    "README.md": ACCURACY,
    "docs/index.rst": ACCURACY,
    "docs/theory.rst": [
        Quote(
            "of [3] % of the variance in the plane, where re-pairing shows it, and of [17] % in 32 dimensions",
            (
                Passage(TRIED, "and a rotated normal source [3], 12, 17 and 17 %"),
                Passage(TRIED, "and a rotated normal source 3, 12, [17] and 17 %"),
            ),
        ),
        Quote("varies by [7] % along its source", (Passage(TRIED, "| one_to_many | 8 | [7.2] | 0.00"),)),
        Quote("reduces it to [0.6] % of the target's variance", (drawn("bound", "dual gap after 1600 steps, %"),)),
        Quote(
            "SNOT has an error of [0.31] on a line (dimension 1), of [0.055] at dimension 1.3 and of [0.0014] at dim",
            tuple(thin(pair, "SNOT, ours") for pair in ("line 1, cross", "strip 1.3, cross", "strip 2, cross")),
        ),
        Quote(
            "the errors of SNOT are [0.0048] (*split*) and [0.078] (*fill*; [0.25] with the papers' settings)",
            (
                thin("dust 0.5, split", "SNOT, ours"),
                thin("dust 0.5, fill", "SNOT, ours"),
                thin("dust 0.5, fill", "SNOT, plain"),
            ),
        ),
        Quote("the error on *line 1, bend* is [0.0014]", (thin("line 1, bend", "SNOT, ours"),)),
        Quote(
            "The value of the three maps in the figure is [0.667], and the squared distance of their images to the "
            "target is [0.333], [0.083] and [0].",
            (
                drawn("spurious", "value at the map to one point"),
                drawn("spurious", "D_target of the map to one point"),
                drawn("spurious", "D_target of the map to half of the target"),
                drawn("spurious", "D_target of the map to the whole target"),
            ),
        ),
        Quote(
            "(OTM) is [0.535], with a :term:`floor` of [0.002]. That of OTP is [0.0015].",
            (
                papers("perpendicular", "OTM", "D_target"),
                papers("perpendicular", "OTM", "floor"),
                papers("perpendicular", "OTP, ours", "D_target"),
            ),
        ),
        Quote(
            "from [0.52] at level 0.25 to [0.035] at level 0.01",
            (along("OTP, ours", "eps 0.25"), along("OTP, ours", "eps 0.01")),
        ),
        Quote("to [0.056] at level 0.002", (along("OTP, ours", "eps 0.002"),)),
        Quote(
            "are at [0.105] at level 0.04 and then lose the plan: [9] of [10] seeds end",
            (
                along("OTP, plain", "eps 0.04"),
                along("OTP, plain", "ends above 1.5 best + 0.01", 0),
                along("OTP, plain", "ends above 1.5 best + 0.01", 1),
            ),
        ),
        Quote(
            "its relative error is [1.1], and that of level 0.01 is [0.32]",
            (last_level(8, 4096, "auto"), last_level(8, 4096, "0.01")),
        ),
        Quote(
            "have a variance of [0.098], [0.034] and [0.000] along the segment",
            tuple(
                drawn("noise", f"{shape}, variance along the segment") for shape in ("isotropic", "covariance", "thin")
            ),
        ),
        Quote(
            "a cost within [0.006] of the exact one on One-to-Many in 256 dimensions, and the share of one branch is "
            "[0.495]",
            tuple(Cell(MAIN, {"pair": "one_to_many", "d": "256"}, column) for column in ("cost - exact", "branch")),
        ),
        Quote(
            "on *circle, bend* is [0.089], and that of SNOT [0.006]",
            (thin("circle, bend", "OTP, ours"), thin("circle, bend", "SNOT, ours")),
        ),
        Quote(
            "is [0.949] % with the defaults, and [3.698] % with the plain objective",
            tuple(
                Cell(RECOVERY, {"pair": "convex_potential, d = 8", "method": method}, "L2-UVP")
                for method in ("SNOT", "SNOT, plain (OTM)")
            ),
        ),
        *(
            Quote("The *gap %* of W2GN is [0.00] on all tasks", (task(name, "W2GN", "gap %"),))
            for name in sorted({row["task"] for row in table_rows(TABULAR) if row.get("transport") == "W2GN"})
        ),
        Quote(
            "the error of the affine map for d = 16 ([41.7] %), and after 5 seconds [1.23] %",
            (w2(SNOT, 16, "1 s"), w2(SNOT, 16, "5 s")),
        ),
        Quote(
            "a *W2 excess* of [4.33] %, the affine map [4.74] % and SNOT [0.60] %",
            tuple(task(MOONS, name, "W2 excess %") for name in ("W2GN", "affine", "SNOT")),
        ),
        Quote("differs from its weight by more than [0.0042]", (drawn("cells", "largest |w_i - nu_i|"),)),
        Quote("the error :math:`|w - \\nu|` is [0.00161] after 10 s", (masses(32, "neuralot OT-Net"),)),
        Quote("On *Gaussians to moons* the gap is [0.00] %", (task(MOONS, "OT-Net", "gap %"),)),
        Quote(
            "the bound is [28] % of the target's spread after 1600 steps and the error is [5.4] %",
            (drawn("bound", "bound after 1600 steps, %"), drawn("bound", "error after 1600 steps, %")),
        ),
        Quote(
            "In 8 dimensions the median ratio of bound and error is [19.5] for SNOT",
            (Cell(CERTIFICATES, {"transport": "SNOT", "d": "8"}, "bound / error"),),
        ),
        Quote("is as small as [0.063] times the error", (drawn("error", "rotated first, least E_2 / error"),)),
        Quote(
            "The interpolation by a fit of SNOT has at most [1.000].",
            (drawn("interpolation", "displacement, largest (W2(0, t) + W2(t, 1)) / W2(0, 1)"),),
        ),
        Quote(
            "is closer to the left-out day ([4.62]) than each interpolation from day 2 to 4, of which the best has "
            "[4.90]",
            tuple(task(DAYS, name, "left-out day") for name in ("mixture of both days", "W2GN")),
        ),
    ],
    "docs/comparison.rst": [
        Quote(
            "neuralot maps [323 000] rows a second",
            (work("`transform`, 10 million rows x 16, file to file", 0),),
        ),
        Quote(
            "maps [1030] in its default batches of 128, and [15 800] in larger ones",
            tuple(
                Cell(MAIN, {"POT EMDTransport fitted on": "4096 rows"}, f"in batches of {batch}")
                for batch in ("128, its default", "4096")
            ),
        ),
        *(
            Quote(phrase, tuple(w2(solver, d, column) for d in IN_DIMENSIONS))
            for solver, column, phrase in [
                (SNOT, "5 s", "SNOT, 5 [0.020] % [1.2] % [4.3] %"),
                (SNOT, "60 s", "SNOT, 60 [0.007] % [0.24] % [0.93] %"),
                (ENOT, "60 s", "ENOT, 60 [0.43] % [12.4] % [38] %"),
            ]
        ),
        Quote("has [0.34] % (d = 2) and [45] % (d = 16) after 60 s", tuple(w2("POT EMD", d, "60 s") for d in (2, 16))),
        Quote("POT's linear map (d = 16: [41.7] %)", (w2(SNOT, 16, "1 s"),)),
        Quote(
            "is [0.00137] (d = 2) and [0.00161] (d = 32), and that of POT's semi-discrete solver with larger batches "
            "[0.00741] and [0.01075]",
            tuple(masses(d, solver) for solver in ("neuralot OT-Net", SEMIDISCRETE) for d in (2, 32)),
        ),
        Quote(
            "OT-Net leaves [0.000] % of the images. SNOT leaves [6.5] %, and POT's Sinkhorn map [5.1] %",
            tuple(jump(name) for name in ("neuralot OT-Net, hard", "neuralot SNOT", "POT Sinkhorn")),
        ),
        Quote(
            "on the digits its UVP is [7.66] %, that of SNOT [7.59] %, of flow matching (torchcfm) [7.09] % and of OTP "
            "[11.6] %",
            tuple(task(DIGITS, name, "UVP %") for name in ("affine", "SNOT", "flow matching", "OTP")),
        ),
        Quote(
            "their energy distances are [0.0148], [0.0165] and [0.0160]",
            tuple(task(COUNTS, name, "energy distance") for name in ("affine", "SNOT", "OTP")),
        ),
        Quote(
            "an energy distance of [0.0026], OT-Net [0.0030], OTP [0.0036], SNOT [0.0033] and flow matching [0.0071]",
            tuple(
                task(MOONS, name, "energy distance") for name in ("POT EMD", "OT-Net", "OTP", "SNOT", "flow matching")
            ),
        ),
        Quote(
            "has an energy distance of [0.090] to the target, OT-Net [0.098], POT's exact plan [0.154] and flow "
            "matching [0.209]",
            tuple(task(DAYS, name, "energy distance") for name in ("OTP", "OT-Net", "POT EMD", "flow matching")),
        ),
        Quote(
            "is [0.924] for SNOT, [0.922] for OTP and [0.927] for POT's linear map. With self-training, it is [0.946], "
            "[0.941] and [0.950]",
            tuple(
                adapted(name)
                for name in (
                    "neuralot SNOT",
                    "neuralot OTP",
                    "POT linear",
                    "neuralot SNOT, self_training",
                    "neuralot OTP, self_training",
                    "POT linear, self-training",
                )
            ),
        ),
        Quote(
            "with noise of variance eps is [4.88] %, and that of LightSB [0.094] %",
            tuple(entropic(name) for name in ("OTP, noise eps", "LightSB")),
        ),
        Quote("of 2000 rows takes [0.4] s", (task(MOONS, "POT EMD", "fit s"),)),
    ],
    "docs/faq.rst": [
        Quote("[6.5] % of them for SNOT between two distant blobs", (jump("neuralot SNOT"),)),
        Quote(
            "a median of [0.56] over [144] fits of SNOT and OTP, but [0.33] in two dimensions, and [-0.10] to [0.28] "
            "there for a target of constant density",
            (
                Passage(MAIN, "has a median of [0.56] over 144 fits"),
                Passage(MAIN, "has a median of 0.56 over [144] fits"),
                Passage(MAIN, "of [0.33] at d = 2 and 0.61"),
                Passage(MAIN, "constant density, it has [-0.10] to 0.28"),
                Passage(MAIN, "constant density, it has -0.10 to [0.28]"),
            ),
        ),
        Quote(
            "has [59.1] with a floor of [62.2], although the spread of its images is [0.05]",
            tuple(papers("perpendicular", "OTM", name, "256") for name in ("D_target", "floor", "spread")),
        ),
        Quote(
            "for a convex potential is [0.15] % in two dimensions and [0.95] % in eight",
            tuple(Cell(RECOVERY, {"pair": f"convex_potential, d = {d}", "method": "SNOT"}, "L2-UVP") for d in (2, 8)),
        ),
        Quote(
            "the affine map has a UVP of [15.3] % and SNOT [13.7] %",
            tuple(task(WINE, name, "UVP %") for name in ("affine", "SNOT")),
        ),
        Quote("on each side took [0.54] GiB", (work("`fit`, 1e6 x 64 float32 a side", 0),)),
        Quote(
            "from file to file [0.14] GiB, at [323 000] rows a second",
            tuple(work("`transform`, 10 million rows x 16, file to file", part) for part in (1, 0)),
        ),
    ],
    "docs/guide/choose.rst": [
        Quote(
            "its error on sources with a density is [0.5] to [1.7] times that of SNOT",
            (
                Passage(MAIN, "its L2-UVP is [0.5] to 1.7 times that of SNOT"),
                Passage(MAIN, "its L2-UVP is 0.5 to [1.7] times that of SNOT"),
            ),
        ),
        Quote(
            "the exact plan: [19.26] instead of [17.93] for Gaussians and [2.56] instead of [2.20] for a convex",
            (
                recovered("gaussians, d = 8", "cost", 1),
                recovered("gaussians, d = 8", "exact"),
                recovered("convex_potential, d = 8", "cost", 1),
                recovered("convex_potential, d = 8", "exact"),
            ),
        ),
    ],
    "docs/guide/costs.rst": [
        *(
            Quote(phrase, tuple(Cell(TRIED, {"p": p, "estimator": name}, "L2-UVP, %", part) for part in parts))
            for p, name, parts, phrase in [
                ("1.5", "SNOT", (0, 1), "1.5 SNOT [1.4] to [1.5] %"),
                ("1.5", "SNOT, gradient form", (0,), "1.5 SNOT, gradient form [1.4] %"),
                ("1.5", "OTP", (0,), "1.5 OTP [2.9] %"),
                ("3", "SNOT", (0, 1), "3 SNOT [1.9] to [2.0] %"),
            ]
        ),
        Quote(
            "For p = 3 the cost of the map is [14] % too low",
            (Passage(TRIED, "For p = 3 the cost of the map is [14] % too low"),),
        ),
        *(
            Quote(f"{pair} {p} {numbers}", tuple(other_cost(pair, p, name) for name in ("cost", "exact", "D", "floor")))
            for pair, p, numbers in [
                ("Perpendicular", "1.5", "[0.786] [0.790] [0.0015] [0.0005]"),
                ("Perpendicular", "3", "[0.479] [0.488] [0.0016] [0.0005]"),
                ("One-to-Many", "1.5", "[1.026] [1.019] [0.080] [0.197]"),
                ("One-to-Many", "3", "[0.990] [1.000] [0.123] [0.197]"),
                ("eight Gaussians", "1.5", "[1.005] [0.932] [0.062] [0.086]"),
                ("eight Gaussians", "3", "[0.934] [0.772] [0.050] [0.086]"),
            ]
        ),
    ],
    "docs/guide/report.rst": [],
    "docs/guide/trajectories.rst": [
        Quote(
            "the exact total within [0.5] % on the rows of the fit and [0.3] % on new rows, and each clone within "
            "[1.5] and [1.7] %",
            tuple(
                Cell(TRAJECTORIES, {"penalty": "30.0"}, column)
                for column in (
                    "both, rows of the fit",
                    "both, new rows",
                    "one clone, rows of the fit",
                    "one clone, new rows",
                )
            ),
        ),
        Quote(
            "with 5 instead of 30 the total was [3.1] % off",
            (Cell(TRAJECTORIES, {"penalty": "5.0"}, "both, rows of the fit"),),
        ),
    ],
    **{
        f"docs/guide/{page}.rst": []
        for page in (
            "adaptation",
            "checkpoints",
            "conditions",
            "data",
            "files",
            "index",
            "long_fits",
            "machines",
            "map_or_plan",
            "otnet",
            "processes",
            "smoothing",
            "streams",
            "unbalanced",
        )
    },
}


@pytest.mark.parametrize(("page", "quote"), [(page, quote) for page, quotes in QUOTES.items() for quote in quotes])
def test_quoted_figures_are_those_of_the_tables(page, quote):
    is_there = quote.text in words(page)
    assert is_there, f"{page} no longer has the phrase {quote.text!r}; change it here as well"
    assert len(quote.numbers) == len(quote.cells)
    for number, cell in zip(quote.numbers, quote.cells, strict=True):
        agrees = is_rounded(cell.value, number)
        assert agrees, f"{page} says {number}, and the table {cell.value}: {cell}"


NOT_PROSE = [
    r"^```.*?^```",
    r"^\.\. (?:math|code-block|image)::.*?(?=^\S|\Z)",
    r"^>>> .*?\n\n",
    r":math:`[^`]*`",
    r"``[^`]*``",
    r"https?://\S+",
    r"^\[[^]]+\]: .*?$",
    r"\nReferences\n-.*",
]


def prose(text):
    """The words of a text without code, output, formulas, links and references."""
    for pattern in NOT_PROSE:
        text = re.sub(pattern, " ", text, flags=re.DOTALL | re.MULTILINE)
    return " ".join(text.split())


# numbers that are no results: settings, versions, theorems
SETTINGS = {
    "README.md": ["Python 3.11"],
    "docs/index.rst": ["Python 3.11"],
    "docs/theory.rst": [
        "Theorem 3.1",
        "Theorem 4.1",
        "sources of dimension 0.3 to 2",
        "at dimension 1.3",
        "dust of dimension 0.5",
        "falls from 0.25 to 0.002",
        "at level 0.25",
        "at level 0.01",
        "at level 0.002",
        "at level 0.04",
        "0.001 is worse than 0.01 in",
        "level 0.01 is",
        "At level 0.1",
        "have norm 0.01",
        "arXiv 2602.14086",
        "arXiv 2512.09499",
    ],
    "docs/comparison.rst": [
        "POT 0.9.7.post1",
        "ott-jax 0.6.0",
        "torchcfm 1.0.7",
        "skada 0.6.0",
        "version 0.1.0",
        "scikit-learn 1.9",
    ],
    "docs/faq.rst": [],
    "docs/guide/costs.rst": ["with p from 1.2 to 2", "deviations 1 and 0.5 to 2", "1.1 SNOT diverges"],
    "docs/guide/data.rst": ["a difference of 1.4 standard deviations"],
    "docs/guide/long_fits.rst": ["2.5 steps per row", "scikit-learn 1.9"],
    # the tolerances of the verdict; tests/test_pages.py compares them
    "docs/guide/conditions.rst": ["at the level of 1 %", "if less than 5 % of the target rows"],
    "docs/guide/report.rst": [
        "is not above 0.4 %",
        "that along columns or axes is not above 2 %",
        "within 10 %",
        "saves at most 2 %",
        "more than 2 %",
        "exceed 4 %",
        "at most 0.01",
        "a 90 % interval",
    ],
    "docs/guide/smoothing.rst": ["in the first 70 % of the fit", "at least 0.1 for a flat source"],
}


@pytest.mark.parametrize("page", QUOTES)
def test_all_results_of_a_page_are_quotes(page):
    text = prose((ROOT / page).read_text())
    for phrase in [quote.text for quote in QUOTES[page]] + SETTINGS.get(page, []):
        text = text.replace(prose(phrase), " ")
    found = [text[max(at.start() - 30, 0) : at.end()] for at in re.finditer(r"(?<![\w.])(?:\d+\.\d+|\d+ %)", text)]
    assert not found, f"add these numbers of {page} to QUOTES, or to SETTINGS if they are no results: {found}"
