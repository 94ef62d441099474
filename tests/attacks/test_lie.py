"""LIE: μ − zσ in every coordinate, and the z of Baruch et al.'s formula."""

from dataclasses import replace

import pytest
import torch
from scipy.stats import norm
from torch.testing import assert_close

from fedrec.attacks.lie import LIE, formula
from fedrec.models.mf import MF
from fedrec.rng import Streams
from tests.attacks.views import attacker_view
from tests.oracles.attacks import flat, shifted, three_clients, told_view
from tests.oracles.dense import dense_items, random_updates

STREAMS = Streams(0).at(1)


def test_a_shifted_mean_by_hand() -> None:
    """Items have μ = 2, −4 and σ = 1, 2 (the root of σ would be 1.41); dense ones 1.5, 0 and 1."""
    forged = LIE(z=1.5).forge(told_view(three_clients(), [0, 2]), None, STREAMS)
    assert_close(dense_items(forged.updates), torch.tensor([[[0.5], [-7.0]]] * 2))
    assert_close(forged.updates.dense, torch.tensor([[0.0, -1.5]] * 2))
    assert forged.updates.weight.tolist() == [1.0, 4.0]


def test_a_negative_z_shifts_the_other_way() -> None:
    forged = LIE(z=-1.0).forge(told_view(three_clients(), [1]), None, STREAMS).updates
    assert_close(dense_items(forged), torch.tensor([[[3.0], [-2.0]]]))
    assert_close(forged.dense, torch.tensor([[2.5, 1.0]]))


def test_uploads_equal_the_dense_ones() -> None:
    normal = random_updates(n=7, items=9, seed=11)
    forged = LIE(z=0.7).forge(told_view(normal, [3, 0, 6]), None, STREAMS).updates
    expected = torch.tensor([shifted(normal, 0.7)] * 3).double()
    assert_close(torch.from_numpy(flat(forged)), expected, atol=1e-3, rtol=1e-5)


def test_uploads_against_a_real_model_equal_the_dense_ones() -> None:
    view = attacker_view(MF(dim=4, l2=0.05))
    normal = view.devices.gradients(view.shared, torch.arange(5), STREAMS).updates
    forged = LIE().forge(view, None, STREAMS).updates
    expected = torch.tensor([shifted(normal, 0.1)] * 2).double()  # z as uploaded
    assert_close(torch.from_numpy(flat(forged)), expected, atol=1e-5, rtol=1e-4)


def test_the_estimate_is_from_as_many_clients_as_asked_for() -> None:
    """From one client σ is 0, so the upload is that client's; which one varies with the round."""
    view = told_view(three_clients(), [0])
    alone = LIE(normal_clients=1)
    drawn = {
        tuple(flat(alone.forge(view, None, Streams(0).at(r)).updates)[0].round(4))
        for r in range(30)
    }
    assert drawn == {tuple(row.round(4)) for row in flat(three_clients())}
    two = LIE(normal_clients=2, z=0.0).forge(view, None, STREAMS).updates
    means = [dense_items(three_clients())[list(p)].mean(0) for p in [(0, 1), (0, 2), (1, 2)]]
    assert any(torch.allclose(dense_items(two)[0], mean) for mean in means)


@pytest.mark.parametrize(
    ("n", "m", "z"),
    [
        (50, 1, -0.0256),  # Φ in place of Φ⁻¹ would give 0.688
        (50, 12, 0.3360),  # s = 14, and 24 of 38
        (50, 24, 1.4261),  # s = 2, and 24 of 26: Φ⁻¹(0.923)
        (3, 1, 0.0),  # s = 1, and 1 of 2
        (50, 26, 3.0),  # a majority: bounded
        (50, 50, 3.0),
    ],
)
def test_the_formula_by_hand(n: int, m: int, z: float) -> None:
    assert formula(n, m) == pytest.approx(z, abs=2e-4)


@pytest.mark.parametrize("n", [10, 25, 50])
def test_the_formula_is_the_normal_quantile_of_the_papers_share(n: int) -> None:
    for m in range(1, n // 2 + 1):
        s = n // 2 + 1 - m
        expected = min(norm.ppf((n - m - s) / (n - m)), 3.0)
        assert formula(n, m) == pytest.approx(expected, abs=1e-9)


def test_under_the_formula_z_follows_the_malicious_clients_in_the_cohort() -> None:
    attack = LIE(z="formula")
    normal = random_updates(n=20, seed=2)
    for m in (1, 12):
        forgery = attack.forge(told_view(normal, range(m)), None, STREAMS)
        z = forgery.trace["z"]
        assert z == formula(50, m)
        fixed = replace(attack, z=z).forge(told_view(normal, range(m)), None, STREAMS)
        assert torch.equal(forgery.updates.value, fixed.updates.value)


def test_a_fixed_z_is_recorded() -> None:
    assert LIE(z=0.5).forge(told_view(three_clients(), [0]), None, STREAMS).trace == {"z": 0.5}
