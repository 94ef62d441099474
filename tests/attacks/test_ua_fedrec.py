"""UA-FedRec: items drawn to what they are least like, with the norm of normal uploads."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from fedrec.attacks.fang import Fang
from fedrec.attacks.ua_fedrec import UAFedRec, confusion
from fedrec.rng import Streams
from fedrec.updates import Updates
from tests.oracles.attacks import confused, flat, statistics, three_clients, told_view
from tests.oracles.dense import dense_items, random_updates

STREAMS = Streams(0).at(1)


def test_confusion_by_hand() -> None:
    """Of 2, 1 and −1, the nearest are 1, 2 and 1, and the farthest −1, −1 and 2.

    A row's own terms give n − f. Each row whose farthest it is adds f − v, and each whose nearest
    it is adds v − n.
    """
    own = torch.tensor([1.0 - -1.0, 2.0 - -1.0, 1.0 - 2.0])
    as_farthest = torch.tensor([2.0 - -1.0, 0.0, (-1.0 - 2.0) + (-1.0 - 1.0)])
    as_nearest = torch.tensor([1.0 - 2.0, (2.0 - 1.0) + (-1.0 - 1.0), 0.0])
    items = torch.tensor([[2.0], [1.0], [-1.0]])
    assert_close(confusion(items)[:, 0], own + as_farthest + as_nearest)


@pytest.mark.parametrize("seed", range(4))
def test_confusion_is_the_gradient_of_the_loss(seed: int) -> None:
    items = torch.randn(17, 3, generator=torch.Generator().manual_seed(seed))
    assert_close(confusion(items).double(), confused(items), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("sent", "side"), [("gradient", 1), ("change", -1)])
def test_alike_items_move_apart_and_unlike_ones_together(sent: str, side: int) -> None:
    """The server descends the upload; that of the authors' code has the opposite effect."""
    items = torch.tensor([[2.0, 1.0], [2.0, -1.5], [-2.0, 0.1]])
    view = told_view(replace(random_updates(n=4, items=3, d=2), table=items), [0])
    forged = UAFedRec(sent=sent).forge(view, None, STREAMS).updates
    moved = items - 1e-3 * dense_items(forged)[0]
    alike, unlike, other = (side * (gaps(moved) - gaps(items))).tolist()
    assert alike > 0 > max(unlike, other)


def gaps(items: Tensor) -> Tensor:
    """Distances of items 0 and 1, 0 and 2, 1 and 2."""
    return torch.pdist(items.double())


def test_an_upload_by_hand() -> None:
    """Two items have each other as both partners, so their terms cancel; the rest is μ − 3σ.

    Sample counts are 1, 2 and 4: μ = 7/3, σ² = 7/3, and μ + 3σ = 6.9.
    """
    forged = UAFedRec().forge(told_view(three_clients(), [0, 2]), None, STREAMS).updates
    assert not dense_items(forged).any()
    assert_close(forged.dense, torch.tensor([[1.5 - 3.0, 0.0]] * 2))
    assert forged.weight.tolist() == [6.0, 6.0]


def norms(normal: Updates) -> np.ndarray:
    """Norms of whole item gradients."""
    return dense_items(normal).flatten(1).norm(dim=1).double().numpy()


@pytest.mark.parametrize("seed", range(3))
def test_an_upload_against_dense_arithmetic(seed: int) -> None:
    normal = random_updates(n=6, items=9, seed=seed)
    view = told_view(normal, [3, 0])
    attack = UAFedRec(item_spread=2.0, dense_spread=1.0, count_spread=0.5)
    forged = attack.forge(view, None, STREAMS).updates
    length = norms(normal).mean() + 2 * norms(normal).std(ddof=1)
    items = confused(view.shared.items).numpy()
    items *= length / np.sqrt((items**2).sum())
    mean, deviation = (np.array(x)[items.size :] for x in statistics(normal))
    expected = np.concatenate([items.ravel(), mean - np.sign(mean) * deviation])
    assert_close(flat(forged), np.stack([expected] * 2), atol=1e-4, rtol=1e-4)
    counts = normal.weight.double().numpy()
    assert forged.weight.tolist() == [np.floor(counts.mean() + 0.5 * counts.std(ddof=1))] * 2


def test_the_other_gradients_are_those_of_fang_against_the_mean() -> None:
    view = told_view(random_updates(n=6, items=9, seed=5), [3, 0])
    fang = Fang(near=3.0, far=3.0, direction="against")
    expected, found = (a.forge(view, None, STREAMS).updates for a in (fang, UAFedRec()))
    assert_close(found.dense, expected.dense)


def test_a_single_client_has_no_deviation() -> None:
    alone = random_updates(n=1, items=9, seed=2)
    forged = UAFedRec().forge(told_view(alone, [0]), None, STREAMS).updates
    assert_close(norms(forged), norms(alone), atol=1e-5, rtol=1e-5)
    assert_close(forged.dense, alone.dense)
    assert forged.weight.tolist() == alone.weight.floor().clamp(min=1).tolist()
