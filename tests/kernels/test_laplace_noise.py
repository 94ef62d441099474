"""Dense noise that is drawn where it is needed: its law, where it goes, and that it is repeated."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats
from torch.testing import assert_close

from fedrec.kernels.laplace_noise import LaplaceNoise, add_noises
from fedrec.kernels.threads import use_threads
from fedrec.rng import Streams

SCALE = 0.02


def noise(
    client: int = 0, item: tuple[int, ...] = (), d: int = 5, change: float = 0.0, params: int = 0
) -> LaplaceNoise:
    """A client's noise, whose gradient changes by `change` on some items."""
    return LaplaceNoise(
        scale=SCALE,
        seed=Streams(0).of("noise", client).seed,
        item=np.array(item, dtype=np.int64),
        change=np.full((len(item), d), change, dtype=np.float32),
        dense_seed=Streams(0).of("dense-noise", client).seed,
        dense_change=np.zeros(params, dtype=np.float32),
    )


def drawn(one: LaplaceNoise, items: int, d: int, coefficient: float = 1.0) -> np.ndarray:
    total = np.zeros((items, d), np.float32)
    one.add_to(total, np.zeros(len(one.dense_change), np.float32), coefficient)
    return total


@pytest.mark.parametrize("d", [1, 3, 64])
def test_it_is_laplaces_distribution(d: int) -> None:
    values = drawn(noise(d=d), 30_000 // d, d).ravel().astype(float)
    assert stats.kstest(values, stats.laplace(scale=SCALE).cdf).pvalue > 0.01
    # The tail too: log 10⁴ scales are passed by one value in 10⁴.
    assert 5 * SCALE < np.abs(values).max() < 20 * SCALE


def test_neighbouring_values_have_nothing_to_do_with_each_other() -> None:
    values = drawn(noise(d=64), 500, 64).astype(float)
    for first, second in (
        (values[:, :-1], values[:, 1:]),
        (values[:-1], values[1:]),
        (values, drawn(noise(client=1, d=64), 500, 64)),
    ):
        assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.02
        sizes = np.corrcoef(np.abs(first).ravel(), np.abs(second).ravel())
        assert abs(sizes[0, 1]) < 0.02


def test_equal_seeds_give_equal_noise() -> None:
    assert np.array_equal(drawn(noise(), 50, 5), drawn(noise(), 50, 5))
    assert not np.array_equal(drawn(noise(), 50, 5), drawn(noise(client=1), 50, 5))


def test_items_draw_the_same_whatever_the_table_holds_beyond_them() -> None:
    assert np.array_equal(drawn(noise(), 50, 5)[:20], drawn(noise(), 20, 5))


def test_a_change_larger_than_the_noise_silences_it() -> None:
    everywhere = drawn(noise(), 30, 5)
    limit = float(np.median(np.abs(everywhere)))
    some = drawn(noise(item=(3, 4, 29), change=-limit), 30, 5)
    expected = everywhere.copy()
    rows = expected[[3, 4, 29]]
    expected[[3, 4, 29]] = np.where(np.abs(rows) >= np.float32(limit), rows, 0)
    assert np.array_equal(some, expected)
    assert 0 < np.count_nonzero(some[[3, 4, 29]]) < 15


def test_noise_is_added_to_what_is_there() -> None:
    total, dense = np.full((6, 5), 7.0, np.float32), np.full(4, -2.0, np.float32)
    noise(params=4).add_to(total, dense, 2.0)
    assert np.allclose(total - 7, 2 * drawn(noise(), 6, 5), atol=1e-6)
    assert (dense != -2).all()


def test_the_dense_part_is_masked_by_its_own_change() -> None:
    change = np.array([0, 1e9, 0, 1e9], dtype=np.float32)
    one = replace(noise(params=4), dense_change=change)
    dense = np.zeros(4, np.float32)
    one.add_to(np.zeros((6, 5), np.float32), dense, 1.0)
    assert (dense != 0).tolist() == [True, False, True, False]


def test_scaled_noise_is_scaled_and_silenced_as_before() -> None:
    """An upload's factor multiplies Υ after the comparison with the change."""
    one = noise(item=(1,), change=SCALE)
    scaled = one.scaled(4.0).scaled(0.5)
    assert np.allclose(drawn(scaled, 10, 5), 2 * drawn(one, 10, 5), atol=1e-7)
    assert np.allclose(drawn(one, 10, 5, 2.0), 2 * drawn(one, 10, 5), atol=1e-7)


def test_many_clients_noises_add_up() -> None:
    """More clients than any thread's share; some add none, one has a coefficient of 0."""
    noises = [noise(client=c, params=3) if c % 3 else None for c in range(14)]
    coefficients = torch.linspace(-1, 1, 14).index_fill_(0, torch.tensor([4]), 0.0)
    items, dense = torch.ones(10, 5), torch.ones(3)
    add_noises(noises, coefficients, items, dense)
    expected, expected_dense = np.ones((10, 5), np.float32), np.ones(3, np.float32)
    for one, coefficient in zip(noises, coefficients.tolist(), strict=True):
        if one is not None:
            one.add_to(expected, expected_dense, coefficient)
    assert_close(items, torch.from_numpy(expected), rtol=0, atol=1e-6)
    assert_close(dense, torch.from_numpy(expected_dense), rtol=0, atol=1e-6)


@pytest.mark.usefixtures("one_thread_afterwards")
def test_sums_do_not_depend_on_the_number_of_threads() -> None:
    noises, sums = [noise(client=c) for c in range(9)], []
    share = torch.rand(9, generator=torch.Generator().manual_seed(0))
    for count in (1, 2):
        use_threads(count)
        sums.append(torch.zeros(10, 5))
        add_noises(noises, share, sums[-1], torch.zeros(0))
    assert torch.equal(*sums)
