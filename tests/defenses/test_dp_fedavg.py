"""DP-FedAvg: clipped, averaged, and noisy (McMahan et al. 2018)."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from fedrec.bench.pretend import pretending
from fedrec.defenses.base import Defense
from fedrec.defenses.dp_fedavg import DPFedAvg, normal
from fedrec.reference.rules import clipped
from fedrec.rng import Streams
from fedrec.updates import Updates
from tests.defenses.views import server_view, uploads
from tests.oracles.defenses import one_vector, whole_uploads
from tests.oracles.dense import random_updates


def aggregated(received: Updates, method: DPFedAvg, streams: Streams | None = None) -> Tensor:
    view = server_view(received, streams=streams)
    return one_vector(Defense.compose([method])(received, view).gradient)


def noise_of(method: DPFedAvg, streams: Streams | None = None) -> Tensor:
    """The noise on the gradient of four uploads, on 12,000 coordinates of items and 9,000 more."""
    received = replace(uploads(torch.zeros(4, 600, 20).tolist()), dense=torch.zeros(4, 9000))
    return aggregated(received, method, streams)


def test_without_noise_by_hand() -> None:
    """Norms 5 and 1 against a bound of 2.5; sample counts have no say."""
    received = uploads([[[3.0], [4.0]], [[0.0], [1.0]]], weight=[1.0, 9.0])
    found = aggregated(received, DPFedAvg(bound=2.5, noise=0.0))
    assert_close(found.float(), torch.tensor([0.75, 1.5]))


@pytest.mark.parametrize("seed", range(3))
def test_without_noise_it_is_the_mean_of_dense_clipped_uploads(seed: int) -> None:
    received = random_updates(n=8, items=10, params=3, seed=seed)
    bound = float(received.norms().median())
    expected = clipped(whole_uploads(received), bound).mean(0)
    found = aggregated(received, DPFedAvg(bound=bound, noise=0.0))
    assert_close(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("bound", "noise"), [(0.1, 1.0), (2.0, 0.3)])
def test_the_noise_is_normal_with_deviation_z_times_s_over_n(bound: float, noise: float) -> None:
    found = noise_of(DPFedAvg(bound=bound, noise=noise)) / (noise * bound / 4)
    for part in (found[:12_000], found[12_000:]):
        assert part.mean() == pytest.approx(0, abs=0.04)
        assert part.square().mean() == pytest.approx(1, abs=0.05)
        assert part.pow(4).mean() == pytest.approx(3, abs=0.3)


def test_fewer_kept_uploads_have_more_noise() -> None:
    received = uploads(torch.zeros(4, 600, 20).tolist())
    method, view = DPFedAvg(), server_view(received)
    two = torch.tensor([True, False, True, False])
    found = method.reduce(received, two, view).items
    assert_close(found, 2 * method.reduce(received, two | True, view).items)


def test_noise_is_drawn_anew_in_each_round_and_part() -> None:
    first, again = noise_of(DPFedAvg()), noise_of(DPFedAvg())
    assert torch.equal(first, again)
    for streams in (Streams(0, round=2), Streams(1, round=1)):
        other = noise_of(DPFedAvg(), streams)
        assert torch.corrcoef(torch.stack([first, other]))[0, 1].abs() < 0.03
    parts = torch.stack([first[:9000], first[12_000:]])
    assert torch.corrcoef(parts)[0, 1].abs() < 0.04


@pytest.mark.parametrize("width", [0, 5, 8])
def test_a_gpu_draws_the_same_noise(width: int) -> None:
    expected = normal(torch.zeros(7, width), "noise", Streams(3, round=4))
    with pretending():
        found = normal(torch.zeros(7, width, device="cuda"), "noise", Streams(3, round=4)).cpu()
    assert_close(found, expected)


@pytest.mark.parametrize("values", [{"bound": 0.0}, {"bound": -1.0}, {"noise": -0.1}])
def test_settings_that_make_no_sense_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(ValueError):
        DPFedAvg(**values)
