"""Settings of a method compared by validation HR@5."""

from pathlib import Path

import pytest

from fedrec.records import read_record, write_record
from fedrec.yaml_files import read_yaml
from tests.cli.test_questions import ATTACKED, STUDY, Session, tiny

__all__ = ["tiny"]

TUNED = """
tuning:
  ClusterAttack:
    cell: synthetic/MF/ClusterAttack/FedAvg/m0.1
    grid: { clusters: [1, 2] }
    seeds: [0, 1]
"""


@pytest.fixture
def tuned(tiny: Session) -> Session:
    Path("tiny.yaml").write_text(STUDY + TUNED)
    return tiny


def validated(path: Path, hr: float) -> None:
    """A record that is there, with another validation HR@5, and a test HR@5 that says nothing."""
    record = read_record(path)
    track = record.trajectory
    found = {
        "validation": track.validation | {"hr@5": [0.0, hr]},
        "test": track.test | {"hr@5": [0.9876, 0.9876]},
    }
    write_record(record.model_copy(update={"trajectory": track.model_copy(update=found)}), path)


def paths(tuned: Session) -> dict[tuple[int, int], Path]:
    """The record of each number of clusters and seed; two clusters are the study's own."""
    return {
        (clusters, seed): tuned.runs
        / ATTACKED.replace("seed0", f"seed{seed}").replace("ClusterAttack", name)
        for clusters, name in ((1, "ClusterAttack@clusters=1"), (2, "ClusterAttack"))
        for seed in (0, 1)
    }


def test_the_best_validation_counts_and_test_metrics_are_not_shown(tuned: Session) -> None:
    tuned("tune", "ClusterAttack")
    found = paths(tuned)
    assert all(path.exists() for path in found.values())
    for key, hr in {(1, 0): 0.1, (1, 1): 0.4, (2, 0): 0.2, (2, 1): 0.1}.items():
        validated(found[key], hr)
    told = tuned("tune", "ClusterAttack")
    head, first, second, last = told.splitlines()
    assert head.split() == ["clusters", "validation", "HR@5", "by", "seed", "diverged"]
    assert first.split() == ["1", "0.2500", "0.1000", "0.4000", "–", "best"]
    assert second.split() == ["2", "0.1500", "0.2000", "0.1000", "–"]
    assert last == "best: clusters=1; to use it, write it in the entry"
    assert "0.9876" not in told


def test_a_log_has_the_validation_metric(
    tuned: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    from fedrec.cli.main import main

    assert main(["tune", "ClusterAttack", "--config", "tiny.yaml"]) == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("round")]
    assert len(lines) == 4 * 2 and all("validation HR@5 0." in line for line in lines)


def test_a_result_is_written_as_a_comment_and_the_study_stays(tuned: Session) -> None:
    before, text = read_yaml(Path("tiny.yaml")), Path("tiny.yaml").read_text()
    tuned("tune", "ClusterAttack", "--write")
    written = Path("tiny.yaml").read_text()
    assert read_yaml(Path("tiny.yaml")) == before
    added = [line for line in written.splitlines() if line not in text.splitlines()]
    assert added[0].startswith("  # fedrec tune ClusterAttack: clusters=")
    assert all(line.startswith("  #   ") and len(line) <= 100 for line in added[1:])
    joined = " ".join(line.strip(" #") for line in added)
    assert "of clusters: 1, 2 (synthetic/MF/ClusterAttack/FedAvg/m0.1, seeds 0, 1)." in joined
    place = written.splitlines().index("  ClusterAttack: { kind: cluster_attack, clusters: 2 }")
    assert written.splitlines()[place - len(added) : place] == added
    tuned("tune", "ClusterAttack", "--write")
    assert Path("tiny.yaml").read_text() == written  # instead of the old comment


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("tuning:\n  Cl", "tuning:\n  LIE:\n    cell: synthetic/MF\n    grid: { z: [1.0] }\n  Cl",
         "does not have LIE: name a cell that has it"),
        ("clusters: [1", "clustres: [1", "ClusterAttack has no field 'clustres'; did you mean"),
        ("clusters: [1, 2]", "clusters: [99]", "clusters must lie in"),
        ("grid: { clusters: [1, 2] }", "grid: {}", "tuning.ClusterAttack.grid: "),
        ("    grid", "    gird", "unknown key; did you mean `grid`?"),
        ("FedAvg/m0.1", "FedAvgg/m0.1", "did you mean `FedAvg`?"),
        ("FedAvg/m0.1", "FedAvg/m0.3", "0.3 must be above 0 and within"),
    ],
)  # fmt: skip
def test_a_wrong_tuning_is_told_before_anything_runs(
    tuned: Session, old: str, new: str, message: str
) -> None:
    assert old in STUDY + TUNED
    Path("tiny.yaml").write_text((STUDY + TUNED).replace(old, new))
    assert message in tuned("check", code=1)
    assert not tuned.runs.exists()


def test_a_method_without_a_grid_is_met_with_the_nearest(tuned: Session) -> None:
    told = tuned("tune", "ClusterAtack", code=1)
    assert "no 'ClusterAtack' under `tuning`; did you mean `ClusterAttack`?" in told
