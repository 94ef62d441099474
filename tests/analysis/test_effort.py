"""What runs take is estimated from records of similar runs."""

import pytest

from fedrec.analysis.effort import duration, effort, size
from fedrec.records import Record
from tests.builders import make_record


def took(seconds: float, attack: str = "NoAttack", device: str = "cpu") -> Record:
    record = make_record(attack, device=device)
    return record.model_copy(update={"cost": record.cost.model_copy(update={"seconds": seconds})})


def test_runs_take_as_long_as_others_of_their_arm() -> None:
    records = [took(10.0), took(100.0, "Fang")]
    cells = [make_record("Fang", seed).cell for seed in range(3)]
    assert effort([*cells, records[0].cell], records).seconds == {"cpu": 310.0}


def test_a_cpu_record_counts_before_a_gpus() -> None:
    records = [took(1.0, device="A card"), took(50.0)]
    assert effort([records[0].cell], records).time == "50 s on a CPU thread"
    assert effort([records[0].cell], records[:1]).time == "1 s on one A card"


def test_a_run_without_a_similar_record_has_an_unknown_length() -> None:
    other = make_record(dataset="gowalla").cell
    assert effort([other], [took(10.0)]).time == "1 of unknown length"
    assert effort([], [took(10.0)]).time == ""


def test_disk_is_the_size_of_as_many_records() -> None:
    one = effort([took(1.0).cell], [took(1.0)])
    two = effort([took(1.0).cell, took(1.0, "Fang").cell], [took(1.0)])
    assert two.bytes == pytest.approx(2 * one.bytes) and one.bytes > 1000
    assert effort([took(1.0).cell], []).disk == "40 kB"


def test_times_and_sizes_are_in_fitting_units() -> None:
    assert [duration(s) for s in (1.4, 119.0, 121.0, 7300.0, 2e5)] == [
        "1 s", "119 s", "2.0 min", "2.0 h", "2.3 d",
    ]  # fmt: skip
    assert [size(b) for b in (1500.0, 2_340_000.0)] == ["2 kB", "2.3 MB"]
