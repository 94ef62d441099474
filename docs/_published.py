"""The published tables as pages, and the guide to the configuration."""

from pathlib import Path

import _links

DOCS = Path(__file__).parent
ROOT = DOCS.parent


def pages() -> dict[str, str]:
    """A page for each table of `results/published`, and one that lists them."""
    folder = ROOT / _links.TABLES
    tables = {path.name: path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.md"))}
    found = {f"tables/{name}": text for name, text in tables.items()}
    listed = "\n".join(name.removesuffix(".md") for name in tables)
    found["tables/index.md"] = (
        "# Published tables\n\nAll tables made from the published records. A table says how many "
        f"of its runs are missing.\n\n```{{toctree}}\n:maxdepth: 1\n\n{listed}\n```\n"
    )
    for source, page in _links.PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        made = DOCS / page
        found[str(made.relative_to(DOCS / "generated"))] = _links.turned(
            text, (ROOT / source).parent, made.parent
        )
    return found
