"""The coordinate-wise median (Yin et al. 2018, Definition 1)."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from fedrec.defenses.coordinate_median import CoordinateMedian
from fedrec.defenses.trimmed_mean import TrimmedMean
from fedrec.reference.rules import median
from fedrec.updates import Updates
from tests.defenses.views import marked, on_a_line, server_view, uploads
from tests.oracles.defenses import one_vector, whole_uploads
from tests.oracles.dense import random_updates


def aggregate(received: Updates, *kept: int) -> torch.Tensor:
    some = marked(len(received), *(kept or range(len(received))))
    return one_vector(CoordinateMedian().reduce(received, some, server_view(received))).float()


@pytest.mark.parametrize(
    ("points", "middle"),
    [((7.0,), 7.0), ((1.0, 4.0), 2.5), ((9.0, 1.0, 2.0), 2.0), ((8.0, 1.0, 2.0, 90.0), 5.0)],
)
def test_the_middle_value_or_the_mean_of_two(points: tuple[float, ...], middle: float) -> None:
    assert aggregate(on_a_line(*points)).item() == middle


def test_each_coordinate_has_a_median_of_its_own() -> None:
    received = uploads([[[1.0, 9.0]], [[2.0, -40.0]], [[100.0, 7.0]]])
    received = replace(received, dense=torch.tensor([[0.0], [10.0], [-50.0]]))
    assert aggregate(received).tolist() == [2.0, 7.0, 0.0]


def test_sample_counts_have_no_say() -> None:
    received = replace(on_a_line(1.0, 2.0, 6.0), weight=torch.tensor([1.0, 1.0, 1000.0]))
    assert aggregate(received).item() == 2.0


def test_only_the_kept_uploads_count() -> None:
    assert aggregate(on_a_line(1.0, 2.0, 6.0, 50.0), 0, 2, 3).item() == 6.0


@pytest.mark.parametrize("n", [1, 2, 9, 10])
@pytest.mark.parametrize("ridge", [0.3, 0.0, None])
def test_it_equals_the_dense_median(n: int, ridge: float | None) -> None:
    received = random_updates(n=n, items=9, seed=1)
    if ridge is not None:
        received = replace(received, ridge=torch.full_like(received.ridge, ridge))
    expected = median(whole_uploads(received)).float()
    assert_close(aggregate(received), expected, rtol=1e-5, atol=1e-5)


def test_it_is_the_trimmed_mean_that_trims_most() -> None:
    received = random_updates(n=9, items=9)
    view = replace(server_view(received), expected_malicious=4)
    trimmed = TrimmedMean().reduce(received, marked(9, *range(9)), view)
    assert torch.equal(aggregate(received), one_vector(trimmed).float())


def test_an_outlier_of_any_size_leaves_no_trace() -> None:
    assert aggregate(on_a_line(1.0, 2.0, 9.0)) == aggregate(on_a_line(1.0, 2.0, 1e30))
