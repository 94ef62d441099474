"""LabelFlip: the honest gradient of pairs whose items are swapped."""

import pytest
import torch
from torch.testing import assert_close

from fedrec.attacks.base import AttackerView
from fedrec.attacks.label_flip import LabelFlip
from fedrec.clients.devices import Devices
from fedrec.clients.pairs import FixedPairs
from fedrec.models.base import Shared
from fedrec.models.mf import MF
from fedrec.reference.losses import mf_loss
from fedrec.rng import Streams
from tests.attacks.views import attacker_view
from tests.masks import dropout_masks
from tests.oracles.dense import dense_items

STREAMS = Streams(0).at(1)


def two_clients() -> AttackerView:
    """User 5 prefers item 0 to item 1, user 9 prefers 1 to 0 and 2 to 0; no dropout, no L2."""
    pairs = FixedPairs(
        users=torch.tensor([5, 9]),
        sizes=torch.tensor([1, 2]),
        row_sizes=torch.tensor([2, 3]),
        positive=torch.tensor([0, 1, 2]),
        negative=torch.tensor([1, 0, 0]),
        positive_row=torch.tensor([0, 1, 2]),
        negative_row=torch.tensor([1, 0, 0]),
        row_item=torch.tensor([0, 1, 0, 1, 2]),
    )
    devices = Devices(MF(dim=2, dropout=0, l2=0), pairs, torch.tensor([[1.0, 2.0], [2.0, 0.0]]))
    shared = Shared(torch.tensor([[3.0, 0.0], [0.0, 1.0], [3.0, 7.0]]), torch.zeros(0))
    selected = torch.tensor([0, 1])
    benign = devices.gradients(shared, selected, STREAMS).updates
    return AttackerView(shared=shared, devices=devices, selected=selected, benign=benign)


def test_gradients_of_swapped_pairs_by_hand() -> None:
    """The honest x of the three pairs are 3 − 2, 0 − 6 and 6 − 6; swapped they are −1, 6 and 0."""
    forged = LabelFlip().forge(two_clients(), None, STREAMS).updates
    first, second, third = 0.7310586, 0.0024726, 0.5  # σ(1), σ(−6), σ(0)
    assert_close(
        dense_items(forged),
        torch.tensor(
            [
                # u = (1, 2): item 0, the new negative, is pushed down; descent pulls item 1 up
                [[first, 2 * first], [-first, -2 * first], [0.0, 0.0]],
                # u = (2, 0), a mean over two pairs: item 0 is the new positive of both
                [[-second - third, 0.0], [second, 0.0], [third, 0.0]],
            ]
        ),
        atol=1e-5,
        rtol=1e-5,
    )
    assert forged.weight.tolist() == [1.0, 2.0]


def test_own_rows_follow_the_flipped_pairs_by_hand() -> None:
    """−σ(−x) (p − n) of swapped pairs: p − n is (−3, 1), then (3, −1) and (0, −7), in the mean."""
    view = two_clients()
    forged = LabelFlip().forge(view, None, STREAMS)
    assert forged.local is not None
    first, second, third = 0.7310586, 0.0024726, 0.5  # σ(1), σ(−6), σ(0)
    expected = [[3 * first, -first], [-3 * second / 2, (second + 7 * third) / 2]]
    assert_close(forged.local, torch.tensor(expected), atol=1e-5, rtol=1e-5)
    assert LabelFlip(own_row="benign").forge(view, None, STREAMS).local is None


@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_uploads_equal_autograd_on_swapped_labels(dropout: float) -> None:
    """With L2, and with the dropout masks of a pair's positive now on its new positive."""
    view = attacker_view(MF(dim=4, dropout=dropout, l2=0.01))
    forged = dense_items(LabelFlip().forge(view, None, STREAMS).updates)
    batch = view.devices.pairs.batch(view.selected, STREAMS)
    masks = dropout_masks(STREAMS, batch, (3, 4), dropout)
    for i, position in enumerate(view.selected.tolist()):
        mine, items = batch.owner == i, view.shared.items.clone().requires_grad_()
        loss, _ = mf_loss(
            view.devices.local[position],
            items,
            positive=batch.negative[mine],
            negative=batch.positive[mine],
            masks=masks[mine],
            dropout=dropout,
            penalty=0.005,
        )
        loss.backward()
        assert_close(forged[i], items.grad)


def test_a_step_on_the_upload_undoes_what_an_honest_step_does() -> None:
    """The score of a positive over its negative falls along the upload, and rises otherwise."""
    view = attacker_view(MF(dim=4, dropout=0, l2=0))
    batch = view.devices.pairs.batch(view.selected, STREAMS)
    users = view.devices.local[view.selected][batch.owner]
    honest, forged = view.benign, LabelFlip().forge(view, None, STREAMS).updates
    for uploads, sign in ((honest, 1), (forged, -1)):
        step = -dense_items(uploads)  # what descent adds, client by client
        better = step[batch.owner, batch.positive] - step[batch.owner, batch.negative]
        assert (sign * (users * better).sum(1) > 0).all()
