"""What the charts draw is what the analysis says, arm by arm."""

import pytest

from fedrec.analysis.explorer.frames import (
    curves,
    filtered,
    first_choice,
    items,
    key,
    numbers,
    options,
)
from fedrec.analysis.explorer.runs import Places, runs_of
from fedrec.analysis.measure import Measure
from fedrec.analysis.summary import summarise
from fedrec.records import Picture, Pictures, Record
from tests.builders import make_record

T3 = 3.182446  # of three degrees of freedom, 97.5 %
RECORDS = [
    *(make_record(seed=s, hr=[0.2, 0.4 + 0.01 * s]) for s in range(4)),
    *(make_record("Fang", seed=s, hr=[0.1, 0.3 + 0.02 * s]) for s in range(4)),
]
MISSING = make_record("LIE", defense="Krum").cell
WANTED = [*(record.cell for record in RECORDS), MISSING]


def filtering(seed: int, recall: list[float | None]) -> Record:
    record = make_record("Fang", seed=seed, defense="Krum")
    shares = {"recall": recall, "precision": [1.0, 0.5]}
    track = record.trajectory.model_copy(update={"defense": shares})
    return record.model_copy(update={"trajectory": track})


RUNS = runs_of(RECORDS, WANTED, Measure(), Places())
NAMED = numbers(RECORDS, WANTED, "best_val", RUNS)


def test_numbers_are_those_of_the_summary() -> None:
    summary = summarise(RECORDS, "best_val", WANTED)
    row = summary[(summary.attack == "Fang") & (summary.metric == "hr@5")].iloc[0]
    fang = NAMED.set_index("key").loc["ml-1m|MF|Fang|FedAvg|0.01|hr@5"]
    assert (fang["mean"], fang.loss) == (row["mean"], row.degradation)
    assert fang.high - fang.low == pytest.approx(2 * row.degradation_ci95)
    assert fang.shown == f"{row['mean']:.5f} ± {row.ci95:.5f}"
    assert (fang.runs, fang.href) == ("4 runs", "#arm-1")


def test_an_arm_without_record_has_a_row_that_says_so() -> None:
    lie = NAMED.set_index("key").loc[key(MISSING, "hr@5")]
    assert (lie.seeds, lie.shown, lie.lost, lie.runs) == (0, "–", "–", "0 of 1 run")


def test_a_curve_is_a_mean_with_students_interval() -> None:
    points = curves(RECORDS, NAMED)
    fang = NAMED.set_index("key").row["ml-1m|MF|Fang|FedAvg|0.01|hr@5"]
    last = points[(points.row == fang) & (points["round"] == 400)].iloc[0]
    # 0.30, 0.32, 0.34, 0.36: mean 0.33, variance (9 + 1 + 1 + 9) · 1e-4 / 3.
    half = T3 * (20e-4 / 3 / 4) ** 0.5
    assert last["mean"] == pytest.approx(0.33)
    assert (last.low, last.high) == pytest.approx((0.33 - half, 0.33 + half))
    assert last.points == 4


def test_a_filters_shares_leave_out_rounds_that_have_none() -> None:
    records = [*RECORDS, filtering(0, [None, 0.5]), filtering(1, [0.8, 1.0])]
    named = numbers(records, [], "best_val", runs_of(records, [], Measure(), Places()))
    found = filtered(records, named).set_index(["share", "round"])
    assert found["mean"]["recall", 200] == 0.8 and found.points["recall", 200] == 1
    assert found["mean"]["recall", 400] == 0.75
    assert set(found.row) == {named.set_index("key").row["ml-1m|MF|Fang|Krum|0.01|hr@5"]}


def test_pictures_of_a_round_have_one_scale() -> None:
    shots = [
        Picture(attack="Fang", defense="FedAvg", round=number, component_1=xs, component_2=ys)
        for number, xs, ys in ((1, [4.0, 0.0], [0.0, -2.0]), (1, [1.0, 1.0], [1.0, 0.0]),
                               (2, [0.0, 0.0], [0.0, 0.5]))
    ]  # fmt: skip
    found = items(Pictures(dataset="d", ratio=0.1, community=[7, 8], pictures=shots))
    assert found.x.tolist() == [1.0, 0.0, 0.25, 0.25, 0.0, 0.0]
    assert found.y.tolist() == [0.0, -0.5, 0.25, 0.0, 0.0, 1.0]
    assert found.panel.tolist() == [0, 0, 1, 1, 2, 2]
    assert found.community.tolist() == [7, 8] * 3


def test_choices_are_the_studys_and_no_attack_is_none_of_them() -> None:
    found = options(NAMED)
    assert (found["attack"], found["ratio"]) == (["Fang", "LIE"], ["0.01"])
    assert found["defense"] == ["FedAvg", "Krum"]


def test_the_first_choice_has_records() -> None:
    chosen = first_choice(NAMED, curves(RECORDS, NAMED))
    assert (chosen["attack"], chosen["defense"], chosen["metric"]) == ("Fang", "FedAvg", "hr@5")


def test_a_study_without_attacks_can_be_explored() -> None:
    plain = RECORDS[:2]
    named = numbers(plain, [], "best_val", runs_of(plain, [], Measure(), Places()))
    assert options(named)["attack"] == ["NoAttack"] and options(named)["ratio"] == ["0"]
    assert first_choice(named, curves(plain, named))["attack"] == "NoAttack"
    assert filtered(plain, named).empty
