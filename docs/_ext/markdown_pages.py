"""Directive ``markdown``: a Markdown file of the repository as a page of the site.

It reads the subset of Markdown that these files use: headings, paragraphs, lists, tables, code blocks, images,
links, inline code and emphasis. Other syntax is an error, so that nothing is shown in a form that was not meant.

``markdown_pages`` of conf.py maps paths in the repository to labels. The first heading of a file gets the label, each
other heading the label, a hyphen and its anchor on GitHub: ``bench-readme-ot-net`` is a target of ``:ref:``. A link to
a file of the mapping becomes a reference to its page, with the title of the page where the text is the name of the
file. A link to another file of the repository becomes plain text. Wherever a page or a docstring names such a file as
code, such as ``benchmarks/README.md`` or ``benchmarks/README.md#ot-net``, the name becomes a reference as well.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.util.docutils import SphinxDirective

ROOT = Path(__file__).parents[2]

INLINE = re.compile(
    r"\\(?P<escaped>[\\`*_{}\[\]()#+\-.!|<>])"
    r"|(?P<ticks>`+)(?P<code>.+?)(?P=ticks)(?!`)"
    r"|!\[(?P<alt>[^\]]*)\]\((?P<image>[^)\s]+)\)"
    r"|\[(?P<text>[^\[\]]+)\](?:\((?P<url>[^)\s]+)\)|\[(?P<name>[^\[\]]*)\])?"
    r"|<(?P<address>https?://[^>\s]+)>"
    r"|\*\*(?P<strong>(?!\s).+?(?<!\s))\*\*"
    r"|\*(?P<emphasis>(?![\s*])[^*]*[^\s*])\*(?!\*)",
    re.DOTALL,
)
FENCE = re.compile(r"^```(\w*)$")
HEADING = re.compile(r"^(#{1,6}) (.+)$")
ITEM = re.compile(r"^- +(.*)$")
DEFINITION = re.compile(r"^\[([^\]]+)\]:\s*(\S+)$")
MAX_NUMBER = 40  # characters of a number with its range
# block quotes, ordered lists, indented code, rules, HTML
UNSUPPORTED = re.compile(r"^(>|\d+[.)] | {2,}\S|\t|\* |\+ |~~~|-{3,}$|={3,}$|<[a-zA-Z/!])")

INTERRUPTS = re.compile(r"^(>|1[.)] |<[a-zA-Z/!])")  # what begins a block inside a paragraph


class MarkdownError(ValueError):
    """Syntax outside of the subset, or a link without a target."""


@dataclass
class Place:
    """Where a file is read from, where its page is, and which files have pages."""

    path: Path  # of the Markdown file
    document: Path  # of the page's source
    docname: str
    pages: dict[str, str]


def slug(heading: str) -> str:
    """Return the anchor that GitHub gives to a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def split_row(line: str) -> list[str]:
    """Return the cells of a table row; a bar inside a cell is written as ``\\|``."""
    if not line.endswith("|"):
        raise MarkdownError(f"a row of a table has to end with a bar: {line!r}")
    return [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line.strip()[1:-1])]


