"""Bulyan: iterated Krum, then a mean around the median (El Mhamdi et al. 2018)."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from fedrec.defenses.base import Decision, Defense
from fedrec.defenses.bulyan import Bulyan
from fedrec.reference.rules import iterated_krum, mean_near_median
from fedrec.updates import Updates
from tests.defenses.views import marked, on_a_line, server_view
from tests.oracles.defenses import one_vector, whole_uploads
from tests.oracles.dense import random_updates


def decide(received: Updates, f: int) -> Decision:
    return Defense.compose([Bulyan()])(received, server_view(received, f))


def chosen(received: Updates, f: int) -> list[int]:
    return decide(received, f).kept.nonzero()[:, 0].tolist()


def near_median(received: Updates, f: int) -> float:
    everyone = marked(len(received), *range(len(received)))
    return Bulyan().reduce(received, everyone, server_view(received, f)).items.item()


def test_the_closest_to_the_median_by_hand() -> None:
    """Of seven values with f = 1, five: the median is 3, and 9 and 10 are the farthest from it."""
    assert near_median(on_a_line(1.0, 2.0, 3.0, 9.0, 10.0, 0.0, 4.0), 1) == 2.0
    # A symmetric trim would drop 0 and 10, and find (1 + 2 + 3 + 4 + 9) / 5 = 3.8.


def test_of_an_even_number_the_median_is_between_two() -> None:
    """Of 0, 1, 2, 4, 5, 6, 30 and 31, the median is 4.5, and 30 and 31 are the farthest."""
    assert near_median(on_a_line(0.0, 1.0, 2.0, 4.0, 5.0, 6.0, 30.0, 31.0), 1) == 3.0


def test_of_equally_close_values_the_lower_counts() -> None:
    """The median is 0. Four values are closer than −2.5 and 2.5, and the fifth is −2.5."""
    assert near_median(on_a_line(-3.0, -2.5, -1.0, 0.0, 1.0, 2.0, 2.5), 1) == pytest.approx(-0.1)


def test_krum_chooses_one_upload_at_a_time() -> None:
    """The two far uploads are each other's neighbours, and still chosen last."""
    received = on_a_line(0.0, 1.0, 2.5, 4.5, 7.0, 100.0, 0.4, 101.0, 3.0, 5.0, 6.0)
    assert chosen(received, 2) == [1, 2, 3, 6, 8, 9, 10]


@pytest.mark.parametrize("f", [0, 1, 2, 3])
@pytest.mark.parametrize("seed", range(3))
def test_it_equals_the_dense_definition(f: int, seed: int) -> None:
    received = random_updates(n=15, items=12, params=4, seed=seed)
    expected = sorted(iterated_krum(whole_uploads(received), 15 - 2 * f, f))
    decision = decide(received, f)
    assert decision.kept.nonzero()[:, 0].tolist() == expected
    near = mean_near_median(whole_uploads(received)[expected], 15 - 4 * f)
    assert_close(one_vector(decision.gradient), near, rtol=1e-5, atol=1e-5)


def test_without_attack_it_is_the_plain_mean_of_all() -> None:
    received = random_updates(n=6, items=12)
    decision = decide(received, 0)
    assert decision.kept.all()
    mean = whole_uploads(received).mean(0)
    assert_close(one_vector(decision.gradient), mean, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("n", "f", "kept"), [(7, 1, 5), (6, 1, 6), (10, 3, 8), (11, 2, 7), (1, 1, 1), (2, 9, 2)]
)
def test_with_too_few_uploads_it_prepares_for_fewer_malicious_ones(
    n: int, f: int, kept: int
) -> None:
    received = on_a_line(*[float(i**2) for i in range(n)])
    assert len(chosen(received, f)) == kept


@pytest.mark.parametrize("end", [1e3, 1e15, 1e30])
def test_a_far_outlier_is_never_chosen(end: float) -> None:
    """The square of the last, 1e60, is no number of float32."""
    decision = decide(on_a_line(0.0, 1.0, end, 2.0, 4.0, 7.0, 8.0, 9.0), 1)
    assert int(decision.kept.sum()) == 6 and not decision.kept[2]
    assert 0 <= decision.gradient.items.item() <= 9


def test_as_many_outliers_as_expected_leave_no_trace() -> None:
    honest = [float(i**2) for i in range(13)]
    found = [decide(on_a_line(*honest, *ends), 3) for ends in ([1e3, 2e3, 5e3], [-1e12, 1e6, 1e15])]
    assert torch.equal(found[0].gradient.items, found[1].gradient.items)


def test_sample_counts_have_no_say() -> None:
    received = random_updates(n=9, items=12)
    other = replace(received, weight=received.weight.flip(0))
    assert torch.equal(decide(received, 1).gradient.items, decide(other, 1).gradient.items)
