"""What users add to results and to their differences, worked by hand."""

import numpy as np
import pytest

from fedrec.analysis.evidence import Evidence
from fedrec.analysis.measure import Measure
from fedrec.analysis.noise import Noises, fit
from fedrec.analysis.statistics import loss, users_error
from fedrec.analysis.users import again, apart, gains, of_pair, shares
from fedrec.plan.blocks import Scorecard
from fedrec.records import Hits, Record
from tests.builders import make_record

NAN = float("nan")


def hitting(attack: str, seed: int, *users: int, of: int = 100) -> Record:
    """A record whose HR@5 is the share of these users, and no other is hit."""
    who = Hits(users=of, user=list(users), position=[1.0] * len(users))
    record = make_record(attack, seed, [len(users) / of])
    return record.model_copy(update={"hits": {"best_val": who, "last": who}})


def test_what_a_user_adds() -> None:
    hits = Hits(users=9, user=[3, 4, 5], position=[1.0, 3.0, 8.0])

    def by_user(metric: str) -> dict[int, float]:
        return dict(zip(*(column.tolist() for column in gains(hits, metric)), strict=True))

    assert by_user("hr@5") == {3: 1.0, 4: 1.0}
    assert by_user("ndcg@10") == pytest.approx({3: 1.0, 4: 0.5, 5: 1 / np.log2(9)})
    assert by_user("mrr") == pytest.approx({3: 1.0, 4: 1 / 3, 5: 1 / 8})


def test_shares_sum_to_one_where_they_are_known() -> None:
    found = shares(hitting("Fang", 0, 1, 3), Measure(), 5)
    assert found is not None and found.tolist() == [0, 0.5, 0, 0.5, 0]
    assert shares(hitting("Fang", 0), Measure(), 5) is None  # nobody is hit
    assert shares(make_record(), Measure(), 5) is None  # it is not known who


def test_what_a_user_adds_at_every_seed_alike_is_no_chance() -> None:
    # User 0 is hit at both seeds, 1 and 2 at one each: half a share up and down about a quarter.
    arm = {0: np.array([0.5, 0.5, 0.0]), 1: np.array([0.5, 0.0, 0.5])}
    found = apart([arm], [1.0])
    assert found.variance == pytest.approx(4 * 0.25**2)  # over one degree of freedom
    assert found.beyond[0].tolist() == [0, 0.25, -0.25]
    assert found.df == pytest.approx(2 * 4**2 / 4)  # of four equal squares
    assert apart([arm, arm], [1.0, -1.0]).variance == 0  # the same runs


def test_what_both_arms_hit_at_a_seed_sets_nothing_apart() -> None:
    base = {0: np.array([0.5, 0.5, 0.0, 0.0]), 1: np.array([0.0, 0.0, 0.5, 0.5])}
    near, far = base, {0: base[1], 1: base[0]}
    assert of_pair(near, base, NAN).variance == 0
    # Each user differs by half a share one way and then the other, about a mean of nothing
    assert of_pair(far, base, NAN).variance == pytest.approx(8 * 0.5**2)


def test_of_one_seed_what_lasts_is_taken_from_other_runs() -> None:
    rng = np.random.default_rng(0)
    chances = np.where(np.arange(400) < 200, 0.5, 0.0), np.where(np.arange(400) < 100, 0.5, 0.0)

    def run(chance: np.ndarray) -> np.ndarray:
        hit = (rng.random(400) < chance).astype(float)
        return hit / hit.sum()

    found = [
        of_pair({0: run(chances[1])}, {seed: run(chances[0]) for seed in range(5)}, 0.5).variance
        for _ in range(400)
    ]
    # Half of the users' squares is chance, of 50 hits and of 100
    assert np.mean(found) == pytest.approx(0.5 / 50 + 0.5 / 100, rel=0.05)
    alone = of_pair({0: run(chances[1])}, {0: run(chances[0])}, 0.5).variance
    assert alone > 0.015 * 1.3  # no other run to tell


def test_two_runs_of_an_arm_on_average() -> None:
    runs = np.array([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]])
    assert again(runs) == pytest.approx((0.5 + 0.0 + 0.5) / 3)
    assert again(runs[:1], 0.4) == pytest.approx(0.4)


