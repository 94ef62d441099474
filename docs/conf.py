"""How Sphinx builds the site: `make docs`. Pages about the code are generated from it first."""

import sys
from pathlib import Path

DOCS = Path(__file__).parent
sys.path[:0] = [str(DOCS), str(DOCS.parent)]

import _generate  # noqa: E402
import _links  # noqa: E402

from fedrec import __version__  # noqa: E402

project = "fedrec"
author = copyright = "The fedrec developers"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_*"]

myst_heading_anchors = 3
myst_enable_extensions = ["attrs_inline", "colon_fence", "deflist"]

smartquotes = False  # they would turn --option into –option
default_role = "code"  # single backticks of docstrings
toc_object_entries_show_parents = "hide"

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
python_use_unqualified_type_names = True

html_theme = "furo"
html_title = f"fedrec {release}"
html_copy_source = False
html_show_sphinx = False
html_static_path = ["_static"]
html_css_files = ["site.css"]
# The explorer leads to the file of records.
EXPLORER = DOCS.parent / _links.EXPLORER
html_extra_path = [str(EXPLORER), str(EXPLORER.with_name("records.jsonl.gz"))] * EXPLORER.exists()


def setup(app):  # type: ignore[no-untyped-def]
    """Generate pages before Sphinx looks for them, and turn links that leave the site."""
    _generate.write(DOCS / "generated")
    app.connect("source-read", _links.turn)
