"""Estimates of work, counted by hand on a few rows, and that every method has one."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fedrec.attacks.bit_flip import BitFlip
from fedrec.attacks.cluster_attack import ClusterAttack
from fedrec.attacks.cluster_attack_matched import ClusterAttackMatched
from fedrec.attacks.fang import Fang
from fedrec.attacks.fed_attack import FedAttack
from fedrec.attacks.gaussian import Gaussian
from fedrec.attacks.ipm import IPM
from fedrec.attacks.ipm_search import IPMSearch
from fedrec.attacks.label_flip import LabelFlip
from fedrec.attacks.lie import LIE
from fedrec.attacks.lie_search import LIESearch
from fedrec.attacks.mimic import Mimic
from fedrec.attacks.min_max import MinMax
from fedrec.attacks.min_sum import MinSum
from fedrec.attacks.spattack_l import SpattackL
from fedrec.attacks.spattack_o import SpattackO
from fedrec.attacks.ua_fedrec import UAFedRec
from fedrec.bench.attack_work import attack_work
from fedrec.bench.cells import STUDY, bench_split
from fedrec.bench.defense_work import comparisons, defense_work, mixed, server_work
from fedrec.bench.model_work import LAPLACE, NORMAL, model_work, task_work
from fedrec.bench.tally import Tally, Touched, Work, tally
from fedrec.bench.traffic import round_work
from fedrec.config.study import Study
from fedrec.defenses.base import Defense
from fedrec.defenses.bucketing import Bucketing
from fedrec.defenses.bulyan import Bulyan
from fedrec.defenses.centred_clipping import CentredClipping
from fedrec.defenses.coordinate_median import CoordinateMedian
from fedrec.defenses.dnc import DnC
from fedrec.defenses.dp_fedavg import DPFedAvg
from fedrec.defenses.fl_wbc import FLWBC
from fedrec.defenses.fools_gold import FoolsGold
from fedrec.defenses.geometric_median import GeometricMedian
from fedrec.defenses.mean import Mean
from fedrec.defenses.nnm import NNM
from fedrec.defenses.per_row import PerRow
from fedrec.defenses.pieck import PIECK
from fedrec.defenses.trimmed_mean import TrimmedMean
from fedrec.federation import set_up
from fedrec.kernels.rows import sort_rows
from fedrec.models.mf import MF
from fedrec.models.ncf import NCF
from tests.bench.test_bench import SMALL, small_case

NAMES = Study.load(STUDY)
SPLIT = bench_split(SMALL)
CONFIG = small_case().config()
# Three items with two numbers each. Four clients upload 8 rows, three of them forged: all of them
# touch one item, and two touch each of the others. A row has 8 bytes, and the table 24.
T = Tally(
    users=10,
    items=3,
    d=2,
    dense=0,
    clients=4,
    assumed=1,
    attackers=2,
    attacked=0.5,
    malicious=1,
    pairs=4,
    rows=6,
    tokens=0,
    squares=0,
    anchors=0,
    honest=5,
    forged=3,
    plain=Touched(np.array([2.0]), np.array([3.0])),
    received=Touched(np.array([2.0, 4.0]), np.array([2.0, 1.0])),
)
SUM = Work(2 * 24 + 8 * (24 + 8), 6 + 2 * 8 * 2)  # the table twice, a row and two additions to it
GRAM = Work(8 * (8 + 24) + 24, 2 * (16 + 4 + 4))  # half of the products; each takes two operations
MIXED = Work(8 * (24 + 16), 2 * 8 * 2)  # 8 rows, each read and added to one of a mixture
GRADIENTS = model_work(MF(), T)


def close(found: Work, expected: Work) -> bool:
    return (found.bytes, found.operations) == pytest.approx((expected.bytes, expected.operations))


def added(*works: Work) -> Work:
    return sum(works, Work())


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (Mean(), SUM),
        # All 8 rows are needed: 5 comparisons for the item with four, and 1 for each of the others.
        (CoordinateMedian(), Work(8 * 24 + 8 * 8 + 48, 2 * (2 * 7 + 3 * 8) + 6)),
        (TrimmedMean(), Work(8 * 24 + 8 * 8 + 48, 2 * (2 * 7 + 3 * 8) + 6)),
        (TrimmedMean(trim=0.0), SUM),
        (PerRow(), Work(8 * 32 + 48 + 24, 2 * (2 * 7 + 3 * 8))),
        # 6 + 1 + 1 pairs, with three operations for each of two coordinates
        (PerRow(rule="krum"), Work(8 * 32 + 48 + 24, 3 * 2 * 8 + 2 * 2 * 8)),
        (GeometricMedian(iterations=3), added(SUM, GRAM, Work(8, 1) * (6 * 16))),
        (FoolsGold(), added(SUM, GRAM, Work(8, 1) * (10 * 16))),
        (Bulyan(), SUM),  # four uploads allow f = 0
        # 24 coordinates, of 8 rows; 30 products of two matrices of 4 × 4
        (
            DnC(),
            Work(64 + 128 + 192 + (64 + 8) * 24 + 30 * 40 * 16, 4 * 24 + 8 * 24 + 30 * 2 * 64),
        ),
        # Clipping reads and writes the rows twice; noise makes six passes over the table.
        (DPFedAvg(), added(SUM, Work(8 * 48 + 6 * 24, 6 * 8 * 2 + 6 * (NORMAL + 2)))),
        # 11 rows of five uploads: of the items, 5, 3 and 3 uploads have a row.
        (
            CentredClipping(),
            added(
                Work(2 * 11 * 24 + 48, 0),
                Work(11 * 32 + 24, 2 * (25 + 9 + 9)),
                Work(48 + 11 * 32, 6 + 44),
                Work(8 * 25, 25),
            ),
        ),
        # Two buckets of three items; the table is read and written for the L2 gradient.
        (Bucketing(), added(Work(48 + 2 * 3 * 27, 6 + 6), MIXED)),
        (NNM(), added(SUM, GRAM, Work(8, 1) * (4 * 16), Work(4 * 3 * 27, 12), MIXED)),
        (FLWBC(), Work(3 * 48, 3 * 6 * (LAPLACE + 2))),
        (PIECK(), Work()),
    ],
    ids=lambda given: type(given).__name__,
)
def test_the_servers_work_by_hand(part: Any, expected: Work) -> None:
    assert close(server_work(part, T), expected)


def test_without_assumed_attackers_less_is_done() -> None:
    nobody = replace(T, assumed=0)
    assert close(server_work(TrimmedMean(), nobody), SUM)
    assert close(server_work(NNM(), nobody), SUM)
    assert server_work(DnC(), nobody) == Work()


def test_a_median_needs_no_rows_of_items_that_few_touch() -> None:
    rare = replace(T, received=Touched(np.array([1.0]), np.array([3.0])))
    assert close(server_work(CoordinateMedian(), rare), Work(8 * 24 + 48, 6))


def test_bulyan_by_hand() -> None:
    """Of eight uploads it keeps six. The rarer items are left out; of the other, 3 rows are."""
    eight, three = replace(T, clients=8), float(comparisons(np.array(3.0)))
    expected = added(
        GRAM,
        Work(8, 1) * (3 * 8 * 64),
        Work(2 * 6 * 24, 0),
        Work(3 * 8 + 48, 2 * (2 * three + 2 * 3 + 4 * 6)),
    )
    assert close(server_work(Bulyan(), eight), expected)


def test_the_dense_part_counts_with_every_upload() -> None:
    more = replace(T, dense=10)
    assert server_work(Mean(), more).operations == SUM.operations + 2 * 40
    assert (
        server_work(GeometricMedian(), more).operations
        > server_work(GeometricMedian(), T).operations + 2 * 40
    )


def test_mixtures_have_the_rows_of_their_members() -> None:
    """Each of two buckets has an item with chance 1 − 2⁻ᶜ, where c uploads have it."""
    found = mixed(Bucketing(), T)
    assert found.clients == 2
    assert found.uploaded == pytest.approx(2 * (1 - 1 / 16) + 2 * 2 * (1 - 1 / 4))
    assert mixed(NNM(), replace(T, assumed=0)).uploaded == 0
    both = Defense.compose([Bucketing(), Mean()])
    expected = added(server_work(Bucketing(), T), server_work(Mean(), found))
    assert close(defense_work(both, T), expected)


def test_a_method_with_two_roles_counts_once() -> None:
    assert close(defense_work(Defense.compose([DPFedAvg()]), T), server_work(DPFedAvg(), T))


PLACED = Work(2 * 8 * (8 + 16), 0)
EVERYWHERE = added(Work(2 * 24, 0), PLACED)
HALF_MEAN = added(GRADIENTS * 0.5, Work(3 * 32 + 48, 2 * 3 * 2 + 6))  # two of four clients: 3 rows
HALF_STATISTICS = added(GRADIENTS * 0.5, Work(3 * 64 + 7 * 24, 8 * 3 * 2 + 60))
MOVED = Work(3 * 24, 2 * 6)


@pytest.mark.parametrize(
    ("attack", "expected"),
    [
        (BitFlip(), added(Work(2 * 1.5 * 8, 1.5 * 2), PLACED)),
        (LabelFlip(), added(GRADIENTS * 0.25, PLACED)),
        # The table, and for one client the scores, written and read, and places in order.
        (
            FedAttack(),
            added(GRADIENTS * 0.25, Work(24 + 24 + 24, 12 + 3 * np.log2(3)), PLACED),
        ),
        (IPM(), added(HALF_MEAN, EVERYWHERE)),
        (SpattackO(), added(HALF_MEAN, EVERYWHERE)),
        (Mimic(), added(GRADIENTS * 0.25, Work(1.5 * 32 + 48, 6 + 6), EVERYWHERE)),
        (LIE(), added(HALF_STATISTICS, MOVED, EVERYWHERE)),
        (Fang(), added(HALF_STATISTICS, Work(72, 24), PLACED)),
        (Gaussian(), added(HALF_STATISTICS, Work(96, 6 * (NORMAL + 2)), PLACED)),
        (SpattackL(), added(Work(72, 6 * (NORMAL + 1)), EVERYWHERE)),
        # Three rows and their embeddings; nine products, looked through twice; the partners' rows.
        (
            UAFedRec(),
            added(
                GRADIENTS * 0.5,
                Work(2 * 24, 4 * 6),
                Work(2 * 24 + 3 * 36, 9 * 4 + 2 * 9),
                Work(12 * 24, 9 * 6),
                EVERYWHERE,
            ),
        ),
        # μ and p are two more uploads: every item has 1 + 2 rows, and so 9 products.
        (
            MinMax(),
            added(HALF_STATISTICS, Work(48, 6), Work(9 * 32 + 24, 3 * 9 * 2), MOVED, EVERYWHERE),
        ),
    ],
    ids=lambda given: type(given).__name__,
)
def test_an_attacks_work_by_hand(attack: Any, expected: Work) -> None:
    assert close(attack_work(attack, T, CONFIG), expected)


def test_attacks_of_one_kind_have_the_same_work() -> None:
    assert attack_work(MinSum(), T, CONFIG) == attack_work(MinMax(), T, CONFIG)


@pytest.mark.parametrize("attack", [IPMSearch, LIESearch])
def test_a_trial_by_hand(attack: Any) -> None:
    """Two normal clients with 10/3 rows, a forged upload with 3; their mean; and its shift."""
    rows = 10 / 3 + 3
    trial = added(
        MOVED,
        Work(2 * 24 + 2 * rows * 24, 0),
        Work(48 + rows * 32, 6 + 4 * rows),
        Work(5 * 24, 3 * 6),
    )
    three, four = (attack_work(attack(trials=n), T, CONFIG) for n in (3, 4))
    assert close(four, added(three, trial))


def test_the_attackers_contrastive_task_by_hand() -> None:
    """One malicious client has half an anchor, with a positive and a negative: three rows read.

    Its gradient is added to the table, which takes a row of the result, both ways.
    """
    plain, task = (
        attack_work(ClusterAttack(contrastive=weight, negatives=1), replace(T, anchors=2), CONFIG)
        for weight in (0.0, 1.0)
    )
    anchor = Work(3 * (3 * 8 + 2 * 8), 3 * 2 * (10 + 44 / 4))
    assert close(task, added(plain, anchor * 0.5, Work(4 * 24, 6)))


def test_a_step_of_the_bisection_by_hand() -> None:
    """Three items: 9/2 distances, previews of 15 operations, and a mixture of two uploads."""
    step = Work(4 * 4.5 + 7 * 24 + 3 * 24, 2 * (9 + 45) + 3 * 6)
    eight, nine = (attack_work(ClusterAttackMatched(steps=n), T, CONFIG) for n in (8, 9))
    assert close(nine, added(eight, step))


def test_the_perceptrons_work_by_hand() -> None:
    """4 pairs are 8 inputs of 2 numbers; 4 users; one layer of 3 and the score; three products."""
    plain = Work(
        4 * 4 * 8 * 3 + 8 * (8 * 8 + 4 * 4) + 4 * 8 * 4 + 6 * 8,
        6 * (3 * 2 * (8 + 4) + 8 * 3),
    )
    assert close(model_work(NCF(layers=(3,), dropout=0), T), plain)
    masked = added(plain, Work(7 * 3 * 8, 3 * 2 * 13) * 4)
    assert close(model_work(NCF(layers=(3,)), T), masked)
    deeper = model_work(NCF(layers=(3, 5), dropout=0), T)
    assert deeper.operations == plain.operations + 6 * 8 * (3 * 5 + 5 - 3)


def test_fl_wbc_takes_a_second_gradient() -> None:
    expected = added(GRADIENTS, Work(6 * 64, 7 * 6 * 2))
    assert close(task_work(FLWBC(), T, MF()), expected)


def test_piecks_terms_pull_every_item_once_and_change_every_row() -> None:
    """Two tables of 24 bytes and 6 numbers are read, one is written; each row is changed once."""
    expected = Work(3 * 24 + 6 * (3 * 8 + 2 * 8), 11 * 6 + 6 * 2 * 2)
    assert close(task_work(PIECK(), T, MF()), expected)


def counted_comparisons(rows: int) -> int:
    """The comparisons of `sort_rows`, counted as its loops make them."""
    count, span = 0, 1
    while span < rows:
        step = span
        while step >= 1:
            for j in range(step % span, rows - step, 2 * step):
                for a in range(j, min(j + step, rows - step)):
                    count += a // (2 * span) == (a + step) // (2 * span)
            step //= 2
        span *= 2
    return count


def test_comparisons_are_about_those_of_the_network() -> None:
    """They are exact for powers of two."""
    assert sort_rows.__doc__ and "Batcher" in sort_rows.__doc__
    for rows in (1, 2, 4, 8, 32):
        assert comparisons(np.array(float(rows))) == counted_comparisons(rows)
    for rows in range(3, 51):
        assert comparisons(np.array(float(rows))) == pytest.approx(
            counted_comparisons(rows), rel=0.2
        )


def counted(attack: str, defense: str = "FedAvg", model: str = "MF") -> Tally:
    config = small_case(attack, defense, model).config()
    return tally(set_up(config, SPLIT, "cpu")[0], config)


def test_rows_are_counted_once_by_client_and_once_by_item() -> None:
    plain, forged, kept = (counted(name) for name in ("NoAttack", "IPM", "SignFlip"))
    for found in (plain, forged, kept):
        assert found.plain.sum(lambda c: c) == pytest.approx(found.rows)
        assert found.received.sum(lambda c: c) == pytest.approx(found.uploaded)
        assert found.received.items.sum() == found.items
    assert plain.uploaded == kept.uploaded == plain.rows and kept.forged > 0
    assert forged.forged == forged.malicious * forged.items
    assert plain.attacked == 0 < forged.attacked <= forged.malicious
    # The one malicious user; the task's negatives are spread over the other items.
    assert (forged.attackers, plain.attackers) == (1, 0)
    task = counted("NoAttack", "UNION")
    assert task.uploaded > task.rows
    assert task.received.sum(lambda c: c) == pytest.approx(task.uploaded, rel=0.05)


def test_forging_counts_with_the_share_of_attacked_rounds() -> None:
    config = replace(CONFIG, attack=SpattackL())
    once = round_work(config, T)["attack: forge"]
    always = attack_work(SpattackL(), replace(T, malicious=2, forged=6), config)
    assert close(once, always * 0.5)


@pytest.mark.parametrize(
    ("attack", "defense", "model"),
    [
        *(("NoAttack", "FedAvg", name) for name in NAMES.models),
        *((name, "NormBound+UNION", "MF") for name in NAMES.attacks),
        *(("ClusterAttack", name, "MF") for name in NAMES.defenses),
    ],
)
def test_every_method_of_the_arena_has_an_estimate(attack: str, defense: str, model: str) -> None:
    config = small_case(attack, defense, model).config()
    found = round_work(config, tally(set_up(config, SPLIT, "cpu")[0], config))
    assert ("attack: forge" in found) == (attack != "NoAttack")
    for work in found.values():
        assert np.isfinite([work.bytes, work.operations]).all()
    for name in ("clients: local gradients", "attack: forge", "defense: aggregate"):
        assert name not in found or found[name].bytes > 0
