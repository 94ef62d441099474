"""DnC: outliers along the main direction of the uploads (Shejwalkar and Houmansadr 2021)."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from fedrec.defenses.dnc import DnC, outlier_scores
from fedrec.reference.rules import projections
from fedrec.rng import Streams
from fedrec.updates import Updates
from tests.defenses.views import marked, on_a_line, server_view, uploads
from tests.oracles.defenses import whole_uploads
from tests.oracles.dense import dense_items, random_updates


def kept(method: DnC, received: Updates, f: int = 1, *among: int, round: int = 1) -> list[int]:
    some = marked(len(received), *(among or range(len(received))))
    view = server_view(received, f, Streams(0, round))
    return method.judge(received, some, view).keep.nonzero()[:, 0].tolist()


def test_scores_by_hand() -> None:
    """Centred: (−3, 0), (1, 1), (1, −1) and (1, 0). The first axis is the main one."""
    points = torch.tensor([[0.0, 5.0], [4.0, 6.0], [4.0, 4.0], [4.0, 5.0]]).double()
    found = outlier_scores(points, marked(4, 0, 1, 2, 3))
    assert_close(12 * found, torch.tensor([9.0, 1.0, 1.0, 1.0]).double())  # 12 = 9 + 1 + 1 + 1


def test_the_farthest_from_the_mean_fail() -> None:
    received = on_a_line(0.0, 1.0, 2.0, 30.0, -9.0)  # mean 4.8
    assert kept(DnC(), received, 1) == [0, 1, 2, 4]
    assert kept(DnC(), received, 2) == [0, 1, 2]
    assert kept(DnC(share=1.5), received, 2) == [1, 2]  # the third to fail is at 0


def test_without_attack_all_are_kept() -> None:
    assert kept(DnC(iterations=3), random_updates(n=8, items=12), 0) == list(range(8))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("params", [0, 5])
def test_scores_of_all_coordinates_equal_the_dense_ones(seed: int, params: int) -> None:
    received, some = random_updates(n=9, items=12, params=params, seed=seed), [0, 2, 3, 5, 7, 8]
    scores = projections(whole_uploads(received)[some])
    best = torch.tensor(some)[scores.argsort()[:4]].sort().values
    assert kept(DnC(sample=12), received, 2, *some) == best.tolist()
    found = outlier_scores(whole_uploads(received), marked(9, *some))[some]
    assert_close(found, scores / scores.sum(), rtol=1e-5, atol=1e-6)


def test_a_draw_has_the_rows_of_some_items_and_as_large_a_share_of_the_rest() -> None:
    received = random_updates(n=6, items=10, d=3, params=7)
    drawn = [DnC(sample=4)._subset(received, server_view(received), draw) for draw in range(3)]
    stack, dense = dense_items(received).double(), received.dense.double()
    for points in drawn:
        assert points.shape == (6, 4 * 3 + 3)  # ⌈7 · 4/10⌉
        rows = {tuple(row) for row in points[0, :12].view(4, 3).tolist()}
        assert rows <= {tuple(row) for row in stack[0].tolist()}
        assert set(points[0, 12:].tolist()) <= set(dense[0].tolist())
    assert not torch.equal(drawn[0], drawn[1])


def test_an_upload_has_to_pass_every_draw() -> None:
    """The last two uploads are outliers in one item each; a draw has one item."""
    value = torch.randn(8, 2, 1, generator=torch.Generator().manual_seed(0))
    value[6, 0], value[7, 1] = 50.0, 50.0
    received = uploads(value.tolist())
    once = {tuple(kept(DnC(sample=1), received, 1, round=number)) for number in range(1, 9)}
    assert once == {(0, 1, 2, 3, 4, 5, 6), (0, 1, 2, 3, 4, 5, 7)}
    assert kept(DnC(sample=1, iterations=8), received, 1) == [0, 1, 2, 3, 4, 5]


def test_if_none_passes_all_those_that_pass_most_are_kept() -> None:
    received = random_updates(n=4, items=30, seed=2)
    assert kept(DnC(sample=1, iterations=40), received, 3)


def test_other_rounds_draw_other_items() -> None:
    received = random_updates(n=12, items=40, seed=5)
    assert len({tuple(kept(DnC(sample=2), received, 3, round=r)) for r in range(1, 9)}) > 1


def test_a_far_outlier_is_dropped_whatever_its_size() -> None:
    received = random_updates(n=8, items=12)
    for size in (50.0, 1e15):
        far = received.scaled(torch.where(marked(8, 3), size, 1.0))
        assert kept(DnC(), far, 1) == [0, 1, 2, 4, 5, 6, 7]


def test_equal_uploads_are_kept_up_to_the_number_that_fails() -> None:
    assert kept(DnC(), on_a_line(1.0, 1.0, 1.0), 1) == [0, 1]
    assert kept(DnC(), replace(on_a_line(1.0), weight=torch.ones(1)), 1) == [0]


@pytest.mark.parametrize("wrong", [{"iterations": 0}, {"share": 0.0}, {"sample": 0}])
def test_wrong_values_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        DnC(**wrong)
