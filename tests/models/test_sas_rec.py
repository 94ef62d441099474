"""SASRec against one client at a time, position by position; what it must not read."""

from math import prod
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from fedrec.clients.pairs import FixedPairs
from fedrec.data.split import Split
from fedrec.kernels import dropout, philox
from fedrec.kernels.dropout import dropped_below
from fedrec.models.base import Batch, Sequences, Shared
from fedrec.models.sas_rec import SASRec
from fedrec.rng import Streams
from tests.oracles.dense import dense_items
from tests.oracles.recommender import sasrec_states

STREAMS = Streams(0).at(3)
N_ITEMS = 20
HISTORIES = [[0, 1, 2, 3, 4, 5, 6], [4, 7], [5, 6, 5, 9], [8], [3, 2, 9, 1, 0]]
USERS = (4, 0, 3, 1, 2)


def some_pairs() -> FixedPairs:
    """Five clients of one to seven items; client 2 repeats one."""
    split = Split(
        n_items=N_ITEMS,
        offsets=np.cumsum([0, *map(len, HISTORIES)]),
        train=np.concatenate([np.array(h) for h in HISTORIES]),
        validation=np.full(5, 18),
        test=np.full(5, 19),
    )
    return FixedPairs.draw(split, torch.arange(5), STREAMS)


def a_batch(users: tuple[int, ...] = USERS) -> Batch:
    return some_pairs().batch(torch.tensor(users), STREAMS)


def small(**fields: Any) -> SASRec:
    return SASRec(**{"dim": 6, "hidden": 5, "length": 4, "l2": 0.01} | fields)


def parameters(model: SASRec) -> Shared:
    """Random ones: biases and norms too."""
    generator = torch.Generator().manual_seed(0)
    size = len(model.init_shared(N_ITEMS, STREAMS).dense)
    items = torch.randn(N_ITEMS, model.dim, generator=generator)
    return Shared(items, torch.randn(size, generator=generator) / 2)


def named(model: SASRec, dense: Tensor) -> dict[str, Tensor]:
    parts = dense.split([prod(shape) for shape in model.shapes.values()])
    return {n: p.view(s) for (n, s), p in zip(model.shapes.items(), parts, strict=True)}


def kept_by(model: SASRec, user: int, count: int) -> Any:
    """Dropout's factors of one client, from streams of its own for each part of the network."""
    if model.dropout == 0:
        return lambda name: torch.ones(model.heads, 99, 99) if "att" in name else torch.ones(99, 1)
    sizes = {"input": (model.length, model.dim)}
    for b in range(model.blocks):
        sizes[f"{b}.attention"] = (model.heads, model.length, model.length)
        sizes[f"{b}.in"] = (model.length, model.hidden)
        sizes[f"{b}.out"] = (model.length, model.dim)
    lanes = {n: philox.lanes(STREAMS.of(f"dropout/{n}", user), s, 16) for n, s in sizes.items()}
    below = dropped_below(model.dropout)
    return lambda name: torch.from_numpy(lanes[name] >= below).float() / (1 - model.dropout)


def slow_loss(model: SASRec, items: Tensor, dense: Tensor, batch: Batch, c: int) -> Tensor:
    """Mean BPR loss of one client over what it predicts."""
    mine = batch.owner == c
    history, positive, negative = (
        column[mine].tolist() for column in (batch.history, batch.positive, batch.negative)
    )
    read = history[:-1][-model.length :]
    kept = kept_by(model, int(batch.clients[c]), len(read))
    states = sasrec_states(items, named(model, dense), read, model.length, model.heads, kept)
    pairs = zip(positive[-len(read) :], negative[-len(read) :], strict=True)
    losses = [
        -torch.log(torch.sigmoid(state @ items[p] - state @ items[n]))
        for state, (p, n) in zip(states, pairs, strict=True)
    ]
    return torch.stack(losses).mean()


@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize(("blocks", "heads"), [(1, 1), (2, 1), (2, 3)])
def test_gradients_equal_autograd_on_single_clients(
    dropout: float, blocks: int, heads: int
) -> None:
    model = small(dropout=dropout, blocks=blocks, heads=heads)
    batch, shared = a_batch(), parameters(model)
    found = model.gradients(shared, torch.zeros(5, 0), batch, STREAMS)
    stack = dense_items(found.updates)
    for c, user in enumerate(USERS):
        items, dense = (x.clone().requires_grad_() for x in (shared.items, shared.dense))
        penalty = 0.01 * (items.square().sum() + dense.square().sum())
        loss = penalty * 0
        if len(HISTORIES[user]) > 1:
            loss = slow_loss(model, items, dense, batch, c)
        (loss + penalty).backward()
        assert_close(stack[c], items.grad, rtol=1e-4, atol=1e-5)
        assert_close(found.updates.dense[c], dense.grad, rtol=1e-4, atol=1e-5)
        assert_close(found.loss[c], loss.detach(), rtol=1e-5, atol=1e-6)
    assert found.updates.weight.tolist() == [4, 4, 0, 1, 3]
    assert found.local.shape == (5, 0)


