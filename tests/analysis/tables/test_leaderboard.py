"""Defences in order of their worst case, worked out by hand."""

import pandas as pd
import pytest

from fedrec.analysis.summary import summarise
from fedrec.analysis.tables.leaderboard import formatted_leaderboard, leaderboard, notes_of
from fedrec.plan.blocks import Leaderboard
from fedrec.plan.cells import Cell
from fedrec.records import Record
from tests.builders import make_record

ATTACKS, DEFENSES = ("Fang", "LIE", "Known"), ("FedAvg", "Krum", "Bulyan")
# HR@5 without attack and under each attack. Of FedAvg's 0.2, Fang takes 60 %, and so on.
HR = {
    "FedAvg": {"NoAttack": 0.20, "Fang": 0.08, "LIE": 0.18, "Known": 0.16},
    "Krum": {"NoAttack": 0.19, "Fang": 0.12, "LIE": 0.14, "Known": 0.10},
    "Bulyan": {"NoAttack": 0.15, "Fang": 0.14, "LIE": 0.13, "Known": 0.15},
}
MS = {"FedAvg": 2.0, "Krum": 3.0, "Bulyan": 10.0}


def block(**values: object) -> Leaderboard:
    given = {
        "title": "Arena", "kind": "leaderboard", "datasets": ("ml-1m",), "models": ("MF",),
        "attacks": ATTACKS, "defenses": DEFENSES, "adaptive": ("Known",),
    }  # fmt: skip
    return Leaderboard.model_validate(given | values)


def records(seeds: int = 2) -> list[Record]:
    """Every seed is 0.01 better than the one before."""
    return [
        costing(make_record(attack, seed, [hr + seed / 100], defense=defense), MS[defense], seed)
        for defense, arms in HR.items()
        for attack, hr in arms.items()
        for seed in range(seeds)
    ]


def costing(record: Record, ms: float, seed: int) -> Record:
    """With a cost that an attack doubles."""
    each = ms * (1 if record.cell.attack == "NoAttack" else 2) / 1000
    cost = {"seconds_per_round": each, "peak_memory_mb": 100.0 + seed}
    return record.model_copy(update={"cost": record.cost.model_copy(update=cost)})


def shown(found: list[Record], wanted: tuple[Cell, ...] = (), **values: object) -> pd.DataFrame:
    table = leaderboard(found, block(**values), "best_val", wanted)
    return formatted_leaderboard(table).set_index("Defense")


def test_the_smallest_worst_case_is_first() -> None:
    """Losses of Bulyan: 30, 35, 25 %; of Krum: 40, 30, 50 %; of FedAvg: 60, 10, 20 %."""
    found = shown(records(1))
    assert list(found.index) == ["Bulyan", "Krum", "FedAvg"]
    assert found.Rank.tolist() == ["1", "2", "3"]
    assert found["Fang: lost"].tolist() == ["30.00 %", "40.00 %", "60.00 %"]
    unknown, adaptive = found["Worst, rule unknown"], found["Worst adaptive"]
    assert unknown.tolist() == ["LIE: 35.00 %", "Fang: 40.00 %", "Fang: 60.00 %"]
    assert adaptive.tolist() == ["Known: 25.00 %", "Known: 50.00 %", "Known: 20.00 %"]
    assert found["HR@5 without attack"].tolist() == ["0.15000", "0.19000", "0.20000"]


def test_losses_and_intervals_are_those_of_the_attack_tables() -> None:
    """Against no attack and no defence, with the noise of all arms; a mean of two seeds."""
    table = leaderboard(records(), block(), "best_val")
    summary = summarise(records(), "best_val").query("metric == 'hr@5'")
    keys = ["attack", "defense"]
    losses = ["degradation", "degradation_ci95", "mean", "ci95"]
    pd.testing.assert_frame_equal(
        table.sort_values(keys).set_index(keys)[losses],
        summary.sort_values(keys).set_index(keys)[losses],
    )
    worst = table[table.worst & (table.defense == "Krum")].set_index("group").degradation
    base = 0.2 + 0.005
    assert worst["unaware"] == pytest.approx(100 * (1 - 0.125 / base))
    assert worst["adaptive"] == pytest.approx(100 * (1 - 0.105 / base))
    assert "±" in shown(records()).loc["Krum", "Worst adaptive"]


def test_one_group_has_one_worst_case() -> None:
    found = shown(records(1), adaptive=())
    assert found["Worst case"].tolist() == ["LIE: 35.00 %", "Known: 50.00 %", "Fang: 60.00 %"]
    assert not any("adaptive" in note for note in notes_of(block(adaptive=()), records(1)))


def test_a_defence_that_lacks_an_attack_comes_last() -> None:
    """Bulyan without LIE would be first for want of its worst case."""
    there = [r for r in records(1) if (r.cell.defense, r.cell.attack) != ("Bulyan", "LIE")]
    for wanted in ((), tuple(r.cell for r in records(1))):
        found = shown(there, wanted)
        assert list(found.index) == ["Krum", "FedAvg", "Bulyan"]
        row = found.loc["Bulyan"]
        assert (row.Rank, row["LIE: lost"]) == ("–", "–")
        assert row["Worst, rule unknown"] == "Fang: 30.00 % (1 of 2 attacks)"
        assert row.Runs == ("3 of 4" if wanted else "3")


def test_cost_is_that_of_runs_without_attack_on_one_device() -> None:
    found = shown(records())
    assert found["ms a round"].to_dict() == {"Bulyan": "10.0", "Krum": "3.0", "FedAvg": "2.0"}
    assert set(found["Peak MiB"]) == {"101"}  # the larger of two seeds
    fast = make_record("NoAttack", 9, [0.2], device="A card")
    (note,) = [note for note in notes_of(block(), [*records(), fast]) if note.startswith("Cost")]
    assert "on A processor (runs on other devices, left out: 1)" in note
    assert "do not tell whether a run shared its machine" in note
    assert shown([*records(), fast]).loc["FedAvg", "ms a round"] == "2.0"


def uploading(record: Record) -> Record:
    """Krum's runs are older than the count; all others upload 20 KB, and 1 KB more a seed."""
    if record.cell.defense == "Krum":
        return record
    uploaded = {"benign_upload_bytes": 20_000.0 + 1000 * record.cell.seed}
    return record.model_copy(update={"cost": record.cost.model_copy(update=uploaded)})


def test_uploads_are_shown_where_records_have_them() -> None:
    assert "KB a client uploads" not in shown(records())
    assert not any("uploads is the mean" in note for note in notes_of(block(), records()))
    counted = [uploading(record) for record in records()]
    found = shown(counted)["KB a client uploads"]
    assert found.to_dict() == {"Bulyan": "20.5", "Krum": "–", "FedAvg": "20.5"}
    assert "8 bytes for the id of an item" in notes_of(block(), counted)[-1]


def test_without_runs_without_attack_cost_is_missing() -> None:
    attacked = [record for record in records() if record.cell.attack != "NoAttack"]
    row = shown(attacked).loc["Krum"]
    assert (row["ms a round"], row["Peak MiB"], row["HR@5 without attack"]) == ("–", "–", "–")
    assert (row["Fang: lost"], row["Worst adaptive"], row.Rank) == ("–", "–", "–")


def test_the_note_tells_of_the_bias() -> None:
    notes = " ".join(notes_of(block(), records()))
    assert "biased upward" in notes and "know the server's rule: Known" in notes
