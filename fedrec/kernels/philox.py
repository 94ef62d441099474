"""Philox 4x32-10: a compiled loop for the CPU, and plain code for any device.

128 random bits are a function of a counter and a key (Salmon et al. 2011, "Parallel random numbers:
as easy as 1, 2, 3"). `fedrec.rng` defines the counter and the key.
"""

from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int, Integer, UInt32, UInt64
from torch import Tensor

from fedrec.kernels.compiled import compiled
from fedrec.kernels.normal import normal_numbers
from fedrec.kernels.tape import NotRecordable
from fedrec.kernels.vectors import padded

ROUNDS = 10
MULTIPLIERS = 0xD2511F53, 0xCD9E8D57
WEYL = 0x9E3779B9, 0xBB67AE85  # added to the key after each round
LOW = 0xFFFFFFFF

BLOCKS = 8  # blocks of random bits that the loop draws at a time
LOW_BITS, HALF = np.uint64(LOW), np.uint64(32)
LOW_STEP, HIGH_STEP = map(np.uint64, WEYL)

# 32 bits in a Python integer, or in each element of an array or tensor of 64-bit integers
Bits = Any


@dataclass(frozen=True)
class Stream:
    """The random bits of one purpose and client in one round, and numbers made from them.

    Each call begins with the stream's first block, so equal calls give equal numbers. Numbers that
    must be independent need separate purposes.
    """

    key: int
    round: int
    client: int

    @staticmethod
    def of_seed(seed: UInt64[np.ndarray, "2"]) -> "Stream":
        """Return the stream that `fill` draws from with this seed."""
        key, numbers = (int(word) for word in seed)
        return Stream(key, numbers >> 32, numbers & LOW)

    @property
    def seed(self) -> UInt64[np.ndarray, "2"]:
        """The seed that `fill` takes: the key, and (round, client)."""
        return np.array([self.key, self.round << 32 | self.client], np.uint64)

    def words(self, count: int) -> UInt64[np.ndarray, " count"]:
        """Return the first `count` words of 64 bits."""
        words = np.empty(count + count % 2, np.uint64)
        fill(self.seed, 0, words)
        return words[:count]

    def lanes(self, shape: tuple[int, ...]) -> UInt32[np.ndarray, " *shape"]:
        """Return 32 random bits for each element; the last axis is a row."""
        *rows, width = shape
        blocks = row_blocks(width, 32)
        lanes = self.words(2 * blocks * prod(rows)).view(np.uint32)
        return lanes.reshape(*rows, 4 * blocks)[..., :width]

    def uniform(self, shape: tuple[int, ...]) -> Float[np.ndarray, " *shape"]:
        """Return U[0, 1) in float32: the 24 high bits of 32, times 2⁻²⁴, exact on any device."""
        return (self.lanes(shape) >> np.uint32(8)).astype(np.float32) * np.float32(2**-24)

    def normal(self, shape: tuple[int, ...]) -> Float[np.ndarray, " *shape"]:
        """Return N(0, 1) in float32, by Box and Muller (1958).

        Elements 2i and 2i + 1 of a row are √(−2 ln U) times the cosine and the sine of an angle.
        U is the 23 high bits of lane 2i, plus a half, times 2⁻²³. The angle is a quarter of a turn
        times the sum of two parts: the two high bits of lane 2i + 1, and its other bits as a signed
        number from −½ to ½. The bits are the same on any device; logarithm, sine and cosine may
        differ in their last digits between devices, but not between CPUs.
        """
        *rows, width = shape
        return normal_numbers(self.lanes((*rows, width + width % 2)))[..., :width]

    def chosen(self, n: int, count: int) -> Int[np.ndarray, " count"]:
        """Return `count` of the numbers below n ≥ count, ascending: those with the lowest bits.

        Each number draws 31 bits, the high ones of 32; of equal ones the lower number goes first.
        """
        order = (self.lanes((n,)).astype(np.int64) >> 1 << 32) | np.arange(n)
        return np.sort(np.partition(order, count - 1)[:count] & 0xFFFFFFFF)


class ClientStreams(NamedTuple):
    """The streams of one purpose in one round, one for each client."""

    key: int  # Philox's key: the low 32 bits first
    round: int  # negative if it is in `counter` alone
    counter: Tensor | None = None  # the round, in memory that GPU kernels read

    def seeds(self, clients: Int[np.ndarray, " clients"]) -> UInt64[np.ndarray, "clients 2"]:
        """Return what `fill` takes for some clients' streams: the key, and (round, client)."""
        if self.round < 0:
            raise NotRecordable("what the host draws for it would be the same in every round")
        seeds = np.empty((len(clients), 2), np.uint64)
        seeds[:, 0] = self.key
        seeds[:, 1] = np.uint64(self.round << 32) | clients.astype(np.uint64)
        return seeds


