"""SASRec's passes for a GPU, by their plain twins, against automatic differentiation."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from fedrec.clients.pairs import ResidentPairs
from fedrec.models._resident import ResidentBatch
from fedrec.models._sas_rec_on_device import parts
from fedrec.models.base import LocalGradients, Shared
from fedrec.models.sas_rec import SASRec
from tests.models.test_sas_rec import STREAMS, USERS, a_batch, named, parameters, small, some_pairs
from tests.oracles.dense import dense_items

NO_LOCAL = torch.zeros(len(USERS), 0)


def resident_batch() -> ResidentBatch:
    pairs = ResidentPairs.of_pairs(some_pairs(), torch.device("cpu"))
    batch = pairs.batch(torch.tensor(USERS), STREAMS)
    assert isinstance(batch, ResidentBatch)
    return batch


def doubled(shared: Shared) -> Shared:
    return Shared(shared.items.double(), shared.dense.double())


def both(model: SASRec, shared: Shared) -> tuple[LocalGradients, LocalGradients]:
    """By automatic differentiation, and as on a GPU."""
    batches = a_batch(), resident_batch()
    by_autograd, found = (model.gradients(shared, NO_LOCAL, b, STREAMS) for b in batches)
    return by_autograd, found


def assert_same(model: SASRec, shared: Shared, **tolerance: float) -> None:
    expected, found = both(model, shared)
    assert_close(dense_items(found.updates), dense_items(expected.updates), **tolerance)
    assert_close(found.updates.dense, expected.updates.dense, **tolerance)
    assert_close(found.loss, expected.loss, **tolerance)
    assert torch.equal(found.updates.weight, expected.updates.weight)
    assert found.local.shape == expected.local.shape


SHAPES: list[dict[str, Any]] = [
    {"blocks": 0},
    {"blocks": 1},
    {"blocks": 2},
    {"blocks": 2, "heads": 3},
    {"blocks": 3, "heads": 2, "hidden": 9, "length": 3},
    {"blocks": 2, "length": 1},
    {"blocks": 2, "length": 30},
    {"blocks": 2, "dim": 7, "hidden": 8},
]


@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_gradients_equal_automatic_differentiation(shape: dict[str, Any], dropout: float) -> None:
    model = small(**shape, dropout=dropout)
    assert_same(model, parameters(model), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dropout", [0.0, 0.5])  # 1 / (1 − ½) is the same in both precisions
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_they_do_so_to_ten_digits(shape: dict[str, Any], dropout: float) -> None:
    model = small(**shape, dropout=dropout)
    assert_same(model, doubled(parameters(model)), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("heads", [1, 3])
def test_clients_may_hold_tables_and_parameters_of_their_own(heads: int) -> None:
    model = small(heads=heads)
    shared = parameters(model)
    factors = 1 + torch.arange(5.0) / 10
    own = Shared(shared.items * factors[:, None, None], shared.dense * factors[:, None])
    found = model.gradients(own, NO_LOCAL, resident_batch(), STREAMS)
    for c in range(5):
        alone = Shared(own.items[c], own.dense[c])
        expected = model.gradients(alone, NO_LOCAL, a_batch(), STREAMS)
        assert_close(found.updates.dense[c], expected.updates.dense[c], rtol=1e-5, atol=1e-5)
        assert_close(found.updates.stack[c], dense_items(expected.updates)[c], rtol=1e-5, atol=1e-5)


def test_a_half_without_pairs_has_the_gradient_of_the_penalty_alone() -> None:
    """The fourth client has one pair, so its later half has none."""
    model = small()
    shared = parameters(model)
    _, later = resident_batch().halves()
    found = model.gradients(shared, NO_LOCAL, later, STREAMS)
    assert later.sizes.tolist() == [2, 3, 0, 1, 2] and found.updates.weight.tolist()[2:4] == [0, 0]
    for c in (2, 3):
        assert_close(found.updates.dense[c], shared.dense * model.ridge)
        assert_close(found.updates.stack[c], shared.items * model.ridge)


@pytest.mark.parametrize("heads", [1, 2])
def test_the_latest_item_is_scored_without_dropout(heads: int) -> None:
    model, batch = small(heads=heads), a_batch()
    shared = parameters(model)
    ends = batch.sizes.cumsum(0) - 1
    expected = model.scores_at(shared, NO_LOCAL, batch, ends)
    found = model.latest_scores(shared, NO_LOCAL, resident_batch())
    assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_the_same_cohort_twice_gives_the_same_bits_and_changes_nothing() -> None:
    model, shared = small(), parameters(small())
    before = shared.items.clone(), shared.dense.clone()
    first, second = (both(model, shared)[1].updates for _ in range(2))
    assert torch.equal(first.value, second.value) and torch.equal(first.dense, second.dense)
    assert torch.equal(before[0], shared.items) and torch.equal(before[1], shared.dense)


def test_a_part_has_its_bias_or_shift_as_the_last_row() -> None:
    model = small(heads=2)
    dense = parameters(model).dense
    by_name, found = named(model, dense), parts(dense[None], model.shapes)
    rows: dict[str, list[Tensor]] = {name: [] for name in found}
    for name, value in by_name.items():
        whole = next(n for n in (name, name.rpartition(".")[0]) if n in found)
        rows[whole].append(value.view(-1, value.shape[-1]))
    for name, part in found.items():
        assert torch.equal(part[0], torch.cat(rows[name]))
        assert part.untyped_storage().data_ptr() == dense.untyped_storage().data_ptr()
