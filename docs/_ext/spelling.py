"""American spellings of the words of a page, as keywords that the search finds."""

from __future__ import annotations

import re
from typing import Any

STEMS = {"colour": "color", "neighbour": "neighbor", "behaviour": "behavior", "grey": "gray", "centre": "center"}
VERBS = "color general initial linear maxim minim normal optim penal random regular standard vector visual"
STEMS |= {f"{stem}is": f"{stem}iz" for stem in VERBS.split()}  # after colour: colouris becomes coloris, then coloriz
WORD = re.compile(rf"[a-z]*(?:{'|'.join(STEMS)})[a-z]*")


def american(text: str) -> list[str]:
    """Return the American spellings of the British words of a text, sorted."""
    words = set(WORD.findall(text.lower()))
    for british, spelling in STEMS.items():
        words = {word.replace(british, spelling) for word in words}
    return sorted(words)


def add_keywords(app: Any, doctree: Any) -> None:
    """Add the American spellings to a page, where readers do not see them."""
    from docutils import nodes

    if words := american(doctree.astext()):
        doctree.insert(0, nodes.meta(name="keywords", content=", ".join(words)))


def setup(app: Any) -> dict[str, Any]:
    app.connect("doctree-read", add_keywords)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
