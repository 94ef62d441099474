"""The site: it builds without a warning, every method has a page, and links lead somewhere."""

import os
import re
import shutil
import subprocess
import sys
from html import unescape
from html.parser import HTMLParser
from itertools import product
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest

from fedrec.config.methods import METHODS
from fedrec.config.study import Study
from fedrec.data.dataset import Dataset
from fedrec.plan.blocks import FIGURES, TABLES, Scorecard
from fedrec.plan.grid import Tuning
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


# Commands that are in the docs and are not run here, by how they begin, and why.
NOT_RUN = {
    "make demo": "tests/test_demo.py runs it",
    "make reproduce": "downloads data, and trains for hours",
    "FEDREC_MIRROR=/that/directory make reproduce": "the same, from a mirror",
    "make verify-published": "downloads data; tests/test_published.py runs it on made-up data",
    "snakemake --cores 1 published-figures": "takes a minute; tests/test_published.py runs it",
    "fedrec claim attack-mf --run": "downloads data, and trains",
    "pip install": "tests/test_plugins.py installs the package; the rest needs a network",
    ".venv/bin/pip uninstall": "takes PyTorch away",
    ".venv/bin/pip install": "needs a network, and `make` does it",
    "snakemake --executor kubernetes": "needs a cluster; docs/cluster.md says that nobody tried it",
    "snakemake --workflow-profile profiles/slurm-gpu": "needs a cluster with GPUs",
    "snakemake --workflow-profile profiles/slurm": "tests/slurm runs it",
    "snakemake --workflow-profile profiles/gpu": "needs a GPU",
    "fedrec run ml-1m": "downloads data",
    "fedrec traces ml-1m": "downloads data; tests/training/test_tracing.py runs it",
    "fedrec tune": "trains for a minute; tests/cli/test_tune.py runs it on a smaller study",
    "fedrec bench": "takes minutes; tests/bench runs it",
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
    """What is run in place of a command: Snakemake only plans."""
    return f"{command} --dry-run --quiet" if command.startswith("snakemake") else command


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of what a user has, with a file of interactions."""
    for part in (
        ".test",
        "config",
        "workflow",
        "profiles",
        "envs",
        "examples",
        "fedrec",
        "Snakefile",
    ):
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
        copy(ROOT / part, tmp_path / part)
    (tmp_path / "results").mkdir()
    shutil.copytree(ROOT / "results" / "published", tmp_path / "results" / "published")
    rows = ["listener,track,played_at"]
    for user, play in product(range(60), range(12)):
        rows.append(f"u-{user},t-{(7 * user + play * play) % 40},2023-01-{play + 1:02} 02:14:36")
    (tmp_path / "plays.csv").write_text("\n".join(rows) + "\n")
    return tmp_path


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)])
def test_what_a_page_shows_works(page: str, project: Path) -> None:
    """Files that a page shows are written, and its commands are run one after another."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PYTHONPATH": str(project), "PATH": path}
    for language, text in blocks(page):
        named = re.match(r"# (\S+\.(?:py|yaml))\n", text)
        if named:
            (project / named[1]).write_text(text.removeprefix(named[0]), encoding="utf-8")
        elif language == "python":
            ran = subprocess.run(
                [sys.executable, "-c", text],
                cwd=project, env=environment, capture_output=True, text=True, timeout=300,
            )  # fmt: skip
            assert ran.returncode == 0, ran.stderr
        elif language == "bash":
            for command in filter(lambda one: reason(one) is None, commands(text)):
                ran = subprocess.run(
                    ["bash", "-c", in_short(command)],
                    cwd=project, env=environment, capture_output=True, text=True, timeout=300,
                )  # fmt: skip
                assert ran.returncode == 0, f"{command}\n{ran.stdout}{ran.stderr}"


def test_each_reason_not_to_run_a_command_is_of_one_that_is_there() -> None:
    there = [
        command
        for page in PAGES
        for language, text in blocks(page)
        if language == "bash"
        for command in commands(text)
    ]
    assert not [start for start in NOT_RUN if not any(c.startswith(start) for c in there)]
