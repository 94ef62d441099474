"""Losses with their intervals, worked by hand and against slow resampling."""

import numpy as np
import pytest

from fedrec.analysis import statistics
from fedrec.analysis.statistics import gains, half_width, holm, loss, paired, two_sided
from fedrec.records import Hits, Record
from tests.builders import make_record, mean_and_half_width

T2 = 4.302653  # Student's t, 97.5 %, 2 degrees of freedom


def arm(values: list[float], attack: str = "NoAttack") -> list[Record]:
    return [make_record(attack, seed, [value]) for seed, value in enumerate(values)]


def hitting(record: Record, users: int, *hit: tuple[int, float]) -> Record:
    """The record with known hits: pairs of user and position."""
    who = Hits(users=users, user=[u for u, _ in hit], position=[p for _, p in hit])
    return record.model_copy(update={"hits": {"best_val": who, "last": who}})


def test_a_single_value_has_no_interval() -> None:
    assert np.isnan(half_width(np.array([0.1])))


def test_three_seeds_give_an_interval_over_seeds() -> None:
    found = loss(arm([0.08, 0.09, 0.10]), arm([0.10, 0.12, 0.14]), "hr@5", "best_val")
    # A quarter is lost; seed by seed -0.005, 0 and 0.005 beyond it (see test_summary.py).
    _, half = mean_and_half_width([-100 / 24, 0, 100 / 24], T2)
    assert found.percent == pytest.approx(25) and found.by == "seeds"
    assert (found.low, found.high) == pytest.approx((25 - half, 25 + half), rel=1e-5)


def test_without_hits_one_seed_has_no_interval() -> None:
    found = loss(arm([0.08]), arm([0.10]), "hr@5", "best_val")
    assert found.percent == pytest.approx(20) and found.by == "nothing" and np.isnan(found.low)


def test_arms_without_a_common_seed_are_refused() -> None:
    with pytest.raises(ValueError, match="no seed"):
        loss(arm([0.1]), [make_record(seed=7)], "hr@5", "best_val")


def test_only_common_seeds_are_paired() -> None:
    pairs = paired(arm([0.1, 0.2, 0.3]), [make_record(seed=2), make_record(seed=0)])
    assert [(a.cell.seed, b.cell.seed) for a, b in pairs] == [(0, 0), (2, 2)]


def test_what_a_user_adds() -> None:
    hits = Hits(users=9, user=[3, 4, 5], position=[1.0, 3.0, 8.0])
    assert gains(hits, "hr@5") == {3: 1.0, 4: 1.0}
    assert gains(hits, "ndcg@10") == pytest.approx({3: 1.0, 4: 0.5, 5: 1 / np.log2(9)})


def test_one_seed_is_resampled_by_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """As drawing 2,000 users with replacement, again and again, does it."""
    monkeypatch.setattr(statistics, "RESAMPLES", 8_000)
    base = hitting(make_record(hr=[0.2]), 2000, *((user, 1.0) for user in range(400)))
    worse = hitting(make_record("Fang", hr=[0.19]), 2000, *((u, 2.0) for u in range(150, 530)))
    found = loss([worse], [base], "hr@5", "best_val")
    lost = np.zeros(2000)
    lost[:150], lost[400:530] = 1, -1
    draws = np.random.default_rng(5).choice(lost, (8_000, 2000)).mean(axis=1)
    low, high = 100 * np.percentile(draws, [2.5, 97.5]) / 0.2
    assert found.by == "users" and found.percent == pytest.approx(5)
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.5)
    assert found.p_value == pytest.approx(2 * (draws <= 0).mean(), abs=0.03)


def test_a_user_keeps_all_seeds_together() -> None:
    """Two seeds that are the same say no more than one."""
    one = hitting(make_record(hr=[0.2]), 50, *((user, 1.0) for user in range(10)))
    two = hitting(make_record("Fang", hr=[0.1]), 50, *((user, 1.0) for user in range(5)))
    again = [record.model_copy(update={"cell": seed_1(record)}) for record in (one, two)]
    single = loss([two], [one], "hr@5", "best_val")
    double = loss([two, again[1]], [one, again[0]], "hr@5", "best_val")
    assert (double.low, double.high) == pytest.approx((single.low, single.high))


def seed_1(record: Record) -> object:
    return record.cell.model_copy(update={"seed": 1})


def test_two_sided_by_hand() -> None:
    assert two_sided(np.array([-1.0, 1.0, 2.0, 3.0])) == 0.5
    assert two_sided(np.array([1.0, 1.0, 2.0, 3.0])) == 0.25  # no less than one in four
    assert two_sided(np.zeros(4)) == 1.0


def test_holm_by_hand() -> None:
    # In order 0.01 × 3, 0.02 × 2, 0.04 × 1; no smaller than the one before; the gap is no test.
    found = holm(np.array([0.04, np.nan, 0.01, 0.02]))
    assert found[[0, 2, 3]] == pytest.approx([0.04, 0.03, 0.04]) and np.isnan(found[1])
    assert holm(np.array([0.6, 0.9])) == pytest.approx([1.0, 1.0])
