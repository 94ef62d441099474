"""Krum and MultiKrum: scores by hand, and the variants of the literature."""

from itertools import product
from typing import get_args

import pytest
import torch
from torch.testing import assert_close

from fedrec.defenses.base import Defense
from fedrec.defenses.krum import Krum, Neighbours
from fedrec.defenses.mean import Mean
from fedrec.reference.rules import krum_scores
from fedrec.updates import Updates
from tests.defenses.views import marked, on_a_line, server_view
from tests.oracles.defenses import one_vector, whole_uploads
from tests.oracles.dense import random_updates


def kept(method: Krum, received: Updates, f: int = 1, among: torch.Tensor | None = None) -> list:
    among = marked(len(received), *range(len(received))) if among is None else among
    keep = method.judge(received, among, server_view(received, f)).keep
    return keep.nonzero()[:, 0].tolist()


@pytest.mark.parametrize(
    ("neighbours", "squared", "expected"),
    [
        ("n-f-2", True, [1, 1, 4, 49]),  # one nearest other each
        ("n-f-2", False, [1, 1, 2, 7]),
        ("n-f-1", True, [1 + 9, 1 + 4, 4 + 9, 49 + 81]),
        ("n-f-1", False, [1 + 3, 1 + 2, 2 + 3, 7 + 9]),
    ],
)
def test_scores_by_hand(neighbours: Neighbours, squared: bool, expected: list[float]) -> None:
    """Uploads at 0, 1, 3 and 10, of which one is expected to be malicious."""
    method = Krum(neighbours=neighbours, squared=squared)
    assert method.scores(on_a_line(0.0, 1.0, 3.0, 10.0).gram(), 1).tolist() == expected


def test_krum_keeps_the_best_and_of_equals_the_first() -> None:
    received = on_a_line(0.0, 1.0, 3.0, 10.0)
    assert kept(Krum(), received) == [0]
    assert kept(Krum(neighbours="n-f-1"), received) == [1]


def test_multi_krum_keeps_all_but_f() -> None:
    received = on_a_line(10.0, 0.0, 1.0, 3.0, 1.5, -20.0)
    assert kept(Krum(keep="n-f"), received, f=1) == [0, 1, 2, 3, 4]
    assert kept(Krum(keep="n-f"), received, f=2) == [1, 2, 3, 4]
    assert kept(Krum(keep=2), received, f=2) == [2, 4]


# Six uploads and f = 2 leave two neighbours. The one at 0 has them at 1 and 5, that at 100 at 4
# and 3.5: 26 < 28.25 as squares, 6 < 7.5 as lengths. The second pair moved to 4 and 3: 26 > 25.
NEAR, FAR = (0.0, -1.0, 5.0), (100.0, 104.0)


@pytest.mark.parametrize(
    ("squared", "last", "best"), [(True, 96.5, 0), (True, 97.0, 3), (False, 97.0, 0)]
)
def test_distances_are_squared_once(squared: bool, last: float, best: int) -> None:
    """Squared twice, the first case would go to the upload at 100: 256 + 150 < 1 + 625."""
    assert kept(Krum(squared=squared), on_a_line(*NEAR, *FAR, last), f=2) == [best]


VARIANTS = list(product(get_args(Neighbours), [True, False], [1, 3], range(3)))


@pytest.mark.parametrize(("neighbours", "squared", "f", "seed"), VARIANTS)
def test_scores_equal_the_dense_ones(
    neighbours: Neighbours, squared: bool, f: int, seed: int
) -> None:
    received = random_updates(n=9, items=12, params=4, seed=seed)
    method = Krum(neighbours=neighbours, squared=squared)
    count = 9 - f - (2 if neighbours == "n-f-2" else 1)
    expected = krum_scores(whole_uploads(received), count, squared)
    assert_close(method.scores(received.gram(), f).tolist(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_the_uploads_not_judged_are_no_neighbours(seed: int) -> None:
    received, among = random_updates(n=9, items=12, seed=seed), marked(9, 0, 2, 3, 5, 7, 8)
    scores = krum_scores(whole_uploads(received)[among], 6 - 2 - 2, squared=True)
    best = among.nonzero()[:, 0][torch.tensor(scores).argsort()[:4]]
    assert kept(Krum(keep="n-f"), received, f=2, among=among) == sorted(best.tolist())


@pytest.mark.parametrize("f", [2, 5, 50])
def test_with_too_few_uploads_a_score_still_has_a_neighbour(f: int) -> None:
    received = on_a_line(0.0, 1.0, 5.0)
    assert Krum().scores(received.gram(), f).tolist() == [1, 1, 16]
    assert kept(Krum(keep="n-f"), received, f=f) == [0]


def test_no_more_are_kept_than_there_are() -> None:
    assert kept(Krum(keep=10), on_a_line(0.0, 1.0, 5.0), among=marked(3, 0, 2)) == [0, 2]


@pytest.mark.parametrize("keep", [0, -1, "n"])
def test_keeping_none_is_refused(keep: object) -> None:
    with pytest.raises(ValueError):
        Krum(keep=keep)


@pytest.mark.parametrize("n", [5, 50])
def test_multi_krum_averages_and_does_not_sum(n: int) -> None:
    """The aggregate of equal uploads is any one of them, however many there are."""
    received = on_a_line(*[2.0] * n)
    defense = Defense.compose([Krum(keep="n-f"), Mean()])
    assert defense(received, server_view(received)).gradient.items.item() == pytest.approx(2.0)


def test_the_aggregate_of_multi_krum_is_the_mean_of_the_kept() -> None:
    received = random_updates(n=9, items=12)
    defense = Defense.compose([Krum(keep="n-f"), Mean()])
    decision = defense(received, server_view(received, expected_malicious=3))
    assert int(decision.kept.sum()) == 6
    share = received.weight[decision.kept].double()
    expected = (share / share.sum()) @ whole_uploads(received)[decision.kept]
    assert_close(one_vector(decision.gradient), expected, rtol=1e-5, atol=1e-6)


def test_the_aggregate_of_krum_is_one_upload_whatever_its_sample_count() -> None:
    received = random_updates(n=9, items=12)
    decision = Defense.compose([Krum(), Mean()])(received, server_view(received))
    (best,) = decision.kept.nonzero()[:, 0].tolist()
    assert_close(one_vector(decision.gradient), whole_uploads(received)[best], rtol=1e-5, atol=1e-6)


def test_equal_uploads_are_at_no_distance() -> None:
    """Rounding of the inner products must not make a score that is no number."""
    received = random_updates(n=5, items=40, d=16)
    for position in range(1, 5):
        received = received.replaced(torch.tensor([position]), received.select(marked(5, 0)))
    norm = float(received.norms()[0])
    for squared, rounding in ((True, 1e-5 * norm**2), (False, 1e-2 * norm)):
        scores = Krum(squared=squared).scores(received.gram(), 1)
        assert (scores <= rounding).all()
