"""Exact two-means in one dimension, and the gap statistic by a slow loop."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans

from fedrec.defenses._gap_statistic import (
    Dispersions,
    falls_apart,
    in_lower_cluster,
    reference_dispersions,
)
from fedrec.defenses.union import Union
from fedrec.rng import Streams
from fedrec.testing import random_updates, server_view

SMALL = settings(max_examples=60, deadline=None)
integers = st.lists(st.integers(-6, 6), min_size=2, max_size=8)


def dispersion(*clusters: np.ndarray) -> float:
    return sum(float(((part - part.mean()) ** 2).sum()) for part in clusters if len(part))


def best_two(values: np.ndarray) -> float:
    """The least dispersion over all ways to part the values in two, cuts or not."""
    positions = range(len(values))
    return min(
        dispersion(values[list(chosen)], np.delete(values, list(chosen)))
        for size in positions
        if size
        for chosen in combinations(positions, size)
    )


@SMALL
@given(integers)
def test_two_means_is_the_best_of_all_partitions(numbers: list[int]) -> None:
    values = np.array(numbers, dtype=float)
    low = in_lower_cluster(values)
    found = dispersion(values[low], values[~low])
    if np.ptp(values) == 0:
        assert low.all()
    else:
        assert low.any() and not low.all()
        assert found == pytest.approx(best_two(values), abs=1e-9)
        assert values[low].max() < values[~low].min()


@pytest.mark.parametrize("seed", range(5))
def test_two_means_is_as_good_as_sklearns(seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=50)
    low = in_lower_cluster(values)
    means = KMeans(2, n_init=10, random_state=0).fit(values[:, None])
    assert dispersion(values[low], values[~low]) <= means.inertia_ + 1e-9


def test_the_first_of_equally_good_cuts_counts() -> None:
    assert in_lower_cluster(np.array([2.0, 0.0, 1.0])).tolist() == [False, True, False]


def test_two_values_are_two_clusters() -> None:
    assert in_lower_cluster(np.array([0.3, 0.2])).tolist() == [False, True]


@pytest.mark.parametrize("n", [1, 2, 5])
def test_equal_values_are_one_cluster(n: int) -> None:
    values = np.full(n, 0.3)
    assert in_lower_cluster(values).all()
    assert not falls_apart(values, reference_dispersions(max(n, 3), 50, 0))


def test_clusters_do_not_depend_on_offset_and_scale() -> None:
    """Uniformities differ in their fifth digit."""
    values = np.random.default_rng(0).normal(size=30)
    expected = in_lower_cluster(values)
    assert in_lower_cluster(0.25 + 1e-9 * values).tolist() == expected.tolist()
    assert in_lower_cluster(1e6 * values - 1e6).tolist() == expected.tolist()


# The gap statistic


def best_cut(values: np.ndarray) -> float:
    ordered = np.sort(values)
    return min(dispersion(ordered[:i], ordered[i:]) for i in range(1, len(ordered)))


def slow_reference(n: int, samples: int, seed: int) -> Dispersions:
    drawn = Streams(seed).generator("gap-reference", n).random((samples, n))
    logs = {
        k: [float(np.log(w(sample))) for sample in drawn]
        for k, w in ((1, dispersion), (2, best_cut))
    }
    means = {k: sum(values) / samples for k, values in logs.items()}
    total = sum((value - means[2]) ** 2 for value in logs[2])
    return Dispersions(means[1], means[2], ((1 + samples) / samples**2 * total) ** 0.5)


def slow_gap_test(values: np.ndarray, reference: Dispersions) -> bool:
    """Algorithm 3: more than one cluster where Gap(1) < Gap(2) − s₂."""
    scaled = (values - values.min()) / (values.max() - values.min())
    gaps = reference.one - np.log(dispersion(scaled)), reference.two - np.log(best_cut(scaled))
    return bool(gaps[0] < gaps[1] - reference.error)


@pytest.mark.parametrize(("n", "samples", "seed"), [(3, 5, 0), (10, 50, 0), (50, 50, 7)])
def test_the_reference_equals_a_slow_loop(n: int, samples: int, seed: int) -> None:
    found, slow = reference_dispersions(n, samples, seed), slow_reference(n, samples, seed)
    assert found.one == pytest.approx(slow.one)
    assert found.two == pytest.approx(slow.two)
    assert found.error == pytest.approx(slow.error)


def test_the_reference_is_drawn_once_for_each_n() -> None:
    first = reference_dispersions(50, 50, 0)
    assert reference_dispersions(50, 50, 0) is first
    assert reference_dispersions(49, 50, 0) != first
    assert reference_dispersions(50, 50, 1) != first


@pytest.mark.parametrize("seed", range(20))
def test_the_verdict_equals_the_slow_one(seed: int) -> None:
    rng = np.random.default_rng(seed)
    apart = rng.random() * 4  # from one cluster to two
    values = np.concatenate([rng.normal(size=30), rng.normal(size=12) + apart])
    reference = reference_dispersions(42, 50, 0)
    assert falls_apart(values, reference) == slow_gap_test(values, reference)


def test_both_verdicts_occur_and_rightly() -> None:
    rng, reference = np.random.default_rng(0), reference_dispersions(40, 50, 0)
    two = np.concatenate([rng.normal(0, 0.05, 20), rng.normal(1, 0.05, 20)])
    assert falls_apart(two, reference)
    found = [falls_apart(rng.random(40), reference) for _ in range(50)]
    assert sum(found) <= 10


def test_the_verdict_does_not_depend_on_order_offset_and_scale() -> None:
    rng, reference = np.random.default_rng(1), reference_dispersions(40, 50, 0)
    for apart in (0.0, 2.0, 5.0):
        values = np.concatenate([rng.normal(size=20), rng.normal(size=20) + apart])
        expected = falls_apart(values, reference)
        assert falls_apart(0.25 + 1e-7 * rng.permutation(values), reference) == expected


def test_fewer_than_three_values_never_fall_apart() -> None:
    reference = reference_dispersions(3, 50, 0)
    assert not falls_apart(np.array([]), reference)
    assert not falls_apart(np.array([0.1]), reference)
    assert not falls_apart(np.array([0.1, 0.9]), reference)


def test_two_points_of_several_values_fall_apart() -> None:
    """Two clusters without dispersion: the logarithm's pole is no error."""
    assert falls_apart(np.array([0.3] * 49 + [0.2]), reference_dispersions(50, 50, 0))
    assert falls_apart(np.array([0.3, 0.2, 0.3]), reference_dispersions(3, 50, 0))


@given(
    st.lists(st.integers(-9, 9), min_size=1, max_size=20),
    st.integers(0, 4),
    st.booleans(),
    st.integers(0, 2**20),
)
def test_a_gpu_decides_alike(numbers: list[int], prepared: int, rule: bool, seed: int) -> None:
    """`Union.in_majority`, without waiting; but for cuts that cost the same."""
    rng = np.random.default_rng(seed)
    values = torch.from_numpy(np.array(numbers) + rng.normal(0, 0.3, len(numbers)))
    among = torch.from_numpy(rng.random(len(numbers)) < 0.8)
    union, received = Union(minority_rule=rule), random_updates(n=2)
    view = replace(server_view(received), expected_malicious=prepared)
    expected = union._decided_by_host(values, among, view)
    assert union._decided(values, among, view).tolist() == expected.tolist()
