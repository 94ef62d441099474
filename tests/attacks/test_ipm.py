"""IPM: −ε times the mean of normal gradients."""

import torch
from torch.testing import assert_close

from fedrec.attacks.ipm import IPM
from fedrec.models.mf import MF
from fedrec.rng import Streams
from tests.attacks.views import attacker_view
from tests.oracles.attacks import flat, reversed_mean, three_clients, told_view
from tests.oracles.dense import dense_items, random_updates

STREAMS = Streams(0).at(1)


def test_a_reversed_mean_by_hand() -> None:
    """μ = 2, −4 in the items and 1.5, 0 in the dense part; weights stay the clients' own."""
    forged = IPM(epsilon=0.5).forge(told_view(three_clients(), [0, 2]), None, STREAMS).updates
    assert_close(dense_items(forged), torch.tensor([[[-1.0], [2.0]]] * 2))
    assert_close(forged.dense, torch.tensor([[-0.75, 0.0]] * 2))
    assert forged.weight.tolist() == [1.0, 4.0]


def test_uploads_equal_the_dense_ones() -> None:
    normal = random_updates(n=7, items=9, seed=11)
    forged = IPM(epsilon=3.0).forge(told_view(normal, [3, 0, 6]), None, STREAMS).updates
    expected = torch.tensor([reversed_mean(normal, 3.0)] * 3).double()
    assert_close(torch.from_numpy(flat(forged)), expected, atol=1e-5, rtol=1e-5)


def test_uploads_against_a_real_model_equal_the_dense_ones() -> None:
    view = attacker_view(MF(dim=4, l2=0.05))
    normal = view.devices.gradients(view.shared, torch.arange(5), STREAMS).updates
    forged = IPM().forge(view, None, STREAMS).updates
    expected = torch.tensor([reversed_mean(normal, 0.1)] * 2).double()
    assert_close(torch.from_numpy(flat(forged)), expected, atol=1e-7, rtol=1e-4)


def test_from_a_larger_epsilon_on_a_mean_is_reversed() -> None:
    """Two of six uploads are forged: 4μ − 2εμ changes its sign at ε = 2."""
    honest = torch.from_numpy(flat(three_clients()))
    for epsilon, sign in ((1.9, 1.0), (2.1, -1.0)):
        forged = IPM(epsilon=epsilon).forge(told_view(three_clients(), [0, 1]), None, STREAMS)
        uploads = torch.cat([honest, honest[1:2], torch.from_numpy(flat(forged.updates))])
        product = uploads.mean(0) @ honest.mean(0)
        assert torch.sign(product) == sign


def test_the_estimate_is_from_as_many_clients_as_asked_for() -> None:
    view = told_view(three_clients(), [0])
    forged = IPM(epsilon=1.0, normal_clients=1).forge(view, None, STREAMS).updates
    assert any(torch.allclose(dense_items(forged)[0], -one) for one in dense_items(three_clients()))
