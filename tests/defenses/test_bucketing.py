"""Bucketing: random groups of uploads become their means (Karimireddy, He and Jaggi 2022)."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from fedrec.defenses.base import Defense, Judgement, Mixture, ServerView
from fedrec.defenses.bucketing import Bucketing
from fedrec.defenses.coordinate_median import CoordinateMedian
from fedrec.defenses.geometric_median import GeometricMedian
from fedrec.defenses.krum import Krum
from fedrec.defenses.mean import Mean
from fedrec.defenses.trimmed_mean import TrimmedMean
from fedrec.reference.rules import group_means
from fedrec.rng import Streams
from fedrec.updates import Updates
from tests.defenses.views import on_a_line, server_view
from tests.oracles.defenses import one_vector, whole_uploads
from tests.oracles.dense import random_updates

AFTER = {
    "krum": [Krum(), Mean()],
    "multi-krum": [Krum(keep="n-f"), Mean()],
    "median": [CoordinateMedian()],
    "trimmed mean": [TrimmedMean()],
    "geometric median": [GeometricMedian()],
}


def mixed(received: Updates, size: int = 2, round: int = 1) -> Mixture:
    return Bucketing(size=size).mix(received, server_view(received, 1, Streams(0, round)))


def test_means_of_buckets_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Buckets {1, 5}, {2, 4} and {9}."""
    holder = torch.tensor([0, 1, 1, 0, 2])
    monkeypatch.setattr(Bucketing, "_holders", lambda self, n, view: holder)
    received = replace(
        on_a_line(1.0, 2.0, 4.0, 5.0, 9.0), weight=torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0])
    )
    found = mixed(received)
    assert whole_uploads(found.uploads)[:, 0].tolist() == [3.0, 3.0, 9.0]
    assert found.uploads.weight.tolist() == [5.0, 5.0, 5.0]


@pytest.mark.parametrize(("size", "sizes"), [(1, [1] * 7), (2, [2, 2, 2, 1]), (3, [3, 3, 1])])
@pytest.mark.parametrize("seed", range(2))
def test_it_equals_the_dense_definition(size: int, sizes: list[int], seed: int) -> None:
    received = random_updates(n=7, items=12, seed=seed)
    found = mixed(received, size)
    assert found.holder.bincount().tolist() == sizes
    expected = group_means(whole_uploads(received), found.holder)
    assert_close(whole_uploads(found.uploads), expected, rtol=1e-5, atol=1e-5)


def test_a_bucket_of_all_is_the_mean() -> None:
    received = random_updates(n=7, items=12)
    mean = whole_uploads(received).mean(0, keepdim=True)
    assert_close(whole_uploads(mixed(received, 9).uploads), mean, rtol=1e-5, atol=1e-6)


def test_rounds_draw_other_buckets_and_every_pair_meets() -> None:
    received = on_a_line(0.0, 1.0, 2.0, 3.0)
    draws = [mixed(received, round=number).holder.tolist() for number in range(1, 40)]
    assert draws[0] == mixed(received).holder.tolist()
    with_first = {draw.index(draw[0], 1) for draw in draws}
    assert with_first == {1, 2, 3}


@pytest.mark.parametrize("name", AFTER)
def test_the_methods_after_it_get_the_buckets(name: str) -> None:
    received = random_updates(n=9, items=12)
    view, found = server_view(received, 2), mixed(received)
    decision = Defense.compose([Bucketing(), *AFTER[name]])(received, view)
    alone = Defense.compose(AFTER[name])(found.uploads, view)
    assert torch.equal(one_vector(decision.gradient), one_vector(alone.gradient))
    assert torch.equal(decision.kept, alone.kept[found.holder])


class DropFirst:
    """Drops the first upload, with a score that is its position."""

    def judge(self, received: Updates, among: torch.Tensor, view: ServerView) -> Judgement:
        place = torch.arange(len(received))
        return Judgement(place > 0, {"place": place.float()})


def test_a_verdict_on_a_bucket_is_one_on_all_uploads_in_it() -> None:
    received = random_updates(n=5, items=12)
    decision = Defense.compose([Bucketing(), DropFirst(), Mean()])(received, server_view(received))
    holder = mixed(received).holder
    assert torch.equal(decision.kept, holder > 0)
    assert torch.equal(decision.scores["place"], holder.float())


def test_a_size_is_positive() -> None:
    with pytest.raises(ValueError):
        Bucketing(size=0)
