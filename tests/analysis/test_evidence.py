"""Numbers that claims rest on, from made-up records."""

import numpy as np
import pytest

from fedrec.analysis.evidence import Evidence, outliers, separation, separation_by_round
from fedrec.analysis.measure import Measure
from fedrec.analysis.verdict import decide
from fedrec.plan.blocks import Scorecard
from fedrec.records import Record, Uploads
from tests.builders import make_record

WORSE, BETTER, APART = (0.0, float("inf")), (float("-inf"), 0.0), (0.95, float("inf"))
CONFIG = {"protocol": {"window": 2}}


def uploads(
    malicious: list[bool], uniformity: list[float], away: list[float], rounds: list[int]
) -> Uploads:
    return Uploads(
        round=rounds,
        malicious=malicious,
        component_1=away,
        component_2=[0.0] * len(malicious),
        uniformity=uniformity,
    )


def evidence(records: list[Record], **card: object) -> Evidence:
    counts = {"made-up": {"users": 10, "items": 5}}
    return Evidence(records, counts, Scorecard(**card), Measure(report="last"))  # type: ignore[arg-type]


def arms(**values: list[float]) -> list[Record]:
    return [
        make_record(name, seed, [value])
        for name, seeds in values.items()
        for seed, value in enumerate(seeds)
    ]


def cell(attack: str, **changes: object):
    return make_record(attack).cell.model_copy(update={"seed": -1, **changes})


def test_separation_is_the_chance_to_be_less_uniform_within_a_panel() -> None:
    seen = uploads(
        [True, False, False, False, False], [2.0, 1.0, 2.0, 3.0, 4.0], [0.0] * 5, [1] * 5
    )
    assert separation(seen, CONFIG) == {"rounds 1–1": (2 + 0.5) / 4}
    assert separation(uploads([False], [1.0], [0.0], [1]), CONFIG) == {}


def test_a_panel_pools_its_rounds_where_a_server_sees_each_alone() -> None:
    """Uniformity grows from round to round: apart in each, mixed in both together."""
    seen = uploads([True, False] * 2, [1.0, 2.0, 3.0, 4.0], [0.0] * 4, [1, 1, 2, 2])
    assert separation(seen, CONFIG) == {"rounds 1–2": 3 / 4}
    assert separation_by_round(seen, CONFIG) == {"rounds 1–2": 1.0}


def test_each_window_of_rounds_is_a_panel() -> None:
    seen = uploads([True, False] * 3, [1.0, 2.0, 1.0, 2.0, 2.0, 1.0], [0.0] * 6, [1, 1, 2, 2, 3, 3])
    assert separation(seen, CONFIG) == {"rounds 1–2": 1.0, "rounds 3–3": 0.0}


def test_outliers_are_beyond_nearly_all_benign_uploads() -> None:
    benign = [float(i) for i in range(1, 101)]  # 95 % lie within 95.05
    away = [96.0, -97.0, 95.0, 1.0, *benign]
    seen = uploads([True] * 4 + [False] * 100, [0.0] * 104, away, [1] * 104)
    assert outliers(seen, CONFIG) == {"rounds 1–1": 0.5}


def watched(seed: int, area: float) -> Record:
    """A run whose panel has ten benign uploads, of which so many are the more uniform ones."""
    uniformity = [10 * (1 - area), *map(float, range(10))]
    seen = uploads([True] + [False] * 10, uniformity, [0.0] * 11, [1] * 11)
    return make_record("ClusterAttack", seed, defense="UNION").model_copy(
        update={"uploads": seen, "config": CONFIG}
    )


def test_seeds_are_the_sample_of_uploads() -> None:
    records = [watched(seed, area) for seed, area in enumerate([0.75, 0.85, 0.95])]
    (found,) = evidence(records).uploads(
        cell("ClusterAttack", defense="UNION"), "separation", APART
    )
    assert found.what == "separation under UNION, rounds 1–1" and found.seeds == 3
    assert found.estimate == pytest.approx(0.8) and found.df == 2  # ties of ranks: 0.7, 0.8, 0.9
    assert found.error == pytest.approx(0.1 / 3**0.5) and found.interval[1] < 1.0


