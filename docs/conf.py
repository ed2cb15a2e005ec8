"""Sphinx settings. The build needs no network: no intersphinx, and the gallery makes its own data."""

from importlib.metadata import version as installed_version

project = "neuralot"
author = "neuralot developers"
copyright = "2026, neuralot developers"
release = installed_version("neuralot")
version = ".".join(release.split(".")[:2])

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx-mathjax-offline",
    "numpydoc",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
# Single backticks in docstrings are code.
default_role = "literal"
templates_path = ["_templates"]
exclude_patterns = ["_templates"]
# A docstring may list a reference at its end without pointing at it from the text.
suppress_warnings = ["ref.citation"]

autosummary_generate = True
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the Parameters sections say it in words
numpydoc_show_class_members = False  # _templates/autosummary/class.rst does it
# Parameters that do not exist or stand in another order than in the signature fail the build.
numpydoc_validation_checks = {"PR02", "PR03"}

SECTIONS = ["basics", "why", "images", "adaptation", "science", "advanced"]
sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "subsection_order": ["../examples/" + name for name in SECTIONS],
    "filename_pattern": r"/plot_",
    "image_scrapers": ("matplotlib",),
    "abort_on_example_error": True,
    "backreferences_dir": "generated/backreferences",
    "doc_module": ("neuralot",),
    "download_all_examples": False,
    "remove_config_comments": True,
    "show_memory": False,
}

html_theme = "pydata_sphinx_theme"
html_title = "neuralot"
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "navigation_with_keys": False,
    "show_prev_next": False,
    "secondary_sidebar_items": ["page-toc"],
}
html_sidebars = {"index": [], "user_guide": [], "extending": []}


def skip_foreign(app, what, name, obj, skip, options):
    """Leave out members inherited from torch or scikit-learn: their docstrings are not ours to build."""
    home = getattr(getattr(obj, "fget", obj), "__module__", None)
    return True if home and home.split(".")[0] != "neuralot" else None


def setup(app):
    app.connect("autodoc-skip-member", skip_foreign)
