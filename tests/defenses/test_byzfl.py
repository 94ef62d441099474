"""Reductions agree with the package byzfl where both define the same, and differ where stated."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from fedrec.defenses.base import Defense, DefensePart
from fedrec.defenses.bucketing import Bucketing
from fedrec.defenses.centred_clipping import CentredClipping
from fedrec.defenses.coordinate_median import CoordinateMedian
from fedrec.defenses.dp_fedavg import DPFedAvg
from fedrec.defenses.geometric_median import GeometricMedian
from fedrec.defenses.krum import Krum
from fedrec.defenses.mean import Mean
from fedrec.defenses.nnm import NNM
from fedrec.defenses.norm_bound import NormBound
from fedrec.defenses.per_row import PerRow
from fedrec.defenses.trimmed_mean import TrimmedMean
from fedrec.updates import Updates
from tests.defenses.views import on_a_line, server_view
from tests.oracles.byzfl_package import aggregators
from tests.oracles.defenses import one_vector, whole_uploads
from tests.oracles.dense import dense_items, random_updates

BYZFL = aggregators()
N = 10
every_seed = pytest.mark.parametrize("seed", range(3))
every_f = pytest.mark.parametrize("f", [1, 2, 4])


def equally_weighted(seed: int) -> Updates:
    received = random_updates(n=N, items=15, d=4, params=3, seed=seed)
    return replace(received, weight=torch.ones(N))


def ours(received: Updates, *parts: DefensePart, f: int = 1) -> Tensor:
    decision = Defense.compose(parts)(received, server_view(received, expected_malicious=f))
    return one_vector(decision.gradient).float()


def stack(received: Updates) -> Tensor:
    return whole_uploads(received).float()


@every_seed
def test_the_mean_is_average(seed: int) -> None:
    received = equally_weighted(seed)
    assert_close(ours(received, Mean()), BYZFL.Average()(stack(received)), rtol=1e-5, atol=1e-6)


@every_seed
@every_f
def test_the_trimmed_mean_is_tr_mean(seed: int, f: int) -> None:
    received = equally_weighted(seed)
    found = ours(received, TrimmedMean(trim=f / N))
    assert_close(found, BYZFL.TrMean(f)(stack(received)), rtol=1e-5, atol=1e-6)


@every_seed
@every_f
def test_krum_over_n_f_1_neighbours_is_krum(seed: int, f: int) -> None:
    received = equally_weighted(seed)
    found = ours(received, Krum(neighbours="n-f-1"), Mean(), f=f)
    assert_close(found, BYZFL.Krum(f)(stack(received)), rtol=1e-5, atol=1e-6)


@every_seed
@every_f
def test_multi_krum_over_n_f_1_neighbours_is_multi_krum(seed: int, f: int) -> None:
    received = equally_weighted(seed)
    found = ours(received, Krum(keep="n-f", neighbours="n-f-1"), Mean(), f=f)
    assert_close(found, BYZFL.MultiKrum(f)(stack(received)), rtol=1e-5, atol=1e-6)


@every_seed
@pytest.mark.parametrize("n", [N, N - 1])
def test_the_coordinate_median_is_median(seed: int, n: int) -> None:
    received = equally_weighted(seed).select(torch.arange(N) < n)
    found = ours(received, CoordinateMedian())
    assert_close(found, BYZFL.Median()(stack(received)), rtol=1e-5, atol=1e-6)


@every_seed
@pytest.mark.parametrize("smoothing", [0.1, 5.0])
def test_after_many_iterations_the_geometric_median_is_geometric_median(
    seed: int, smoothing: float
) -> None:
    """byzfl starts at zero, where the sources start at the mean; both find the same minimum."""
    received = equally_weighted(seed)
    found = ours(received, GeometricMedian(iterations=100, smoothing=smoothing))
    expected = BYZFL.GeometricMedian(nu=smoothing, T=100)(stack(received))
    assert_close(found, expected, rtol=1e-4, atol=1e-5)


@every_seed
@pytest.mark.parametrize("bound", [0.5, 5.0, 100.0])
def test_norm_bound_is_clipping(seed: int, bound: float) -> None:
    received = equally_weighted(seed)
    changed = NormBound(bound=bound).transform(received, server_view(received))
    expected = BYZFL.Clipping(bound)(stack(received))
    assert_close(stack(changed), expected, rtol=1e-5, atol=1e-6)


@every_seed
@pytest.mark.parametrize("bound", [0.5, 5.0])
def test_dp_fedavg_without_noise_is_average_after_clipping(seed: int, bound: float) -> None:
    received = equally_weighted(seed)
    found = ours(received, DPFedAvg(bound=bound, noise=0.0))
    expected = BYZFL.Average()(BYZFL.Clipping(bound)(stack(received)))
    assert_close(found, expected, rtol=1e-5, atol=1e-6)


@every_seed
@every_f
def test_nnm_is_nnm(seed: int, f: int) -> None:
    received = equally_weighted(seed)
    mixed = NNM().mix(received, server_view(received, expected_malicious=f)).uploads
    assert_close(stack(mixed), BYZFL.NNM(f)(stack(received)), rtol=1e-5, atol=1e-5)


@every_seed
@every_f
def test_rules_for_rows_are_those_for_all_if_every_client_touches_every_item(
    seed: int, f: int
) -> None:
    received = equally_weighted(seed)
    full = Updates.over_all_items(received, dense_items(received), received.dense)
    assert_close(ours(full, PerRow()), BYZFL.Median()(stack(full)), rtol=1e-5, atol=1e-6)
    trimmed = ours(full, PerRow(rule="trimmed_mean"), f=f)
    assert_close(trimmed, BYZFL.TrMean(f)(stack(full)), rtol=1e-5, atol=1e-6)


@every_seed
@every_f
def test_nnm_and_the_trimmed_mean_are_nnm_and_tr_mean(seed: int, f: int) -> None:
    received = equally_weighted(seed)
    found = ours(received, NNM(), TrimmedMean(trim=f / N), f=f)
    expected = BYZFL.TrMean(f)(BYZFL.NNM(f)(stack(received)))
    assert_close(found, expected, rtol=1e-4, atol=1e-5)


@every_seed
@pytest.mark.parametrize("size", [1, 2, 3, 10])
def test_bucketing_is_bucketing_of_the_same_order(
    seed: int, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    received = equally_weighted(seed)
    mixture = Bucketing(size=size).mix(received, server_view(received))
    order = mixture.holder.argsort(stable=True)
    monkeypatch.setattr(torch, "randperm", lambda n, **_: order)
    expected = BYZFL.Bucketing(size)(stack(received))
    assert_close(stack(mixture.uploads), expected, rtol=1e-5, atol=1e-5)


@every_seed
@pytest.mark.parametrize("radius", [0.1, 5.0, 100.0])
@pytest.mark.parametrize("iterations", [1, 3])
def test_centred_clipping_is_centered_clipping(seed: int, radius: float, iterations: int) -> None:
    theirs = BYZFL.CenteredClipping(L=iterations, tau=radius)
    defense = Defense.compose([CentredClipping(radius=radius, iterations=iterations)])
    rounds = [equally_weighted(3 * seed + i) for i in range(3)]
    view = server_view(rounds[0], method=defense)
    for received in rounds:
        found = one_vector(defense(received, view).gradient).float()
        assert_close(found, theirs(stack(received)), rtol=1e-4, atol=1e-5)


# Where the definitions differ


def test_by_default_krum_has_a_neighbour_less_than_byzfl_has() -> None:
    """n − f − 2 others (Blanchard et al.), where byzfl has n − f with the upload itself.

    Of 0, 1, 3 and 10 with f = 1, the nearest other decides for 0, and the nearest two for 1.
    """
    received = on_a_line(0.0, 1.0, 3.0, 10.0)
    assert ours(received, Krum(), Mean()).item() == 0
    assert BYZFL.Krum(1)(stack(received)).item() == 1


def test_the_mean_counts_samples_where_byzfl_counts_clients() -> None:
    received = replace(on_a_line(0.0, 6.0), weight=torch.tensor([2.0, 1.0]))
    assert ours(received, Mean()).item() == 2
    assert BYZFL.Average()(stack(received)).item() == 3


def test_the_trimmed_mean_trims_a_share_where_byzfl_trims_a_number() -> None:
    received = on_a_line(0.0, 1.0, 2.0, 9.0)
    assert ours(received, TrimmedMean(trim=0.1)).item() == 3  # ⌊0.4⌋ = 0
    assert BYZFL.TrMean(1)(stack(received)).item() == 1.5


def test_the_geometric_median_starts_at_the_mean_where_byzfl_starts_at_zero() -> None:
    """Of 2, 2 and 8: the mean 4 is at distances 2, 2 and 4, zero at distances 2, 2 and 8."""
    received = on_a_line(2.0, 2.0, 8.0)
    assert ours(received, GeometricMedian(iterations=1)).item() == pytest.approx(4 / 1.25)
    assert BYZFL.GeometricMedian(T=1)(stack(received)).item() == pytest.approx(3 / 1.125)
