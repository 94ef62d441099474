"""The site: it builds without a warning, every method has a page, and links lead somewhere."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest

from fedrec.config.methods import METHODS
from fedrec.config.study import Study
from fedrec.data.dataset import Dataset
from fedrec.plan.blocks import FIGURES, TABLES, Scorecard
from fedrec.plan.grid import Tuning
from fedrec.settings import preset_values
from tests.bench.test_bench import benchmark, result
from tests.copies import share_compiled
from tests.in_small import environment, small_project
from tests.warm import Warm

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


def test_every_error_has_a_remedy(site: Path) -> None:
    page = (site / "generated" / "errors.html").read_text(encoding="utf-8")
    for kind in ("ConfigError", "DataError", "RecordError", "Diverged", "Interrupted"):
        assert f">{kind}<" in page
    rows = re.findall(r"<tr.*?</tr>", page, flags=re.DOTALL)
    bare = [row for row in rows if re.search(r"<td>\s*(<p>\s*</p>)?\s*</td>", row)]
    assert len(rows) > 80
    assert not bare, "end the message with what to do, or add the remedy to docs/_errors.py"


def test_the_reference_has_every_key_of_a_config_with_its_meaning(site: Path) -> None:
    page = text_of(site / "generated" / "configuration.html")
    for section in (Study, Dataset, Scorecard, Tuning, *TABLES, *FIGURES):
        for name, info in section.model_fields.items():
            assert letters(name) in page and letters(info.description or "") in page
    html = (site / "generated" / "configuration.html").read_text(encoding="utf-8")
    assert not re.search(r"<td>\s*(<p>\s*</p>)?\s*</td>", html)


def test_every_page_of_the_folder_is_in_the_site(site: Path) -> None:
    written = (ROOT / "docs").rglob("*.md")
    for page in written:
        assert (site / page.relative_to(ROOT / "docs").with_suffix(".html")).exists()


# Commands of the pages that no test can run, by how they begin, and why.
NOT_RUN = {
    ".venv/bin/pip uninstall --yes torch": "would take PyTorch away from the tests",
}
# Added to commands: plans of what takes hours or a network, or is run by another test.
PLANNED = {
    "snakemake": "--dry-run --quiet",  # tests/workflow, test_published.py and tests/slurm run it
    "make demo": "--dry-run",  # tests/test_demo.py runs it
    "make reproduce": "--dry-run",
    "FEDREC_MIRROR=/that/directory make reproduce": "--dry-run",
    # tests/test_plugins.py installs the example. The rest is installed already, at these versions.
    "pip install": "--dry-run --no-deps --no-index --no-build-isolation",
    ".venv/bin/pip install": "--dry-run --no-deps --no-index",
}
PAGES = ["README.md", *sorted(f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(bash|python|yaml)\n(.*?)^```", flags=re.MULTILINE | re.DOTALL)


def blocks(page: str) -> list[tuple[str, str]]:
    """The language and the text of each block of code."""
    return FENCE.findall((ROOT / page).read_text(encoding="utf-8"))


def commands(text: str) -> list[str]:
    """Each command of a block, on one line and without its comment."""
    joined = text.replace("\\\n", " ")
    lines = (re.sub(r"(^|\s)#.*", "", line).strip() for line in joined.splitlines())
    return [" ".join(line.split()) for line in lines if line]


def reason(command: str) -> str | None:
    return next((why for start, why in NOT_RUN.items() if command.startswith(start)), None)


def in_short(command: str) -> str:
    """What is run in place of a command: some are only planned, and a GPU is not needed."""
    options = [more for start, more in PLANNED.items() if command.startswith(start)]
    return " ".join([command.replace("--device cuda", "--device cpu"), *options])


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of commands that start at once."""
    with Warm(tmp_path_factory.mktemp("warm")) as warm:
        yield warm.folder


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("template")
    small_project(folder)
    benchmark(result(2.0)).write(folder / "before.json")
    return folder


@pytest.fixture
def project(template: Path, tmp_path: Path) -> Path:
    """What a user has, for one page to change."""
    folder = shutil.copytree(template, tmp_path / "fedrec", symlinks=True)
    share_compiled(folder / "fedrec" / "kernels")
    return folder


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)])
def test_what_a_page_shows_works(page: str, project: Path, warm: Path) -> None:
    """Files that a page shows are written, and its commands are run one after another."""

    def run(*command: str) -> None:
        ran = subprocess.run(
            command,
            cwd=project,
            env=environment(project, warm),
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert ran.returncode == 0, f"{command[-1]}\n{ran.stdout}{ran.stderr}"

    for language, text in blocks(page):
        named = re.match(r"# (\S+\.(?:py|yaml))\n", text)
        if named:
            (project / named[1]).write_text(text.removeprefix(named[0]), encoding="utf-8")
        elif language == "python":
            run("python", "-c", text)
        elif language == "bash":
            for command in filter(lambda one: reason(one) is None, commands(text)):
                run("bash", "-c", in_short(command))


def test_each_reason_not_to_run_a_command_is_of_one_that_is_there() -> None:
    there = [
        command
        for page in PAGES
        for language, text in blocks(page)
        if language == "bash"
        for command in commands(text)
    ]
    starts = [*NOT_RUN, *PLANNED]
    assert not [start for start in starts if not any(c.startswith(start) for c in there)]
