"""From numbers with errors to verdicts."""

from collections.abc import Hashable

import numpy as np
import pytest
from scipy import stats

from fedrec.analysis import verdict
from fedrec.analysis.verdict import Finding, Verdict, conjunction, decide, joint
from tests.builders import make_record

INF = float("inf")
NEVER = float("nan")
WORSE = (0.0, INF)


def finding(
    estimate: float | None, error: float = 1.0, region: tuple[float, float] = WORSE, df: float = INF
) -> Finding:
    return Finding("x", region, estimate, error, df)


@pytest.mark.parametrize(
    ("estimate", "error", "expected"),
    [
        (2.0, 1.0, "reproduced"),  # [0.04, 3.96]
        (1.9, 1.0, "inconclusive"),
        (-2.0, 1.0, "not reproduced"),
        (0.0, 0.0, "inconclusive"),  # no difference is neither better nor worse
        (0.1, 0.0, "reproduced"),
        (5.0, NEVER, "inconclusive"),
        (None, NEVER, "not run"),
    ],
)
def test_an_interval_decides(estimate: float | None, error: float, expected: Verdict) -> None:
    assert decide([finding(estimate, error)], 1) == expected


def test_the_interval_is_students() -> None:
    found = finding(1.0, 2.0, df=3.0)
    half = stats.t.ppf(0.975, 3) * 2
    assert found.interval == pytest.approx((1 - half, 1 + half))
    assert found.inside == pytest.approx(stats.t.sf(0.5, 3))


def test_a_share_has_the_interval_of_its_logit() -> None:
    found = Finding("x", (0.95, INF), 0.9, 0.05, is_share=True)
    half = 1.959964 * 0.05 / (0.9 * 0.1)
    ends = [1 / (1 + np.exp(-(np.log(9) + side * half))) for side in (-1, 1)]
    assert found.interval == pytest.approx(ends) and found.interval[1] < 1
    assert found.outside == pytest.approx(stats.norm.sf((np.log(19) - np.log(9)) * 0.09 / 0.05))
    assert decide([Finding("x", (0.95, INF), 1.0, 0.0, 2.0, is_share=True)], 1) == "reproduced"
    assert decide([Finding("x", (-INF, 0.5), 1.0, 0.0, 2.0, is_share=True)], 1) == "not reproduced"


def test_of_two_borders_either_may_be_crossed_by_chance() -> None:
    # 2.0 standard errors beyond one border: 2.3 % on its own, 4.6 % of two
    assert decide([finding(12.0, 1.0, (0.0, 10.0))], 1) == "inconclusive"
    assert decide([finding(12.3, 1.0, (0.0, 10.0))], 1) == "not reproduced"
    assert decide([finding(10.0, 0.0, (10.0, 10.0))], 1) == "reproduced"  # a count
    assert decide([finding(11.0, 0.0, (10.0, 10.0))], 1) == "not reproduced"
    gap = finding(None, NEVER, (10.0, 10.0))
    assert decide([finding(10.0, 0.0, (10.0, 10.0)), gap], 2) == "not run"


HOLDS, FAILS, OPEN, ABSENT = finding(9.0), finding(-9.0), finding(0.1), finding(None, NEVER)


@pytest.mark.parametrize(
    ("needed", "findings", "expected"),
    [
        (2, [HOLDS, HOLDS], "reproduced"),
        (2, [HOLDS, OPEN], "inconclusive"),
        (2, [HOLDS, ABSENT], "not run"),
        (4, [HOLDS, OPEN, ABSENT, FAILS], "not reproduced"),  # one is enough
        (1, [FAILS, OPEN, ABSENT, HOLDS], "reproduced"),  # one is enough
        (1, [FAILS, ABSENT], "not run"),
        (1, [FAILS, OPEN], "inconclusive"),
        (1, [FAILS, FAILS], "not reproduced"),
        (3, [HOLDS, HOLDS, HOLDS, FAILS, ABSENT], "reproduced"),  # most of five
        (3, [HOLDS, HOLDS, OPEN, FAILS, FAILS], "inconclusive"),
        (3, [FAILS, FAILS, FAILS, HOLDS, HOLDS], "not reproduced"),
    ],
)
def test_findings_make_a_verdict(needed: int, findings: list[Finding], expected: Verdict) -> None:
    assert decide(findings, needed) == expected


def test_the_best_of_many_is_corrected_for_having_been_picked() -> None:
    # 2.1 standard errors: 1.8 % for one number, 1 - 0.982⁵ = 8.6 % for the best of five
    five = [finding(2.1), *[finding(-1.0)] * 4]
    p = conjunction(five, [f.inside for f in five], 1)
    assert p == pytest.approx(1 - (1 - stats.norm.sf(2.1)) ** 5, abs=0.006)
    assert decide(five, 1) == "inconclusive" and decide(five[:1], 1) == "reproduced"


def test_all_need_no_correction() -> None:
    five = [finding(2.1)] * 5
    assert conjunction(five, [f.inside for f in five], 5) == pytest.approx(stats.norm.sf(2.1))


def sharing(*names: str, estimate: float = 2.1) -> Finding:
    """A number that the noise of some runs moves."""
    cells: dict[Hashable, float] = {make_record(name).cell: 1.0 for name in names}
    return Finding("x", WORSE, estimate, 1.0, moves=cells)


def test_numbers_that_move_together_count_less_often() -> None:
    same = [sharing("A")] * 5
    assert conjunction(same, [f.inside for f in same], 1) == pytest.approx(
        stats.norm.sf(2.1), abs=0.004
    )
    shared = [sharing("NoAttack", name) for name in "ABCDE"]
    p = conjunction(shared, [f.inside for f in shared], 1)
    assert stats.norm.sf(2.1) + 0.02 < p < 1 - (1 - stats.norm.sf(2.1)) ** 5 - 0.002


def test_draws_have_the_correlation_of_what_they_share_and_students_tails() -> None:
    pair = [sharing("NoAttack", "A"), sharing("NoAttack", "B"), finding(1.0)]
    drawn = joint(pair, INF)
    assert np.corrcoef(drawn) == pytest.approx(
        np.array([[1, 0.5, 0], [0.5, 1, 0], [0, 0, 1]]), abs=0.03
    )
    tails = (joint(pair, 4.0)[0] > stats.t.ppf(0.975, 4)).mean()
    assert tails == pytest.approx(0.025, abs=0.004)


@pytest.mark.parametrize("needed", [1, 3, 5])
def test_a_false_verdict_is_rare(needed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers on their borders: neither answer is right more often than its level."""
    monkeypatch.setattr(verdict, "DRAWS", 2000)
    rng = np.random.default_rng(0)
    told = []
    for _ in range(300):
        base, own = rng.normal(), rng.normal(size=5)
        numbers = [
            sharing("NoAttack", name, estimate=float(base + e) / 2**0.5)
            for name, e in zip("ABCDE", own, strict=True)
        ]
        told.append(decide(numbers, needed))
    assert told.count("reproduced") <= 18 and told.count("not reproduced") <= 18  # of 7.5


def test_numbers_are_told_with_their_intervals() -> None:
    assert str(finding(2.0)) == "x: 2 [0.04, 3.96]"
    assert str(finding(None)) == "x: no record"
    assert str(finding(2.0, NEVER)) == "x: 2 (no interval)"
    assert str(finding(6040.0, 0.0)) == "x: 6,040"
    assert str(Finding("x", WORSE, 2.0, NEVER, note="one run")) == "x: 2 (one run)"
