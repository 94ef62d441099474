"""Which records are run again, and where two runs part first."""

from fedrec.training.verification import first_difference, some_of
from tests.builders import make_record

RECORDS = [make_record("NoAttack", seed, [0.1, 0.2]) for seed in range(8)]


def test_a_choice_depends_on_its_seed_alone() -> None:
    chosen = some_of(RECORDS, 3, 1)
    assert len({record.cell for record in chosen}) == 3
    assert some_of(RECORDS[::-1], 3, 1) == chosen
    assert any(some_of(RECORDS, 3, seed) != chosen for seed in range(2, 6))
    assert some_of(RECORDS, 99, 0) == sorted(RECORDS, key=lambda record: record.cell.seed)


def test_the_earliest_round_that_differs_is_named() -> None:
    kept = make_record("NoAttack", 0, [0.1, 0.2, 0.3])
    again = kept.model_copy(deep=True)
    assert first_difference(kept, again) is None
    again.trajectory.test["hr@5"][2] = 0.4
    assert first_difference(kept, again) == "in round 600, test.hr@5: 0.3 kept, 0.4 now"
    again.trajectory.validation["mrr"][1] = 0.5
    assert first_difference(kept, again) == "in round 400, validation.mrr: 0.2 kept, 0.5 now"


def test_an_evaluation_that_is_missing_is_named() -> None:
    kept, again = make_record("NoAttack", 0, [0.1, 0.2]), make_record("NoAttack", 0, [0.1])
    assert first_difference(kept, again) == "in round 400, loss: 0.5 kept, nothing now"


def test_other_fields_count_and_versions_do_not() -> None:
    kept = make_record("NoAttack", 0, [0.1])
    other = kept.model_copy(update={"diverged_at": 3})
    assert first_difference(kept, other) == "in diverged_at"
    version = kept.provenance.model_copy(update={"fedrec": "9"})
    assert first_difference(kept, kept.model_copy(update={"provenance": version})) is None


def test_numbers_that_are_none_equal_themselves() -> None:
    kept = make_record("NoAttack", 0, [float("nan")])
    assert first_difference(kept, kept.model_copy(deep=True)) is None
