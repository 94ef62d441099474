"""Sparse rows + ridge mean what the dense stack means."""

import torch
from torch.testing import assert_close

from fedrec.updates import Updates
from tests.oracles.dense import dense_items, random_updates


def two_clients() -> Updates:
    """Client 0 touches item 1, client 1 touches items 0 and 1; d = 1, ridges 0.1 and 0."""
    return Updates(
        table=torch.tensor([[10.0], [20.0]]),
        owner=torch.tensor([0, 1, 1]),
        item=torch.tensor([1, 0, 1]),
        value=torch.tensor([[1.0], [2.0], [3.0]]),
        ridge=torch.tensor([0.1, 0.0]),
        dense=torch.tensor([[4.0], [8.0]]),
        weight=torch.tensor([1.0, 3.0]),
    )


def test_weighted_sum_by_hand() -> None:
    total = two_clients().weighted_sum(torch.tensor([0.5, 2.0]))
    # item 0: 0.5 · (0.1 · 10) + 2 · 2;  item 1: 0.5 · (1 + 0.1 · 20) + 2 · 3
    assert_close(total.items, torch.tensor([[4.5], [7.5]]))
    assert_close(total.dense, torch.tensor([18.0]))


def test_weighted_sum_equals_the_dense_one() -> None:
    updates = random_updates(n=5, items=7, seed=1)
    coefficients = torch.rand(5)
    total = updates.weighted_sum(coefficients)
    assert_close(total.items, torch.einsum("n,nid->id", coefficients, dense_items(updates)))


def test_row_norms_include_the_ridge() -> None:
    # |1 + 0.1 · 20|, |2|, |3|
    assert_close(two_clients().row_norms(), torch.tensor([3.0, 2.0, 3.0]))


def test_select_keeps_the_marked_clients_in_order() -> None:
    updates = random_updates(n=5, seed=2)
    keep = torch.tensor([True, False, True, True, False])
    kept = updates.select(keep)
    assert_close(dense_items(kept), dense_items(updates)[keep])
    assert_close(kept.weight, updates.weight[keep])
    assert_close(kept.dense, updates.dense[keep])


def test_replaced_uploads_stand_in_their_clients_places() -> None:
    updates, others = random_updates(n=5, seed=3), random_updates(n=2, seed=4)
    forged = Updates.over_all_items(others, torch.randn(2, 6, 3), others.dense)
    received = updates.replaced(torch.tensor([3, 1]), forged)
    expected = dense_items(updates)
    expected[[3, 1]] = dense_items(forged)
    assert_close(dense_items(received), expected)
    assert received.owner.tolist() == sorted(received.owner.tolist())
    assert_close(received.weight[[3, 1]], forged.weight)
    assert_close(received.dense[[3, 1]], forged.dense)


def test_over_all_items_has_no_ridge() -> None:
    forged = torch.randn(4, 6, 3)
    updates = Updates.over_all_items(random_updates(n=4), forged, torch.zeros(4, 2))
    assert_close(dense_items(updates), forged)