@pytest.mark.parametrize("alike", [0.0, 0.8])
def test_where_chance_hits_each_user_on_its_own_the_dispersion_is_one(alike: float) -> None:
    """However alike arms are, which their plain residuals depend on."""
    rng = np.random.default_rng(1)
    found, plain = [], []
    for _ in range(60):
        common, own = rng.random((2, 5, 300))
        hits = [
            np.where(own < alike, common, rng.random((5, 300))) < chance
            for chance in (0.3, 0.4, 0.5, 0.5, 0.6, 0.6)
        ]
        noise = fit(
            [dict(enumerate((arm.sum(1) / 300).tolist())) for arm in hits],
            [dict(enumerate(arm / arm.sum(1, keepdims=True))) for arm in hits],
        )
        assert noise is not None
        found.append(noise.paired)
        plain.append(noise.residual * 300)  # for counts
    assert np.mean(found) == pytest.approx(1, abs=0.12)
    assert np.mean(plain) == pytest.approx(0.5 * (1 - alike), abs=0.15)


def study() -> list[Record]:
    rng = np.random.default_rng(3)
    arms = {"NoAttack": 40, "LIE": 40, "Fang": 16}
    return [
        hitting(attack, seed, *np.flatnonzero(rng.random(80) < count / 80).tolist())
        for attack, count in arms.items()
        for seed in range(4)
    ]


def test_a_loss_is_paired_by_user_and_seed() -> None:
    records = study()
    noises = Noises(records, Measure())
    found = loss(records[8:], records[:4], noises)
    assert found.users is not None and found.noise is not None
    expected = (found.noise.paired * found.users.variance / 4) ** 0.5
    assert found.error == pytest.approx((100 - found.percent) * expected)
    assert 1 / found.df == pytest.approx(1 / found.noise.paired_df + 1 / found.users.df)
    assert "users and seeds of 3 arms" in str(found.noise)


def test_an_arm_that_hits_nobody_or_nobody_known_is_not_paired_by_users() -> None:
    records = study()
    lost, unknown = hitting("Krum", 0), make_record("Krum", 0, [0.1])
    for record in (lost, unknown):
        found = loss([record], records[:4], Noises([*records, record], Measure()))
        assert found.users is None and found.error > 0


def test_an_arm_with_a_run_that_hits_nobody_leaves_the_others_paired() -> None:
    """It counts among all arms, and its own loss is judged from results."""
    rng = np.random.default_rng(5)
    many = {f"A{i}": rng.random((4, 80)) < 0.4 for i in range(5)}
    records = [
        hitting(attack, seed, *np.flatnonzero(hit).tolist())
        for attack, runs in {"NoAttack": rng.random((4, 80)) < 0.5, **many}.items()
        for seed, hit in enumerate(runs)
    ]
    rare = [hitting("Krum", seed, *range(seed)) for seed in range(4)]  # nobody at seed 0
    alone, both = (Noises(some, Measure()) for some in (records, [*records, *rare]))
    before, after = (loss(records[4:8], records[:4], noises) for noises in (alone, both))
    assert before.users is not None and after.users is not None
    assert (after.half, after.df) == (before.half, before.df)
    assert before.noise and after.noise and after.noise.arms == 7
    assert "users and seeds of 6 arms" in str(after.noise)
    assert after.noise.residual != before.noise.residual
    lost = loss(rare, records[:4], both)
    assert lost.users is None and lost.error > 0


def test_one_arm_with_known_users_is_not_paired() -> None:
    """It cannot be told apart from the seeds."""
    records = study()[:4]
    rare = [hitting(attack, s, *range(s)) for attack in ("Krum", "LIE") for s in range(4)]
    noise = Noises([*records, *rare], Measure()).of(records[0])
    assert noise is not None and noise.arms == 3 and np.isnan(noise.paired)
    assert "noise of ml-1m, MF from 3 arms" in str(noise)


def test_numbers_that_share_a_baseline_move_together() -> None:
    records = study()
    shown = Evidence(records, {}, Scorecard(), Measure())
    cells = [records[i].cell.model_copy(update={"seed": -1}) for i in (0, 4, 8)]
    found = [shown.loss(cell, cells[0], (0.0, np.inf)) for cell in cells[1:]]
    keys = found[0].moves.keys() & found[1].moves.keys()
    assert keys and sum(found[0].moves[k] * found[1].moves[k] for k in keys) > 0


def test_users_alone_are_right_at_a_loss_of_sixty_percent() -> None:
    """Of 400 users hit, 160 are left, each by chance: the standard error of a share of 400."""
    base = hitting("NoAttack", 0, *range(400), of=2000)
    worse = hitting("Fang", 0, *range(160), of=2000)
    expected = 100 * (0.6 * 0.4 / 400) ** 0.5  # 2.4 points; by a mean taken as fixed 3.9
    assert users_error([(worse, base)], Measure()) == pytest.approx(expected)
