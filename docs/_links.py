"""Links of pages to files of the repository: turned into what the site can show.

A published table becomes its page, and the explorer opens as it is. Another file is offered for
download. A folder, which a site cannot show, stays as text.
"""

import os
import re
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent
ROOT = DOCS.parent
# Folders of published tables, and their folders of pages here.
TABLES = {
    Path("results/published/tables"): "tables",
    Path("results/arena/published/tables"): "arena",
}
# A page that the site carries along (`html_extra_path`) once `published-figures` has made it.
EXPLORER = Path("results/published/explorer.html")
# Files of the repository that are pages here.
PAGES = {Path("config/README.md"): "generated/configuration-guide.md"}
LINK = re.compile(r"(?<!!)\[([^\]\[]*)\]\(([^)#:\s]+)(#[^)\s]*)?\)")


def turn(app: Any, docname: str, source: list[str]) -> None:
    """Change the links of one page, as Sphinx reads it."""
    folder = (DOCS / docname).parent
    source[0] = turned(source[0], folder, folder)


def turned(text: str, written: Path, shown: Path) -> str:
    """`text`, whose links are seen from the folder `written`, for a page in the folder `shown`."""
    return LINK.sub(lambda found: _link(*found.groups(""), written, shown), text)


def _link(text: str, target: str, anchor: str, written: Path, shown: Path) -> str:
    path = Path(os.path.normpath(written / target))
    if path == ROOT / EXPLORER:
        address = os.path.relpath(DOCS / EXPLORER.name, shown)
        return f'<a href="{address}">{text}</a>' if path.exists() else text
    if path.is_relative_to(DOCS) or not path.exists():
        return f"[{text}]({os.path.relpath(path, shown)}{anchor})"
    inside = path.relative_to(ROOT)
    if inside.parent in TABLES and inside.suffix == ".md":
        path = DOCS / "generated" / TABLES[inside.parent] / inside.name
    elif inside in PAGES:
        path = DOCS / PAGES[inside]
    elif path.is_dir():
        return text
    else:
        return f"{{download}}`{text.strip('`')} <{os.path.relpath(path, shown)}>`"
    return f"[{text}]({os.path.relpath(path, shown)}{anchor})"
