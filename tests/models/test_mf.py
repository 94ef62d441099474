"""The closed-form gradients are what autograd makes of Eq. 1."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from fedrec.clients.pairs import FixedPairs
from fedrec.data.split import Split
from fedrec.kernels.bpr import bpr_gradients
from fedrec.models.base import Batch, Sequences, Shared
from fedrec.models.mf import MF
from fedrec.reference.losses import mf_loss
from fedrec.rng import Streams
from tests.elsewhere import by_tensors
from tests.masks import dropout_masks
from tests.oracles.dense import dense_items

STREAMS = Streams(0).at(3)
N_ITEMS = 12


def a_batch(clients: Sequence[int] = (2, 0, 1)) -> Batch:
    """Clients out of three with 4, 2 and 3 pairs; the positives of client 1 repeat."""
    split = Split(
        n_items=N_ITEMS,
        offsets=np.array([0, 4, 6, 9]),
        train=np.array([0, 1, 2, 3, 4, 4, 5, 6, 7]),
        validation=np.array([8, 8, 8]),
        test=np.array([9, 9, 9]),
    )
    pairs = FixedPairs.draw(split, torch.arange(3), STREAMS)
    return pairs.batch(torch.tensor(clients), STREAMS)


def parameters(model: MF) -> tuple[Shared, Tensor]:
    generator = torch.Generator().manual_seed(0)
    items = torch.randn(N_ITEMS, model.dim, generator=generator)
    return Shared(items, torch.zeros(0)), torch.randn(3, model.dim, generator=generator)


@pytest.mark.parametrize("dropout", [0.0, 0.2])
@pytest.mark.parametrize("l2_half", [False, True])
def test_gradients_equal_autograd_client_by_client(dropout: float, l2_half: bool) -> None:
    model = MF(dim=5, dropout=dropout, l2=0.01, l2_half=l2_half)
    batch, (shared, local) = a_batch(), parameters(model)
    found = model.gradients(shared, local, batch, STREAMS)
    items_found = dense_items(found.updates)
    masks = dropout_masks(STREAMS, batch, (3, 5), dropout)
    for i in range(3):
        mine = batch.owner == i
        items, user = shared.items.clone().requires_grad_(), local[i].clone().requires_grad_()
        penalty = 0.005 if l2_half else 0.01
        loss, bpr = mf_loss(
            user, items, batch.positive[mine], batch.negative[mine], masks[mine], dropout, penalty
        )
        loss.backward()
        assert_close(items_found[i], items.grad)
        assert_close(found.local[i], user.grad)
        assert_close(found.loss[i], bpr.detach())
        assert found.updates.weight[i] == mine.sum()


def test_one_pair_by_hand() -> None:
    """u = (1, 2), p = (3, 0), n = (0, 1) without dropout: x = 1, and σ(−1) = 0.26894."""
    to_user, to_positive, to_negative, loss = bpr_gradients(
        torch.tensor([[1.0, 2.0]]),
        torch.tensor([[3.0, 0.0]]),
        torch.tensor([[0.0, 1.0]]),
        torch.ones(1, 3, 2),
        scale=1.0,
        size=torch.tensor([2]),
    )
    half = 0.26894142 / 2  # the client has two pairs
    assert_close(to_user, torch.tensor([[-3 * half, half]]))
    assert_close(to_positive, torch.tensor([[-half, -2 * half]]))
    assert_close(to_negative, torch.tensor([[half, 2 * half]]))
    assert_close(loss, torch.tensor([0.31326169 / 2]))


def test_a_clients_gradient_does_not_depend_on_its_cohort() -> None:
    model = MF(dim=5)
    shared, local = parameters(model)
    together = model.gradients(shared, local, a_batch(), STREAMS)
    alone = model.gradients(shared, local[:1], a_batch([2]), STREAMS)
    assert_close(dense_items(alone.updates)[0], dense_items(together.updates)[0])


def test_dropout_keeps_the_right_share_and_is_each_clients_own() -> None:
    batch = a_batch()
    masks = dropout_masks(STREAMS, batch, (100, 64), 0.2)
    # 9 · 6,400 draws: a standard deviation of 0.0017
    assert abs(masks.mean().item() - 0.8) < 5 * 0.0017
    assert masks.unique().tolist() == [0.0, 1.0]
    alone = dropout_masks(STREAMS, a_batch([0]), (100, 64), 0.2)
    assert torch.equal(masks[batch.owner == 1], alone)


def test_flipping_twice_is_no_flip() -> None:
    batch = a_batch()
    assert torch.equal(batch.flipped().positive, batch.negative)
    assert torch.equal(batch.flipped().flipped().negative_row, batch.negative_row)


def test_initial_tables_are_xavier_uniform_and_seeded() -> None:
    items = MF(dim=64).init_shared(100, Streams(1)).items
    bound = (6 / 164) ** 0.5
    assert items.abs().max() <= bound and items.abs().max() > 0.99 * bound
    assert abs(items.mean().item()) < 5 * bound / (3 * 6400) ** 0.5
    assert torch.equal(items, MF(dim=64).init_shared(100, Streams(1)).items)
    assert not torch.equal(items, MF(dim=64).init_shared(100, Streams(2)).items)


def test_scores_are_inner_products() -> None:
    shared = Shared(torch.tensor([[1.0, 0.0], [2.0, 3.0]]), torch.zeros(0))
    past = Sequences(torch.tensor([1]), torch.tensor([1]))
    scores = MF(dim=2).scores(shared, torch.tensor([[10.0, 1.0]]), past)
    assert scores.tolist() == [[10.0, 23.0]]


@pytest.mark.parametrize(("dim", "dropout"), [(1, 0.0), (5, 0.2), (64, 0.2)])
def test_the_compiled_loop_gives_what_tensor_operations_give(dim: int, dropout: float) -> None:
    model = MF(dim=dim, dropout=dropout)
    batch, (shared, local) = a_batch(), parameters(model)
    compiled = model.gradients(shared, local, batch, STREAMS)
    with by_tensors():
        plain = model.gradients(shared, local, batch, STREAMS)
    assert_close(compiled.updates.value, plain.updates.value)
    assert_close((compiled.local, compiled.loss), (plain.local, plain.loss))


def test_a_loss_too_large_for_exp_is_still_a_loss() -> None:
    """Scores of −4,000 and more: exp overflows, −log σ(x) = −x does not."""
    model = MF(dim=5, dropout=0.0)
    batch, (shared, local) = a_batch(), parameters(model)
    huge = Shared(shared.items * 1e3, shared.dense)
    found = model.gradients(huge, local * 1e2, batch, STREAMS)
    with by_tensors():
        plain = model.gradients(huge, local * 1e2, batch, STREAMS)
    assert_close(found.loss, plain.loss)
    assert torch.isfinite(found.updates.value).all()
