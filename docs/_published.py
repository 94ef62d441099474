"""The published tables as pages, and the guide to the configuration."""

from pathlib import Path

import _links

DOCS = Path(__file__).parent
ROOT = DOCS.parent
TITLES = {"tables": "Published tables", "arena": "The arena"}


def pages() -> dict[str, str]:
    """A page for each published table, and one for each study that lists them."""
    found = {}
    for folder, here in _links.TABLES.items():
        tables = sorted((ROOT / folder).glob("*.md"))
        found |= {f"{here}/{path.name}": path.read_text(encoding="utf-8") for path in tables}
        listed = "\n".join(path.stem for path in tables)
        found[f"{here}/index.md"] = (
            f"# {TITLES[here]}\n\nAll tables made from the published records. A table says how "
            f"many of its runs are missing.\n\n```{{toctree}}\n:maxdepth: 1\n\n{listed}\n```\n"
        )
    for source, page in _links.PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        made = DOCS / page
        found[str(made.relative_to(DOCS / "generated"))] = _links.turned(
            text, (ROOT / source).parent, made.parent
        )
    return found
