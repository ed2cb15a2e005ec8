"""What the gallery needs beyond sphinx-gallery: order, a cache that knows the package, animations, thumbnails."""

from __future__ import annotations

import hashlib
import re
import warnings
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
STAMP = "package.sha256"
SIZE = (400, 280)  # pixels of a thumbnail, as sphinx-gallery makes them


class TeachingOrder:
    """Key that sorts the scripts of a section as a list does; scripts that are not listed come last, by name."""

    def __init__(self, names: list[str]) -> None:
        self.names = names

    def __call__(self, name: str) -> tuple[int, str]:
        return (self.names.index(name) if name in self.names else len(self.names), name)

    def __repr__(self) -> str:  # sphinx-gallery compares it between builds
        return f"TeachingOrder({self.names})"


def package_hash() -> str:
    """Return a hash of the Python code of the package."""
    total = hashlib.sha256()
    for path in sorted((ROOT / "neuralot").rglob("*.py")):
        total.update(path.relative_to(ROOT).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return total.hexdigest()


def forget_outdated(folder: Path) -> int:
    """Remove the sphinx-gallery's hashes of scripts in `folder` that ran with other code of the package.

    sphinx-gallery runs a script again only if the script has changed. Without its hash it runs in any case. Returns the
    number of hashes that were removed.
    """
    stamp, current = folder / STAMP, package_hash()
    if stamp.is_file() and stamp.read_text() == current:
        return 0
    outdated = list(folder.rglob("*.md5"))
    for path in outdated:
        path.unlink()
    folder.mkdir(parents=True, exist_ok=True)
    stamp.write_text(current)
    return len(outdated)


def figures(block: Any, block_vars: dict[str, Any], gallery_conf: dict[str, Any], **options: Any) -> str:
    """Scraper of matplotlib's figures whose animations need no network and have a text for screen readers."""
    from sphinx_gallery.scrapers import matplotlib_scraper

    rst = matplotlib_scraper(block, block_vars, gallery_conf, **options)
    # the icons of the buttons are in the theme
    rst = re.sub(r"<link rel=\"stylesheet\"\s+href=\"https://[^\"]*font-awesome[^\"]*\">", "", rst)
    return re.sub(r"<img id=\"_anim_img", '<img alt="Animation of the example" id="_anim_img', rst)


def crop_thumbnails(folder: Path, boxes: dict[str, tuple[int, int, int, int, int]]) -> None:
    """Make thumbnails of parts of figures, since a whole row of panels would be too small to see.

    A box has the number of the figure, and the left, top, right and bottom edge of the part in per cent.
    """
    from PIL import Image, ImageOps

    for name, (number, *box) in boxes.items():
        (path,) = folder.rglob(f"sphx_glr_plot_{name}_{number:03d}.png")
        with Image.open(path) as figure:
            edges = [edge * size / 100 for edge, size in zip(box, 2 * figure.size, strict=True)]
            part = figure.convert("RGB").crop(tuple(map(round, edges)))
            part = ImageOps.pad(part, SIZE, Image.Resampling.LANCZOS, color="white")
            part.save(path.parent / "thumb" / f"sphx_glr_plot_{name}_thumb.png")


def name_thumbnails(app: Any, doctree: Any) -> None:
    """Give each thumbnail the title of its script, which follows it, as the text for screen readers."""
    from docutils import nodes

    thumbnails = []
    for node in doctree.findall(lambda node: isinstance(node, nodes.image | nodes.raw)):
        if isinstance(node, nodes.image):
            if "_thumb." in node["uri"] and not node.get("alt"):
                thumbnails.append(node)
        elif match := re.search(r"sphx-glr-thumbnail-title\">(.*?)</div>", node.astext(), re.DOTALL):
            for image in thumbnails:
                image["alt"] = f"Figure of the example: {match[1].strip()}"
            thumbnails = []


def plain_warnings(gallery_conf: dict[str, Any], name: str) -> None:
    """Show warnings without the path of the script, which is that of the machine that built the site."""
    warnings.formatwarning = lambda message, category, *place: f"{category.__name__}: {message}\n"


def setup(app: Any) -> dict[str, Any]:
    # before and after sphinx-gallery, which connects to the same event with the usual priority of 500
    folder = Path(app.srcdir) / "auto_examples"
    app.connect("builder-inited", lambda app: forget_outdated(folder), priority=400)
    app.add_config_value("gallery_thumbnails", {}, "")
    app.connect("builder-inited", lambda app: crop_thumbnails(folder, app.config.gallery_thumbnails), priority=600)
    app.connect("doctree-read", name_thumbnails)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
