"""FoolsGold: similar uploads lose weight (Fung et al. 2020)."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from fedrec.defenses.fools_gold import FoolsGold
from fedrec.reference.rules import fools_gold_factors
from fedrec.updates import Updates
from tests.defenses.views import marked, server_view, uploads
from tests.oracles.defenses import one_vector, whole_uploads
from tests.oracles.dense import random_updates


def directions(*vectors: list[float]) -> Updates:
    return uploads([[vector] for vector in vectors])


def factors(received: Updates, kappa: float = 1.0) -> Tensor:
    everyone = marked(len(received), *range(len(received)))
    return FoolsGold(kappa=kappa).factors(received.gram(), everyone)


def test_two_of_one_direction_have_no_weight() -> None:
    received = directions([1.0, 0.0], [3.0, 0.0], [0.0, 6.0])
    assert factors(received).tolist() == [0, 0, 1]
    gradient = FoolsGold().reduce(received, marked(3, 0, 1, 2), server_view(received))
    assert_close(gradient.items, torch.tensor([[0.0, 2.0]]))  # the mean divides by three


@pytest.mark.parametrize("kappa", [1.0, 2.0])
def test_the_logit_by_hand(kappa: float) -> None:
    """The cosine of the first two is 0.6, so α is 0.4, and of the third 1."""
    received = directions([5.0, 0.0, 0.0], [3.0, 4.0, 0.0], [0.0, 0.0, 1.0])
    expected = kappa * (math.log(0.4 / 0.6) + 0.5)
    assert factors(received, kappa).tolist() == pytest.approx([expected, expected, 1])
    assert expected == pytest.approx(0.0945 * kappa, abs=1e-4)


def test_pardoning_by_hand() -> None:
    """Cosines 0.8 of the first two, 0.6 and 0.48 of the third with them.

    Pardoned, 0.6 is 0.6 · 0.6 / 0.8 = 0.45. Then α is 0.2 / 0.55 for the first two, whose logit
    is ln(4/7) + 0.5 < 0. Without pardoning it would be ln((0.2 / 0.4) / 0.5) + 0.5 = 0.5.
    """
    received = directions([1.0, 0.0, 0.0], [0.8, 0.6, 0.0], [0.6, 0.0, 0.8])
    assert factors(received).tolist() == pytest.approx([0, 0, 1])


def test_opposite_uploads_are_not_similar() -> None:
    assert factors(directions([1.0, 1.0], [-1.0, -1.0])).tolist() == [1, 1]


def test_a_zero_upload_is_similar_to_none() -> None:
    assert factors(directions([0.0, 0.0], [0.0, 0.0], [1.0, 0.0])).tolist() == [1, 1, 1]


@pytest.mark.parametrize("n", [1, 2, 5])
def test_equal_uploads_keep_their_weight(n: int) -> None:
    assert factors(directions(*[[0.1, 0.7]] * n)).tolist() == [1] * n


@pytest.mark.parametrize("kappa", [0.5, 1.0])
@pytest.mark.parametrize("seed", range(3))
def test_it_equals_the_dense_definition(seed: int, kappa: float) -> None:
    received = random_updates(n=9, items=4, params=1, seed=seed)
    stack = whole_uploads(received)
    expected = torch.tensor(fools_gold_factors(stack, kappa), dtype=torch.float64)
    assert expected.min() < expected.max() == 1
    assert_close(factors(received, kappa), expected, rtol=1e-4, atol=1e-4)
    method, everyone = FoolsGold(kappa=kappa), marked(9, *range(9))
    gradient = method.reduce(received, everyone, server_view(received))
    weight = received.weight.double()
    mean = (weight * expected) @ stack / weight.sum()
    assert_close(one_vector(gradient), mean, rtol=1e-4, atol=1e-4)


def test_only_the_kept_uploads_are_compared() -> None:
    """The twin of the first upload is not kept."""
    received = directions([1.0, 0.0], [1.0, 0.0], [0.0, 1.0])
    gradient = FoolsGold().reduce(received, marked(3, 0, 2), server_view(received))
    assert_close(gradient.items, torch.tensor([[0.5, 0.5]]))


def test_lengths_have_no_say() -> None:
    received = random_updates(n=9, items=10)
    longer = received.scaled(torch.linspace(0.1, 30, 9))
    assert_close(factors(longer), factors(received), rtol=1e-4, atol=1e-4)


def test_copies_lose_their_weight_and_the_others_keep_some() -> None:
    """Ten of fifteen uploads are one upload, such as those of colluding clients."""
    received = random_updates(n=15, items=40, seed=1)
    received = replace(received, ridge=torch.zeros(15))
    one = received.select(marked(15, 3))
    for position in range(5, 15):
        received = received.replaced(torch.tensor([position]), one)
    found = factors(received)
    assert not found[5:].any() and not found[3]
    assert found[[0, 1, 2, 4]].mean() > 0.5
