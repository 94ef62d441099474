"""Results of groups of users, worked by hand and against those of all users."""

import numpy as np
import pytest

from fedrec.analysis.measure import Measure
from fedrec.analysis.noise import Noises
from fedrec.analysis.statistics import loss
from fedrec.analysis.victims import of_group, victims
from fedrec.errors import RecordError
from fedrec.records import Hits, Record
from tests.builders import make_record

DIGITS = "01122"  # user 0 is not evaluated


def hitting(attack: str, seed: int, positions: dict[int, float], of: int) -> Record:
    hits = Hits(users=of, user=list(positions), position=list(positions.values()))
    share = sum(position <= 5 for position in positions.values()) / of
    record = make_record(attack, seed, [share])
    return record.model_copy(update={"hits": {"best_val": hits, "last": hits}})


PLAIN = hitting("NoAttack", 0, {1: 1.0, 2: 5.0, 3: 9.0}, of=4)
HARMED = hitting("Fang", 0, {1: 2.0, 3: 1.0}, of=4)


def test_rates_and_losses_by_hand() -> None:
    found = victims([PLAIN, HARMED], DIGITS, "hr@5", "best_val").set_index(["attack", "group"])
    # Both users of group 1 are hit without attack, and one with it. In group 2 nobody is hit among
    # the first five without attack, so there is nothing to lose.
    assert found["mean"].to_dict() == {
        ("NoAttack", 1): 1.0, ("Fang", 1): 0.5, ("NoAttack", 2): 0.0, ("Fang", 2): 0.5,
    }  # fmt: skip
    assert found.loss["Fang", 1] == pytest.approx(50)
    assert np.isnan([found.loss["Fang", 2], found.loss["NoAttack", 1]]).all()
    wider = victims([PLAIN, HARMED], DIGITS, "hr@10", "best_val").set_index(["attack", "group"])
    assert wider["mean"]["NoAttack", 2] == 0.5 and wider.loss["Fang", 2] == 0


def test_a_group_has_its_own_users_alone() -> None:
    part = of_group(PLAIN, DIGITS, "2", "hr@10", "last")
    assert part.hits == {"last": Hits(users=2, user=[3], position=[9.0])}
    assert part.reported("hr@10", "last") == 0.5 and part.cell.attack == "NoAttack 2"


def study(seeds: int = 3, users: int = 200, most: int = 60) -> list[Record]:
    """Two attacks that hit fewer users than none, and partly the same."""
    rng, found = np.random.default_rng(0), []
    for attack, count in (("NoAttack", most), ("Fang", most * 3 // 4), ("LIE", most * 2 // 3)):
        for seed in range(seeds):
            hit = rng.choice(users // 2, count, replace=False)
            found.append(hitting(attack, seed, dict.fromkeys(hit.tolist(), 1.0), users))
    return found


def test_one_group_of_all_users_is_judged_as_the_study_is() -> None:
    records = study()
    found = victims(records, "1" * 200, "hr@5", "best_val").set_index("attack")
    noises = Noises(records, Measure())
    mean, half = noises.mean(records[3:6])
    expected = loss(records[3:6], records[:3], noises)
    assert expected.users is not None and half > 0
    row = found.loc["Fang"]
    assert tuple(row[["mean", "half"]]) == pytest.approx((mean, half))
    assert tuple(row[["loss", "loss_half"]]) == pytest.approx((expected.percent, expected.half))


def test_groups_add_up_to_all_users() -> None:
    records, digits = study(), "1" * 20 + "2" * 50 + "3" * 130
    found = victims(records, digits, "hr@5", "best_val")
    weights = found.group.map({1: 20, 2: 50, 3: 130}) / 200
    sums = (found["mean"] * weights).groupby(found.attack).sum()
    assert sums["NoAttack"] == pytest.approx(0.3) and sums["LIE"] == pytest.approx(0.2)


def test_a_group_that_nobody_of_is_hit_leaves_the_others_as_they_are() -> None:
    """Half of the users are never hit, so their group has results of zero and no loss."""
    records, half = study(), "1" * 100 + "2" * 100
    found = victims(records, half, "hr@5", "best_val").set_index(["attack", "group"])
    alone = victims([of_first(r) for r in records], "1" * 100, "hr@5", "best_val")
    row = found.loc["Fang", 1]
    expected = alone[alone.attack == "Fang"].iloc[0]
    assert row.loss_half == pytest.approx(expected.loss_half)
    assert found["mean"]["Fang", 2] == 0 and np.isnan(found.loss["Fang", 2])


def of_first(record: Record) -> Record:
    """The same run with the first hundred users alone."""
    hits = (record.hits or {})["best_val"]
    positions = dict(zip(hits.user, hits.position, strict=True))
    return hitting(record.cell.attack, record.cell.seed, positions, of=100)


def test_other_users_are_refused() -> None:
    for digits in ("00122", "11122", "0112"):  # user 1 was hit; five were evaluated; there is no 4
        with pytest.raises(RecordError, match="evaluated other users"):
            victims([PLAIN], digits, "hr@5", "best_val")
    with pytest.raises(RecordError, match="names no users"):
        victims([make_record()], DIGITS, "hr@5", "best_val")
