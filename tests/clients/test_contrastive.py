"""UNION's contrastive task: its draws, its gradient, and what it adds to honest uploads."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from fedrec.clients.contrastive import (
    DROPOUT,
    PAIRS,
    Contrastive,
    Reduction,
)
from fedrec.clients.devices import Devices
from fedrec.clients.pairs import FixedPairs
from fedrec.data.split import Split
from fedrec.kernels.dropout import dropped_below
from fedrec.kernels.info_nce import candidate_masks, draw_candidates, info_nce_gradient
from fedrec.kernels.threads import use_threads
from fedrec.models.base import Batch
from fedrec.models.mf import MF
from fedrec.rng import Streams
from fedrec.updates import Updates
from tests.elsewhere import by_tensors
from tests.oracles.attacks import candidates, info_nce
from tests.oracles.dense import dense_items

STREAMS = Streams(2).at(5)
N_ITEMS = 20
REDUCTIONS = pytest.mark.parametrize("reduction", ["mean", "sum"])
DROPOUTS = pytest.mark.parametrize("dropout", [0.0, 0.3])


def draw(history: list[int], n_items: int, negatives: int, client: int = 7) -> list[list[int]]:
    seed = STREAMS.of(PAIRS, client).seed
    return draw_candidates(np.array(history), n_items, negatives, seed).tolist()


def table(d: int = 5) -> Tensor:
    return torch.randn(N_ITEMS, d, generator=torch.Generator().manual_seed(1))


def masks(drawn: list[list[int]], d: int, dropout: float, client: int) -> Tensor:
    """What dropout keeps, 1 or 0, of each anchor, its positive and its negatives."""
    shape = (len(drawn), len(drawn[0]), d)
    return candidate_masks(
        STREAMS.of(DROPOUT, client).seed, shape, dropped_below(dropout), torch.device("cpu")
    )


def by_autograd(task: Contrastive, items: Tensor, client: int, history: list[int]) -> Tensor:
    """α ∂L_cl/∂v, from Eq. 4 and draws made one by one."""
    drawn = candidates(history, len(items), task.negatives, STREAMS, client)
    kept, leaf = masks(drawn, items.shape[1], task.dropout, client), items.clone().requires_grad_()
    (task.weight * info_nce(leaf, drawn, kept, task.dropout, task.reduction)).backward()
    return leaf.grad


# The draws


@pytest.mark.parametrize(
    ("history", "negatives"),
    [([3, 1, 4, 15, 9], 4), ([2, 7], 1), ([8, 8, 5], 3), (list(range(12)), 6)],
    ids=["odd", "two", "repeats", "even"],
)
def test_draws_are_those_made_one_by_one(history: list[int], negatives: int) -> None:
    for client in (0, 7):
        expected = candidates(history, N_ITEMS, negatives, STREAMS, client)
        assert draw(history, N_ITEMS, negatives, client) == expected


def test_a_positive_is_another_item_and_negatives_lie_outside_the_history() -> None:
    history = [3, 1, 4, 15, 9, 2, 6]
    for client in range(30):
        for anchor, (first, positive, *negatives) in zip(
            history, draw(history, N_ITEMS, 15, client), strict=True
        ):
            assert first == anchor and positive != anchor and positive in history
            assert len(negatives) == 15 and not set(negatives) & set(history)


def test_positives_and_negatives_are_uniform() -> None:
    """Over the three other positions, and over the ten items that the history lacks."""
    drawn = np.array([draw([10, 11, 12, 13], 14, 3, client) for client in range(2000)])
    for anchor in range(4):
        share = np.bincount(drawn[:, anchor, 1] - 10, minlength=4) / 2000
        assert share[anchor] == 0
        # 2,000 draws of chance 1/3: a standard deviation of 0.0105
        assert np.abs(np.delete(share, anchor) - 1 / 3).max() < 5 * 0.0105
    share = np.bincount(drawn[:, :, 2:].ravel(), minlength=14) / 24000
    assert np.abs(share[:10] - 0.1).max() < 5 * 0.0019 and not share[10:].any()


def test_a_repeated_item_may_be_its_own_positive() -> None:
    """Another position of the history, whatever item it holds."""
    drawn = [draw([8, 8], N_ITEMS, 1, client) for client in range(5)]
    assert all(row[:2] == [8, 8] for rows in drawn for row in rows)


def test_a_history_that_holds_all_items_draws_negatives_from_all() -> None:
    history = list(range(6))
    drawn = np.array([draw(history, 6, 5, client) for client in range(100)])
    assert set(drawn[:, :, 2:].ravel().tolist()) == set(history)
    gradient = Contrastive(1.0, 5, 0.2, "mean").gradient(
        table()[:6], 7, torch.tensor(history), STREAMS
    )
    assert torch.isfinite(gradient).all() and gradient.any()


def test_a_history_of_one_item_gives_nothing() -> None:
    task = Contrastive(1.0, 5, 0.2, "mean")
    for history in ([4], []):
        gradient = task.gradient(table(), 7, torch.tensor(history, dtype=torch.long), STREAMS)
        assert not gradient.any()


# The gradient


def test_one_anchor_by_hand() -> None:
    """a = (1, 0), positive (2, 1), negative (2, 5): equal scores, so q = (−½, ½)."""
    embedding = torch.tensor([[[1.0, 0.0], [2.0, 1.0], [2.0, 5.0]]])
    kept = torch.ones(1, 3, 2, dtype=torch.bool)
    # a: −½·(2, 1) + ½·(2, 5);  positive: −½·a;  negative: ½·a
    expected = torch.tensor([[[0.0, 2.0], [-0.5, 0.0], [0.5, 0.0]]])
    assert_close(info_nce_gradient(embedding.clone(), kept, 1.0, 1.0), expected)
    assert_close(info_nce_gradient(embedding.clone(), kept, 1.0, 3.0), 3 * expected)
    # The anchor loses its first coordinate: scores 0 and 0, and only the anchor has a gradient,
    # on the coordinate that is left.
    kept[0, 0, 0] = False
    expected = torch.tensor([[[0.0, 2.0], [0.0, 0.0], [0.0, 0.0]]])
    assert_close(info_nce_gradient(embedding.clone(), kept, 1.0, 1.0), expected)


def test_dropouts_scale_by_hand() -> None:
    """At scale 4 the scores 4·0.5 and 0 give q = σ(2) − 1 and 1 − σ(2), times 4 in the gradient."""
    embedding = torch.tensor([[[0.5], [1.0], [0.0]]])
    found = info_nce_gradient(embedding, torch.ones(1, 3, 1, dtype=torch.bool), 4.0, 1.0)
    q = 4 * 0.1192029  # 1 − σ(2)
    assert_close(found, torch.tensor([[[-q], [-q / 2], [q / 2]]]))


@REDUCTIONS
@DROPOUTS
def test_the_plain_gradient_equals_autograd(reduction: Reduction, dropout: float) -> None:
    items, history = table(), [3, 1, 4, 15, 9, 1]
    drawn = candidates(history, N_ITEMS, 4, STREAMS, 7)
    share = 0.7 / len(history) if reduction == "mean" else 0.7
    kept = masks(drawn, 5, dropout, 7)
    rows = torch.tensor(drawn)
    gradient = info_nce_gradient(items[rows], kept, (1 - dropout) ** -2, share)
    found = torch.zeros_like(items).index_add_(0, rows.view(-1), gradient.view(-1, 5))
    expected = by_autograd(Contrastive(0.7, 4, dropout, reduction), items, 7, history)
    assert_close(found, expected, atol=1e-5, rtol=1e-5)


@REDUCTIONS
@DROPOUTS
@pytest.mark.parametrize(("d", "negatives"), [(5, 1), (5, 4), (8, 15)])
def test_the_compiled_gradient_equals_the_plain_one(
    d: int, negatives: int, reduction: Reduction, dropout: float
) -> None:
    """The same masks too, also where an anchor's lanes do not fill their last word."""
    items, history = table(d), [3, 1, 4, 15, 9, 1]
    task = Contrastive(0.7, negatives, dropout, reduction)
    found = task.gradient(items, 7, torch.tensor(history), STREAMS)
    drawn = candidates(history, N_ITEMS, negatives, STREAMS, 7)
    share = 0.7 / len(history) if reduction == "mean" else 0.7
    rows, kept = torch.tensor(drawn), masks(drawn, d, dropout, 7)
    gradient = info_nce_gradient(items[rows], kept, (1 - dropout) ** -2, share)
    plain = torch.zeros_like(items).index_add_(0, rows.view(-1), gradient.view(-1, d))
    assert_close(found, plain, atol=1e-5, rtol=1e-5)
    assert_close(found, by_autograd(task, items, 7, history), atol=1e-5, rtol=1e-5)


