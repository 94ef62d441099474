"""BitFlip: −scale times each malicious client's own benign gradient."""

import numpy as np
import torch
from torch.testing import assert_close

from fedrec.attacks.bit_flip import BitFlip
from fedrec.models.mf import MF
from fedrec.rng import Streams
from tests.attacks.views import attacker_view
from tests.oracles.attacks import flat, three_clients, told_view
from tests.oracles.dense import dense_items, random_updates

STREAMS = Streams(0).at(1)


def test_reversed_gradients_by_hand() -> None:
    """The first client has 1, −6 and 0.5, −1; the third has 3, −2 and 2.5, 1."""
    forged = BitFlip(scale=2.0).forge(told_view(three_clients(), [0, 2]), None, STREAMS).updates
    assert_close(dense_items(forged), torch.tensor([[[-2.0], [12.0]], [[-6.0], [4.0]]]))
    assert_close(forged.dense, torch.tensor([[-1.0, 2.0], [-5.0, -2.0]]))
    assert forged.weight.tolist() == [1.0, 4.0]


def test_uploads_equal_the_dense_ones() -> None:
    benign = random_updates(n=7, items=9, seed=11)
    forged = BitFlip(scale=0.5).forge(told_view(benign, [3, 6]), None, STREAMS).updates
    expected = [[-0.5 * x for x in flat(benign)[client]] for client in (3, 6)]
    assert_close(flat(forged), np.array(expected), atol=1e-6, rtol=1e-6)


def test_no_other_rows_are_uploaded_than_benign_ones() -> None:
    """The L2 part is reversed as well."""
    view = attacker_view(MF(dim=4, l2=0.05))
    forged = BitFlip().forge(view, None, STREAMS).updates
    assert torch.equal(forged.item, view.benign.item)
    assert torch.equal(forged.norms(), view.benign.norms())
    assert_close(flat(forged), -flat(view.benign), atol=0, rtol=0)


def test_two_reversals_are_none() -> None:
    benign = random_updates(n=3, items=5, seed=1)
    once = BitFlip().forge(told_view(benign, [0, 1, 2]), None, STREAMS).updates
    twice = BitFlip().forge(told_view(once, [0, 1, 2]), None, STREAMS).updates
    assert_close(flat(twice), flat(benign), atol=0, rtol=0)
