"""How Sphinx builds the site: `make docs`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ.setdefault("TFMINIMIZE_QUIET", "1")

import matplotlib.pyplot as plt

import tfminimize

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from inventories import write_inventories

project = "tfminimize"
author = "The tfminimize developers"
copyright = "The tfminimize developers, Apache License 2.0"
version = release = tfminimize.__version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = [
    "gallery/*.ipynb",
    "gallery/*.py",
    "**/sg_execution_times.rst",
    "sg_execution_times.rst",
]
suppress_warnings = [
    "config.cache"
]  # of functions in sphinx_gallery_conf, which only means that pages are written anew

# Pages.
myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

# Docstrings: a name in single backticks is a link wherever it can be one.
default_role = "py:obj"
autosummary_generate = True
templates_path = ["_templates"]
autodoc_typehints = "none"
toc_object_entries_show_parents = "hide"
numpydoc_show_class_members = False
numpydoc_xref_param_type = False

# Names of other packages. The inventories are made from the packages that are installed, so no network is needed.
intersphinx_mapping = write_inventories(HERE / "_build" / "inventories")
intersphinx_disabled_reftypes = ["std:*"]


def figures_without_background(*_: object) -> None:
    """Let the page shine through, be it light or dark."""
    plt.rcParams["savefig.transparent"] = True


sphinx_gallery_conf = {
    "examples_dirs": "../examples/gallery",
    "gallery_dirs": "gallery",
    "filename_pattern": r"/plot_",
    "abort_on_example_error": True,
    "remove_config_comments": True,
    "reset_modules": ("matplotlib", figures_without_background),
    "image_srcset": ["2x"],
    "download_all_examples": False,
    "show_memory": False,
    "show_signature": False,
    "min_reported_time": 3600,
}

html_theme = "pydata_sphinx_theme"
html_title = "tfminimize"
html_favicon = "_static/favicon.svg"
html_context = {"default_mode": "auto"}
html_static_path = ["_static"]
html_css_files = ["tfminimize.css"]
html_copy_source = False
html_show_sourcelink = False
# Pages without others below them, for which the sidebar would be empty.
_ALONE = (
    "index",
    "install",
    "user-guide",
    "benchmarks",
    "scipy-parity",
    "how-it-works",
    "why",
    "contributing",
)
html_sidebars = {page: [] for page in _ALONE}
html_theme_options = {
    "logo": {
        "image_light": "_static/favicon.svg",
        "image_dark": "_static/favicon.svg",
        "text": "tfminimize",
    },
    "navbar_align": "left",
    "header_links_before_dropdown": 6,
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "show_prev_next": False,
    "footer_start": ["copyright"],
    "footer_end": [],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
