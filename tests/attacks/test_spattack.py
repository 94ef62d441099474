"""Spattack-O and Spattack-L: cancelled gradients, and noise that stays the same."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from fedrec.attacks.ipm import IPM
from fedrec.attacks.spattack_l import SpattackL
from fedrec.attacks.spattack_o import SpattackO
from fedrec.kernels import philox
from fedrec.models.sas_rec import SASRec
from fedrec.rng import Streams
from tests.attacks.views import attacker_view
from tests.oracles.attacks import flat, reversed_mean, three_clients, told_view
from tests.oracles.dense import dense_items, random_updates

STREAMS = Streams(0).at(1)


def test_a_cancelling_upload_by_hand() -> None:
    """μ is 2, −4 and 1.5, 0. Two of eight are malicious, so each cancels three of six."""
    forged = SpattackO(clients=8).forge(told_view(three_clients(), [0, 2]), None, STREAMS).updates
    assert_close(dense_items(forged), torch.tensor([[[-6.0], [12.0]]] * 2))
    assert_close(forged.dense, torch.tensor([[-4.5, 0.0]] * 2))
    assert forged.weight.tolist() == [1.0, 4.0]


@pytest.mark.parametrize("selected", [[3], [3, 0], [0, 1, 2, 3, 4]])
def test_all_uploads_add_up_to_zero(selected: list[int]) -> None:
    """If the benign clients are like the attacker's own."""
    normal = random_updates(n=6, items=9, seed=3)
    attack = SpattackO(clients=12 + len(selected))
    forged = attack.forge(told_view(normal, selected), None, STREAMS).updates
    assert_close(2 * flat(normal).sum(0) + flat(forged).sum(0), np.zeros(29), atol=1e-4, rtol=0)


def test_it_is_ipm_with_the_epsilon_of_the_cohort() -> None:
    normal = random_updates(n=7, items=9, seed=11)
    view = told_view(normal, [3, 0])
    forged = flat(SpattackO().forge(view, None, STREAMS).updates)
    assert_close(forged, flat(IPM(epsilon=24.0).forge(view, None, STREAMS).updates))
    assert_close(forged[0], np.array(reversed_mean(normal, 24.0)), atol=1e-3, rtol=1e-5)


def test_with_malicious_clients_alone_there_is_nothing_to_cancel() -> None:
    forged = SpattackO(clients=2).forge(told_view(three_clients(), [0, 1, 2]), None, STREAMS)
    assert not flat(forged.updates).any()


def test_noise_is_that_of_its_stream() -> None:
    view = attacker_view(SASRec(dim=4, length=5))
    forged = SpattackL(scale=0.5).forge(view, None, STREAMS).updates
    key = Streams(0).key("spattack-items")
    items = philox.Stream(key, 0, 0).normal(tuple(view.shared.items.shape))
    assert_close(dense_items(forged), torch.from_numpy(0.5 * items).expand(2, -1, -1))
    assert (forged.dense[0] == forged.dense[1]).all()


def test_noise_is_the_same_in_all_rounds_and_not_for_all_seeds() -> None:
    view = attacker_view()
    first, later, other = (
        flat(SpattackL().forge(view, None, streams).updates)
        for streams in (STREAMS, STREAMS.at(7), Streams(1).at(1))
    )
    assert (first == later).all() and (first[0] == first[1]).all() and (first != other).all()


@pytest.mark.parametrize("scale", [0.1, 1.0])
def test_noise_has_its_scale(scale: float) -> None:
    forged = SpattackL(scale=scale).forge(attacker_view(users=3, items=2000), None, STREAMS)
    noise = dense_items(forged.updates)[0] / scale  # 8,000 numbers
    assert abs(float(noise.mean())) < 4 / 8000**0.5
    assert abs(float(noise.std()) - 1) < 4 / 16000**0.5
