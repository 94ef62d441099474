"""NCF against one pair at a time in float64; its arithmetic by hand; what it learns."""

from math import prod
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from fedrec.api import describe, simulate, synthetic
from fedrec.bench.pretend import pretending
from fedrec.clients.pairs import FixedPairs, ResidentPairs
from fedrec.config.protocol import TrainingProtocol
from fedrec.data.split import Split
from fedrec.kernels.perceptron import Pairs, Perceptron, bpr_gradients
from fedrec.kernels.threads import use_threads
from fedrec.models import ncf
from fedrec.models.base import Batch, LocalGradients, Sequences, Shared
from fedrec.models.ncf import NCF
from fedrec.reference.losses import ncf_score
from fedrec.rng import Streams
from tests.masks import dropout_masks
from tests.oracles.dense import dense_items

STREAMS = Streams(0).at(3)
N_ITEMS = 12
USERS = (2, 0, 1)
PAST = Sequences(torch.tensor([0]), torch.tensor([1]))


def all_pairs() -> FixedPairs:
    """Clients with 4, 2 and 3 pairs; the positives of client 1 repeat."""
    split = Split(
        n_items=N_ITEMS,
        offsets=np.array([0, 4, 6, 9]),
        train=np.array([0, 1, 2, 3, 4, 4, 5, 6, 7]),
        validation=np.array([8, 8, 8]),
        test=np.array([9, 9, 9]),
    )
    return FixedPairs.draw(split, torch.arange(3), STREAMS)


def a_batch(users: tuple[int, ...] = USERS) -> Batch:
    return all_pairs().batch(torch.tensor(users), STREAMS)


def small(**fields: Any) -> NCF:
    return NCF(**{"dim": 5, "layers": (6, 4), "l2": 0.01} | fields)


def parameters(model: NCF) -> tuple[Shared, Tensor]:
    """Random ones, biases too, and so large that no state is near 0."""
    generator = torch.Generator().manual_seed(0)
    size = sum(prod(shape) for shape in model.shapes.values())
    items = torch.randn(N_ITEMS, model.dim, generator=generator)
    dense = torch.randn(size, generator=generator) / 2
    return Shared(items, dense), torch.randn(3, model.dim, generator=generator)


def named(model: NCF, dense: Tensor) -> dict[str, Tensor]:
    parts = dense.split([prod(shape) for shape in model.shapes.values()])
    return {n: p.view(s) for (n, s), p in zip(model.shapes.items(), parts, strict=True)}


def gradients(model: NCF, shared: Shared, local: Tensor, batch: Batch) -> LocalGradients:
    return model.gradients(shared, local, batch, STREAMS)


def slow_loss(
    model: NCF, items: Tensor, user: Tensor, dense: Tensor, batch: Batch, c: int
) -> Tensor:
    """Mean BPR loss of one client, pair by pair."""
    net, losses = named(model, dense), []
    masks = dropout_masks(STREAMS, batch, (3, model.dim), model.dropout).double()
    for pair in (batch.owner == c).nonzero().flatten().tolist():
        kept = masks[pair] / (1 - model.dropout)
        scores = [
            ncf_score(net, user * kept[0], items[item[pair]] * kept[place])
            for place, item in ((1, batch.positive), (2, batch.negative))
        ]
        losses.append(-torch.log(torch.sigmoid(scores[0] - scores[1])))
    return torch.stack(losses).mean()


@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("layers", [(3,), (6, 4), (7, 20, 3)])
def test_gradients_equal_autograd_pair_by_pair(dropout: float, layers: tuple[int, ...]) -> None:
    model = small(dropout=dropout, layers=layers)
    batch, (shared, local) = a_batch(), parameters(model)
    found = gradients(model, shared, local, batch)
    stack = dense_items(found.updates)
    for c in range(3):
        leaves = [x.double().requires_grad_() for x in (shared.items, local[c], shared.dense)]
        loss = slow_loss(model, *leaves, batch, c)
        penalty = sum(x.square().sum() for x in leaves)
        to_items, to_user, to_dense = torch.autograd.grad(loss + 0.01 * penalty, leaves)
        for mine, slow in (
            (stack[c], to_items),
            (found.local[c], to_user),
            (found.updates.dense[c], to_dense),
            (found.loss[c], loss.detach()),
        ):
            assert_close(mine, slow.float(), rtol=1e-5, atol=1e-6)
    assert found.updates.weight.tolist() == [3, 4, 2]


def test_one_pair_by_hand() -> None:
    """u = 1, p = 2, n = 0; W_u = (1, −1), W_v = (1, 1), b = (0, ½), w = (½, ½).

    The states are (3, 1½) and (1, 0), where the second unit is off (−½), so the scores are 2¼ and
    ½: x = 1¾, and σ(−1¾) = 0.148047.
    """
    column, half = torch.tensor([[1.0], [1.0]]), torch.tensor([0.5, 0.5])
    net = Perceptron(column * torch.tensor([[1.0], [-1.0]]), column, half - half, [], half)
    net = net._replace(bias=torch.tensor([0.0, 0.5]))
    pairs = Pairs(torch.tensor([[1.0]]), torch.tensor([[2.0], [0.0]]))
    to_net, to_pairs, loss = bpr_gradients(net, pairs, torch.tensor([1.0]))
    s = -0.14804720
    assert_close(loss, torch.tensor(0.16022415))
    assert_close(to_pairs.item, torch.tensor([[s], [-s / 2]]))
    assert_close(to_pairs.user, torch.tensor([[-s / 2]]))  # ½ − ½ for p, less ½ for n
    assert_close(to_net.user, torch.tensor([[0.0], [s / 2]]))
    assert_close(to_net.item, torch.tensor([[s], [s]]))
    assert_close(to_net.bias, torch.tensor([0.0, s / 2]))
    assert_close(to_net.out, torch.tensor([2 * s, 1.5 * s]))