def test_large_scores_do_not_overflow() -> None:
    """Scores of thousands: softmax is all or nothing, and the gradient is finite."""
    task = Contrastive(1.0, 4, 0.0, "mean")
    gradient = task.gradient(table() * 50, 7, torch.tensor([3, 1, 4]), STREAMS)
    assert torch.isfinite(gradient).all()


def test_masks_keep_the_right_share_and_are_each_clients_own() -> None:
    kept = masks([[0] * 17] * 40, 64, 0.2, 7)
    # 43,520 draws: a standard deviation of 0.0019
    assert abs(kept.float().mean().item() - 0.8) < 5 * 0.0019
    assert not torch.equal(kept, masks([[0] * 17] * 40, 64, 0.2, 8))
    assert torch.equal(kept[:3], masks([[0] * 17] * 3, 64, 0.2, 7))


# In the uploads


def devices(dropout: float = 0.2) -> Devices:
    """Users with 5, 1, 3, 8 and 2 training items; ids are not positions."""
    sizes, rng = [5, 1, 3, 8, 2], np.random.default_rng(0)
    orders = [rng.permutation(N_ITEMS) for _ in sizes]
    split = Split(
        n_items=N_ITEMS,
        offsets=np.cumsum([0, *sizes]),
        train=np.concatenate([order[:n] for order, n in zip(orders, sizes, strict=True)]),
        validation=np.array([order[8] for order in orders]),
        test=np.array([order[9] for order in orders]),
    )
    model, users = MF(dim=5, dropout=dropout, l2=0.01), torch.tensor([3, 1, 0, 4, 2])
    pairs = FixedPairs.draw(split, users, STREAMS)
    return Devices(model, pairs, torch.randn(5, 5, generator=torch.Generator().manual_seed(0)))


