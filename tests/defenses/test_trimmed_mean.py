"""The coordinate-wise trimmed mean (Yin et al. 2018, Definition 2)."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from fedrec.defenses.trimmed_mean import TrimmedMean
from fedrec.reference.rules import trimmed_mean
from tests.defenses.views import marked, on_a_line, server_view, uploads
from tests.oracles.defenses import one_vector, whole_uploads
from tests.oracles.dense import random_updates


def test_each_coordinate_is_trimmed_by_itself() -> None:
    received = uploads([[[1.0, 9.0]], [[2.0, -40.0]], [[4.0, 7.0]], [[100.0, 8.0]]])
    dense = torch.tensor([[0.0], [10.0], [20.0], [-50.0]])
    received = replace(received, dense=dense)
    gradient = TrimmedMean(trim=0.25).reduce(received, marked(4, 0, 1, 2, 3), server_view(received))
    assert_close(gradient.items, torch.tensor([[3.0, 7.5]]))  # of 2 and 4; of 7 and 8
    assert_close(gradient.dense, torch.tensor([5.0]))  # of 0 and 10


def test_sample_counts_have_no_say() -> None:
    received = replace(on_a_line(1.0, 2.0, 6.0), weight=torch.tensor([1.0, 1000.0, 1.0]))
    gradient = TrimmedMean(trim=0.0).reduce(received, marked(3, 0, 1, 2), server_view(received))
    assert_close(gradient.items, torch.tensor([[3.0]]))


def test_a_row_that_few_touch_leaves_the_others_ridge_alone() -> None:
    """One of four clients uploads 100; all have ridge 0.1, and the embedding is 10."""
    received = on_a_line(100.0, 0.0, 0.0, 0.0).select(marked(4, 0))
    received = replace(
        received,
        table=torch.tensor([[10.0]]),
        ridge=torch.full((4,), 0.1),
        dense=torch.zeros(4, 0),
        weight=torch.ones(4),
    )
    gradient = TrimmedMean(trim=0.25).reduce(received, marked(4, 0, 1, 2, 3), server_view(received))
    assert_close(gradient.items, torch.tensor([[1.0]]))


@pytest.mark.parametrize(
    ("trim", "n", "dropped"), [(0.1, 50, 5), (0.1, 9, 0), (0.29, 100, 29), (0.49, 3, 1)]
)
def test_the_share_is_of_the_uploads_kept_rounded_down(trim: float, n: int, dropped: int) -> None:
    received = on_a_line(*[float(i**2) for i in range(n)], 1e6)
    gradient = TrimmedMean(trim=trim).reduce(
        received, marked(n + 1, *range(n)), server_view(received)
    )
    middle = [float(i**2) for i in range(dropped, n - dropped)]
    assert gradient.items.item() == pytest.approx(sum(middle) / len(middle))


@pytest.mark.parametrize("trim", [0.0, 0.1, 0.25, 0.4])
@pytest.mark.parametrize("ridges", ["equal", "unequal", "none"])
def test_it_equals_the_dense_sort(trim: float, ridges: str) -> None:
    received = random_updates(n=11, items=9, seed=1)
    if ridges != "unequal":
        equal = torch.full_like(received.ridge, 0.3 if ridges == "equal" else 0.0)
        received = replace(received, ridge=equal)
    kept = marked(11, *range(10))
    expected = trimmed_mean(whole_uploads(received)[kept], int(10 * trim + 1e-9))
    gradient = TrimmedMean(trim=trim).reduce(received, kept, server_view(received))
    assert_close(one_vector(gradient), expected, rtol=1e-5, atol=1e-5)


def test_an_outlier_of_any_size_leaves_no_trace() -> None:
    """Nothing is summed and then subtracted again."""
    small, huge = on_a_line(1.0, 2.0, 3.0, 4.0, 9.0), on_a_line(1.0, 2.0, 3.0, 4.0, 1e30)
    everyone, method = marked(5, *range(5)), TrimmedMean(trim=0.2)
    expected = method.reduce(small, everyone, server_view(small)).items
    assert torch.equal(method.reduce(huge, everyone, server_view(huge)).items, expected)


@pytest.mark.parametrize(("f", "mean"), [(0, 22.0), (1, 4.0), (2, 3.0), (9, 3.0)])
def test_as_many_are_dropped_as_are_prepared_for(f: int, mean: float) -> None:
    """1, 2, 3, 7 and 97: without attack their plain mean; one at least is left."""
    received = on_a_line(1.0, 2.0, 3.0, 7.0, 97.0)
    view = replace(server_view(received), expected_malicious=f)
    gradient = TrimmedMean().reduce(received, marked(5, *range(5)), view)
    assert_close(gradient.items, torch.tensor([[mean]]))


@pytest.mark.parametrize("share", [-0.1, 0.5, 1.0])
def test_half_of_the_uploads_on_each_side_is_too_many(share: float) -> None:
    with pytest.raises(ValueError):
        TrimmedMean(trim=share)
