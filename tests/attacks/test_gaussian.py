"""Gaussian: samples of the normal gradients' coordinate-wise distribution."""

import numpy as np
import torch
from torch.testing import assert_close

from fedrec.attacks.gaussian import Gaussian
from fedrec.models.mf import MF
from fedrec.rng import Streams
from tests.attacks.views import attacker_view
from tests.oracles.attacks import flat, in_order, sampled, three_clients, told_view, wide_clients
from tests.oracles.dense import dense_items, random_updates

STREAMS = Streams(0).at(1)


def draws(client: int, items: tuple[int, int], params: int) -> list[float]:
    """A client's draws from N(0, 1), items before dense coordinates."""
    of_items, of_dense = (STREAMS.of(name, client) for name in ("gaussian", "gaussian-dense"))
    return [*of_items.normal(items).ravel().tolist(), *of_dense.normal((params,)).tolist()]


def test_where_clients_agree_the_upload_is_what_they_agree_on() -> None:
    """Item gradients 2 and −4, dense ones 1.5 and 0: σ is 0, so nothing is left to chance."""
    same = in_order(three_clients(), [1, 1, 1, 1])
    forged = Gaussian().forge(told_view(same, [0, 3]), None, STREAMS).updates
    assert_close(dense_items(forged), torch.tensor([[[2.0], [-4.0]]] * 2))
    assert_close(forged.dense, torch.tensor([[1.5, 0.0]] * 2))
    assert forged.weight.tolist() == [2.0, 2.0]


def test_a_draw_by_hand() -> None:
    """Client 10 with ξ for four coordinates of μ = 2, −4, 1.5, 0 and σ = 1, 2, 1, 1."""
    forged = Gaussian().forge(told_view(three_clients(), [0]), None, STREAMS).updates
    a, b, c, d = draws(10, (2, 1), 2)
    assert_close(dense_items(forged), torch.tensor([[[2 + a], [-4 + 2 * b]]]))
    assert_close(forged.dense, torch.tensor([[1.5 + c, d]]))


def test_uploads_equal_the_dense_ones() -> None:
    normal = random_updates(n=7, items=9, seed=11)
    forged = Gaussian().forge(told_view(normal, [3, 0]), None, STREAMS).updates
    expected = [sampled(normal, draws(10 + 3 * c, (9, 3), 2)) for c in (3, 0)]
    assert_close(flat(forged), np.array(expected), atol=1e-3, rtol=1e-5)


def test_uploads_against_a_real_model_equal_the_dense_ones() -> None:
    view = attacker_view(MF(dim=4, l2=0.05))
    normal = view.devices.gradients(view.shared, torch.arange(5), STREAMS).updates
    forged = Gaussian().forge(view, None, STREAMS).updates
    expected = [sampled(normal, draws(client, (30, 4), 0)) for client in (1, 4)]
    assert_close(flat(forged), np.array(expected), atol=1e-5, rtol=1e-4)


def test_uploads_have_the_normal_mean_and_deviation() -> None:
    """μ is −1 or 3, and σ is 2: a variance taken for σ would give 4, its root 1.41."""
    forged = Gaussian().forge(told_view(wide_clients(), [1]), None, STREAMS).updates
    low, high = dense_items(forged)[0].chunk(2)
    for sample, mean in ((low, -1.0), (high, 3.0)):
        # 1,200 draws: standard errors of 0.058 for the mean and 0.041 for the deviation
        assert abs(sample.mean().item() - mean) < 5 * 0.058
        assert abs(sample.std().item() - 2) < 5 * 0.041
    # 50 draws: 0.28 for the mean
    assert abs(forged.dense.mean().item() - 3) < 5 * 0.28


def test_clients_and_rounds_draw_by_themselves() -> None:
    view = told_view(wide_clients(), [0, 2])
    first, second = flat(Gaussian().forge(view, None, STREAMS).updates)
    later = flat(Gaussian().forge(view, None, STREAMS.at(2)).updates)[0]
    means = flat(wide_clients()).mean(0)
    for other in (second, later):
        # 2,450 independent pairs: a standard error of 0.0202
        assert abs(np.corrcoef(first - means, other - means)[0, 1]) < 5 * 0.0202
