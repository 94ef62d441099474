"""The statistics of normal gradients equal those of the dense stack."""

import warnings
from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from fedrec.attacks._normal_gradients import coordinate_statistics, item_norm_statistics
from fedrec.models.mf import MF
from fedrec.rng import Streams
from fedrec.updates import Updates
from tests.attacks.views import attacker_view
from tests.oracles.attacks import in_order, three_clients
from tests.oracles.dense import dense_items, random_updates

NORM_CLIENTS = Updates(  # norms 5 and 5 of one client, 3 and 0 of the other; rows on item 0 alone
    table=torch.tensor([[3.0, 4.0], [0.0, 5.0]]),
    owner=torch.tensor([0, 1]),
    item=torch.tensor([0, 0]),
    value=torch.tensor([[0.0, 0.0], [3.0, 0.0]]),
    ridge=torch.tensor([1.0, 0.0]),
    dense=torch.zeros(2, 0),
    weight=torch.ones(2),
)


def test_norm_statistics_equal_the_dense_ones() -> None:
    updates = random_updates(n=4, items=7, seed=3)
    norms = dense_items(updates).norm(dim=2)
    mean, deviation = item_norm_statistics(updates, over_all_items=True)
    assert_close(mean, norms.mean())
    assert_close(deviation, norms.std())
    touched = norms[updates.owner, updates.item]
    mean, deviation = item_norm_statistics(updates, over_all_items=False)
    assert_close(mean, touched.mean())
    assert_close(deviation, touched.std())


def test_norm_statistics_by_hand() -> None:
    mean, deviation = item_norm_statistics(NORM_CLIENTS, over_all_items=True)
    # 5, 5, 3, 0: squared deviations 1.75² + 1.75² + 0.25² + 3.25² = 16.75, over three
    assert mean.item() == pytest.approx(3.25)
    assert deviation.item() == pytest.approx((16.75 / 3) ** 0.5)
    mean, deviation = item_norm_statistics(NORM_CLIENTS, over_all_items=False)
    # 5, 3: squared deviations 1 + 1, over one
    assert mean.item() == pytest.approx(4.0)
    assert deviation.item() == pytest.approx(2**0.5)


def test_a_negative_ridge_has_a_positive_norm() -> None:
    """Norms of scaled uploads: an untouched gradient is −v, and its norm is ‖v‖."""
    turned = NORM_CLIENTS.scaled(torch.tensor([-1.0, -1.0]))
    for over_all_items in (True, False):
        expected = item_norm_statistics(NORM_CLIENTS, over_all_items)
        assert_close(item_norm_statistics(turned, over_all_items), expected)


def test_coordinate_statistics_by_hand() -> None:
    mean, deviation = coordinate_statistics(three_clients())
    assert_close(mean.items, torch.tensor([[2.0], [-4.0]]))
    assert_close(deviation.items, torch.tensor([[1.0], [2.0]]))
    assert_close(mean.dense, torch.tensor([1.5, 0.0]))
    assert_close(deviation.dense, torch.tensor([1.0, 1.0]))


@pytest.mark.parametrize("ridge", ["none", "equal", "unequal"])
@pytest.mark.parametrize("n", [2, 3, 9])
def test_coordinate_statistics_equal_the_dense_ones(n: int, ridge: str) -> None:
    updates = random_updates(n=n, items=11, seed=n)
    if ridge != "unequal":
        updates = replace(updates, ridge=torch.full((n,), 0.3 if ridge == "equal" else 0.0))
    mean, deviation = coordinate_statistics(updates)
    stack = dense_items(updates)
    assert_close(mean.items, stack.mean(0))
    # A variance is a difference of sums here: its root is good to √ε where it vanishes.
    assert_close(deviation.items, stack.std(0), atol=1e-3, rtol=1e-5)
    assert_close(mean.dense, updates.dense.mean(0))
    assert_close(deviation.dense, updates.dense.std(0))


def test_clients_that_agree_have_no_deviation() -> None:
    same = in_order(random_updates(seed=5), [2, 2, 2, 2])
    mean, deviation = coordinate_statistics(same)
    assert_close(mean.items, dense_items(same)[0])
    assert deviation.items.abs().max() < 1e-3 and not deviation.dense.any()


def test_a_single_client_has_no_deviation_and_raises_no_warning() -> None:
    alone = in_order(three_clients(), [2])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mean, deviation = coordinate_statistics(alone)
    assert_close(mean.items, torch.tensor([[3.0], [-2.0]]))
    assert_close(mean.dense, torch.tensor([2.5, 1.0]))
    assert not deviation.items.any() and not deviation.dense.any()


def test_a_model_without_dense_parameters_raises_no_warning() -> None:
    view = attacker_view(MF(dim=4))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mean, deviation = coordinate_statistics(view.benign)
    assert mean.dense.shape == deviation.dense.shape == (0,)


def test_the_uploads_are_left_as_they_were() -> None:
    updates, before = random_updates(seed=6), random_updates(seed=6)
    coordinate_statistics(updates)
    item_norm_statistics(updates, over_all_items=True)
    for field in ("table", "value", "ridge", "dense"):
        assert torch.equal(getattr(updates, field), getattr(before, field))


def test_benign_gradients_of_a_real_model_have_these_statistics() -> None:
    """Equal ridges, and most items untouched by most clients."""
    view = attacker_view(MF(dim=4, l2=0.05))
    everyone = torch.arange(len(view.devices.local))
    updates = view.devices.gradients(view.shared, everyone, Streams(0)).updates
    mean, deviation = coordinate_statistics(updates)
    assert_close(mean.items, dense_items(updates).mean(0))
    assert_close(deviation.items, dense_items(updates).std(0), atol=1e-6, rtol=1e-4)
