"""NormBound: what is too long is shortened, and nothing else happens."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from fedrec.defenses.base import Defense
from fedrec.defenses.mean import Mean
from fedrec.defenses.norm_bound import NormBound
from fedrec.reference.rules import clipped, weighted_mean
from tests.defenses.views import server_view, uploads
from tests.oracles.defenses import one_vector, whole_uploads
from tests.oracles.dense import dense_items, random_updates


def test_long_uploads_are_scaled_and_short_ones_stay() -> None:
    """Norms 5, 2.5 and 0, over two items, against a bound of 2.5."""
    received = uploads([[[3.0], [4.0]], [[1.5], [2.0]], [[0.0], [0.0]]])
    changed = NormBound(bound=2.5).transform(received, server_view(received))
    expected = torch.tensor([[[1.5], [2.0]], [[1.5], [2.0]], [[0.0], [0.0]]])
    assert_close(dense_items(changed), expected)


def test_the_norm_is_of_the_whole_upload() -> None:
    """Rows 2 and ridge 0.5 · 4 on one item, dense part 6 and 7: √(4 + 4 + 36 + 49)."""
    received = replace(
        uploads([[[0.0], [2.0]]]),
        table=torch.tensor([[4.0], [0.0]]),
        ridge=torch.tensor([0.5]),
        dense=torch.tensor([[6.0, 7.0]]),
    )
    changed = NormBound(bound=1.0).transform(received, server_view(received))
    norm = 93**0.5
    assert_close(dense_items(changed), torch.tensor([[[2 / norm], [2 / norm]]]))
    assert_close(changed.dense, torch.tensor([[6 / norm, 7 / norm]]))


@pytest.mark.parametrize("seed", range(3))
def test_it_equals_the_dense_clipping(seed: int) -> None:
    received = random_updates(n=8, items=10, params=3, seed=seed)
    bound = float(received.norms().median())
    changed = NormBound(bound=bound).transform(received, server_view(received))
    expected = clipped(whole_uploads(received), bound)
    assert_close(whole_uploads(changed), expected, rtol=1e-5, atol=1e-6)
    assert (changed.norms() <= bound * (1 + 1e-6)).all()


def test_clipping_comes_before_averaging() -> None:
    received = random_updates(n=5, items=8)
    decision = Defense.compose([NormBound(bound=0.5), Mean()])(received, server_view(received))
    expected = weighted_mean(clipped(whole_uploads(received), 0.5), received.weight)
    assert_close(one_vector(decision.gradient), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("bound", [0.0, -1.0])
def test_a_bound_is_positive(bound: float) -> None:
    with pytest.raises(ValueError):
        NormBound(bound=bound)
