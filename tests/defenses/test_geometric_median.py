"""RFA's smoothed Weiszfeld algorithm, on inner products (Pillutla et al. 2022)."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from fedrec.defenses._distances import distances
from fedrec.defenses.geometric_median import GeometricMedian
from fedrec.reference.rules import geometric_median
from fedrec.updates import Updates
from tests.defenses.views import marked, on_a_line, server_view, uploads
from tests.oracles.defenses import one_vector, whole_uploads
from tests.oracles.dense import random_updates


def aggregate(method: GeometricMedian, received: Updates, *kept: int) -> torch.Tensor:
    some = marked(len(received), *(kept or range(len(received))))
    return one_vector(method.reduce(received, some, server_view(received))).float()


def test_one_iteration_by_hand() -> None:
    """0, 3 and 9: their mean is 4, at distances 4, 1 and 5; (0/4 + 3/1 + 9/5) / (1/4 + 1 + 1/5)."""
    found = aggregate(GeometricMedian(iterations=1), on_a_line(0.0, 3.0, 9.0))
    assert found.item() == pytest.approx(4.8 / 1.45)


def test_samples_weigh_the_start_and_every_pull() -> None:
    """0 with weight 3 and 8 with weight 1: their mean is 2; (8 · 1/6) / (3/2 + 1/6) = 0.8."""
    received = replace(on_a_line(0.0, 8.0), weight=torch.tensor([3.0, 1.0]))
    assert aggregate(GeometricMedian(iterations=1), received).item() == pytest.approx(0.8)
    equal = GeometricMedian(iterations=1, weights="equal")
    assert aggregate(equal, received).item() == pytest.approx(4.0)


def test_no_distance_counts_below_the_smoothing() -> None:
    """The mean of 0, 2 and 7 is 3, at distances 3, 1 and 4."""
    received = on_a_line(0.0, 2.0, 7.0)
    found = aggregate(GeometricMedian(iterations=1, smoothing=4.0), received)
    assert found.item() == pytest.approx(3.0)  # all count as 4
    found = aggregate(GeometricMedian(iterations=1, smoothing=2.0), received)
    assert found.item() == pytest.approx((2 / 2 + 7 / 4) / (1 / 3 + 1 / 2 + 1 / 4))


def test_many_iterations_find_the_point_of_fermat() -> None:
    """Of a triangle without an angle above 120°: all sides are seen at 120°."""
    corners = [[0.0, 0.0], [4.0, 0.0], [1.0, 3.0]]
    received = uploads([[corner] for corner in corners])
    toward = torch.tensor(corners) - aggregate(GeometricMedian(iterations=200), received)
    unit = toward / toward.norm(dim=1, keepdim=True)
    assert_close(unit.sum(0), torch.zeros(2), atol=1e-3, rtol=0)


@pytest.mark.parametrize("weights", ["samples", "equal"])
@pytest.mark.parametrize("iterations", [1, 2, 4])
@pytest.mark.parametrize("seed", range(3))
def test_it_equals_the_dense_algorithm(weights: str, iterations: int, seed: int) -> None:
    received, kept = random_updates(n=9, items=12, seed=seed), [0, 1, 3, 4, 5, 7, 8]
    method = GeometricMedian(iterations=iterations, weights=weights, smoothing=3.0)
    weight = received.weight[kept] if weights == "samples" else torch.ones(len(kept))
    expected = geometric_median(whole_uploads(received)[kept], weight, iterations, 3.0)
    found = aggregate(method, received, *kept)
    assert_close(found, expected.float(), rtol=1e-5, atol=1e-5)


def test_distances_follow_from_inner_products() -> None:
    received = random_updates(n=6, items=12)
    share, stack = torch.linspace(0, 1, 6).double() / 3, whole_uploads(received)
    expected = (stack - share @ stack).norm(dim=1)
    assert_close(distances(received.gram(), share), expected, rtol=1e-5, atol=1e-5)


def test_a_far_outlier_hardly_moves_it() -> None:
    honest = [0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0]
    method = GeometricMedian()
    near, far = (aggregate(method, on_a_line(*honest, end)).item() for end in (10.0, 1e4))
    assert 1.5 < near < 3.0 and abs(far - near) < 1.0


def test_an_upload_whose_norm_overflows_has_no_weight() -> None:
    """Its square, 1e60, is no number of float32."""
    received = on_a_line(1.0, 2.0, 3.0, 1e30)
    expected = aggregate(GeometricMedian(), received, 0, 1, 2)
    assert torch.equal(aggregate(GeometricMedian(), received), expected)


@pytest.mark.parametrize("wrong", [{"iterations": 0}, {"smoothing": 0.0}, {"weights": "n"}])
def test_wrong_values_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        GeometricMedian(**wrong)
