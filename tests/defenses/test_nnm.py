"""NNM: each upload becomes the mean of those nearest to it (Allouah et al. 2023)."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from fedrec.defenses.base import Defense, Mixture
from fedrec.defenses.coordinate_median import CoordinateMedian
from fedrec.defenses.geometric_median import GeometricMedian
from fedrec.defenses.krum import Krum
from fedrec.defenses.mean import Mean
from fedrec.defenses.nnm import NNM
from fedrec.defenses.trimmed_mean import TrimmedMean
from fedrec.reference.rules import nearest
from fedrec.updates import Updates
from tests.defenses.views import marked, on_a_line, server_view
from tests.oracles.defenses import one_vector, whole_uploads
from tests.oracles.dense import random_updates

AFTER = {
    "krum": [Krum(), Mean()],
    "multi-krum": [Krum(keep="n-f"), Mean()],
    "median": [CoordinateMedian()],
    "trimmed mean": [TrimmedMean()],
    "geometric median": [GeometricMedian()],
}


def mixed(received: Updates, f: int) -> Mixture:
    return NNM().mix(received, server_view(received, f))


def on_the_line(received: Updates, f: int) -> list[float]:
    """The mixed uploads; their `table` counts as well."""
    return whole_uploads(mixed(received, f).uploads)[:, 0].tolist()


def test_means_of_the_nearest_by_hand() -> None:
    """To 10, 3 and 1 are nearest."""
    found = on_the_line(on_a_line(0.0, 1.0, 3.0, 10.0), 1)
    assert found == pytest.approx([4 / 3, 4 / 3, 4 / 3, 14 / 3])


def test_of_equally_near_uploads_the_first_is_taken() -> None:
    assert on_the_line(on_a_line(0.0, 2.0, 4.0), 1) == pytest.approx([1.0, 1.0, 3.0])


@pytest.mark.parametrize("f", [1, 2, 4])
@pytest.mark.parametrize("seed", range(3))
def test_it_equals_the_dense_definition(f: int, seed: int) -> None:
    received = random_updates(n=9, items=12, seed=seed)
    found, stack = mixed(received, f), whole_uploads(received)
    expected = torch.stack([stack[near].mean(0) for near in nearest(stack, 9 - f)])
    assert_close(whole_uploads(found.uploads), expected, rtol=1e-5, atol=1e-5)
    assert found.holder.tolist() == list(range(9))


def test_without_attack_there_is_one_mixture_of_all() -> None:
    received = random_updates(n=6, items=12)
    found = mixed(received, 0)
    assert found.holder.tolist() == [0] * 6
    mean = whole_uploads(received).mean(0, keepdim=True)
    assert_close(whole_uploads(found.uploads), mean, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", AFTER)
@pytest.mark.parametrize("after", [0, 2])
def test_the_methods_after_it_get_the_mixtures(name: str, after: int) -> None:
    """Without attack, the mixture of all, which every method leaves as it is."""
    received = random_updates(n=9, items=12)
    view = server_view(received, after)
    decision = Defense.compose([NNM(), *AFTER[name]])(received, view)
    expected = whole_uploads(received).mean(0)
    if after:
        mixtures = mixed(received, after).uploads
        alone = Defense.compose(AFTER[name])(mixtures, view)
        expected = one_vector(alone.gradient)
        assert torch.equal(decision.kept, alone.kept)
    assert_close(one_vector(decision.gradient), expected, rtol=1e-5, atol=1e-6)


def test_a_verdict_on_a_mixture_is_one_on_the_upload_at_its_centre() -> None:
    """The mixture around 50 is the farthest from the others; without mixing Krum drops it too."""
    received = on_a_line(1.0, 50.0, 0.0, 2.0, 4.0)
    decision = Defense.compose([NNM(), Krum(keep="n-f"), Mean()])(
        received, server_view(received, 1)
    )
    assert decision.kept.tolist() == [True, False, True, True, True]
    assert decision.gradient.items.item() == pytest.approx(7 / 4)


@pytest.mark.parametrize("end", [1e3, 1e15, 1e30])
def test_a_far_outlier_is_in_no_mixture_but_its_own(end: float) -> None:
    """The square of the last, 1e60, is no number of float32."""
    found = on_the_line(on_a_line(0.0, 1.0, end, 2.0, 5.0), 1)
    assert found[:2] + found[3:] == pytest.approx([2.0] * 4)


def test_a_mixture_has_the_samples_of_its_members() -> None:
    received = replace(on_a_line(0.0, 1.0, 10.0), weight=torch.tensor([1.0, 2.0, 4.0]))
    assert mixed(received, 1).uploads.weight.tolist() == [3.0, 3.0, 6.0]


def test_similar_mixtures_have_few_rows() -> None:
    """Only the outlier's own mixture differs from the mean of the others."""
    received = random_updates(n=9, items=40)
    received = replace(received, ridge=torch.full((9,), 0.5))
    far = received.scaled(torch.where(marked(9, 4), 30.0, 1.0))
    far = replace(far, ridge=received.ridge)
    assert mixed(far, 1).uploads.owner.unique().tolist() == [4]


def test_more_malicious_uploads_than_there_are_leave_each_upload_alone() -> None:
    assert on_the_line(on_a_line(0.0, 2.0, 7.0), 5) == [0.0, 2.0, 7.0]