def honest_uploads(positions: list[int], dropout: float = 0.2) -> tuple[Updates, Batch]:
    clients, chosen = devices(dropout), torch.tensor(positions, dtype=torch.long)
    shared = replace(clients.model.init_shared(N_ITEMS, STREAMS), items=table())
    batch = clients.pairs.batch(chosen, STREAMS)
    return clients.train(shared, chosen, batch, STREAMS).updates, batch


def task_gradient(task: Contrastive, items: Tensor, batch: Batch, position: int) -> Tensor:
    """One client's α ∂L_cl/∂v by autograd; none for a history of one item."""
    history = batch.positive[batch.owner == position].tolist()
    if len(history) < 2:
        return torch.zeros_like(items)
    return by_autograd(task, items, int(batch.clients[position]), history)


@REDUCTIONS
@DROPOUTS
def test_uploads_gain_each_clients_own_gradient(reduction: Reduction, dropout: float) -> None:
    honest, batch = honest_uploads([0, 1, 2, 3, 4])
    task = Contrastive(0.7, 4, dropout, reduction)
    found = task.added_to(honest, batch, STREAMS)
    stack = dense_items(honest)
    for c in range(5):
        stack[c] += task_gradient(task, honest.table, batch, c)
    assert_close(dense_items(found), stack, atol=1e-5, rtol=1e-5)
    for field in ("table", "ridge", "dense", "weight"):
        assert torch.equal(getattr(found, field), getattr(honest, field))


def test_rows_stay_unique_and_in_their_clients_order() -> None:
    honest, batch = honest_uploads([4, 2, 0])
    found = Contrastive(1.0, 4, 0.2, "mean").added_to(honest, batch, STREAMS)
    pairs = torch.stack([found.owner, found.item])
    assert pairs.unique(dim=1).shape == pairs.shape
    assert found.owner.tolist() == sorted(found.owner.tolist())


def test_honest_uploads_are_left_as_they_were() -> None:
    honest, batch = honest_uploads([0, 3])
    before = dense_items(honest)
    Contrastive(1.0, 4, 0.2, "mean").added_to(honest, batch, STREAMS)
    assert torch.equal(dense_items(honest), before)


def test_without_weight_or_clients_uploads_stay_what_they_are() -> None:
    honest, batch = honest_uploads([0, 3])
    assert Contrastive(0.0, 4, 0.2, "mean").added_to(honest, batch, STREAMS) is honest
    nobody, none = honest_uploads([])
    assert Contrastive(1.0, 4, 0.2, "mean").added_to(nobody, none, STREAMS) is nobody


def test_a_round_can_be_repeated_and_another_round_differs() -> None:
    honest, batch = honest_uploads([0, 3])
    task = Contrastive(1.0, 4, 0.2, "mean")
    first, second, later = (
        dense_items(task.added_to(honest, batch, streams))
        for streams in (STREAMS, STREAMS, STREAMS.at(6))
    )
    assert torch.equal(first, second) and not torch.allclose(first, later)


def test_a_clients_upload_does_not_depend_on_its_cohort() -> None:
    task = Contrastive(1.0, 4, 0.2, "mean")
    together = task.added_to(*honest_uploads([1, 3, 0, 2]), STREAMS)
    alone = task.added_to(*honest_uploads([0]), STREAMS)
    assert torch.equal(dense_items(together)[2], dense_items(alone)[0])


@pytest.mark.usefixtures("one_thread_afterwards")
def test_uploads_do_not_depend_on_the_number_of_threads() -> None:
    honest, batch = honest_uploads([1, 3, 0, 2, 4])
    found = []
    for count in (1, 2, 3, 8):
        use_threads(count)
        found.append(Contrastive(1.0, 4, 0.2, "mean").added_to(honest, batch, STREAMS))
    assert all(torch.equal(found[0].value, other.value) for other in found[1:])
    assert all(torch.equal(found[0].item, other.item) for other in found[1:])


@REDUCTIONS
def test_a_gpus_way_gives_the_same_uploads(reduction: Reduction) -> None:
    honest, batch = honest_uploads([1, 3, 0, 2, 4])
    task = Contrastive(0.7, 4, 0.2, reduction)
    compiled = task.added_to(honest, batch, STREAMS)
    history = batch.history.split(batch.sizes.tolist())[1]
    with by_tensors():
        plain = task.added_to(honest, batch, STREAMS)
        alone = task.gradient(table(), int(batch.clients[1]), history, STREAMS)
    assert torch.equal(plain.item, compiled.item) and torch.equal(plain.owner, compiled.owner)
    assert_close(plain.value, compiled.value, atol=1e-5, rtol=1e-5)
    assert_close(dense_items(honest)[1] + alone, dense_items(compiled)[1], atol=1e-5, rtol=1e-5)
