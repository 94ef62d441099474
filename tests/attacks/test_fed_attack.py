"""FedAttack: the farthest item as the positive, the nearest ones as negatives."""

import dataclasses

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from fedrec.attacks.base import AttackerView
from fedrec.attacks.fed_attack import FedAttack, hardest_of_clients, hardest_pairs
from fedrec.clients.devices import Devices
from fedrec.clients.pairs import FixedPairs
from fedrec.models.base import Batch, Shared
from fedrec.models.mf import MF
from fedrec.reference.losses import mf_loss
from fedrec.rng import Streams
from tests.attacks.views import attacker_view
from tests.masks import dropout_masks
from tests.oracles.attacks import worst_pair
from tests.oracles.dense import dense_items

STREAMS = Streams(0).at(1)
ITEMS = torch.tensor([[3.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [1.5, 1.5]])
USERS = torch.tensor([[1.0, 2.0], [-1.0, 0.5], [0.5, -1.0]])
# Their scores are 3, 2, −1, 4.5;  −3, 0.5, 1, −0.75;  and 1.5, −1, −0.5, −0.75.


def three_users() -> AttackerView:
    """Two pairs each; the third and the first are in the cohort."""
    pairs = FixedPairs(
        users=torch.tensor([4, 8, 6]),
        sizes=torch.tensor([2, 2, 2]),
        row_sizes=torch.tensor([3, 3, 3]),
        positive=torch.tensor([0, 1] * 3),
        negative=torch.tensor([3, 3] * 3),
        positive_row=torch.tensor([0, 1] * 3),
        negative_row=torch.tensor([2, 2] * 3),
        row_item=torch.tensor([0, 1, 3] * 3),
    )
    devices = Devices(MF(dim=2, dropout=0, l2=0), pairs, USERS)
    shared, selected = Shared(ITEMS, torch.zeros(0)), torch.tensor([2, 0])
    benign = devices.gradients(shared, selected, STREAMS).updates
    return AttackerView(shared=shared, devices=devices, selected=selected, benign=benign)


def test_the_hardest_pairs_by_hand() -> None:
    farthest, nearest = hardest_pairs(USERS @ ITEMS.T)
    assert farthest.tolist() == [2, 0, 1]
    assert nearest.tolist() == [3, 2, 0]


def test_the_two_items_differ_even_where_all_are_equally_near() -> None:
    farthest, nearest = hardest_pairs(torch.zeros(3, 4))
    assert (farthest != nearest).all()


def test_the_farthest_and_as_many_nearest_as_a_client_has_pairs_by_hand() -> None:
    """As uploaded. The third user: item 1 before 0 and 2; the first: item 2 before 3 and 0."""
    forged = FedAttack().forge(three_users(), None, STREAMS)
    a, b = 0.9241418 / 2, 0.6224593 / 2  # σ(−x) of x = −1 − 1.5 and −1 + 0.5, in the mean
    c, d = 0.9959299 / 2, 0.9820138 / 2  # of x = −1 − 4.5 and −1 − 3
    u, v = torch.tensor([0.5, -1.0]), torch.tensor([1.0, 2.0])
    third = torch.stack([a * u, -(a + b) * u, b * u, 0 * u])
    first = torch.stack([d * v, 0 * v, -(c + d) * v, c * v])
    assert_close(dense_items(forged.updates), torch.stack([third, first]), atol=1e-6, rtol=1e-6)
    assert forged.updates.weight.tolist() == [2.0, 2.0]
    # −σ(−x) (p − n), with p − n = (−3, 1) and (1, 1); (−2.5, −1.5) and (−4, 0)
    own = [[3 * a - b, -a - b], [2.5 * c + 4 * d, 1.5 * c]]
    assert forged.local is not None
    assert_close(forged.local, torch.tensor(own), atol=1e-6, rtol=1e-6)


def test_own_rows_may_stay_honest() -> None:
    assert FedAttack(own_row="benign").forge(three_users(), None, STREAMS).local is None


def test_negatives_are_each_taken_once_and_in_another_order_each_round() -> None:
    view = attacker_view(MF(dim=4))
    batch = view.devices.pairs.batch(view.selected, STREAMS)
    users = view.devices.local[view.selected]
    orders = set()
    for number in range(5):
        streams = Streams(0).at(number)
        positive, negative = hardest_of_clients(users @ view.shared.items.T, batch, streams)
        order = (view.shared.items @ users[0]).argsort().tolist()
        assert positive[:8].tolist() == [order[0]] * 8
        assert sorted(negative[:8].tolist()) == sorted(order[-8:])
        orders.add(tuple(negative[:8].tolist()))
    assert len(orders) == 5


def test_more_pairs_than_items_take_the_nearest_again() -> None:
    view = attacker_view(MF(dim=4))
    batch, items = view.devices.pairs.batch(view.selected, STREAMS), view.shared.items[:5]
    user = view.devices.local[1]
    _, negative = hardest_of_clients((user @ items.T).expand(2, -1), batch, STREAMS)
    nearest = (items @ user).argsort(descending=True).tolist()
    assert sorted(negative[:8].tolist()) == sorted([*nearest, *nearest[:3]])


def test_gradients_of_each_pairs_hardest_by_hand() -> None:
    """Both pairs of a client are its worst one: x = −1 − 1.5 = −2.5 and −1 − 4.5 = −5.5."""
    forged = FedAttack(hardest="pair").forge(three_users(), None, STREAMS).updates
    s, t = 0.9241418, 0.9959299  # σ(2.5) times u = (0.5, −1), and σ(5.5) times u = (1, 2)
    third = [[0.5 * s, -s], [-0.5 * s, s], [0.0, 0.0], [0.0, 0.0]]
    first = [[0.0, 0.0], [0.0, 0.0], [-t, -2 * t], [t, 2 * t]]
    assert_close(dense_items(forged), torch.tensor([third, first]), atol=1e-6, rtol=1e-6)
    assert forged.weight.tolist() == [2.0, 2.0]


@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_uploads_equal_autograd_on_the_worst_pair(dropout: float) -> None:
    """As many pairs as the client has, all the same but for their dropout."""
    view = attacker_view(MF(dim=4, dropout=dropout, l2=0.01))
    updates = FedAttack(hardest="pair").forge(view, None, STREAMS).updates
    forged = dense_items(updates)
    batch = view.devices.pairs.batch(view.selected, STREAMS)
    masks = dropout_masks(STREAMS, batch, (3, 4), dropout)
    for i, position in enumerate(view.selected.tolist()):
        mine, items = batch.owner == i, view.shared.items.clone().requires_grad_()
        user = view.devices.local[position]
        positive, negative = worst_pair(user, view.shared.items)
        size = int(mine.sum())
        loss, _ = mf_loss(
            user,
            items,
            positive=torch.full((size,), positive),
            negative=torch.full((size,), negative),
            masks=masks[mine],
            dropout=dropout,
            penalty=0.005,
        )
        loss.backward()
        assert_close(forged[i], items.grad)
        rows = (updates.owner == i) & (updates.value != 0).any(1)
        assert updates.item[rows].tolist() == sorted((positive, negative))
        assert updates.weight[i] == size


def test_the_pairs_follow_the_current_user_embedding() -> None:
    """A user that turns round has its farthest item nearest, and is pulled to the other one."""
    view = attacker_view(MF(dim=4, dropout=0, l2=0))
    for turn in (1, -1):
        view.devices.local.mul_(turn)
        forged = dense_items(FedAttack(hardest="pair").forge(view, None, STREAMS).updates)
        users = view.devices.local[view.selected]
        for user, gradient in zip(users, forged, strict=True):
            push = -gradient @ user  # what descent adds to each score
            assert (push.argmax().item(), push.argmin().item()) == worst_pair(
                user, view.shared.items
            )


class Near(MF):
    """Scores items by −‖2u − v‖², which is no inner product of rows of user and item."""

    def scores_at(self, shared: Shared, local: Tensor, batch: Batch, pairs: Tensor) -> Tensor:
        return -torch.cdist(2 * local[batch.owner[pairs]], shared.items).square()


def test_the_model_says_what_is_far() -> None:
    """From (0.5, −1) item 1 is the farthest by product, item 3 by distance (½² + 3½²)."""
    view = three_users()
    near = Near(dim=2, dropout=0, l2=0)
    other = dataclasses.replace(view, devices=dataclasses.replace(view.devices, model=near))
    plain, asked = (FedAttack(hardest="pair").forge(v, None, STREAMS) for v in (view, other))
    # The positive of a pair is pushed along its user, whose first coordinate is positive.
    pushed = [dense_items(forged.updates)[0][:, 0].argmin() for forged in (plain, asked)]
    assert [int(item) for item in pushed] == [1, 3]
