"""The pages, the README and CONTRIBUTING.md: their code runs, and the commands and links in them exist."""

import re
import shlex
import tomllib

import pytest
from conftest import ROOT
from PIL import Image

from neuralot import OTPTransport
from neuralot.datasets import make_moons
from neuralot.diagnostics import verdict

BUILT = {"auto_examples", "generated"}
PAGES = [page for page in sorted((ROOT / "docs").rglob("*.rst")) if not BUILT & set(page.parts)]
GUIDE = [page for page in PAGES if page.parent.name == "guide"]
TEXTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "benchmarks" / "README.md"]
MAX_BYTES = 60_000
WORDS_FOR_THREE_MINUTES = 900  # of prose; 300 a minute

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
each_page_of_guide = pytest.mark.parametrize("page", GUIDE, ids=lambda page: page.name)
each_text = pytest.mark.parametrize("text", TEXTS, ids=lambda text: str(text.relative_to(ROOT)))


def blocks(path, language):
    """Return the code blocks of a page in reStructuredText or Markdown, without their indentation."""
    text = path.read_text()
    if path.suffix == ".md":
        return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    found = re.findall(rf"^\.\. code-block:: {language}\n\n((?:   .*\n|\n)+)", text, re.MULTILINE)
    return [re.sub(r"^   ", "", block, flags=re.MULTILINE) for block in found]


# code


def test_pytest_collects_all_pages_with_doctests():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
    collected = {page for pattern in settings["testpaths"] for page in ROOT.glob(pattern)}
    assert {page for page in PAGES if ">>>" in page.read_text()} <= collected


@pytest.mark.parametrize("path", [*PAGES, *TEXTS[1:]], ids=lambda path: str(path.relative_to(ROOT)))
def test_python_blocks_run(path, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    namespace = {}  # tests/test_docs.py runs those of the README
    for block in blocks(path, "python"):
        assert ">>>" not in block, "a doctest needs no directive"
        exec(compile(block, path.name, "exec"), namespace)


def commands(path):
    lines = "\n".join(blocks(path, "sh")).replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True) for line in lines if shlex.split(line, comments=True)]


TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
A_FILE = re.compile(r"[\w./-]+\.(py|md|rst|txt|toml|cff|sh)")


@pytest.mark.parametrize("path", [*PAGES, *TEXTS], ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_name_files_and_targets_that_exist(path):
    for program, *arguments in commands(path):
        if program == "make":
            assert set(arguments) <= TARGETS
        for argument in filter(A_FILE.fullmatch, arguments):
            assert (ROOT / argument).exists(), argument


@pytest.mark.parametrize("path", [*PAGES, *TEXTS], ids=lambda path: str(path.relative_to(ROOT)))
def test_targets_and_files_named_in_prose_exist(path):
    text = path.read_text()
    assert set(re.findall(r"`make ([a-z-]+)`", text)) <= TARGETS
    for name in re.findall(r"`((?:benchmarks|docs|examples|neuralot|tests|tools)/[\w./-]+\.\w+)`", text):
        assert (ROOT / name).exists(), name


# links


def anchors(path):
    """Return the anchors that GitHub gives to the headings of a file."""
    text = path.read_text()
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    if path.suffix == ".rst":
        titles = re.findall(r"^(\S.*)\n(?:=+|-+|~+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.replace("``", "").lower()).strip().replace(" ", "-") for title in titles}


@each_text
def test_relative_links_exist(text):
    content = text.read_text()
    links = re.findall(r"\]\(([^)\s]+)\)", content) + re.findall(r"^\[[^\]]+\]: (\S+)", content, re.MULTILINE)
    for link in links:
        if link.startswith(("http:", "https:", "mailto:")):
            continue
        name, _, anchor = link.partition("#")
        path = text.parent / name if name else text
        assert path.exists(), link
        assert not anchor or anchor in anchors(path), link


# the user guide


@each_page_of_guide
def test_page_of_guide_opens_with_code_and_figure(page):
    text = page.read_text()
    before_figure, _, after = text.partition(".. image:: ")
    assert ">>>" in before_figure
    assert not re.search(r"^-+$", before_figure, re.MULTILINE), "a section comes before the figure"
    assert after.splitlines()[1].startswith("   :alt: ")


@each_page
def test_images_have_alt_texts(page):
    # a missing file fails the build of the site, which makes one of them itself
    options = re.findall(r"^\.\. (?:image|figure):: .*\n((?: +:.*\n| +\S.*\n)*)", page.read_text(), re.MULTILINE)
    assert all(":alt: " in each for each in options)


@pytest.mark.parametrize("path", sorted((ROOT / "docs" / "images" / "guide").glob("*")), ids=lambda path: path.name)
def test_figures_of_guide_are_small_and_used(path):
    assert path.stat().st_size <= MAX_BYTES
    with Image.open(path) as image:
        assert image.width <= 1200
    assert any(f"images/guide/{path.name}" in page.read_text() for page in PAGES)


@each_page_of_guide
def test_page_of_guide_is_read_in_three_minutes(page):
    text = page.read_text().partition("\nWhat ``make demo`` shows")[0]
    for block in re.findall(r"^\.\. code-block:: .*\n\n(?:   .*\n|\n)+", text, re.MULTILINE):
        text = text.replace(block, "")
    lines = text.splitlines()
    prose = [line for line in lines if not line.startswith((">>>", "...", "   :", "==", "--"))]
    assert len(" ".join(prose).split()) <= WORDS_FOR_THREE_MINUTES


def test_printed_report_in_guide_has_the_lines_of_a_report():
    est = OTPTransport(max_iter=20, random_state=0).fit(*make_moons().sample(300, random_state=0))
    labels = {label for label, _ in est.report(*make_moons().sample(300, random_state=1)).lines()}
    [printed] = blocks(ROOT / "docs" / "guide" / "report.rst", "text")
    assert {line[: printed.index("OPTIMAL")].strip() for line in printed.splitlines()} - {"note"} == labels - {"note"}


def test_guide_states_tolerances_of_the_verdict():
    section = (ROOT / "docs" / "guide" / "report.rst").read_text().split("The verdict\n")[1].split("The lines\n")[0]
    tolerances = verdict.TOLERANCE, verdict.SPREAD_TOLERANCE, verdict.GAP_TOLERANCE, verdict.RESOLUTION
    assert {f"{100 * each:g} %" for each in tolerances} == set(re.findall(r"[\d.]+ %", section))
    assert f"Fewer than {verdict.MIN_ROWS} rows" in section
