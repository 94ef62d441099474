"""The version: named by what is installed, or by a source tree that nobody has installed."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from fedrec import __version__

ROOT = Path(__file__).parents[1]
CODE = "import sys; from fedrec.cli.main import main; sys.exit(main())"


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All that is installed here, but for fedrec itself and what offers it methods."""
    folder = tmp_path_factory.mktemp("packages")
    for place in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
        for found in Path(place).iterdir():
            if "fedrec" not in found.name:
                (folder / found.name).symlink_to(found)
    return folder


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """The source tree, as it is copied to a machine."""
    shutil.copytree(ROOT / "fedrec", tmp_path / "fedrec")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def bare(tree: Path, packages: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """A command of a tree in a Python that knows the packages, and no installed fedrec."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (tree, packages)))}
    return subprocess.run(
        [sys.executable, "-S", "-c", CODE, *command],
        cwd=ROOT / "config", env=environment, capture_output=True, text=True,
    )  # fmt: skip


def test_a_tree_works_without_being_installed(tree: Path, packages: Path) -> None:
    named = bare(tree, packages, "--version")
    assert named.stdout == f"fedrec {__version__}\n", named.stderr
    listed = bare(tree, packages, "list", "attacks", "--config", "paper.yaml")
    assert listed.returncode == 0 and "ClusterAttack" in listed.stdout, listed.stderr


@pytest.mark.parametrize("project", [None, "", '[project]\nname = "mine"\nversion = "9"\n'])
def test_a_tree_without_its_projects_file_says_what_to_do(
    project: str | None, tree: Path, packages: Path
) -> None:
    """Not even another project's version is taken for ours."""
    (tree / "pyproject.toml").unlink()
    if project is not None:
        (tree / "pyproject.toml").write_text(project)
    told = bare(tree, packages, "--version")
    last = told.stderr.splitlines()[-1]
    assert told.returncode == 1 and last.startswith("ImportError: fedrec is not installed, and ")
    assert "pyproject.toml does not give its version: run `pip install .`" in last
