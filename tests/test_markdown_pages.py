"""The extensions of the site: pages in Markdown, the cache and thumbnails of the gallery, spellings for the search."""

import importlib.util
import re
import sys

import pytest
from conftest import ROOT
from PIL import Image

pytest.importorskip("sphinx")


def load(name):
    """Import a module of docs/_ext."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / "_ext" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


markdown, gallery, spelling = map(load, ("markdown_pages", "gallery", "spelling"))
PAGES = {"benchmarks/README.md": "bench-readme", "benchmarks/TRIED.md": "bench-tried"}


@pytest.fixture
def converter():
    place = markdown.Place(ROOT / "benchmarks" / "README.md", ROOT / "docs" / "benchmarks" / "index.rst", "x", PAGES)
    return markdown.Converter(place)


def html_like(nodes):
    """Return nodes as tags, without attributes that do not matter here."""
    return "".join(node.pformat() if hasattr(node, "pformat") else str(node) for node in nodes)


@pytest.mark.parametrize(
    ("heading", "expected"),
    [("OT-Net", "ot-net"), ("[0.1.0] - not released yet", "010---not-released-yet"), ("Memory, steps", "memory-steps")],
)
def test_slug_is_that_of_github(heading, expected):
    assert markdown.slug(heading) == expected


@pytest.mark.parametrize(
    ("text", "tag", "content"),
    [
        ("a `b * c` d", "literal", "b * c"),
        ("a *b c* d", "emphasis", "b c"),
        ("a **b c** d", "strong", "b c"),
        ("``a ` b``", "literal", "a ` b"),
        ("[a](https://b.org/c)", "reference", "a"),
        ("<https://b.org>", "reference", "https://b.org"),
    ],
)
def test_inline_syntax(converter, text, tag, content):
    (node,) = (node for node in converter.inline(text) if node.tagname == tag)
    assert node.astext() == content


@pytest.mark.parametrize("text", ["2 * 3 * 4", "x_1 and y_2", "[OTP], ICML", "a \\*b\\* c", "d >= 8, a < b"])
def test_other_text_stays(converter, text):
    assert "".join(node.astext() for node in converter.inline(text)) == text.replace("\\", "")
    assert {node.tagname for node in converter.inline(text)} == {"#text"}


def test_links_lead_to_pages_or_become_text(converter):
    (page,) = converter.inline("[tried](TRIED.md#a-step)")
    (here,) = converter.inline("[here](#ot-net)")
    (source,) = converter.inline("[script](w2.py)")
    assert (page["reftarget"], here["reftarget"]) == ("bench-tried-a-step", "bench-readme-ot-net")
    assert source.tagname == "#text"


def test_name_of_a_file_becomes_the_title_of_its_page(converter):
    (named,) = converter.inline("[TRIED.md](TRIED.md)")
    (other,) = converter.inline("[what was tried](TRIED.md)")
    assert (named["refexplicit"], other["refexplicit"]) == (False, True)


def test_link_by_reference_is_resolved(converter):
    ((_, _, node),) = converter.convert("see [the paper][p] and [P]\n\n[p]: https://b.org")
    assert [link["refuri"] for link in node.findall(lambda node: node.tagname == "reference")] == 2 * ["https://b.org"]


def test_table_has_rows_and_cells(converter):
    ((_, _, table),) = converter.convert("| a | b |\n|---|---|\n| `x \\| y` | 0.5 (0.4..0.6) |\n| c |  |\n")
    cells = [entry.astext() for entry in table.findall(lambda node: node.tagname == "entry")]
    assert cells == ["a", "b", "x | y", "0.5 (0.4..0.6)", "c", ""]
    assert "sortable" in table["classes"]


def test_items_of_a_list_go_on_in_indented_lines(converter):
    ((_, _, items), (_, _, rest)) = converter.convert("- a\n  b\n- c\n\nd")
    assert [item.astext() for item in items] == ["a\nb", "c"]
    assert rest.astext() == "d"


def test_items_hold_blocks_and_lists(converter):
    text = "- a:\n  - b, which\n    goes on\n  - c\n- d:\n\n  ```sh\n  make\n    test\n  ```\n\n- e"
    ((_, _, items),) = converter.convert(text)
    tags = [[child.tagname for child in item] for item in items]
    assert tags == [["paragraph", "bullet_list"], ["paragraph", "literal_block"], ["paragraph"]]
    assert [item.astext() for item in items[0][1]] == ["b, which\ngoes on", "c"]
    assert items[1][1].astext() == "make\n  test"


@pytest.mark.parametrize(
    "text",
    [
        "> a quote",
        "1. first",
        "- a\n  > a quote",
        "- a\n  # a heading",
        "- a\n1. b",
        "    code",
        "<div>",
        "a\n\n---",
        "| a | b |\n|---|---|\n| c |",
        "| a | b |\n| c | d |",
        "```sh\nno end",
        "[a](missing.md)",
        "[a][b]",
        "![](results/w2.png)",
        "![figure](results/missing.png)",
    ],
)
def test_other_syntax_is_an_error(converter, text):
    with pytest.raises(markdown.MarkdownError):
        converter.convert(text)


FILES = [*sorted((ROOT / "benchmarks").rglob("*.md")), ROOT / "CHANGELOG.md", ROOT / "examples/large/README.md"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_each_file_has_a_page(path):
    stubs = "\n".join(page.read_text() for page in (ROOT / "docs").rglob("*.rst"))
    assert re.search(rf"^\.\. markdown:: (\.\./)+{re.escape(path.relative_to(ROOT).as_posix())}$", stubs, re.MULTILINE)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_files_of_the_repository_are_in_the_subset(path):
    place = markdown.Place(path, ROOT / "docs" / "benchmarks" / "index.rst", "x", PAGES)
    blocks = markdown.Converter(place).convert(path.read_text())
    words = set(" ".join(node.astext() for *_, node in blocks).split())
    assert blocks[0][0] == 1
    assert not {word for word in words if word.startswith(("```", "|---", "]("))}


def test_gallery_runs_again_if_the_package_changed(tmp_path, monkeypatch):
    (tmp_path / "basics").mkdir()
    script = tmp_path / "basics" / "plot_a.py.md5"
    script.write_text("0")
    monkeypatch.setattr(gallery, "package_hash", lambda: "first")
    assert gallery.forget_outdated(tmp_path) == 1  # made with unknown code
    script.write_text("0")
    assert gallery.forget_outdated(tmp_path) == 0
    assert script.exists()
    monkeypatch.setattr(gallery, "package_hash", lambda: "second")
    assert gallery.forget_outdated(tmp_path) == 1
    assert not script.exists()


def test_hash_of_the_package_depends_on_its_code(tmp_path, monkeypatch):
    (tmp_path / "neuralot").mkdir()
    module = tmp_path / "neuralot" / "a.py"
    module.write_text("a = 1")
    monkeypatch.setattr(gallery, "ROOT", tmp_path)
    before = gallery.package_hash()
    module.write_text("a = 2")
    assert gallery.package_hash() != before


def test_scripts_that_are_not_listed_come_last():
    order = gallery.TeachingOrder(["plot_b.py", "plot_a.py"])
    assert sorted(["plot_d.py", "plot_a.py", "plot_c.py", "plot_b.py"], key=order) == [
        "plot_b.py",
        "plot_a.py",
        "plot_c.py",
        "plot_d.py",
    ]


def test_thumbnails_are_parts_of_figures(tmp_path):
    (tmp_path / "images" / "thumb").mkdir(parents=True)
    figure = Image.new("RGB", (1000, 300), "red")
    figure.paste("blue", (500, 0, 1000, 300))
    figure.save(tmp_path / "images" / "sphx_glr_plot_x_002.png")
    gallery.crop_thumbnails(tmp_path, {"x": (2, 50, 0, 90, 100)})
    with Image.open(tmp_path / "images" / "thumb" / "sphx_glr_plot_x_thumb.png") as thumbnail:
        assert thumbnail.size == (400, 280)
        assert {colour for _, colour in thumbnail.getcolors()} == {(0, 0, 255), (255, 255, 255)}  # with a margin


def test_search_knows_american_spellings():
    text = "Colour transfer, colourised grey digits, normalisation; an optimiser makes noise, otherwise it rises"
    assert spelling.american(text) == ["color", "colorized", "gray", "normalization", "optimizer"]


def test_name_of_a_file_written_as_code_becomes_a_reference():
    from types import SimpleNamespace

    from docutils import nodes
    from docutils.utils import new_document

    names = ["benchmarks/README.md", "benchmarks/TRIED.md#a-step", "README.md"]
    document = new_document("")
    document += nodes.paragraph("", "", *(nodes.literal(name, name) for name in names))
    app = SimpleNamespace(config=SimpleNamespace(markdown_pages=PAGES), env=SimpleNamespace(docname="x"))
    markdown.link_names(app, document)
    assert [node.get("reftarget") for node in document[0]] == ["bench-readme", "bench-tried-a-step", None]
    assert document.astext() == "".join(names)
