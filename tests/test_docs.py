"""The site: it builds without a warning, every method has a page, and links lead somewhere."""

import os
import re
import subprocess
import sys
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest

from fedrec.config.methods import METHODS
from fedrec.settings import preset_values

ROOT = Path(__file__).parents[1]


class Links(HTMLParser):
    """What a page links to or shows, and the places in it that a link may name."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.targets: set[str] = set()
        self.ids: set[str] = set()
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" and value:
                self.ids.add(value)
            elif name in ("href", "src") and value and tag != "link":
                self.targets.add(value)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site. A warning would fail the build."""
    folder = tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "sphinx", "--fail-on-warning", "--keep-going", "--quiet"]
    build += ["-b", "html", "-d", str(folder / "trees"), str(ROOT / "docs"), str(folder / "html")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(build, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "html"


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Links]:
    return {page: Links(page) for page in sorted(site.rglob("*.html"))}


def letters(text: str) -> str:
    """Text without what typography changes."""
    return re.sub(r"\W+", "", text)


def text_of(page: Path) -> str:
    return letters(unescape(re.sub(r"<[^>]+>", "", page.read_text(encoding="utf-8"))))


@pytest.mark.parametrize("group", METHODS)
def test_every_method_has_a_page_with_all_its_fields(site: Path, group: str) -> None:
    for kind, method in METHODS[group].items():
        if method.is_plug_in:
            continue
        text = text_of(site / "generated" / "methods" / group / f"{kind}.html")
        for name, info in vars(method.type)["__pydantic_fields__"].items():
            assert name in text and letters(info.description) in text
        for name in preset_values(method.type, "paper"):
            assert name in text.partition("presetpaper")[2]


def test_links_within_the_site_lead_somewhere(pages: dict[Path, Links]) -> None:
    broken = []
    for page, links in pages.items():
        for target in links.targets:
            if re.match(r"[a-z]+:", target) or target == "#":
                continue
            path, anchor = urldefrag(re.sub(r"\?[^#]*", "", target))
            there = (page.parent / unquote(path)).resolve() if path else page
            if not there.exists() or (
                anchor and there.suffix == ".html" and unquote(anchor) not in pages[there].ids
            ):
                broken.append(f"{page.name}: {target}")
    assert not broken


def test_every_page_of_the_folder_is_in_the_site(site: Path) -> None:
    written = (ROOT / "docs").rglob("*.md")
    for page in written:
        assert (site / page.relative_to(ROOT / "docs").with_suffix(".html")).exists()
