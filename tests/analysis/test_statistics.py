"""Losses with their intervals, worked by hand and against slow resampling."""

import numpy as np
import pytest
from scipy import stats

from fedrec.analysis.measure import Measure
from fedrec.analysis.noise import Noises
from fedrec.analysis.statistics import half_width, holm, loss, paired, users_error
from fedrec.records import Hits, Record
from tests.builders import make_record

BASE, ATTACKED = [0.10, 0.12, 0.14], [0.08, 0.09, 0.10]


def arm(values: list[float], attack: str = "NoAttack") -> list[Record]:
    return [make_record(attack, seed, [value]) for seed, value in enumerate(values)]


def hitting(record: Record, users: int, *hit: tuple[int, float]) -> Record:
    """The record with known hits: pairs of user and position."""
    who = Hits(users=users, user=[u for u, _ in hit], position=[p for _, p in hit])
    return record.model_copy(update={"hits": {"best_val": who, "last": who}})


def test_a_single_value_has_no_interval_of_its_own() -> None:
    assert np.isnan(half_width(np.array([0.1])))
    assert half_width(np.array([0.1, 0.3])) == pytest.approx(12.706 * 0.1, rel=1e-4)


def test_a_loss_with_the_noise_that_both_arms_show() -> None:
    records = [*arm(BASE), *arm(ATTACKED, "Fang")]
    found = loss(records[3:], records[:3], Noises(records, Measure()))
    assert found.percent == pytest.approx(25) and found.noise is not None and found.df == 2
    # Relative variance: the dispersion by both means, over three seeds; of 75 % that are left
    relative = (found.noise.residual * (1 / 0.12 + 1 / 0.09) / 3) ** 0.5
    assert found.error == pytest.approx(75 * relative)
    assert found.half == pytest.approx(stats.t.ppf(0.975, 2) * found.error)
    assert found.p_value == pytest.approx(2 * stats.t.sf(25 / found.error, 2))


def test_one_run_of_each_has_the_noise_of_the_others() -> None:
    others = [*arm(BASE), *arm(ATTACKED, "Fang"), *arm([0.1, 0.13, 0.13], "LIE")]
    one = make_record("Krum", 0, [0.05])
    found = loss([one], others[:1], Noises([*others, one], Measure()))
    assert found.percent == pytest.approx(50) and found.error > 0


def test_without_any_second_seed_there_is_no_interval() -> None:
    records = [*arm([0.10]), *arm([0.08], "Fang")]
    found = loss(records[1:], records[:1], Noises(records, Measure()))
    assert found.percent == pytest.approx(20) and found.noise is None
    assert np.isnan(found.half) and np.isnan(found.p_value)


def test_arms_that_cannot_be_compared_are_refused() -> None:
    with pytest.raises(ValueError, match="no seed"):
        loss(arm([0.1]), [make_record(seed=7)], Noises([], Measure()))
    with pytest.raises(ValueError, match="nothing to lose"):
        loss(arm([0.1]), arm([0.0]), Noises([], Measure()))


def test_an_arm_that_hits_nobody_has_lost_all_but_not_beyond_doubt() -> None:
    records = [*arm(BASE), *arm(ATTACKED, "LIE"), *arm([0.0, 0.0, 0.0], "Fang")]
    found = loss(records[6:], records[:3], Noises(records, Measure()))
    assert found.percent == 100 and 0 < found.half < 10


def test_only_common_seeds_are_paired() -> None:
    pairs = paired(arm([0.1, 0.2, 0.3]), [make_record(seed=2), make_record(seed=0)])
    assert [(a.cell.seed, b.cell.seed) for a, b in pairs] == [(0, 0), (2, 2)]


def test_the_mean_of_the_last_evaluations_is_another_measure() -> None:
    record = make_record(hr=[0.9, 0.1, 0.2, 0.3, 0.4, 0.5], validation=[1, 0, 0, 0, 0, 0])
    assert Measure()(record) == 0.9
    settled = Measure(settled=True)
    assert settled(record) == pytest.approx(0.3)
    assert str(settled) == "HR@5, mean of the last 5 evaluations"


def test_users_are_the_sample_of_a_ratio() -> None:
    """As drawing 2,000 users with replacement, again and again, does it, at a loss of half."""
    base = hitting(make_record(hr=[0.2]), 2000, *((user, 1.0) for user in range(400)))
    worse = hitting(make_record("Fang", hr=[0.1]), 2000, *((u, 2.0) for u in range(300, 500)))
    hit = np.zeros((2, 2000))
    hit[0, :400], hit[1, 300:500] = 1, 1
    drawn = np.random.default_rng(5).integers(2000, size=(4000, 2000))
    ours, theirs = hit[1][drawn].mean(axis=1), hit[0][drawn].mean(axis=1)
    expected = (100 * (1 - ours / theirs)).std()
    assert users_error([(worse, base)], Measure()) == pytest.approx(expected, rel=0.05)


def test_a_user_keeps_all_seeds_together() -> None:
    """Two seeds that are the same say no more than one."""
    one = hitting(make_record(hr=[0.2]), 50, *((user, 1.0) for user in range(10)))
    two = hitting(make_record("Fang", hr=[0.1]), 50, *((user, 1.0) for user in range(5)))
    single, double = (users_error([(two, one)] * times, Measure()) for times in (1, 2))
    assert single == pytest.approx(double) and single > 0


def test_users_are_not_known_without_hits_or_beyond_them() -> None:
    known = hitting(make_record(hr=[0.2]), 50, (1, 1.0))
    assert np.isnan(users_error([(make_record("Fang"), known)], Measure()))
    assert np.isnan(users_error([(known, known)], Measure("mrr")))
    assert np.isnan(users_error([(known, known)], Measure(settled=True)))


def test_borrowed_noise_is_no_smaller_than_what_users_show() -> None:
    lenders = [*arm([0.1, 0.1001], "A"), *arm([0.1, 0.1001], "B"), *arm([0.1001, 0.1], "C")]
    lenders += [make_record(f"D{i}", seed, [0.1]) for i in range(9) for seed in (0, 1)]
    base = hitting(make_record(dataset="other"), 50, *((user, 1.0) for user in range(10)))
    worse = hitting(make_record("Fang", dataset="other"), 50, *((u, 1.0) for u in range(5, 15)))
    found = loss([worse], [base], Noises([*lenders, base, worse], Measure()))
    assert found.noise is not None and found.noise.borrowed
    assert found.error == pytest.approx(users_error([(worse, base)], Measure()))


def test_holm_by_hand() -> None:
    # In order 0.01 × 3, 0.02 × 2, 0.04 × 1; no smaller than the one before; the gap is no test.
    found = holm(np.array([0.04, np.nan, 0.01, 0.02]))
    assert found[[0, 2, 3]] == pytest.approx([0.04, 0.03, 0.04]) and np.isnan(found[1])
    assert holm(np.array([0.6, 0.9])) == pytest.approx([1.0, 1.0])
