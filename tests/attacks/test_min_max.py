"""Min-Max and Min-Sum: the mean of normal gradients, moved as far as their distances allow."""

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from fedrec.attacks._perturbation import Perturbed, distances
from fedrec.attacks.base import AttackerView
from fedrec.attacks.min_max import MinMax
from fedrec.attacks.min_sum import MinSum
from fedrec.models.mf import MF
from fedrec.models.sas_rec import SASRec
from fedrec.rng import Streams
from fedrec.updates import Gradient, Updates
from tests.attacks.views import attacker_view
from tests.oracles.attacks import (
    distances_to,
    flat,
    halved,
    in_order,
    max_within,
    perturbation,
    statistics,
    sum_within,
    three_clients,
    told_view,
)
from tests.oracles.dense import dense_items, random_updates

STREAMS = Streams(0).at(1)
WITHIN = {MinMax: max_within, MinSum: sum_within}
KINDS = ("std", "unit", "sign")
both = pytest.mark.parametrize("attack", WITHIN)
each_kind = pytest.mark.parametrize("kind", KINDS)


def gamma(attack: Perturbed, normal: Updates) -> float:
    return attack.forge(told_view(normal, [0]), None, STREAMS).trace["gamma"]


def moved(normal: Updates, kind: str, factor: float) -> np.ndarray:
    return np.array(statistics(normal)[0]) + factor * perturbation(normal, kind)


@both
def test_an_upload_by_hand(attack: type[Perturbed]) -> None:
    """The clients are μ − σ, μ and μ + σ, with ‖σ‖² = 7, and the upload is μ − γσ.

    The largest distance of two is 28. The upload's from the third is 7(γ + 1)², so γ = 1. The sums
    of squared distances are 35, 14 and 35. The upload's is 7(3γ² + 2), so again γ = 1.
    """
    forged = attack().forge(told_view(three_clients(), [0, 2]), None, STREAMS)
    assert 1 - 2e-5 <= forged.trace["gamma"] <= 1
    first = dense_items(forged.updates)
    assert_close(first, torch.tensor([[[1.0], [-6.0]]] * 2), atol=1e-4, rtol=0)
    assert_close(forged.updates.dense, torch.tensor([[0.5, -1.0]] * 2), atol=1e-4, rtol=0)
    assert forged.updates.weight.tolist() == [1.0, 4.0]


@pytest.mark.parametrize(
    ("attack", "expected"),
    [
        # ⟨μ, σ⟩ = −4.5 and ‖μ‖² = 22.25: 7 + 2γ · 4.5/√22.25 + γ² = 28 at the first client
        (MinMax(perturbation="unit"), (21 + 4.5**2 / 22.25) ** 0.5 - 4.5 / 22.25**0.5),
        # sign(μ) = (1, −1, 1, 0) is orthogonal to σ: 7 + 3γ² = 28
        (MinMax(perturbation="sign"), 7**0.5),
        (MinSum(perturbation="unit"), 7**0.5),  # 14 + 3γ² = 35
        (MinSum(perturbation="sign"), (7 / 3) ** 0.5),  # 14 + 3 · 3γ² = 35
        (MinSum(reference="nearest"), 0.0),  # 7(3γ² + 2) = 14
    ],
)
def test_factors_by_hand(attack: Perturbed, expected: float) -> None:
    assert gamma(attack, three_clients()) == pytest.approx(expected, abs=2e-5)


@each_kind
@both
@pytest.mark.parametrize("seed", [11, 12, 13])
def test_uploads_equal_the_dense_ones(attack: type[Perturbed], kind: str, seed: int) -> None:
    normal = random_updates(n=7, items=9, seed=seed)
    forged = attack(perturbation=kind).forge(told_view(normal, [3, 0]), None, STREAMS)
    factor = halved(lambda factor: WITHIN[attack](normal, moved(normal, kind, factor)))
    assert forged.trace["gamma"] == pytest.approx(factor, abs=2e-5)
    expected = np.stack([moved(normal, kind, factor)] * 2)
    assert_close(flat(forged.updates), expected, atol=1e-4, rtol=1e-4)


@each_kind
@both
@pytest.mark.parametrize("seed", range(4))
def test_the_bound_is_met_and_a_little_more_exceeds_it(
    attack: type[Perturbed], kind: str, seed: int
) -> None:
    normal = random_updates(n=3 + 4 * seed, items=8, seed=seed)
    forged = attack(perturbation=kind).forge(told_view(normal, [1]), None, STREAMS)
    upload, within = flat(forged.updates)[0], WITHIN[attack]
    mean = np.array(statistics(normal)[0])
    assert within(normal, mean + (upload - mean) * (1 - 1e-5))  # but for float32's rounding
    assert not within(normal, mean + (upload - mean) * 1.01)


