"""The part of a study that needs no methods: names, cells, switches."""

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from fedrec.config.study import Study
from fedrec.errors import ConfigError
from fedrec.plan.blocks import AttackGrid, AttackTable, Leaderboard, Sweep
from fedrec.plan.cells import Cell
from fedrec.plan.plan import Plan
from fedrec.plan.variants import Switch, Variant
from fedrec.yaml_files import read_yaml

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("name", "base", "changes"),
    [
        ("Fang", "Fang", {}),
        ("A+B@n=1", "A+B", {"n": 1}),
        ("A@n=1,on=false,x=0.5,rule=n-f", "A", {"n": 1, "on": False, "x": 0.5, "rule": "n-f"}),
    ],
)
def test_a_variants_name_is_read_and_written(name: str, base: str, changes: dict) -> None:
    variant = Variant.parse(name)
    assert (variant.base, variant.changes, variant.name) == (base, changes, name)


@pytest.mark.parametrize("name", ["paper", "miniature"])
def test_the_outline_of_a_study_has_its_cells(name: str) -> None:
    path = ROOT / "config" / f"{name}.yaml"
    study, outline = Study.load(path), Plan.read(read_yaml(path))
    for block in study.blocks().values():
        if block.kind != "deviations":  # takes the methods
            assert outline.cells(block) == study.cells(block)
    assert outline.seeds == study.seeds and outline.results == study.results


def test_a_wrong_outline_is_an_error() -> None:
    with pytest.raises(ConfigError, match="seeds"):
        Plan.read({"datasets": {}, "attacks": {}, "defenses": {}, "seeds": "all"})


PLAN = Plan.read(
    {
        "datasets": {},
        "attacks": {"NoAttack": {"kind": "no_attack"}, "Fang": {"kind": "fang"}},
        "defenses": {"FedAvg": [], "Krum": []},
        "seeds": [0, 1],
    }
)


NAMED = {"title": "T", "datasets": ("d",), "models": ("m",), "attacks": ("Fang",)}


def block(**values: object) -> AttackTable:
    return AttackTable.model_validate({**NAMED, "kind": "attacks", **values})


def names(cells: list[Cell]) -> list[tuple[str, str, float, int]]:
    return [(c.attack, c.defense, c.ratio, c.seed) for c in cells]


def test_tables_reckon_losses_from_the_run_without_attack_and_defence() -> None:
    assert names(PLAN.cells(block(defenses=("Krum",)))) == [
        ("NoAttack", "FedAvg", 0, 0),
        ("NoAttack", "FedAvg", 0, 1),
        ("Fang", "Krum", 0.01, 0),
        ("Fang", "Krum", 0.01, 1),
    ]
    grid = AttackGrid.model_validate({**NAMED, "kind": "attack_grid", "defenses": ("Krum",)})
    assert len(PLAN.cells(grid)) == 2


def test_a_block_may_have_seeds_of_its_own() -> None:
    assert {c.seed for c in PLAN.cells(block(seeds=(5,)))} == {5}


def test_without_attack_there_is_one_ratio() -> None:
    found = names(PLAN.cells(block(attacks=("NoAttack",), ratios=(0.01, 0.05), seeds=(0,))))
    assert found == [("NoAttack", "FedAvg", 0, 0)]


def test_a_grid_turns_cells_into_variants() -> None:
    grid = {"attack.near": (1.0, 3.0), "ratio": (0.01, 0.05)}
    found = names(PLAN.cells(block(attacks=("NoAttack", "Fang"), grid=grid, seeds=(0,))))
    assert found == [
        ("NoAttack", "FedAvg", 0, 0),
        ("Fang@near=1.0", "FedAvg", 0.01, 0),
        ("Fang@near=1.0", "FedAvg", 0.05, 0),
        ("Fang@near=3.0", "FedAvg", 0.01, 0),
        ("Fang@near=3.0", "FedAvg", 0.05, 0),
    ]


def test_a_grid_adds_to_variants_and_spares_no_defence() -> None:
    given = {"defenses": ("FedAvg", "Krum@a=1"), "seeds": (0,)}
    found = names(PLAN.cells(block(grid={"defense.b": (True, "x")}, **given)))
    assert [defense for _, defense, _, _ in found[1:]] == [
        "FedAvg", "Krum@a=1,b=true", "Krum@a=1,b=x"
    ]  # fmt: skip


