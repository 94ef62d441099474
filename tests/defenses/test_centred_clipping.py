"""CentredClipping: uploads are clipped around the last aggregate (Karimireddy et al. 2021)."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from fedrec.defenses.base import Defense
from fedrec.defenses.centred_clipping import CentredClipping
from fedrec.defenses.fl_wbc import FLWBC
from fedrec.reference.rules import centred_clipping
from fedrec.updates import Updates
from tests.defenses.views import client_view, marked, on_a_line, server_view
from tests.oracles.defenses import one_vector, whole_uploads
from tests.oracles.dense import random_updates


def in_turn(method: CentredClipping, *rounds: Updates) -> list[torch.Tensor]:
    """The aggregates of some rounds, one after another."""
    defense = Defense.compose([method])
    view = server_view(rounds[0], method=defense)
    return [one_vector(defense(received, view).gradient) for received in rounds]


def test_two_rounds_by_hand() -> None:
    """From 0, the steps to 1, 4 and −10 are 1, 2 and −2; from 1/3 they are 2/3, 2 and −2."""
    received = on_a_line(1.0, 4.0, -10.0)
    first, second = in_turn(CentredClipping(radius=2.0), received, received)
    assert first.item() == pytest.approx(1 / 3)
    assert second.item() == pytest.approx(1 / 3 + 2 / 9)


def test_two_iterations_are_two_rounds_of_the_same_uploads() -> None:
    received = random_updates(n=7, items=12)
    *_, second = in_turn(CentredClipping(radius=3.0), received, received)
    (at_once,) = in_turn(CentredClipping(radius=3.0, iterations=2), received)
    assert_close(at_once, second, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("iterations", [1, 2, 5])
@pytest.mark.parametrize("radius", [0.1, 4.0, 1e3])
@pytest.mark.parametrize("seed", range(2))
def test_it_equals_the_dense_algorithm(iterations: int, radius: float, seed: int) -> None:
    rounds = [random_updates(n=9, items=12, seed=3 * seed + i) for i in range(3)]
    found = in_turn(CentredClipping(radius=radius, iterations=iterations), *rounds)
    center = torch.zeros_like(found[0])
    for received, own in zip(rounds, found, strict=True):
        center = centred_clipping(whole_uploads(received), center, radius, iterations)
        assert_close(own, center, rtol=1e-4, atol=1e-5)


def test_within_the_radius_it_is_the_plain_mean() -> None:
    received = random_updates(n=6, items=12)
    (found,) = in_turn(CentredClipping(radius=1e3), received)
    assert_close(found, whole_uploads(received).mean(0), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("end", [1e3, 1e15])
def test_an_outlier_moves_it_by_its_share_of_the_radius(end: float) -> None:
    near, far = (
        in_turn(CentredClipping(radius=2.0), on_a_line(0.5, -0.5, last))[0] for last in (0.0, end)
    )
    assert (far - near).item() == pytest.approx(2 / 3)


def test_an_upload_whose_norm_overflows_does_not_count() -> None:
    """Its square, 1e60, is no number of float32."""
    (found,) = in_turn(CentredClipping(radius=2.0), on_a_line(1.0, 2.0, 1e30))
    assert found.item() == pytest.approx(1.5)


def test_only_kept_uploads_move_it() -> None:
    received, method = on_a_line(1.0, 9.0, 2.0), CentredClipping(radius=5.0)
    view = server_view(received, method=method)
    assert method.reduce(received, marked(3, 0, 2), view).items.item() == pytest.approx(1.5)
    assert view.memory["items"].item() == pytest.approx(1.5)


def test_noisy_uploads_count_with_their_noise() -> None:
    view = client_view()
    noisy = FLWBC(scale=0.01).on_clients(view.plain, view).updates
    found, plain = (
        in_turn(CentredClipping(radius=0.05), updates)[0]
        for updates in (noisy, noisy.written_out())
    )
    assert_close(found, plain, rtol=1e-5, atol=1e-7)


def test_sample_counts_have_no_say() -> None:
    received = random_updates(n=9, items=12)
    other = replace(received, weight=received.weight.flip(0))
    first, second = (in_turn(CentredClipping(), some)[0] for some in (received, other))
    assert torch.equal(first, second)


@pytest.mark.parametrize("wrong", [{"radius": 0.0}, {"iterations": 0}])
def test_wrong_values_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        CentredClipping(**wrong)
