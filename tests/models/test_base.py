"""Batches with other targets: swapped, replaced, or on a table of each client's own rows."""

from dataclasses import fields, replace

import torch
from torch.testing import assert_close

from fedrec.models.base import Batch, Shared
from fedrec.models.mf import MF
from fedrec.rng import Streams
from tests.oracles.dense import dense_items

STREAMS = Streams(0).at(1)


def two_clients() -> Batch:
    """User 7 prefers 2 to 5 and 4 to 5, user 3 prefers 5 to 2."""
    return Batch(
        clients=torch.tensor([7, 3]),
        sizes=torch.tensor([2, 1]),
        owner=torch.tensor([0, 0, 1]),
        positive=torch.tensor([2, 4, 5]),
        negative=torch.tensor([5, 5, 2]),
        history=torch.tensor([2, 4, 5]),
        positive_row=torch.tensor([0, 1, 4]),
        negative_row=torch.tensor([2, 2, 3]),
        history_row=torch.tensor([0, 1, 4]),
        row_owner=torch.tensor([0, 0, 0, 1, 1]),
        row_item=torch.tensor([2, 4, 5, 2, 5]),
    )


def parameters(n_items: int = 6) -> tuple[Shared, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    items = torch.randn(n_items, 4, generator=generator)
    return Shared(items, torch.zeros(0)), torch.randn(2, 4, generator=generator)


def changed(before: Batch, after: Batch) -> set[str]:
    """The fields in which two batches differ."""
    names = [field.name for field in fields(Batch)]
    return {n for n in names if not torch.equal(getattr(before, n), getattr(after, n))}


def rows_name_their_pairs(batch: Batch) -> bool:
    """Every pair's rows are its items in its own client's list, and no row is there twice."""
    rows = list(zip(batch.row_owner.tolist(), batch.row_item.tolist(), strict=True))
    return (
        torch.equal(batch.row_item[batch.positive_row], batch.positive)
        and torch.equal(batch.row_item[batch.negative_row], batch.negative)
        and torch.equal(batch.row_item[batch.history_row], batch.history)
        and torch.equal(batch.row_owner[batch.positive_row], batch.owner)
        and torch.equal(batch.row_owner[batch.negative_row], batch.owner)
        and torch.equal(batch.row_owner[batch.history_row], batch.owner)
        and len(set(rows)) == len(rows)
        and batch.row_owner.tolist() == sorted(batch.row_owner.tolist())
    )


def test_flipped_pairs_by_hand() -> None:
    flipped = two_clients().flipped()
    assert flipped.positive.tolist() == [5, 5, 2]
    assert flipped.negative.tolist() == [2, 4, 5]
    assert flipped.positive_row.tolist() == [2, 2, 3]
    assert flipped.negative_row.tolist() == [0, 1, 4]
    targets = {"positive", "negative", "positive_row", "negative_row"}
    assert changed(two_clients(), flipped) == targets
    assert rows_name_their_pairs(flipped)
    assert not changed(two_clients(), flipped.flipped())


def test_retargeted_pairs_by_hand() -> None:
    """Client 0 now has 1 and 3 in both pairs, client 1 has 3 and 0; both keep their past."""
    found = two_clients().retargeted(torch.tensor([3, 1, 3]), torch.tensor([1, 3, 0]))
    assert found.positive.tolist() == [3, 1, 3]
    assert found.negative.tolist() == [1, 3, 0]
    assert found.history.tolist() == [2, 4, 5]
    assert found.row_owner.tolist() == [0, 0, 0, 0, 1, 1, 1]
    assert found.row_item.tolist() == [1, 2, 3, 4, 0, 3, 5]
    assert found.positive_row.tolist() == [2, 0, 5]
    assert found.negative_row.tolist() == [0, 2, 4]
    assert found.history_row.tolist() == [1, 3, 6]
    assert not {"clients", "sizes", "owner"} & changed(two_clients(), found)


def test_retargeting_to_the_same_pairs_changes_nothing() -> None:
    batch = two_clients()
    assert not changed(batch, batch.retargeted(batch.positive, batch.negative))


def test_retargeted_rows_name_their_pairs() -> None:
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        positive = torch.randint(9, (3,), generator=generator)
        negative = torch.randint(9, (3,), generator=generator)
        assert rows_name_their_pairs(two_clients().retargeted(positive, negative))


def test_retargeting_no_pairs_gives_no_rows() -> None:
    none = torch.zeros(0, dtype=torch.long)
    of_pairs = ("positive", "negative", "history")
    pairs = ("sizes", "owner", *of_pairs, *(f"{name}_row" for name in of_pairs))
    empty = replace(two_clients(), clients=none, **dict.fromkeys(pairs, none))
    found = empty.retargeted(none, none)
    assert len(found.row_item) == len(found.row_owner) == len(found.positive_row) == 0


def test_gradients_of_retargeted_pairs_are_those_of_a_batch_that_had_them() -> None:
    """Item 0 is untouched before, and items 2 and 4 are afterwards."""
    model, (shared, local) = MF(dim=4, l2=0.01), parameters()
    found = model.gradients(
        shared,
        local,
        two_clients().retargeted(torch.tensor([5, 0, 1]), torch.tensor([0, 5, 3])),
        STREAMS,
    )
    written = replace(
        two_clients(),
        positive=torch.tensor([5, 0, 1]),
        negative=torch.tensor([0, 5, 3]),
        positive_row=torch.tensor([3, 0, 1]),
        negative_row=torch.tensor([0, 3, 2]),
        row_owner=torch.tensor([0, 1, 1, 0]),
        row_item=torch.tensor([0, 1, 3, 5]),
    )
    expected = model.gradients(shared, local, written, STREAMS)
    assert_close(dense_items(found.updates), dense_items(expected.updates))
    assert_close(found.local, expected.local)


def test_pairs_over_rows_by_hand() -> None:
    found = two_clients().over_rows()
    assert found.positive.tolist() == [0, 1, 4]
    assert found.negative.tolist() == [2, 2, 3]
    assert found.row_item.tolist() == [0, 1, 2, 3, 4]
    assert changed(two_clients(), found) == {"positive", "negative", "history", "row_item"}
    assert rows_name_their_pairs(found)


def test_gradients_over_rows_of_the_shared_table_are_the_same() -> None:
    model, (shared, local), batch = MF(dim=4, l2=0.01), parameters(), two_clients()
    apart = Shared(shared.items[batch.row_item], shared.dense)
    found = model.gradients(apart, local, batch.over_rows(), STREAMS)
    expected = model.gradients(shared, local, batch, STREAMS)
    assert torch.equal(found.updates.value, expected.updates.value)
    assert torch.equal(found.updates.owner, expected.updates.owner)
    assert torch.equal(found.local, expected.local)
    assert torch.equal(found.loss, expected.loss)


def test_gradients_over_rows_are_each_clients_on_its_own_table() -> None:
    """Items 2 and 5 are of both clients, which hold different embeddings of them."""
    model, (shared, local), batch = MF(dim=4, l2=0.01), parameters(), two_clients()
    tables = torch.stack([shared.items, shared.items.flip(0) * 2])
    apart = Shared(tables[batch.row_owner, batch.row_item], shared.dense)
    found = model.gradients(apart, local, batch.over_rows(), STREAMS)
    for client, own in enumerate(tables):
        expected = model.gradients(Shared(own, shared.dense), local, batch, STREAMS)
        mine = batch.row_owner == client
        assert_close(found.updates.value[mine], expected.updates.value[mine])
        assert_close(found.local[client], expected.local[client])
        assert_close(found.loss[client], expected.loss[client])