def test_a_value_that_is_unchanged_leaves_the_name() -> None:
    given = {"grid": {"attack.near": (1, 2)}, "unchanged": {"attack.near": 2}, "seeds": (0,)}
    found = names(PLAN.cells(block(**given)))
    assert [attack for attack, *_ in found] == ["NoAttack", "Fang@near=1", "Fang"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"grid": {"atack.near": [1]}}, "'atack.near' is not a key: give ratio, model.FIELD"),
        ({"grid": {"ratio": ["all"]}}, "ratio: 'all' is not a number"),
        ({"grid": {"attack.near": ["1"]}}, "near: '1' cannot be part of a cell's name"),
        ({"grid": {"attack.near": []}}, "at least 1 item"),
        ({"grid": {"attack.near": [1]}, "unchanged": {"attack.near": 2}}, "that grid.attack.near"),
        ({"unchanged": {"attack.near": 2}}, "that grid.attack.near has"),
    ],
)
def test_a_wrong_grid_is_an_error(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        AttackTable.model_validate_json(json.dumps({**NAMED, "kind": "attacks", **wrong}))


def test_a_leaderboard_needs_each_defence_without_attack() -> None:
    table = Leaderboard.model_validate(
        {**NAMED, "kind": "leaderboard", "defenses": ("Krum",), "seeds": (0,)}
    )
    assert names(PLAN.cells(table)) == [
        ("NoAttack", "FedAvg", 0, 0),
        ("NoAttack", "Krum", 0, 0),
        ("Fang", "Krum", 0.01, 0),
    ]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"adaptive": ("LIE",)}, "adaptive: 'LIE' is not among the attacks"),
        ({"grid": {"ratio": (0.01, 0.02)}}, "grid.ratio: name only fields of attacks"),
        ({"models": ("m", "n")}, "models"),
    ],
)
def test_a_wrong_leaderboard_is_an_error(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Leaderboard.model_validate({**NAMED, "kind": "leaderboard", **wrong})


def test_a_sweep_has_one_field() -> None:
    sweep = {**NAMED, "kind": "sweep", "seeds": (0,)}
    found = Sweep.model_validate(sweep | {"grid": {"ratio": (0.01, 0.1)}})
    assert [ratio for _, _, ratio, _ in names(PLAN.cells(found))] == [0, 0.01, 0.1]
    for grid in ({}, {"ratio": (0.1,), "model.dim": (8,)}):
        with pytest.raises(ValidationError, match="one field in `grid`"):
            Sweep.model_validate(sweep | {"grid": grid})


CELL = Cell(dataset="d", model="m", attack="Fang", defense="Krum", ratio=0.01, seed=0)
PLAIN = CELL.model_copy(update={"attack": "NoAttack", "defense": "FedAvg", "ratio": 0.0})


@pytest.mark.parametrize(
    ("group", "changed", "plain"),
    [
        ("models", "m@on=true/Fang/Krum", "m@on=true/NoAttack/FedAvg"),
        ("attacks", "m/Fang@on=true/Krum", "m/NoAttack/FedAvg"),
        ("defenses", "m/Fang/Krum@on=true", "m/NoAttack/FedAvg"),
        ("protocol", "m/Fang/Krum@on=true", "m/NoAttack/FedAvg"),
    ],
)
def test_a_switch_is_set_where_it_belongs(group: str, changed: str, plain: str) -> None:
    switch = Switch.model_validate(
        {"group": group, "kind": "k", "field": "on", "meaning": "", "paper": False,
         "code": True, "ours": False}
    )  # fmt: skip
    assert switch.other is True
    for cell, expected in ((CELL, changed), (PLAIN, plain)):
        found = switch.applied(cell, True)
        assert f"{found.model}/{found.attack}/{found.defense}" == expected


@pytest.mark.parametrize(("ours", "other"), [(1, 2), (2, 1)])
def test_the_other_value_is_the_codes_or_the_texts(ours: int, other: int) -> None:
    values = {"paper": 1, "code": 2, "ours": ours}
    switch = Switch(group="models", kind="k", field="n", meaning="", **values)
    assert switch.other == other
