"""Training pairs by client, and the clients' own optimisers."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from fedrec.clients.optimizers import DenseAdam, LazyAdam
from fedrec.clients.pairs import FixedPairs, ResampledPairs, training_pairs
from fedrec.data.split import Split
from fedrec.rng import Streams

SPLIT = Split(
    n_items=8,
    offsets=np.array([0, 2, 5, 6]),
    train=np.array([0, 1, 2, 2, 3, 4]),
    validation=np.array([5, 5, 5]),
    test=np.array([6, 6, 6]),
)


@pytest.mark.parametrize("rule", ["fixed", "resampled"])
def test_a_batch_holds_the_clients_training_items_in_order(rule: str) -> None:
    pairs = training_pairs(SPLIT, torch.arange(3), rule, Streams(0))
    batch = pairs.batch(torch.tensor([1, 0]), Streams(0).at(1))
    assert batch.clients.tolist() == [1, 0]
    assert batch.sizes.tolist() == [3, 2]
    assert batch.owner.tolist() == [0, 0, 0, 1, 1]
    assert batch.positive.tolist() == [2, 2, 3, 0, 1]
    taken = [{2, 3, 5, 6}, {0, 1, 5, 6}]
    for owner, negative in zip(batch.owner.tolist(), batch.negative.tolist(), strict=True):
        assert negative not in taken[owner]


def test_rows_are_the_distinct_items_of_each_client() -> None:
    pairs = FixedPairs.draw(SPLIT, torch.arange(3), Streams(0))
    batch = pairs.batch(torch.tensor([1, 2]), Streams(0))
    assert torch.equal(batch.row_item[batch.positive_row], batch.positive)
    assert torch.equal(batch.row_item[batch.negative_row], batch.negative)
    assert torch.equal(batch.row_owner[batch.positive_row], batch.owner)
    rows = list(zip(batch.row_owner.tolist(), batch.row_item.tolist(), strict=True))
    assert len(set(rows)) == len(rows)
    used = {*batch.positive_row.tolist(), *batch.negative_row.tolist()}
    assert used == set(range(len(rows)))


def test_fixed_negatives_stay_and_resampled_ones_change() -> None:
    users, everyone = torch.arange(3), torch.tensor([0, 1, 2])
    fixed, fresh = FixedPairs.draw(SPLIT, users, Streams(0)), ResampledPairs(SPLIT, users)
    draws = [
        [p.batch(everyone, Streams(0).at(r)).negative.tolist() for r in range(4)]
        for p in (fixed, fresh)
    ]
    assert len({tuple(d) for d in draws[0]}) == 1
    assert len({tuple(d) for d in draws[1]}) > 1


@pytest.mark.parametrize("rule", ["fixed", "resampled"])
def test_the_data_of_some_clients_holds_theirs_alone(rule: str) -> None:
    pairs = training_pairs(SPLIT, torch.arange(3), rule, Streams(0))
    some = pairs.of(torch.tensor([2, 0]))
    assert some.users.tolist() == [2, 0]
    expected = pairs.batch(torch.tensor([0]), Streams(0))
    found = some.batch(torch.tensor([1]), Streams(0))
    for field in ("clients", "positive", "negative", "row_item", "positive_row"):
        assert torch.equal(getattr(found, field), getattr(expected, field))
    if isinstance(some, FixedPairs):
        assert len(some.positive) == 3


def adam_by_hand(gradients: list[float], rate: float) -> float:
    """Kingma and Ba's Algorithm 1 from 0, for one coordinate."""
    value = mean = square = 0.0
    for t, g in enumerate(gradients, start=1):
        mean, square = 0.9 * mean + 0.1 * g, 0.999 * square + 0.001 * g * g
        value -= rate * (mean / (1 - 0.9**t)) / ((square / (1 - 0.999**t)) ** 0.5 + 1e-8)
    return value


def test_under_dense_adam_an_absent_client_drifts() -> None:
    local = torch.zeros(2, 1)
    adam = DenseAdam(local, 0.1)
    adam.step(torch.tensor([0]), torch.tensor([[1.0]]))
    adam.step(torch.tensor([1]), torch.tensor([[3.0]]))
    expected = [[adam_by_hand([1.0, 0.0], 0.1)], [adam_by_hand([0.0, 3.0], 0.1)]]
    assert_close(local.detach(), torch.tensor(expected))


def test_under_lazy_adam_a_client_steps_only_when_present() -> None:
    local = torch.zeros(2, 1)
    adam = LazyAdam(local, 0.1)
    adam.step(torch.tensor([0]), torch.tensor([[1.0]]))
    adam.step(torch.tensor([1]), torch.tensor([[3.0]]))
    adam.step(torch.tensor([0]), torch.tensor([[2.0]]))
    expected = [[adam_by_hand([1.0, 2.0], 0.1)], [adam_by_hand([3.0], 0.1)]]
    assert_close(local, torch.tensor(expected))