@compiled(inline="always")
def philox_round(
    a: np.uint64, b: np.uint64, c: np.uint64, d: np.uint64, k0: np.uint64, k1: np.uint64
) -> tuple[np.uint64, np.uint64, np.uint64, np.uint64]:
    """Do one of the ten rounds of Philox 4x32 (Salmon et al. 2011), on the low halves of words.

    The contents of the high halves do not matter: vectors multiply 32 bits by 32 as they are.
    """
    p, q = (a & LOW_BITS) * np.uint64(MULTIPLIERS[0]), (c & LOW_BITS) * np.uint64(MULTIPLIERS[1])
    return (q >> HALF) ^ b ^ k0, q, (p >> HALF) ^ d ^ k1, p


@compiled()
def fill(
    seed: UInt64[np.ndarray, "2"], first: int, words: UInt64[np.ndarray, " twice_blocks"]
) -> None:
    """words = a stream's blocks from `first` on, two words each: see `rng.Streams`."""
    low_key, high_key = seed[0], seed[0] >> HALF
    client, number = seed[1] & LOW_BITS, seed[1] >> HALF
    for i in range(len(words) // 2):
        a, b, c, d = np.uint64(first + i), client, number, np.uint64(0)
        k0, k1 = low_key, high_key
        for _ in range(10):
            a, b, c, d = philox_round(a, b, c, d, k0, k1)
            k0, k1 = k0 + LOW_STEP, k1 + HIGH_STEP
        words[2 * i] = (a & LOW_BITS) | (b << HALF)
        words[2 * i + 1] = (c & LOW_BITS) | (d << HALF)


@compiled(inline="always")
def row_blocks(width: int, bits: int) -> int:
    """Return how many blocks of 128 bits a row of `width` lanes takes; rows start new blocks."""
    return -(-width * bits // 128)


@compiled(inline="always")
def row_buffer(width: int, bits: int) -> UInt64[np.ndarray, " words"]:
    """Return a buffer for a row of lanes, padded to fill the vectors, which takes less time."""
    return np.empty(2 * padded(row_blocks(width, bits), BLOCKS), np.uint64)


def block(counter: tuple[Bits, ...], key: tuple[Bits, Bits]) -> tuple[Bits, ...]:
    """Return four times 32 random bits for a counter of four and a key of two, broadcastable.

    Products may wrap around to negative numbers: masks after the shifts correct this.
    """
    a, b, c, d = counter
    k0, k1 = key
    for _ in range(ROUNDS):
        p, q = a * MULTIPLIERS[0], c * MULTIPLIERS[1]
        a, b, c, d = (q >> 32 & LOW) ^ b ^ k0, q & LOW, (p >> 32 & LOW) ^ d ^ k1, p & LOW
        k0, k1 = k0 + WEYL[0] & LOW, k1 + WEYL[1] & LOW
    return a, b, c, d


def words(stream: Stream, count: int, first: int = 0) -> UInt64[np.ndarray, " count"]:
    """Return `Stream.words` from block `first` on, with NumPy."""
    number = np.arange(first, first + -(-count // 2))
    bits = block((number, stream.client, stream.round, 0), halves(stream.key))
    return np.stack(bits, axis=-1).astype(np.uint32).view(np.uint64).reshape(-1)[:count]


def lanes(stream: Stream, shape: tuple[int, ...], bits: int) -> Integer[np.ndarray, " *shape"]:
    """Return 16 or 32 random bits for each element, with NumPy; the last axis is a row."""
    *rows, width = shape
    blocks = row_blocks(width, bits)
    drawn = words(stream, 2 * blocks * prod(rows)).view(f"u{bits // 8}")
    return drawn.reshape(*rows, blocks * 128 // bits)[..., :width]


def tensor_lanes(
    streams: ClientStreams,
    client: Int[Tensor, " rows"],
    row: Int[Tensor, " rows"],
    width: int,
    bits: int,
) -> Int[Tensor, "rows width"]:
    """Return `lanes` for some rows of some clients, by integer operations on any device."""
    blocks = row_blocks(width, bits)
    number = row[:, None] * blocks + torch.arange(blocks, device=row.device)
    round = streams.round if streams.counter is None else streams.counter
    counter = (number, client[:, None], round, 0)
    found = torch.stack(block(counter, halves(streams.key)), dim=-1)
    parts = [found >> low & (1 << bits) - 1 for low in range(0, 32, bits)]
    return torch.stack(parts, dim=-1).flatten(1)[:, :width]


def halves(key: int) -> tuple[int, int]:
    """Return the key as Philox takes it: its low 32 bits first."""
    return key & LOW, key >> 32
