"""The scripts that make the figures of the pages: each figure has a maker, and each maker runs."""

import importlib.util
import re

import matplotlib.pyplot as plt
import pytest
from conftest import ROOT
from PIL import Image

from neuralot.estimators.base import BaseTransport

# fits of a few steps say so
pytestmark = pytest.mark.filterwarnings("ignore")
STEPS = 12
IMAGES = ROOT / "docs" / "images"
# made by examples, with NEURALOT_FIGURES or --out; the others are made by docs/make_*.py
OF_EXAMPLES = {
    "colour_transfer.png",
    "recovery.png",
    "colourise_mnist.png",
    "colourise_mnist_conv.png",
    "flow_matching.png",
}


def script(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


GUIDE, THEORY, HERO = map(script, ("make_guide_figures", "make_theory_figures", "make_hero"))


def test_each_figure_has_a_maker_and_each_maker_a_figure():
    made = {f"guide/{make.__name__}.png" for make in GUIDE.FIGURES}
    made |= {f"theory_{draw.__name__}.png" for draw in THEORY.FIGURES}
    made |= {"hero.webp", "hero_still.webp"}
    committed = {path.relative_to(IMAGES).as_posix() for path in IMAGES.rglob("*.*")}
    assert committed == made | OF_EXAMPLES


def test_each_figure_is_shown():
    pages = [*ROOT.glob("docs/*.rst"), *ROOT.glob("docs/guide/*.rst"), *ROOT.glob("benchmarks/**/*.md")]
    shown = {found for page in pages for found in re.findall(r"images/([\w/]+\.\w+)", page.read_text())}
    assert {path.relative_to(IMAGES).as_posix() for path in IMAGES.rglob("*.*")} <= shown


@pytest.fixture
def few_steps(monkeypatch):
    """Let every fit end after a few steps."""
    fit = BaseTransport.fit

    def short(self, *rows, **options):
        return fit(self.set_params(max_iter=STEPS), *rows, **options)

    monkeypatch.setattr(BaseTransport, "fit", short)
    yield
    plt.close("all")


def is_drawn(path):
    with Image.open(path) as picture:
        return min(picture.size) >= 200 and len(picture.convert("RGB").resize((64, 64)).getcolors(4096)) > 2


@pytest.mark.slow
@pytest.mark.parametrize("make", GUIDE.FIGURES, ids=lambda make: make.__name__)
def test_figure_of_the_guide_is_drawn(make, few_steps, monkeypatch, tmp_path):
    monkeypatch.setattr(GUIDE, "FOLDER", tmp_path)
    make()
    GUIDE.save(make.__name__)
    assert is_drawn(tmp_path / f"{make.__name__}.png")


@pytest.mark.slow
@pytest.mark.parametrize("draw", THEORY.FIGURES, ids=lambda draw: draw.__name__)
def test_figure_of_the_theory_is_drawn(draw, few_steps, monkeypatch, tmp_path):
    monkeypatch.setattr(THEORY, "FOLDER", tmp_path)
    quantities = [quantity for quantity, _ in draw()]
    assert is_drawn(tmp_path / f"theory_{draw.__name__}.png")
    table = (ROOT / "benchmarks" / "results" / "theory.md").read_text()
    listed = [line.split(" | ")[1] for line in table.splitlines() if line.startswith(f"| {draw.__name__} |")]
    assert [quantity.replace("|", "\\|") for quantity in quantities] == listed


@pytest.mark.slow
def test_picture_of_the_start_page_is_drawn(few_steps, monkeypatch, tmp_path):
    monkeypatch.setattr(HERO, "FOLDER", tmp_path)
    HERO.main()
    with Image.open(tmp_path / "hero.webp") as picture:
        assert picture.n_frames > 2
    assert is_drawn(tmp_path / "hero_still.webp")
