"""Named random streams: a draw depends on (seed, purpose, round, client, index), nothing else."""

import hashlib
from dataclasses import dataclass, replace
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt32, UInt64
from numpy.random.bit_generator import ISeedSequence


class _State(ISeedSequence):
    """Three 64-bit words, given to SFC64 as its seed."""

    def __init__(self, words: np.ndarray) -> None:
        self._words = words

    def generate_state(self, n_words: int, dtype: Any = np.uint64) -> np.ndarray:
        return self._words


@lru_cache(maxsize=256)
def _key(seed: int, purpose: str) -> tuple[int, int]:
    digest = hashlib.blake2b(f"{seed}/{purpose}".encode(), digest_size=16).digest()
    return int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:], "little")


def row_blocks(width: int, bits: int) -> int:
    """Blocks of 128 bits that a row of `width` lanes takes: each row starts a new block."""
    return -(-width * bits // 128)


@dataclass(frozen=True)
class Streams:
    """The random streams of one run at one round.

    A stream is the blocks of 128 bits that Philox 4x32-10 makes of a key, 64 bits of a hash of
    (seed, purpose), and of the counters (number of the block, client, round, 0), 32 bits each. So
    the order of draws never matters, a stream can be entered anywhere, every device can draw the
    same bits (`kernels.philox`), and the arms of an experiment that share a seed share cohorts,
    initial values, negatives and dropout masks.

    The 32-bit lanes of a block, and the halves of a lane, are numbered from the low end: a stream
    read as 64, 32 or 16 bits at a time is the same little-endian bytes. Where bits are drawn for an
    array, the last axis is a row, and each row starts a new block: element i of row r lies in block
    r · `row_blocks` + i · bits // 128, whatever the number of rows.
    """

    seed: int
    round: int = 0

    def at(self, round: int) -> "Streams":
        """The same streams at another round."""
        return replace(self, round=round)

    def generator(self, purpose: str, client: int = 0) -> np.random.Generator:
        """NumPy's distributions for one purpose and client (0 where no client is meant).

        For what is drawn once a run, or a few numbers at a time: cohorts, initial values, malicious
        users, negatives, starts of k-means. It is another generator than that of the streams,
        SFC64, seeded with a hash of (seed, purpose) and the pair (round, client): made in 2 µs,
        where NumPy's own Philox takes 20, but serial, and the CPU's alone.
        """
        words = np.array([*_key(self.seed, purpose), self.round << 32 | client], np.uint64)
        return np.random.Generator(np.random.SFC64(_State(words)))  # type: ignore[arg-type]

    def key(self, purpose: str) -> int:
        """The 64 bits of Philox's key, the low 32 first."""
        return _key(self.seed, purpose)[0]

    def seeds(
        self, purpose: str, clients: Int[np.ndarray, " clients"]
    ) -> UInt64[np.ndarray, "clients 2"]:
        """What `kernels.fill` takes for some clients' streams: the key, and (round, client)."""
        seeds = np.empty((len(clients), 2), np.uint64)
        seeds[:, 0] = self.key(purpose)
        seeds[:, 1] = np.uint64(self.round << 32) | clients.astype(np.uint64)
        return seeds

    def of(self, purpose: str, client: int = 0) -> "Stream":
        """The stream of one purpose, for one client (0 where no client is meant)."""
        return Stream(self.key(purpose), self.round, client)


@dataclass(frozen=True)
class Stream:
    """The random bits of one purpose and client in one round, and what is made of them.

    As each call begins with the stream's first block, equal calls give equal numbers: what is to be
    independent needs a purpose of its own.
    """

    key: int
    round: int
    client: int

    @property
    def seed(self) -> UInt64[np.ndarray, "2"]:
        """What `kernels.fill` takes: the key, and (round, client)."""
        return np.array([self.key, self.round << 32 | self.client], np.uint64)

    def words(self, count: int) -> UInt64[np.ndarray, " count"]:
        """The first `count` words of 64 bits."""
        from fedrec.kernels.vectors import fill  # numba takes a while to import

        words = np.empty(count + count % 2, np.uint64)
        fill(self.seed, 0, words)
        return words[:count]

    def lanes(self, shape: tuple[int, ...]) -> UInt32[np.ndarray, " *shape"]:
        """32 random bits for each element; the last axis is a row."""
        *rows, width = shape
        blocks = row_blocks(width, 32)
        lanes = self.words(2 * blocks * prod(rows)).view(np.uint32)
        return lanes.reshape(*rows, 4 * blocks)[..., :width]

    def uniform(self, shape: tuple[int, ...]) -> Float[np.ndarray, " *shape"]:
        """U[0, 1) in float32: the 24 high ones of 32 bits, times 2⁻²⁴, exactly on any device."""
        return (self.lanes(shape) >> np.uint32(8)).astype(np.float32) * np.float32(2**-24)

    def normal(self, shape: tuple[int, ...]) -> Float[np.ndarray, " *shape"]:
        """N(0, 1) in float32, by Box and Muller (1958).

        Elements 2i and 2i + 1 of a row are √(−2 ln U) times the cosine and the sine of an angle.
        U is the 23 high bits of lane 2i, plus a half, times 2⁻²³. The angle is a quarter of a turn
        times the sum of the two high bits of lane 2i + 1 and of its other bits, as a signed number
        from −½ to ½. The bits are the same on any device; logarithm, sine and cosine may differ in
        their last digits, but not from one CPU to another.
        """
        from fedrec.kernels.vectors import normal_pairs

        *rows, width = shape
        lanes = self.lanes((*rows, width + width % 2))
        found = np.empty(lanes.shape, np.float32)
        normal_pairs(np.ascontiguousarray(lanes).ravel(), found.ravel())
        return found[..., :width]

    def chosen(self, n: int, count: int) -> Int[np.ndarray, " count"]:
        """`count` of the numbers below n ≥ count, ascending: those with the least random bits.

        31 bits each, the high ones of 32; of equal ones the lower number goes first.
        """
        order = (self.lanes((n,)).astype(np.int64) >> 1 << 32) | np.arange(n)
        return np.sort(np.partition(order, count - 1)[:count] & 0xFFFFFFFF)
