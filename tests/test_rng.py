"""A draw depends on (seed, purpose, round, client) and on nothing else."""

import numpy as np
import pytest

from fedrec.rng import Streams


def test_the_same_name_gives_the_same_draw() -> None:
    first, second = (Streams(3).at(7).generator("noise", 11).random(5) for _ in range(2))
    assert np.array_equal(first, second)


@pytest.mark.parametrize(
    "other",
    [
        Streams(4).at(7).generator("noise", 11),
        Streams(3).at(8).generator("noise", 11),
        Streams(3).at(7).generator("cohort", 11),
        Streams(3).at(7).generator("noise", 12),
        Streams(3).at(11).generator("noise", 7),
    ],
)
def test_another_name_gives_another_draw(other: np.random.Generator) -> None:
    assert not np.any(Streams(3).at(7).generator("noise", 11).random(5) == other.random(5))


def test_draws_before_do_not_matter() -> None:
    streams = Streams(0)
    streams.generator("a").random(1000)
    assert streams.generator("b").random() == Streams(0).generator("b").random()


def test_neighbouring_clients_are_uncorrelated() -> None:
    words = np.stack([Streams(0).at(1).words("dropout", client, 500) for client in range(200)])
    bits = np.unpackbits(words.view(np.uint8), axis=1)
    agreement = (bits[:-1] == bits[1:]).mean(axis=1)
    # 32,000 fair coins: a standard deviation of 0.0028, and the largest of 199 within five.
    assert np.abs(agreement - 0.5).max() < 5 * 0.0028