def test_flipped_targets_leave_the_input_as_it_is() -> None:
    model, batch = small(dropout=0), a_batch()
    shared, flipped = parameters(model), batch.flipped()
    found = model.gradients(shared, torch.zeros(5, 0), flipped, STREAMS)
    for c in (0, 1, 3, 4):
        loss = slow_loss(model, shared.items, shared.dense, flipped, c)
        assert_close(found.loss[c], loss, rtol=1e-5, atol=1e-6)
    assert torch.equal(flipped.history, batch.history)


def test_a_client_may_hold_parameters_of_its_own() -> None:
    """After a local step: the same as if all shared what it holds."""
    model, batch = small(), a_batch()
    shared = parameters(model)
    own = torch.stack([shared.dense * (1 + c / 10) for c in range(5)])
    found = model.gradients(Shared(shared.items, own), torch.zeros(5, 0), batch, STREAMS)
    for c in range(5):
        alone = Shared(shared.items, own[c])
        expected = model.gradients(alone, torch.zeros(5, 0), batch, STREAMS)
        assert_close(found.updates.dense[c], expected.updates.dense[c])
        assert_close(dense_items(found.updates)[c], dense_items(expected.updates)[c])


def test_a_later_item_changes_no_earlier_state() -> None:
    model = small(length=7)
    shared = parameters(model)
    before, after = a_batch((0,)), a_batch((0,))
    after.history[4:] = 11
    states = [model.states(shared, b) for b in (before, after)]
    assert torch.equal(states[0][:5], states[1][:5])  # pair 5 reads item 4
    assert (states[0][5:] != states[1][5:]).any(1).all()
    assert states[0][0].tolist() == [0] * 6


def test_states_depend_on_no_other_client() -> None:
    """Alone there is no padding, in company there is."""
    model = small()
    shared, together = parameters(model), a_batch()
    found = model.states(shared, together)
    for c, user in enumerate(USERS):
        alone = model.states(shared, a_batch((user,)))
        assert_close(found[together.owner == c], alone)


def test_scores_come_from_the_state_after_the_whole_past() -> None:
    model = small()
    shared = parameters(model)
    past = Sequences(torch.tensor([4, 7, 1, 9, 2, 3, 8]), torch.tensor([1, 6]))
    found = model.scores(shared, torch.zeros(2, 0), past)
    for c, read in enumerate(([4], [1, 9, 2, 3, 8][-4:])):
        states = sasrec_states(
            shared.items, named(model, shared.dense), read, 4, 1, kept_by(small(dropout=0), 0, 9)
        )
        assert_close(found[c], shared.items @ states[-1], rtol=1e-5, atol=1e-5)


def test_the_same_cohort_twice_gives_the_same_bits() -> None:
    model, shared = small(), parameters(small())
    first, second = (
        model.gradients(shared, torch.zeros(5, 0), a_batch(), STREAMS).updates for _ in range(2)
    )
    assert torch.equal(first.value, second.value) and torch.equal(first.dense, second.dense)


def test_heads_must_divide_the_dimension() -> None:
    with pytest.raises(ValueError, match="multiple of heads"):
        SASRec(dim=6, heads=4)


@pytest.mark.parametrize("time", [1, 3, 4])
def test_masks_by_tensors_are_the_compiled_ones(time: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model, clients = small(heads=3, length=4), torch.tensor([7, 0, 6039])
    compiled = model.kept(clients, time, STREAMS)
    monkeypatch.setattr(dropout, "on_cpu", lambda tensor: False)
    by_tensors = model.kept(clients, time, STREAMS)
    assert compiled.keys() == by_tensors.keys() and compiled
    assert all(torch.equal(compiled[name], mask) for name, mask in by_tensors.items())


def test_a_longer_sequence_has_the_masks_of_a_shorter_one_and_more() -> None:
    model = small(heads=2, length=30)
    short, long = (model.kept(torch.tensor([5]), time, STREAMS) for time in (11, 30))
    for name, mask in short.items():
        assert torch.equal(long[name][..., :11, : mask.shape[-1]], mask)
