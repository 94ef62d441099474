"""The demonstration shows what it says, and ends with the paths of what it made."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fedrec.analysis.claims import Claims
from fedrec.config.study import Study
from fedrec.data.split import leave_one_out
from fedrec.plan.cells import Cell
from fedrec.training.run import run_cell

ROOT = Path(__file__).parents[1]
STUDY = Study.load(ROOT / "config" / "demo.yaml")


@pytest.fixture(scope="module")
def reported() -> dict[tuple[str, str], float]:
    """HR@5 of the first seed without attack, with it, and with it under UNION."""
    communities = STUDY.datasets["synthetic"].communities
    assert communities
    split, found = leave_one_out(communities.generate()), {}
    for attack, defense in (
        ("NoAttack", "FedAvg"), ("ClusterAttack", "FedAvg"), ("ClusterAttack", "UNION")
    ):  # fmt: skip
        ratio = 0.0 if attack == "NoAttack" else 0.05
        cell = Cell(
            dataset="synthetic", model="MF", attack=attack, defense=defense, ratio=ratio, seed=0
        )
        record = run_cell(STUDY.cell_config(cell), split, "cpu")
        found[attack, defense] = record.reported("hr@5", STUDY.report)
    return found


def test_the_attack_ruins_and_the_defence_saves(reported: dict[tuple[str, str], float]) -> None:
    plain = reported["NoAttack", "FedAvg"]
    assert reported["ClusterAttack", "FedAvg"] < plain / 2
    assert reported["ClusterAttack", "UNION"] > 0.9 * plain


def test_its_claims_are_about_its_own_cells() -> None:
    assert STUDY.claims
    claims = Claims.load(ROOT / STUDY.claims.file)
    seedless = {
        cell.model_copy(update={"seed": -1})
        for block in STUDY.blocks().values()
        for cell in STUDY.cells(block)
    }
    assert {cell for claim in claims.claims for cell in claim.test.cells()} <= seedless


def test_it_says_what_it_does_and_where_the_results_are(tmp_path: Path) -> None:
    config, results = tmp_path / "tiny.yaml", "results/tests-demo"
    text = (ROOT / "config" / "demo.yaml").read_text()
    for old, new in (
        ("results/demo", results), ("rounds: 400", "rounds: 4"), ("every: 40", "every: 2"),
        ("seeds: [0, 1, 2]", "seeds: [0]"), ("users: 1000", "users: 200"),
        ("[NoAttack, Fang, ClusterAttack]", "[NoAttack]"), ("claims: {", "# claims: {"),
    ):  # fmt: skip
        assert old in text
        text = text.replace(old, new)
    config.write_text(text)
    target = f"{results}/tables/losses.md"
    command = [sys.executable, "tools/demo.py", str(config), target]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    lines = done.stdout.splitlines()
    try:
        assert done.returncode == 0, (ROOT / results / "demo.log").read_text()
        assert [line[:3] for line in lines[:4]] == ["1/4", "2/4", "3/4", "4/4"]
        assert [line.strip() for line in lines[-2:]] == [target, f"{results}/report.html"]
        assert (ROOT / target).exists()
    finally:
        shutil.rmtree(ROOT / results, ignore_errors=True)
