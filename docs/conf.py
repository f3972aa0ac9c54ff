"""How Sphinx makes the manual: `make docs`. It needs nothing from the network."""

from __future__ import annotations

import ginkgo

project = "Ginkgo"
author = "The Ginkgo developers"
copyright = "the Ginkgo developers, MIT license"
version = release = ginkgo.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
nitpicky = False

html_theme = "furo"
html_title = f"Ginkgo {release}"
html_theme_options = {"light_css_variables": {"font-stack": "sans-serif"}}

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
