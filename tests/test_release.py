"""What a release holds: one version everywhere, files that parse, packages that install."""

import json
import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def test_one_version_everywhere() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == VERSION
    assert f"## {VERSION} – {citation['date-released']}" in (ROOT / "CHANGELOG.md").read_text()


def test_the_archives_entry_agrees_with_the_citation() -> None:
    entry = json.loads((ROOT / ".zenodo.json").read_text())
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert [author["name"] for author in citation["authors"]] == [
        creator["name"] for creator in entry["creators"]
    ]
    assert entry["license"] == citation["license"]
    (paper,) = entry["related_identifiers"]
    assert citation["references"][0]["url"].endswith(paper["identifier"].removeprefix("arXiv:"))


@pytest.mark.parametrize("path", sorted((ROOT / ".github").rglob("*.yml")), ids=lambda p: p.name)
def test_forms_and_workflows_parse(path: Path) -> None:
    parsed = yaml.safe_load(path.read_text())
    if path.parent.name == "ISSUE_TEMPLATE":
        assert {"name", "description", "body"} <= set(parsed)
        assert all(field["type"] in ("input", "textarea") for field in parsed["body"])


def test_the_projects_ci_is_what_the_workflow_calls() -> None:
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())["jobs"]
    assert {"run": ".ci/run"} in jobs["check"]["steps"]
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


@pytest.mark.parametrize("name", ["Dockerfile", "envs/fedrec.def"])
def test_containers_are_built_from_the_lock(name: str) -> None:
    """By the target that installs the lock, and from files that are there."""
    text = (ROOT / name).read_text()
    assert "make .venv/.installed" in text and "3.11" in text
    copied = [line.split()[1:-1] for line in text.splitlines() if line.startswith("COPY ")]
    assert all((ROOT / source).exists() for sources in copied for source in sources)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from the checkout as it is, without the network."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [
        *(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"),
        *("--wheel-dir", str(folder), str(ROOT)),
    ]
    subprocess.run(command, check=True, env={**os.environ, "PIP_NO_INDEX": "1"})
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.partition("/")[0] for name in names} == {"fedrec", f"fedrec-{VERSION}.dist-info"}
    sources = {str(path.relative_to(ROOT)) for path in (ROOT / "fedrec").rglob("*.py")}
    assert sources <= set(names) and "fedrec/py.typed" in names


def test_the_wheel_runs_outside_the_checkout(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*install, "--target", str(site), str(wheel)], check=True)
    code = "import fedrec; print(fedrec.__file__); from fedrec.cli.main import main; "
    code += "main(['--version'])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(site)},
    )  # fmt: skip
    assert done.stdout.split() == [str(site / "fedrec" / "__init__.py"), "fedrec", VERSION]
