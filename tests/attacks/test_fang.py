"""Fang: normal gradients moved by 3 to 4 σ, along their sign or against it."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from fedrec.attacks.fang import Fang
from fedrec.models.mf import MF
from fedrec.rng import Streams
from fedrec.updates import Gradient
from tests.attacks.views import attacker_view
from tests.oracles.attacks import flat, opposed, three_clients, told_view, wide_clients
from tests.oracles.dense import dense_items, random_updates

STREAMS = Streams(0).at(1)


LITERATURE = {"direction": "against", "drawn": "per_coordinate"}


def draws(client: int, items: tuple[int, int], params: int) -> list[float]:
    """A client's draws from U[0, 1], items before dense coordinates."""
    of_items, of_dense = (STREAMS.of(name, client) for name in ("fang", "fang-dense"))
    return [*of_items.uniform(items).ravel().tolist(), *of_dense.uniform((params,)).tolist()]


def test_the_mean_is_moved_along_its_sign_by_hand() -> None:
    """As uploaded. μ = 2, −4, 1.5, 0 and σ = 1, 2, 1, 1, at 3.5 σ."""
    view = told_view(three_clients(), [0, 2])
    forged = Fang(near=3.5, far=3.5).forge(view, None, STREAMS).updates
    assert_close(dense_items(forged), torch.tensor([[[5.5], [-11.0]]] * 2))
    assert_close(forged.dense, torch.tensor([[5.0, 0.0]] * 2))
    assert forged.weight.tolist() == [1.0, 4.0]


def test_one_factor_moves_all_coordinates_of_a_client() -> None:
    """As uploaded: (upload − μ) / (sign(μ) σ) is one number in [3, 4], another for each client."""
    view = told_view(three_clients(), [0, 2])
    forged = Fang().forge(view, None, STREAMS).updates
    items, dense = dense_items(forged)[..., 0], forged.dense
    factors = torch.stack([items[:, 0] - 2, (items[:, 1] + 4) / -2, dense[:, 0] - 1.5], dim=1)
    assert_close(factors, factors[:, :1].expand(-1, 3), atol=1e-5, rtol=1e-5)
    assert (factors >= 3).all() and (factors <= 4).all() and factors[0, 0] != factors[1, 0]


def test_ua_fedrec_moves_against_the_mean_by_three_deviations() -> None:
    view = told_view(three_clients(), [1])
    forged = Fang(near=3.0, far=3.0, direction="against").forge(view, None, STREAMS).updates
    assert_close(dense_items(forged), torch.tensor([[[-1.0], [2.0]]]))
    assert_close(forged.dense, torch.tensor([[-1.5, 0.0]]))


def test_both_signs_are_opposed_by_hand() -> None:
    """μ = 2, −4, 1.5, 0 and σ = 1, 2, 1, 1, at 3.5 σ: under one mask −4 would go to −11."""
    view = told_view(three_clients(), [0, 2])
    forged = Fang(near=3.5, far=3.5, direction="against").forge(view, None, STREAMS).updates
    assert_close(dense_items(forged), torch.tensor([[[-1.5], [3.0]]] * 2))
    assert_close(forged.dense, torch.tensor([[-2.0, 0.0]] * 2))
    assert forged.weight.tolist() == [1.0, 4.0]


def test_a_mean_of_zero_stays() -> None:
    """Whatever σ is; it has no side to be opposed on."""
    mean, deviation = (
        Gradient(torch.zeros(4, 1), torch.zeros(2)),
        Gradient(torch.ones(4, 1), torch.ones(2)),
    )
    distance = Gradient(torch.full((4, 1), 3.5), torch.full((2,), 3.5))
    for attack in (Fang(), Fang(**LITERATURE)):
        forged = attack.moved(mean, deviation, distance)
        assert not forged.items.any() and not forged.dense.any()


def test_distances_lie_between_near_and_far_on_the_opposite_side() -> None:
    """μ is −1 or 3, σ is 2: uploads in [5, 7] and in [−5, −3], uniformly."""
    forged = Fang(**LITERATURE).forge(told_view(wide_clients(), [1]), None, STREAMS).updates
    negative, positive = dense_items(forged)[0].chunk(2)
    for sample, low in ((negative, 5.0), (positive, -5.0), (forged.dense[0], -5.0)):
        assert sample.min() >= low - 1e-4 and sample.max() <= low + 2 + 1e-4
    for sample, middle in ((negative, 6.0), (positive, -4.0)):
        # 1,200 uniform draws of width 2: a standard error of 0.0167, of the deviation 0.0075
        assert abs(sample.mean().item() - middle) < 5 * 0.0167
        assert abs(sample.std().item() - 2 / 12**0.5) < 5 * 0.0075


def test_uploads_equal_the_dense_ones() -> None:
    normal = random_updates(n=7, items=9, seed=11)
    attack = Fang(near=1.0, far=2.5, **LITERATURE)
    forged = attack.forge(told_view(normal, [3, 0]), None, STREAMS).updates
    expected = [opposed(normal, 1.0, 2.5, draws(10 + 3 * c, (9, 3), 2)) for c in (3, 0)]
    assert_close(flat(forged), np.array(expected), atol=1e-3, rtol=1e-5)


def test_uploads_against_a_real_model_equal_the_dense_ones() -> None:
    view = attacker_view(MF(dim=4, l2=0.05))
    normal = view.devices.gradients(view.shared, torch.arange(5), STREAMS).updates
    forged = Fang(**LITERATURE).forge(view, None, STREAMS).updates
    expected = [opposed(normal, 3.0, 4.0, draws(client, (30, 4), 0)) for client in (1, 4)]
    assert_close(flat(forged), np.array(expected), atol=1e-5, rtol=1e-4)


def test_clients_and_rounds_draw_by_themselves() -> None:
    view = told_view(three_clients(), [0, 2])
    for attack in (Fang(), Fang(**LITERATURE)):
        first, second = dense_items(attack.forge(view, None, STREAMS).updates)
        later = dense_items(attack.forge(view, None, STREAMS.at(2)).updates)[0]
        assert (first != second).all() and (first != later).all()


def test_near_above_far_is_refused() -> None:
    with pytest.raises(ValueError, match="near must not be above far"):
        Fang(near=4.0, far=3.0)
