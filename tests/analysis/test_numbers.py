"""The paper's numbers, one by one."""

import pandas as pd
import pytest
from scipy import stats

from fedrec.analysis.noise import fit
from fedrec.analysis.numbers import numbers
from fedrec.analysis.tables.numbers import numbers_table, summary_of
from tests.builders import make_record

PAPER = pd.DataFrame(
    [
        ("table-1", "ml-1m", "MF", "NoAttack", "FedAvg", 0.0, "hr@5", 0.135),
        ("table-4", "ml-1m", "MF", "NoAttack", "FedAvg", 0.0, "hr@5", 0.135),
        ("table-1", "ml-1m", "MF", "Fang", "FedAvg", 0.01, "hr@5", 0.2),
        ("table-1", "ml-1m", "MF", "LIE", "FedAvg", 0.01, "hr@5", 0.2),
        ("table-2", "ml-1m", None, None, None, None, "users", 6040.0),
    ],
    columns=["table", "dataset", "model", "attack", "defense", "ratio", "metric", "value"],
)
BASE, ATTACKED = [0.10, 0.12, 0.14], [0.08, 0.09, 0.10]


def found(dataset: str = "ml-1m", **datasets: str) -> pd.DataFrame:
    records = [
        make_record(attack, seed, [hr], dataset=dataset)
        for attack, values in (("NoAttack", BASE), ("Fang", ATTACKED))
        for seed, hr in enumerate(values)
    ]
    return numbers(records, PAPER, datasets, "best_val")


def test_a_number_agrees_where_five_other_seeds_might_lie() -> None:
    plain, attacked, absent = found().to_dict("records")
    noise = fit([dict(enumerate(BASE)), dict(enumerate(ATTACKED))])
    assert noise is not None
    half = stats.t.ppf(0.975, noise.run_df) * (noise.run * 0.12 * (1 / 3 + 1 / 5)) ** 0.5
    assert (plain["low"], plain["high"]) == pytest.approx((0.12 - half, 0.12 + half))
    assert plain["agrees"] is True and attacked["agrees"] is False
    assert pd.isna(absent["mean"]) and pd.isna(absent["agrees"])


def test_a_number_of_several_tables_counts_once() -> None:
    assert found().table.tolist() == ["table-1 table-4", "table-1", "table-1"]
    assert summary_of(found()) == (
        "1 of 2 numbers agree; chance alone would let 95 % agree. 1 of the paper's 3 numbers lack "
        "records."
    )


def test_seeds_of_a_second_look_do_not_count() -> None:
    records = [make_record("Fang", seed, [0.1 + (seed > 2)]) for seed in range(10) if seed != 1]
    records[0] = records[0].model_copy(update={"diverged_at": 7})
    table = numbers_table(numbers(records, PAPER, {}, "best_val", seeds=[0, 1, 2]))
    row = table.values.set_index("attack").loc["Fang"]
    assert row["mean"] == pytest.approx(0.1) and (row.seeds, row.missing) == (2, 1)
    assert table.shown.Seeds.tolist() == ["2 of 3 (1 diverged)"]
    assert table.notes[1] == (
        "Runs: 2 of 9, 7 missing; 1 diverged, 0 stopped before the last round."
    )


def test_those_with_records_are_shown() -> None:
    table = numbers_table(found(), ["A note."])
    assert table.shown.Attack.tolist() == ["NoAttack", "Fang"]
    assert table.shown.Agrees.tolist() == ["yes", "no"]
    assert table.shown["Paper against ours"].tolist() == ["12.50 %", "122.22 %"]
    assert table.notes[0].startswith("1 of 2 numbers agree") and table.notes[-1] == "A note."


def test_another_dataset_may_take_the_place_of_the_papers() -> None:
    assert found("made-up").agrees.isna().all()
    assert found("made-up", **{"ml-1m": "made-up"}).agrees.notna().sum() == 2