def test_with_the_nearest_reference_a_sum_is_no_larger_than_any_other() -> None:
    """As in the code of Shejwalkar and Houmansadr."""
    normal = random_updates(n=9, items=8, seed=3)
    forged = MinSum(reference="nearest").forge(told_view(normal, [1]), None, STREAMS).updates
    smallest = min(sum(distances_to(normal, one)) for one in flat(normal))
    assert sum(distances_to(normal, flat(forged)[0])) == pytest.approx(smallest, rel=1e-4)


@pytest.mark.parametrize("model", [MF(dim=4, l2=0.05), SASRec(dim=4, length=5)])
@both
def test_uploads_against_a_real_model_equal_the_dense_ones(
    attack: type[Perturbed], model: Any
) -> None:
    view = attacker_view(model)
    normal = view.devices.gradients(view.shared, torch.arange(5), STREAMS).updates
    forged = attack().forge(view, None, STREAMS)
    factor = halved(lambda factor: WITHIN[attack](normal, moved(normal, "std", factor)))
    assert forged.trace["gamma"] == pytest.approx(factor, rel=1e-4)
    expected = np.stack([moved(normal, "std", factor)] * 2)
    assert_close(flat(forged.updates), expected, atol=1e-5, rtol=1e-4)


@both
def test_with_std_the_factor_does_not_depend_on_the_size_of_gradients(
    attack: type[Perturbed],
) -> None:
    """A scale that is a power of two changes no rounding."""
    normal = random_updates(n=6, seed=4)
    small = normal.scaled(torch.full((6,), 2.0**-10))
    assert gamma(attack(), small) == gamma(attack(), normal)


def test_distances_are_polynomials_of_the_factor() -> None:
    normal = random_updates(n=5, items=9, seed=2)
    mean, p = (parts_of(x, normal) for x in (flat(normal).mean(0), perturbation(normal, "sign")))
    found = distances(normal, mean, p)
    for i, one in enumerate(flat(normal)):
        assert_close(found.pairs[i].tolist(), distances_to(normal, one), atol=1e-4, rtol=1e-5)
    for factor in (0.0, 0.5, 3.0):
        expected = distances_to(normal, moved(normal, "sign", factor))
        of_forged = found.of_forged(torch.tensor(factor, dtype=torch.float64)).tolist()
        assert_close(of_forged, expected, atol=1e-4, rtol=1e-5)


def parts_of(row: np.ndarray, like: Updates) -> Gradient:
    """The inverse of `flat`."""
    whole = torch.from_numpy(row).float()
    items, dense = whole.split([like.table.numel(), like.dense.shape[1]])
    return Gradient(items.view_as(like.table), dense)


def test_distances_of_uploads_with_all_rows_are_the_same() -> None:
    """As on a GPU."""
    normal = random_updates(n=5, items=9, seed=2)
    mean, p = (parts_of(x, normal) for x in (flat(normal).mean(0), perturbation(normal, "std")))
    whole = Updates.over_all_items(normal, dense_items(normal), normal.dense)
    for ours, theirs in zip(*(distances(x, mean, p) for x in (normal, whole)), strict=True):
        assert_close(ours, theirs, atol=1e-4, rtol=1e-5)


@each_kind
@both
def test_clients_that_agree_and_a_single_client_are_copied(
    attack: type[Perturbed], kind: str
) -> None:
    """There is no distance to move within."""
    same, alone = in_order(three_clients(), [1, 1, 1]), in_order(three_clients(), [1])
    for normal in (same, alone):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            forged = attack(perturbation=kind).forge(told_view(normal, [0]), None, STREAMS)
        assert_close(flat(forged.updates), flat(alone), atol=1e-2, rtol=0)


@each_kind
@both
def test_gradients_of_zero_stay_finite(attack: type[Perturbed], kind: str) -> None:
    zero = three_clients().scaled(torch.zeros(3))
    forged = attack(perturbation=kind).forge(told_view(zero, [0]), None, STREAMS).updates
    assert np.isfinite(flat(forged)).all()


@both
def test_the_factor_stays_below_twice_the_start(attack: type[Perturbed]) -> None:
    """Algorithm 1 adds half of each step: from 0.25 it tries 0.375, 0.4375, …"""
    assert gamma(attack(start=0.25), three_clients()) == pytest.approx(0.5, abs=2e-5)
    coarse = attack(start=0.25, tolerance=0.1)
    assert gamma(coarse, three_clients()) == 0.375


def test_a_tolerance_that_leaves_nothing_to_search_is_refused() -> None:
    with pytest.raises(ValueError, match="tolerance must be below start"):
        MinMax(start=1e-6)


def test_the_normal_gradients_are_of_as_many_clients_as_asked_for() -> None:
    view: AttackerView = told_view(three_clients(), [0])
    forged = flat(MinMax(normal_clients=1).forge(view, None, STREAMS).updates)[0]
    assert any(np.allclose(forged, one, atol=1e-4) for one in flat(three_clients()))