def test_scores_are_the_perceptrons(monkeypatch: pytest.MonkeyPatch) -> None:
    model = small(layers=(6, 5, 4))
    shared, local = parameters(model)
    net = named(model, shared.dense.double())
    found = model.scores(shared, local, PAST)
    slow = [[ncf_score(net, u, v) for v in shared.items.double()] for u in local.double()]
    assert_close(found, torch.tensor(slow), rtol=1e-5, atol=1e-6, check_dtype=False)
    batch = a_batch()
    assert torch.equal(model.scores_at(shared, local, batch, torch.tensor([0, 8])), found[[0, 2]])
    monkeypatch.setitem(ncf.PAIRS, "cpu", 2 * N_ITEMS)  # two users at a time, then one
    assert torch.equal(model.scores(shared, local, PAST), found)


def test_a_client_may_hold_parameters_of_its_own() -> None:
    """After a local step: the same as if all shared what it holds."""
    model, batch = small(), a_batch()
    shared, local = parameters(model)
    own = torch.stack([shared.dense * (1 + c / 10) for c in range(3)])
    found = gradients(model, Shared(shared.items, own), local, batch)
    for c in range(3):
        expected = gradients(model, Shared(shared.items, own[c]), local, batch)
        assert torch.equal(found.updates.dense[c], expected.updates.dense[c])
        assert torch.equal(dense_items(found.updates)[c], dense_items(expected.updates)[c])


def test_a_client_has_the_same_bits_in_any_company_and_with_any_threads() -> None:
    model = small(dropout=0.2)
    shared, local = parameters(model)
    alone = gradients(model, shared, local[:1], a_batch((2,)))
    together = gradients(model, shared, local, a_batch())
    try:
        use_threads(3)
        spread = gradients(model, shared, local, a_batch())
    finally:
        use_threads(1)
    for other in (alone, spread):
        n = len(other.local)
        assert torch.equal(other.updates.dense, together.updates.dense[:n])
        assert torch.equal(other.local, together.local[:n])
        assert torch.equal(dense_items(other.updates), dense_items(together.updates)[:n])
        assert torch.equal(other.loss, together.loss[:n])


@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_a_grid_of_clients_on_a_gpu_gives_the_same(dropout: float) -> None:
    """Clients 1 and 2 have fewer pairs than the longest, client 0."""
    model = small(dropout=dropout)
    shared, local = parameters(model)
    expected = gradients(model, shared, local, a_batch())
    with pretending():
        pairs = ResidentPairs.of_pairs(all_pairs(), torch.device("cuda"))
        there = Shared(shared.items.to("cuda"), shared.dense.to("cuda"))
        batch = pairs.batch(torch.tensor(USERS).to("cuda"), STREAMS)
        found = gradients(model, there, local.to("cuda"), batch)
        scores = model.latest_scores(there, local.to("cuda"), batch).cpu()
        parts = [x.cpu() for x in (found.updates.stack, found.updates.dense, found.local)]
        loss, weight = found.loss.cpu(), found.updates.weight.cpu()
    slow = [dense_items(expected.updates), expected.updates.dense, expected.local]
    assert_close(parts, slow, rtol=1e-5, atol=1e-6)
    assert_close((loss, weight), (expected.loss, expected.updates.weight))
    assert_close(scores, model.scores(shared, local, PAST))


def test_initial_values_are_those_of_the_source() -> None:
    """Embeddings N(0, 0.01²); weights within √(6 / fan-in), 128 for the first layer; biases 0."""
    model = NCF()
    shared, users = model.init_shared(1000, Streams(1)), model.init_local(500, Streams(1))
    for table in (shared.items, users):
        assert table.std().item() == pytest.approx(0.01, rel=0.02)
    net = named(model, shared.dense)
    assert {name: tuple(x.shape) for name, x in net.items()} == {
        **{"0.user": (64, 64), "0.item": (64, 64), "0.bias": (64,)},
        **{"1": (32, 64), "1.bias": (32,), "out": (32,)},
    }
    for name, fan_in in (("0.user", 128), ("0.item", 128), ("1", 64), ("out", 32)):
        bound = (6 / fan_in) ** 0.5
        assert net[name].abs().max() <= bound
        assert net[name].square().mean().item() == pytest.approx(bound**2 / 3, rel=0.3)
    assert not net["0.bias"].any() and not net["1.bias"].any()


@pytest.mark.parametrize("layers", [(), (4, 0)])
def test_layers_have_units(layers: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="layers"):
        NCF(layers=layers)


def test_training_recommends_better_than_chance() -> None:
    """By chance, HR@5 is 5 of the about 87 items that a user has not met."""
    data = synthetic(users=100, items=100, factors=4, mean_length=12, seed=0)
    protocol = TrainingProtocol(rounds=90, clients_per_round=20, evaluate_every=30)
    model = NCF(dim=16, layers=(16, 8), learning_rate=5e-3)
    track = simulate(describe(model=model, protocol=protocol), data).trajectory
    assert track.test["hr@5"][-1] > 3 * 5 / 87
    assert track.loss[-1] < track.loss[0] < 0.6
