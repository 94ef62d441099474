"""What each choice between text and code does, read off records."""

import pandas as pd
import pytest

from fedrec.analysis.tables.deviations import deviations, formatted_deviations
from fedrec.plan.blocks import DeviationTable
from fedrec.plan.variants import Switch
from tests.builders import make_record

BLOCK = DeviationTable(
    title="T", kind="deviations", datasets=("ml-1m",), models=("MF",), attacks=("Fang",),
    defenses=("Krum+UNION",), seeds=(0,),
)  # fmt: skip
CLIP = Switch(
    group="attacks", kind="fang", field="rule", meaning="Clip or not.",
    paper="clip", code="rescale", ours="clip",
)  # fmt: skip
CONFIG = {"model": {"kind": "mf"}, "attack": {"kind": "fang"}, "defense": [{"kind": "union"}]}
RECORDS = [
    record.model_copy(update={"config": CONFIG})
    for record in (
        make_record("NoAttack", 0, [0.4]),
        make_record("Fang", 0, [0.3]),
        make_record("Fang", 0, [0.36], defense="Krum+UNION"),
        make_record("Fang@rule=rescale", 0, [0.2]),
        make_record("Fang", 7, [0.1]),  # of another seed
    )
]


def lost(column: pd.Series) -> list[str]:
    """What is lost, without intervals."""
    return [text.partition(" [")[0] for text in column]


def test_losses_as_configured_and_with_each_switch_the_other_way() -> None:
    table = deviations([CLIP], RECORDS, BLOCK, "last")
    plain, switched = table.to_dict("records")
    assert plain["attack_loss"] == pytest.approx(25)
    assert plain["defended_loss"] == pytest.approx(10)
    assert (switched["switch"], switched["if"]) == ("fang.rule", "rescale")
    assert switched["attack_loss"] == pytest.approx(50)
    assert plain["attack_change"] == pytest.approx(0)
    assert switched["attack_change"] == pytest.approx(-100 / 3)  # 0.2 instead of 0.3
    assert switched["attack_loss_records"].split() == [
        "ml-1m/MF/Fang@rule=rescale/FedAvg/m0.01/seed0.json",
        "ml-1m/MF/NoAttack/FedAvg/m0/seed0.json",
    ]
    shown = formatted_deviations(table, BLOCK)
    assert lost(shown["Fang: lost"]) == ["25.0 %", "50.0 %"]
    assert lost(shown["Fang, Krum+UNION: lost"]) == ["10.0 %", "–"]  # not run
    assert lost(shown["Fang: HR@5 against as configured"]) == ["", "-33.3 %"]


def test_a_switch_of_a_method_that_is_not_in_use_has_no_effect_to_show() -> None:
    other = CLIP.model_copy(update={"kind": "lie"})
    table = deviations([other], RECORDS, BLOCK, "last")
    assert table.attack_loss.isna().tolist() == [False, True]


def test_a_switch_of_the_defence_leaves_the_undefended_run_alone() -> None:
    filters = CLIP.model_copy(update={"group": "defenses", "kind": "union"})
    table = deviations([filters], RECORDS, BLOCK, "last")
    shown = formatted_deviations(table, BLOCK)
    for title in ("lost", "HR@5 against as configured"):
        assert shown[f"Fang: {title}"].iloc[1] == "as configured"


def test_changes_are_compared_seed_by_seed() -> None:
    both = BLOCK.model_copy(update={"seeds": (0, 1)})
    hits = {"NoAttack": [0.4, 0.8], "Fang": [0.3, 0.6], "Fang@rule=rescale": [0.27, 0.54]}
    records = [
        make_record(attack, seed, [value]).model_copy(update={"config": CONFIG})
        for attack, values in hits.items()
        for seed, value in enumerate(values)
    ]
    row = deviations([CLIP], records, both, "last").to_dict("records")[1]
    assert row["attack_change"] == pytest.approx(-10)
    # Seeds differ by a factor of two, and both seeds by the same share: no interval is left.
    assert row["attack_change_high"] - row["attack_change_low"] == pytest.approx(0, abs=1e-9)
