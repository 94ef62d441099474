"""Any cell by its name, listed or not, with other values of its fields."""

from pathlib import Path

import pytest

from fedrec.config.asking import Change, asked
from fedrec.config.study import Study
from fedrec.errors import CommandError
from fedrec.plan.cells import cell_named, cell_path

STUDY = Study.load(Path(__file__).parents[2] / "config" / "paper.yaml")


def path(name: str, *changes: str) -> str:
    return cell_path(asked(STUDY, name, map(Change.parse, changes)))


@pytest.mark.parametrize(
    ("name", "full"),
    [
        ("ml-1m/MF", "ml-1m/MF/NoAttack/FedAvg/m0/seed0.json"),
        ("ml-1m/MF/Fang", "ml-1m/MF/Fang/FedAvg/m0.01/seed0.json"),
        ("ml-1m/MF/Fang/Krum/m0.02/seed7", "ml-1m/MF/Fang/Krum/m0.02/seed7.json"),
        ("results/runs/ml-1m/MF/Fang/Krum/m0.02/seed7.json", "ml-1m/MF/Fang/Krum/m0.02/seed7.json"),
        ("ml-1m/MF/NoAttack/Krum/m0.05", "ml-1m/MF/NoAttack/Krum/m0/seed0.json"),
    ],
)
def test_a_name_may_leave_its_end_out(name: str, full: str) -> None:
    assert path(name) == full


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        (["clusters=4"], "MF/ClusterAttack@clusters=4/UNION"),
        (["clusters=2"], "MF/ClusterAttack/UNION"),  # as it is anyway
        (["rounds=10"], "MF@rounds=10/ClusterAttack/UNION"),
        (["learning_rate=0.00001"], "MF@learning_rate=1.0e-05/ClusterAttack/UNION"),
        (["learning_rate=1e-5"], "MF@learning_rate=1.0e-05/ClusterAttack/UNION"),
        (["attack.negatives=3"], "MF/ClusterAttack@negatives=3/UNION"),
        (["protocol.negatives=resampled"], "MF@negatives=resampled/ClusterAttack/UNION"),
        (["sample=50", "dim=8"], "MF@dim=8/ClusterAttack/UNION@sample=50"),
    ],
)
def test_a_changed_value_is_part_of_the_name(changes: list[str], names: str) -> None:
    found = path("ml-1m/MF/ClusterAttack/UNION", *changes)
    assert found == f"ml-1m/{names}/m0.01/seed0.json"
    assert STUDY.cell_config(cell_named(found))


def test_a_cell_that_is_listed_keeps_its_listed_name() -> None:
    """Whatever the order of its values: the workflow's record and this one are the same file."""
    listed = "ml-1m/MF/ClusterAttack@clusters=8,adaptive=false/FedAvg/m0.01/seed0.json"
    assert path("ml-1m/MF/ClusterAttack@adaptive=false", "clusters=8") == listed
    assert path("ml-1m/MF/ClusterAttack@adaptive=false,clusters=8") == listed


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("ml-1m", [], "'ml-1m' is not a cell; expected dataset/model"),
        ("ml-1m/MF/a/b/c/d/e", [], "is not a cell"),
        ("ml-1m/MF//Krum", [], "is not a cell"),
        ("ml-2m/MF", [], "'ml-2m' is not among `datasets`; did you mean `ml-1m`?"),
        ("ml-1m/MF/ClusterAtack", [], "did you mean `ClusterAttack`?"),
        ("ml-1m/MF/ClusterAttack@clustres=2", [], "no field 'clustres'; did you mean `clusters`?"),
        ("ml-1m/MF/Fang", ["clusters=4"], "no part of this cell has a field 'clusters'"),
        ("ml-1m/MF/ClusterAttack/UNION", ["negatives=4"], "write attack.negatives=…"),
        ("ml-1m/MF/ClusterAttack", ["model.clusters=4"], "--set: MF has no field 'clusters'"),
        ("ml-1m/MF/ClusterAttack", ["protocol.round=4"], "did you mean `rounds`?"),
        ("ml-1m/MF/ClusterAttack", ["clusters"], "write field=value"),
        ("ml-1m/MF/ClusterAttack", ["clusters=[1, 2]"], "cannot be part of a cell's name"),
        ("ml-1m/MF/ClusterAttack", ["clusters=99"], "clusters must lie in"),
        ("ml-1m/MF/ClusterAttack/FedAvg/m0.2", [], "0.2 must be above 0 and within the pool"),
    ],
)
def test_a_miss_ends_in_one_line(name: str, changes: list[str], message: str) -> None:
    with pytest.raises(CommandError) as caught:
        path(name, *changes)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
