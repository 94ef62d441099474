"""How many seeds would decide, and which runs that takes."""

from dataclasses import replace

import pytest

from fedrec.analysis.more_seeds import Step, cheapest_first, lines, seeds_to_decide, step
from fedrec.analysis.verdict import Finding, decide
from tests.builders import make_record

WORSE = (0.0, float("inf"))
CELL = make_record("Fang").cell.model_copy(update={"seed": -1})
PLAIN = make_record("NoAttack").cell.model_copy(update={"seed": -1})


def number(estimate: float, seeds: int = 1, error: float = 4.0) -> Finding:
    return Finding("x", WORSE, estimate, error, 100.0, arms=(CELL, PLAIN), seeds=seeds)


def test_errors_shrink_by_the_root_of_seeds() -> None:
    # 4 / √n has to be below 4 / 1.98: four seeds
    assert seeds_to_decide([number(4.0)], 1, 0.025, 20) == 4
    assert seeds_to_decide([number(4.0, seeds=2)], 1, 0.025, 20) == 8
    assert decide([replace(number(4.0), error=2.0)], 1) == "reproduced"


def test_what_is_too_near_a_border_is_not_decided_by_what_can_be_had() -> None:
    assert seeds_to_decide([number(0.5)], 1, 0.025, 20) is None


def test_decided_numbers_keep_their_seeds() -> None:
    assert seeds_to_decide([number(40.0), number(4.0)], 2, 0.025, 20) == 4
    planned = step("c", [number(40.0), number(4.0)], 4, 0.025, [])
    assert len(planned.cells) == 8  # of one of the two


def test_a_correction_for_many_takes_more_seeds() -> None:
    many = [number(4.0), *[number(-0.1)] * 9]
    found = seeds_to_decide(many, 1, 0.025, 20)
    assert found is not None and found > 4


def test_a_step_lists_what_is_missing_and_reckons_with_what_others_took() -> None:
    records = [make_record("Fang", 0), make_record("Fang", 1), make_record("NoAttack", 0)]
    planned = step("c", [number(4.0)], 4, 0.025, records)
    names = [(cell.attack, cell.seed) for cell in planned.cells]
    assert names == [("Fang", 2), ("Fang", 3), ("NoAttack", 1), ("NoAttack", 2), ("NoAttack", 3)]
    assert planned.hours == pytest.approx(5 * 1.0 / 3600)  # a second each


def test_the_cheapest_decision_comes_first_given_those_before_it() -> None:
    cells = [make_record("Fang", seed).cell for seed in range(10)]
    dear = Step("dear", 5, tuple(cells[:8]), 8.0)
    cheap = Step("cheap", 5, tuple(cells[:6]), 6.0)
    other = Step("other", 5, tuple(cells[7:]), 3.0)
    ordered = cheapest_first([dear, cheap, other])
    assert [(s.claim, len(s.cells)) for s in ordered] == [("other", 3), ("cheap", 6), ("dear", 1)]
    assert ordered[2].hours == pytest.approx(1.0)


def test_a_plan_is_read_line_by_line() -> None:
    text = list(lines([Step("c", 5, (make_record("Fang", 4).cell,), 0.5)], looks=(5, 10)))
    assert text[0].startswith("# Looks at 5, then 10 seeds, each at 5 % / 2 (Bonferroni)")
    assert text[1:] == ["# c: 5 seeds, 1 runs, 0.5 hours", "ml-1m/MF/Fang/FedAvg/m0.01/seed4.json"]
