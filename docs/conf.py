"""Sphinx settings. The build needs no network: no intersphinx, and the gallery makes its own data."""

import os
import sys
from importlib.metadata import version as installed_version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))
from gallery import TeachingOrder

project = "neuralot"
author = "neuralot developers"
copyright = "2026, neuralot developers"
release = installed_version("neuralot")
version = ".".join(release.split(".")[:2])

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx-mathjax-offline",
    "matplotlib.sphinxext.plot_directive",
    "numpydoc",
    "sphinx_copybutton",
    "sphinx_design",
    "gallery",  # docs/_ext
    "markdown_pages",  # docs/_ext
    "spelling",  # docs/_ext
    "sphinx_gallery.gen_gallery",
]
# Single backticks in docstrings are code.
default_role = "literal"
templates_path = ["_templates"]
exclude_patterns = ["_templates", "_ext"]
# A docstring may list a reference at its end without pointing at it from the text.
suppress_warnings = ["ref.citation"]

autosummary_generate = True
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the Parameters sections say it in words
numpydoc_show_class_members = False  # _templates/autosummary/class.rst does it
# Parameters that do not exist or stand in another order than in the signature fail the build.
numpydoc_validation_checks = {"PR02", "PR03"}

# Markdown files of the repository that are pages, with the prefix of their labels (docs/_ext/markdown_pages.py).
RESULTS = sorted(path.stem for path in (Path(__file__).parents[1] / "benchmarks" / "results").glob("*.md"))
markdown_pages = {
    "CHANGELOG.md": "changelog",
    "benchmarks/README.md": "bench-readme",
    "benchmarks/TRIED.md": "bench-tried",
    "benchmarks/papers.md": "bench-papers",
    "benchmarks/reliability.md": "bench-reliability",
    "benchmarks/results": "bench-results",
    "benchmarks/results/w2.csv": "bench-results-w2",
    "benchmarks/tabular.md": "bench-tabular",
    "examples/large/README.md": "long-examples",
    **{f"benchmarks/results/{name}.md": f"bench-results-{name.replace('_', '-')}" for name in RESULTS},
}

# Code in pages: a button copies the input without prompts, and no output.
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

# Figures that a page makes itself, with `.. plot::`.
plot_include_source = True
plot_html_show_source_link = False
plot_html_show_formats = False
plot_formats = [("png", 144)]
plot_rcparams = {"savefig.bbox": "tight"}

# Sections of the gallery, and their scripts in an order that teaches; scripts that are not listed come last.
ORDER = {
    "basics": ["first_map", "did_it_work", "map_plan_barycentre", "save_and_reuse", "weights"],
    "why": ["spurious_training", "recovery", "what_eps_does", "convergence"],
    "images": ["colour_transfer", "palettes", "rgba_grey", "stain", "colourisation"],
    "adaptation": [
        *("pipeline", "units", "unbalanced", "grid_search", "model_selection", "regression", "stacked_samples", "skada")
    ],
    "science": ["perturbation", "doses", "time_points", "trajectory", "generation"],
    "advanced": ["own_cost", "own_networks", "torch_core", "out_of_core", "callbacks", "gpu"],
}
sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "subsection_order": [*("../examples/" + name for name in ORDER), "*"],
    "within_subsection_order": TeachingOrder([f"plot_{name}.py" for names in ORDER.values() for name in names]),
    "filename_pattern": r"/plot_",
    "ignore_pattern": r"__init__\.py|/(large|distributed)/",  # they need data, hours or torchrun
    "image_scrapers": ("gallery.figures",),
    "reset_modules": ("matplotlib", "seaborn", "gallery.plain_warnings"),
    "matplotlib_animations": (True, "jshtml"),
    "parallel": min(os.cpu_count() or 1, 4),
    "abort_on_example_error": True,
    "backreferences_dir": "generated/backreferences",
    "doc_module": ("neuralot",),
    "download_all_examples": False,
    "remove_config_comments": True,
    "show_memory": False,
    "write_computation_times": False,
    "show_signature": False,
}

# Parts of figures that are thumbnails: number of the figure; left, top, right, bottom edge in per cent.
gallery_thumbnails = {
    "did_it_work": (1, 68, 0, 100, 100),
    "map_plan_barycentre": (1, 0, 0, 66, 87),
    "save_and_reuse": (1, 0, 0, 51, 86),
    "weights": (1, 0, 0, 66, 90),
    "spurious_training": (2, 0, 0, 66, 100),
    "recovery": (1, 0, 49, 62, 100),
    "what_eps_does": (1, 0, 0, 38, 49),
    "convergence": (1, 0, 0, 48, 32),
    "palettes": (1, 0, 0, 50, 83),
    "rgba_grey": (1, 0, 0, 66, 43),
    "stain": (1, 0, 0, 40, 100),
    "colourisation": (1, 0, 8, 33, 56),
    "pipeline": (1, 0, 0, 100, 61),
    "regression": (1, 0, 0, 53, 100),
    "stacked_samples": (1, 0, 0, 41, 100),
    "perturbation": (1, 0, 0, 60, 100),
    "doses": (1, 35, 0, 100, 100),
    "time_points": (1, 41, 0, 78, 100),
    "trajectory": (2, 0, 0, 50, 100),
    "generation": (1, 0, 0, 50, 100),
    "own_cost": (1, 0, 0, 66, 100),
    "torch_core": (1, 0, 0, 51, 93),
    "callbacks": (1, 0, 0, 55, 100),
}

html_theme = "pydata_sphinx_theme"
html_title = "neuralot"
html_favicon = "_static/favicon.svg"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_js_files = [(name, {"defer": "defer"}) for name in ("tables.js", "figures.js")]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "logo": {
        "image_light": "_static/logo.svg",
        "image_dark": "_static/logo-dark.svg",
        "alt_text": "neuralot, to the start page",
    },
    "navbar_align": "left",
    "header_links_before_dropdown": 5,  # get started, guide, gallery, API, benchmarks; the rest is under More
    "search_bar_text": "Search the documentation",
    "navigation_with_keys": False,
    "show_toc_level": 2,
    "secondary_sidebar_items": {"**": ["page-toc"], "index": []},
    "footer_start": ["copyright"],
    "footer_end": [],
}
html_context = {"default_mode": "auto"}  # light or dark as the reader's system is
MORE = ("theory", "comparison", "extending", "long_examples", "faq", "glossary", "changelog", "cite")
html_sidebars = {name: [] for name in ("index", "get_started", *MORE)}


def skip_foreign(app, what, name, obj, skip, options):
    """Leave out members inherited from torch or scikit-learn: their docstrings are not ours to build."""
    home = getattr(getattr(obj, "fget", obj), "__module__", None)
    return True if home and home.split(".")[0] != "neuralot" else None


def link_neighbours(app, pagename, templatename, context, doctree):
    """Show the links to the previous and the next page where pages are read one after the other."""
    context["theme_show_prev_next"] = pagename == "get_started" or pagename.startswith("guide/")


def setup(app):
    app.connect("autodoc-skip-member", skip_foreign)
    app.connect("html-page-context", link_neighbours)
