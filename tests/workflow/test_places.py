"""Where the workflow is started, and what stands on its command line: looked at, nothing run."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OWN = """
seeds: [0]
datasets: { plays: { source: { path: "pl{ay}s.csv" }, format: { user: 0, item: 1, time: 2 } } }
models: { MF: { kind: mf } }
attacks: { NoAttack: { kind: no_attack } }
defenses: { FedAvg: [{ kind: mean }] }
"""


def planned(
    folder: Path,
    *arguments: str,
    snakefile: Path = ROOT / "Snakefile",
    quiet: str = "all",
) -> tuple[int, str]:
    """The exit code and what a dry run in a folder says."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [
            *("snakemake", "--dry-run", "--cores", "1", "-s", str(snakefile)),
            *(*arguments, "--quiet", quiet),
        ],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PATH": path},
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout + done.stderr


def test_the_files_of_the_project_are_found_from_any_directory(tmp_path: Path) -> None:
    for snakefile in (ROOT / "Snakefile", ROOT / "workflow" / "Snakefile"):
        code, said = planned(tmp_path, "--directory", str(tmp_path / "new"), snakefile=snakefile)
        assert code == 0, said


@pytest.mark.parametrize(
    ("value", "code", "message"),
    [("[0]", 0, ""), ("[x]", 1, "`--config` on the command line sets seeds")],
)
def test_lists_on_the_command_line(tmp_path: Path, value: str, code: int, message: str) -> None:
    found, said = planned(tmp_path, "--config", f"seeds={value}")
    assert found == code, said
    assert message in said


def test_braces_in_names_are_refused_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(OWN)
    code, said = planned(tmp_path, "--configfile", "own.yaml")
    assert code == 1 and "'pl{ay}s.csv' contains braces" in said and "Traceback" not in said
    folder = tmp_path / "p{x}"
    for part in ("workflow", "config"):
        shutil.copytree(ROOT / part, folder / part)
    shutil.copy(ROOT / "Snakefile", folder)
    code, said = planned(tmp_path, snakefile=folder / "Snakefile")
    assert code == 1 and "the name of the folder holds braces" in said and "Traceback" not in said


def test_another_snakefile_uses_the_rules_as_a_module(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "own-workflow.md").read_text(encoding="utf-8")
    written = page.partition("```text\n")[2].partition("```")[0]
    (tmp_path / "Snakefile").write_text(written.replace("/path/to/fedrec", str(ROOT)))
    (tmp_path / "config").mkdir()
    shutil.copy(ROOT / ".test" / "config" / "paper.yaml", tmp_path / "config" / "mine.yaml")
    code, said = planned(tmp_path, snakefile=tmp_path / "Snakefile", quiet="reason")
    assert code == 0, said
    jobs = dict(line.split() for line in said.splitlines() if len(line.split()) == 2)
    assert (jobs["fedrec_train"], jobs["fedrec_figure"], jobs["everything"]) == ("8", "1", "1")


def test_a_directory_with_a_config_of_its_own_has_its_own_study(tmp_path: Path) -> None:
    shutil.copytree(ROOT / ".test" / "config", tmp_path / "config")
    here = ("--directory", str(tmp_path))
    code, said = planned(tmp_path, "results/tables/losses.csv", *here, quiet="reason")
    assert code == 0 and "ClusterAttack" in said, said
    code, said = planned(tmp_path, "results/tables/table-1.csv", *here)
    assert code == 1 and "MissingRuleException" in said
