"""The lock, the conda environment and the project's own bounds agree."""

import re
import tomllib
from importlib.metadata import distribution, distributions
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]


def pins(*files: str) -> dict[str, Version]:
    lines = "\n".join((ROOT / "envs" / name).read_text() for name in files)
    found = re.findall(r"^([A-Za-z0-9._-]+)==(\S+)$", lines, flags=re.MULTILINE)
    return {canonicalize_name(name): Version(version) for name, version in found}


LOCK = pins("requirements.lock", "torch.txt")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
WANTED = [*PROJECT["project"]["dependencies"], *PROJECT["dependency-groups"]["dev"]]


@pytest.mark.parametrize("text", WANTED)
def test_each_dependency_is_locked_within_its_bounds(text: str) -> None:
    wanted = Requirement(text)
    assert LOCK[canonicalize_name(wanted.name)] in wanted.specifier


def test_what_is_locked_runs_on_the_oldest_python_that_the_project_does() -> None:
    """Such as that of Debian 12, 3.11.2: there, pip would refuse the lock."""
    oldest = PROJECT["project"]["requires-python"].removeprefix(">=")
    for found in distributions():
        python = found.metadata["Requires-Python"]
        if python and LOCK.get(canonicalize_name(found.name)) == Version(found.version):
            assert SpecifierSet(python).contains(f"{oldest}.0"), found.name


def test_the_conda_environment_agrees_with_the_lock() -> None:
    listed = yaml.safe_load((ROOT / "envs" / "fedrec.yaml").read_text())["dependencies"]
    versions = dict(entry.split("=") for entry in listed if "=" in entry)
    versions["torch"] = versions.pop("pytorch-cpu")
    versions["duckdb"] = versions.pop("python-duckdb")
    assert versions.pop("python") == "3.11"
    runtime = {Requirement(text).name for text in PROJECT["project"]["dependencies"]}
    assert set(versions) == runtime
    for name, version in versions.items():
        assert Version(version) == LOCK[canonicalize_name(name)]


def test_the_slurm_plugins_are_pinned_apart_and_what_they_need_is_locked() -> None:
    """Only clusters need them, and the next -jobstep takes SLURM_CONF away from its jobs."""
    found = pins("slurm.txt")
    for text in PROJECT["dependency-groups"]["slurm"]:
        wanted = Requirement(text)
        assert found[canonicalize_name(wanted.name)] in wanted.specifier
        assert canonicalize_name(wanted.name) not in LOCK
        for needed in map(Requirement, distribution(wanted.name).requires or []):
            name = canonicalize_name(needed.name)
            assert (LOCK | found)[name] in needed.specifier
    assert "--no-deps --requirement envs/slurm.txt" in (ROOT / "Makefile").read_text()


def test_torch_is_pinned_in_one_place_and_cuda_nowhere() -> None:
    lock = pins("requirements.lock")
    assert "torch" not in lock
    assert not [name for name in lock if name.startswith("nvidia") or name == "triton"]


def test_byzfl_comes_without_dependencies_and_all_it_needs_but_torchvision_is_locked() -> None:
    """With them it would bring a PyTorch of its own: it stays out of the lock and the project."""
    (name,) = pins("byzfl.txt")
    assert (name, str(pins("byzfl.txt")[name])) == ("byzfl", distribution("byzfl").version)
    assert name not in LOCK and "torchvision" not in LOCK
    assert not [text for text in WANTED if "byzfl" in text]
    needed = [Requirement(text) for text in distribution("byzfl").requires or []]
    for wanted in needed:
        if wanted.name != "torchvision":
            assert LOCK[canonicalize_name(wanted.name)] in wanted.specifier
    makefile = (ROOT / "Makefile").read_text()
    assert "--no-deps --requirement envs/byzfl.txt" in makefile