class Converter:
    """Converter of one file to nodes of docutils."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.definitions: dict[str, str] = {}

    # blocks

    def convert(self, text: str) -> list[tuple[int, str, nodes.Node]]:
        """Return the blocks of a text as (level, heading, node); the level is 0 for a block that is no heading."""
        blocks = self._split(text)  # all of them first, because the definitions of links may be at the end
        result: list[tuple[int, str, nodes.Node]] = []
        for kind, content in blocks:
            if kind == "heading":
                level, heading = content
                result.append((level, heading, nodes.title(heading, "", *self.inline(heading))))
            else:
                result.append((0, "", self._block(kind, content)))
        return result

    def _block(self, kind: str, content: Any) -> nodes.Node:
        if kind == "heading":
            raise MarkdownError(f"a heading in a list: {content[1]!r}")
        return getattr(self, "_" + kind)(content)

    def _split(self, text: str) -> list[tuple[str, Any]]:
        """Return the blocks as (kind, content), and collect the definitions of links."""
        blocks: list[tuple[str, Any]] = []
        lines = text.expandtabs(4).split("\n")
        position = 0
        while position < len(lines):
            line = lines[position].rstrip()
            if not line:
                position += 1
            elif match := FENCE.match(line):
                end = _index(lines, position + 1, lambda other: other.rstrip() == "```")
                if end == len(lines):
                    raise MarkdownError(f"a code block that begins with {line!r} has no end")
                blocks.append(("code", (match[1], "\n".join(lines[position + 1 : end]))))
                position = end + 1
            elif match := HEADING.match(line):
                blocks.append(("heading", (len(match[1]), match[2])))
                position += 1
            elif match := DEFINITION.match(line):
                self.definitions[match[1].lower()] = match[2]
                position += 1
            elif line.startswith("|"):
                end = _index(lines, position, lambda other: not other.startswith("|"))
                blocks.append(("table", [other.rstrip() for other in lines[position:end]]))
                position = end
            elif ITEM.match(line):
                items, position = _items(lines, position)
                blocks.append(("list", [self._split(item) for item in items]))
            elif UNSUPPORTED.match(line):
                raise MarkdownError(f"unsupported syntax: {line!r}")
            else:
                end = _index(lines, position, lambda other: not other.strip() or bool(_starts_block(other)))
                for other in lines[position + 1 : end]:
                    if INTERRUPTS.match(other):
                        raise MarkdownError(f"unsupported syntax: {other!r}")
                blocks.append(("paragraph", "\n".join(other.strip() for other in lines[position:end])))
                position = end
        return blocks

    def _code(self, content: tuple[str, str]) -> nodes.Node:
        language, text = content
        return nodes.literal_block(text, text, language=language or "text")

    def _paragraph(self, text: str) -> nodes.Node:
        return nodes.paragraph(text, "", *self.inline(text))

    def _list(self, items: list[list[tuple[str, Any]]]) -> nodes.Node:
        """Return a list; an item is a list of blocks, among them lists."""
        contents = ([self._block(*block) for block in item] for item in items)
        return nodes.bullet_list("", *(nodes.list_item("", *content) for content in contents), bullet="-")

    def _table(self, lines: list[str]) -> nodes.Node:
        rows = [split_row(line) for line in lines]
        if len(rows) < 2 or not all(re.fullmatch(r":?-+:?", cell) for cell in rows[1]):
            raise MarkdownError(f"the second row of a table has to be |---|: {lines[0]!r}")
        n_columns = len(rows[0])
        for line, row in zip(lines, rows, strict=True):
            if len(row) != n_columns:
                raise MarkdownError(f"a row of {len(row)} cells in a table of {n_columns} columns: {line!r}")
        group = nodes.tgroup("", *(nodes.colspec(colwidth=1) for _ in range(n_columns)), cols=n_columns)
        group += nodes.thead("", self._row(rows[0]))
        group += nodes.tbody("", *(self._row(row) for row in rows[2:]))
        return nodes.table("", group, classes=["sortable", "colwidths-auto"])

    def _row(self, cells: list[str]) -> nodes.Node:
        entries = []
        for cell in cells:
            entry = nodes.entry("", *([self._paragraph(cell)] if cell else []))
            if re.match(r"[-+]?\.?\d", cell) and len(cell) <= MAX_NUMBER:
                entry["classes"].append("number")  # such a cell stays on one line
            entries.append(entry)
        return nodes.row("", *entries)

    # inline

    def inline(self, text: str) -> list[nodes.Node]:
        """Return the nodes of a piece of text."""
        result: list[nodes.Node] = []
        position = 0
        for match in INLINE.finditer(text):
            result += _text(text[position : match.start()])
            result += self._span(match)
            position = match.end()
        return result + _text(text[position:])

    def _span(self, match: re.Match[str]) -> list[nodes.Node]:
        found = match.groupdict()
        if found["escaped"]:
            return _text(found["escaped"])
        if found["code"]:
            code = found["code"].replace("\n", " ").strip()
            return [nodes.literal(code, code)]
        if found["image"]:
            return [self._image(found["image"], found["alt"])]
        if found["address"]:
            return [nodes.reference("", found["address"], refuri=found["address"])]
        if found["strong"]:
            return [nodes.strong("", "", *self.inline(found["strong"]))]
        if found["emphasis"]:
            return [nodes.emphasis("", "", *self.inline(found["emphasis"]))]
        url = found["url"] or self.definitions.get((found["name"] or found["text"]).replace("\n", " ").lower())
        if url is None:
            if found["name"]:
                raise MarkdownError(f"no definition of the link {match[0]!r}")
            return [*_text("["), *self.inline(found["text"]), *_text("]")]
        return self._link(url, self.inline(found["text"]))

    def _image(self, url: str, alt: str) -> nodes.Node:
        path = (self.place.path.parent / url).resolve()
        if not alt or not path.is_file():
            raise MarkdownError(f"an image needs a file and an alternative text: {url!r}")
        return nodes.image(uri=Path(os.path.relpath(path, self.place.document.parent)).as_posix(), alt=alt)

    def _link(self, url: str, content: list[nodes.Node]) -> list[nodes.Node]:
        if re.match(r"https?://", url):
            return [nodes.reference("", "", *content, refuri=url)]
        address, _, anchor = url.partition("#")
        path = (self.place.path.parent / address).resolve() if address else self.place.path
        if not path.exists():
            raise MarkdownError(f"a link to a file that does not exist: {url!r}")
        label = self.place.pages.get(path.relative_to(ROOT).as_posix())
        if label is None:
            return content
        target = f"{label}-{anchor}" if anchor else label
        # the name of a file becomes the title of its page
        is_name = len(content) == 1 and content[0].astext() == path.name and not anchor
        inline = nodes.inline("", "", *content, classes=["std", "std-ref"])
        return [_reference(target, self.place.docname, inline, explicit=not is_name)]


def _reference(label: str, docname: str, content: nodes.Node, *, explicit: bool = True) -> nodes.Node:
    options = {"refdomain": "std", "reftype": "ref", "refexplicit": explicit, "refwarn": True}
    return addnodes.pending_xref("", content, reftarget=label, refdoc=docname, **options)


def link_names(app: Any, doctree: nodes.document) -> None:
    """Make names of files that have a page, written as code, references to it."""
    pages, docname = app.config.markdown_pages, app.env.docname
    for node in list(doctree.findall(nodes.literal)):
        name, _, anchor = node.astext().partition("#")
        if name in pages and not isinstance(node.parent, nodes.reference | addnodes.pending_xref):
            target = f"{pages[name]}-{anchor}" if anchor else pages[name]
            node.replace_self(_reference(target, docname, node.deepcopy()))


def _text(text: str) -> list[nodes.Node]:
    return [nodes.Text(text)] if text else []


def _index(lines: list[str], start: int, found: Any) -> int:
    """Return the index of the first line from `start` on for which `found` is true, or the number of lines."""
    return next((i for i in range(start, len(lines)) if found(lines[i])), len(lines))


def _starts_block(line: str) -> Any:
    return FENCE.match(line) or HEADING.match(line) or ITEM.match(line) or line.startswith("|")


def _items(lines: list[str], position: int) -> tuple[list[str], int]:
    """Return the texts of the items of the list that begins at `position`, and the position after it."""
    items: list[str] = []
    while position < len(lines):
        line = lines[position].rstrip()
        if match := ITEM.match(line):
            items.append(match[1])
        elif line.startswith("  "):
            items[-1] += "\n" + line[2:]
        elif not line:
            following = next((other for other in lines[position:] if other.strip()), "")
            if not (ITEM.match(following) or following.startswith("  ")):
                break
            items[-1] += "\n"
        else:
            raise MarkdownError(f"unsupported line in a list: {line!r}")
        position += 1
    return items, position


class Markdown(SphinxDirective):
    """``.. markdown:: path`` includes a Markdown file; the path is relative to the document."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        document = Path(self.env.doc2path(self.env.docname))
        path = (document.parent / self.arguments[0]).resolve()
        self.env.note_dependency(str(path))
        pages = self.config.markdown_pages
        label = pages.get(path.relative_to(ROOT).as_posix())
        if label is None:
            raise self.error(f"{path} is not in markdown_pages of conf.py")
        try:
            blocks = Converter(Place(path, document, self.env.docname, pages)).convert(path.read_text())
            return self._sections(blocks, label)
        except MarkdownError as error:
            raise self.error(f"{path}: {error}") from None

    def _sections(self, blocks: list[tuple[int, str, Any]], label: str) -> list[nodes.Node]:
        """Return the blocks as nested sections; the first block has to be the only heading of level 1."""
        if [level for level, *_ in blocks if level == 1] != [1] or blocks[0][0] != 1:
            raise MarkdownError("the file has to begin with its only heading of level 1")
        path: list[tuple[int, nodes.Element]] = []
        top = None
        for level, heading, node in blocks:
            if level == 0:
                path[-1][1].append(node)
                continue
            while path and path[-1][0] >= level:
                path.pop()
            name = label if level == 1 else f"{label}-{slug(heading)}"
            section = nodes.section("", node, ids=[slug(heading)], names=[name])
            self.state.document.note_explicit_target(section, section)
            if path:
                path[-1][1].append(section)
            else:
                top = section
            path.append((level, section))
        assert top is not None
        return [top]


def setup(app: Any) -> dict[str, Any]:
    app.add_config_value("markdown_pages", {}, "env")
    app.add_directive("markdown", Markdown)
    app.connect("doctree-read", link_names)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
