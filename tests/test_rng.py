"""A draw depends on (seed, purpose, round, client, index) and on nothing else."""

from math import log2

import numpy as np
import pytest
from scipy import stats

from fedrec.kernels.philox import Stream
from fedrec.rng import Streams

OTHERS = [
    (Streams(4).at(7), "noise", 11),
    (Streams(3).at(8), "noise", 11),
    (Streams(3).at(7), "cohort", 11),
    (Streams(3).at(7), "noise", 12),
    (Streams(3).at(11), "noise", 7),
]


def test_the_same_name_gives_the_same_draw() -> None:
    first, second = (Streams(3).at(7).generator("noise", 11).random(5) for _ in range(2))
    assert np.array_equal(first, second)
    first, second = (Streams(3).at(7).of("noise", 11).words(5) for _ in range(2))
    assert np.array_equal(first, second)


@pytest.mark.parametrize(("streams", "purpose", "client"), OTHERS)
def test_another_name_gives_another_draw(streams: Streams, purpose: str, client: int) -> None:
    drawn = Streams(3).at(7).generator("noise", 11).random(5)
    assert not np.any(drawn == streams.generator(purpose, client).random(5))
    words = Streams(3).at(7).of("noise", 11).words(5)
    assert not np.any(words == streams.of(purpose, client).words(5))


def test_draws_before_do_not_matter() -> None:
    streams = Streams(0)
    streams.generator("a").random(1000)
    assert streams.generator("b").random() == Streams(0).generator("b").random()


def test_a_longer_draw_begins_as_a_shorter_one() -> None:
    stream = Streams(0, 1).of("a", 2)
    assert np.array_equal(stream.words(101)[:7], stream.words(7))
    assert np.array_equal(stream.uniform((9, 5))[:3], stream.uniform((3, 5)))
    assert np.array_equal(stream.normal((9, 5))[:3], stream.normal((3, 5)))


@pytest.mark.parametrize("along", ["client", "round", "seed"])
def test_neighbouring_streams_are_uncorrelated(along: str) -> None:
    streams = [
        Streams(i if along == "seed" else 0, i if along == "round" else 1).of(
            "dropout", i if along == "client" else 0
        )
        for i in range(200)
    ]
    bits = np.unpackbits(np.stack([s.words(500) for s in streams]).view(np.uint8), axis=1)
    agreement = (bits[:-1] == bits[1:]).mean(axis=1)
    # 32,000 fair coins: a standard deviation of 0.0028, and the largest of 199 within five.
    assert np.abs(agreement - 0.5).max() < 5 * 0.0028


def test_neighbouring_words_differ_in_half_their_bits() -> None:
    words = Streams(0, 1).of("dropout", 3).words(20_000)
    flipped = np.unpackbits((words[1:] ^ words[:-1]).view(np.uint8))
    assert abs(flipped.mean() - 0.5) < 5 * 0.5 / flipped.size**0.5


# What is made of the bits


def test_uniform_numbers_are_uniform_multiples_of_a_power_of_two() -> None:
    drawn = Streams(0, 1).of("u").uniform((300, 100))
    assert drawn.dtype == np.float32 and drawn.min() >= 0 and drawn.max() < 1
    assert np.array_equal(drawn * 2**24, np.floor(drawn * 2**24))
    assert stats.kstest(drawn.ravel().astype(float), stats.uniform.cdf).pvalue > 0.01


@pytest.mark.parametrize("shape", [(300, 100), (10_000, 3), (30_001,)])
def test_normal_numbers_are_normal(shape: tuple[int, ...]) -> None:
    drawn = Streams(0, 1).of("n").normal(shape)
    assert drawn.dtype == np.float32 and drawn.shape == shape
    assert stats.kstest(drawn.ravel().astype(float), stats.norm.cdf).pvalue > 0.01
    assert 3.5 < np.abs(drawn).max() < 6  # 4.1 is expected of 30,000
    pairs = np.abs(drawn.ravel()[:-1]), np.abs(drawn.ravel()[1:])
    # 30,000 pairs: a standard error of 0.0058
    assert abs(np.corrcoef(*pairs)[0, 1]) < 5 * 0.0058


@pytest.mark.parametrize("bits", [(0, 0), (2**32 - 1, 2**32 - 1), (0, 2**31)])
def test_extreme_bits_give_finite_normal_numbers(
    bits: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The least U is 2⁻²⁴, whose radius is √(48 ln 2) = 5.77; the greatest is 1 − 2⁻²⁴."""
    monkeypatch.setattr(Stream, "lanes", lambda self, shape: np.array([bits], np.uint32))
    found = Streams(0).of("n").normal((1, 2))
    radius = (2 * np.log(2) * 24) ** 0.5 if bits[0] == 0 else 0
    assert np.hypot(*found[0]) == pytest.approx(radius, rel=1e-6, abs=1e-3)


def test_normal_numbers_by_hand() -> None:
    stream = Streams(2, 3).of("n", 4)
    lanes = stream.lanes((50, 4)).astype(np.int64)
    radius = (-2 * np.log(((lanes[:, 0] >> 9) + 0.5) / 2**23)) ** 0.5
    quarter, rest = np.divmod(lanes[:, 1], 2**30)
    angle = np.pi / 2 * (quarter + np.where(rest < 2**29, rest, rest - 2**30) / 2**30)
    found = stream.normal((50, 3))
    assert np.allclose(found[:, 0], radius * np.cos(angle), atol=1e-6)
    assert np.allclose(found[:, 1], radius * np.sin(angle), atol=1e-6)


def test_a_choice_is_of_the_least_bits() -> None:
    stream = Streams(2, 3).of("c")
    bits = [int(x) >> 1 for x in stream.lanes((40,))]
    expected = sorted(sorted(range(40), key=lambda i: (bits[i], i))[:7])
    assert stream.chosen(40, 7).tolist() == expected
    assert stream.chosen(40, 40).tolist() == list(range(40))


def test_of_equal_bits_the_lower_number_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The lowest bit does not count: 2 and 3 are equal."""
    bits = np.array([9, 3, 2, 3, 8], np.uint32)
    monkeypatch.setattr(Stream, "lanes", lambda self, shape: bits)
    assert Streams(0).of("c").chosen(5, 2).tolist() == [1, 2]


def test_every_number_is_chosen_as_often() -> None:
    """1000 rounds of 5 in 20: a standard error of √(1000 · ¼ · ¾) = 13.7."""
    drawn = [Streams(0, number).of("c").chosen(20, 5) for number in range(1000)]
    assert all(len(set(some.tolist())) == 5 for some in drawn)
    assert np.abs(np.bincount(np.concatenate(drawn), minlength=20) - 250).max() < 4.5 * 13.7


def test_keys_of_purposes_and_seeds_are_all_different() -> None:
    keys = {Streams(s).key(f"purpose {p}") for s in range(100) for p in range(100)}
    assert len(keys) == 10_000 and max(map(log2, keys)) > 63