def test_one_run_has_no_interval_however_many_rounds() -> None:
    (found,) = evidence([watched(0, 0.75)]).uploads(
        cell("ClusterAttack", defense="UNION"), "separation", APART
    )
    assert not found.known and str(found).endswith("(one run)")
    (gap,) = evidence([]).uploads(cell("ClusterAttack", defense="UNION"), "separation", APART)
    assert decide([gap], 1) == "not run"


def test_what_two_arms_share_is_said_first() -> None:
    arm, reference = (cell("Fang", defense=d) for d in ("Krum+UNION", "Krum"))
    assert evidence([]).loss(arm, reference, WORSE).what == "Fang, Krum+UNION against Krum, % lost"


def test_runs_that_nothing_set_apart_are_told() -> None:
    records = arms(NoAttack=[0.2, 0.21], Fang=[0.1, 0.11], LIE=[0.1, 0.11])
    shown = evidence(records)
    assert shown.loss(cell("Fang"), cell("LIE"), WORSE).note == "the same hits in every run"
    assert shown.loss(cell("Fang"), cell("NoAttack"), WORSE).note == ""


def test_a_number_knows_how_each_run_moves_it() -> None:
    records = arms(NoAttack=[0.2, 0.21, 0.2], Fang=[0.1, 0.1, 0.11])
    found = evidence(records).loss(cell("Fang"), cell("NoAttack", ratio=0.0), WORSE)
    moves = np.array([found.moves[record.cell] for record in records])
    assert (moves[:3] > 0).all() and (moves[3:] < 0).all()  # better baselines lose more
    base, attacked = 0.61 / 3, 0.31 / 3
    assert moves[0] / -moves[3] == pytest.approx((attacked / base) ** 0.5)
    # They are what its error is made of, but for its scale
    assert np.linalg.norm(moves) ** 2 * 3 == pytest.approx(
        3 * 3 * (attacked / base) ** 2 * (1 / attacked + 1 / base)
    )


def test_spreads_are_compared_arm_by_arm() -> None:
    # 0.1 and 0.3 spread by 0.1 √2 about 0.2; 0.19 and 0.21 by a tenth of that.
    records = arms(
        A=[0.19, 0.19], B=[0.21, 0.21], C=[0.1, 0.1], D=[0.3, 0.3], E=[0.2, 0.21], F=[0.2, 0.19]
    )
    found = evidence(records).spread([cell("A"), cell("B")], [cell("C"), cell("D")])
    assert found.estimate == pytest.approx(-90 * 0.5**0.5)
    assert found.seeds == 2 and found.known and decide([found], 1) == "reproduced"
    gap = evidence(records[:2]).spread([cell("A"), cell("B")], [cell("C"), cell("D")])
    assert decide([gap], 1) == "not run"


def test_the_error_of_a_spread_is_that_of_many_draws() -> None:
    """The delta method against adding the noise again and again."""
    values = {"A": 0.2, "B": 0.3, "C": 0.1, "D": 0.25, "E": 0.4, "F": 0.2}
    noisy = {name: [mean * 1.03, mean * 0.97] for name, mean in values.items()}
    noisy["B"].reverse()
    shown = evidence(arms(**noisy))
    found = shown.spread([cell(n) for n in "ABC"], [cell(n) for n in "DEF"])
    noise = shown.noises.of(make_record("A"))
    assert noise is not None
    means = np.array(list(values.values()))
    rng = np.random.default_rng(0)
    drawn = means + rng.normal(size=(20_000, 6)) * np.sqrt(noise.residual * means / 2)
    sides = [100 * d.std(axis=1, ddof=1) / d.mean(axis=1) for d in (drawn[:, :3], drawn[:, 3:])]
    assert found.error == pytest.approx((sides[0] - sides[1]).std(), rel=0.05)


def test_counts_are_exact() -> None:
    shown = evidence([], datasets={"ml-1m": "made-up"})
    found = [shown.count("ml-1m", *stated) for stated in (("users", 10), ("items", 6), ("x", 1))]
    assert [decide([f], 1) for f in found] == ["reproduced", "not reproduced", "not run"]
