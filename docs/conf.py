"""How `make docs` builds the pages."""

from __future__ import annotations

import logging
from importlib import metadata
from typing import Any

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx

project = "netdiffus"
author = "the netdiffus developers"
project_copyright = "the netdiffus developers, Apache-2.0"
release = metadata.version("netdiffus")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
]
# The gallery writes these beside the pages that it makes.
exclude_patterns = ["gallery", "auto_gallery/*.py", "auto_gallery/*.ipynb", "auto_gallery/*.md5"]

html_theme = "furo"
html_title = f"netdiffus {release}"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_show_sourcelink = False
html_math_renderer = "mathml"

myst_enable_extensions = ["deflist", "dollarmath"]
myst_heading_anchors = 3

default_role = "code"  # docstrings name things in single backticks
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
# What arrays hold stands in the descriptions.
autodoc_type_aliases = {"Floats": "ndarray", "Ints": "ndarray"}
autodoc_typehints_format = "short"
napoleon_attr_annotations = False
napoleon_use_ivar = True  # the fields of a data class have no entry besides
napoleon_numpy_docstring = False

sphinx_gallery_conf = {
    "examples_dirs": "gallery",
    "gallery_dirs": "auto_gallery",
    "abort_on_example_error": True,
    "download_all_examples": False,
    "min_reported_time": 0,
    "show_memory": False,
    "show_signature": False,
    "within_subsection_order": "FileNameSortKey",
    # A class that a page names is not looked up in the pages of others.
    "inspect_global_variables": False,
}
copybutton_exclude = ".linenos, .gp, .go"

logging.getLogger("netdiffus").setLevel(logging.WARNING)  # what was read goes to no page


def inline_math(self: Any, node: nodes.math) -> None:
    """MathML in the page itself: it needs no script, and can be read offline."""
    self.body.append(tex2mathml(node.astext()))
    raise nodes.SkipNode


def block_math(self: Any, node: nodes.math_block) -> None:
    """The same for a formula that stands in a line of its own."""
    self.body.append(f'<div class="math">{tex2mathml(node.astext(), as_block=True)}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.add_html_math_renderer("mathml", (inline_math, None), (block_math, None))
