"""Philox 4x32-10, written out: the oracle of the compiled loop, and what a GPU evaluates.

128 random bits are a function of a counter and a key (Salmon et al. 2011, "Parallel random numbers:
as easy as 1, 2, 3"). `fedrec.rng` says what counts and what is the key; `kernels.fill` is the same
in vectors of a CPU.
"""

from math import prod
from typing import Any

import numpy as np
import torch
from jaxtyping import Int, Integer, UInt64
from torch import Tensor

from fedrec.rng import Stream, Streams, row_blocks

ROUNDS = 10
MULTIPLIERS = 0xD2511F53, 0xCD9E8D57
WEYL = 0x9E3779B9, 0xBB67AE85  # added to the key after each round
LOW = 0xFFFFFFFF

# 32 bits in a Python integer, or in each element of an array or tensor of 64-bit integers
Bits = Any


def block(counter: tuple[Bits, ...], key: tuple[Bits, Bits]) -> tuple[Bits, ...]:
    """Four times 32 random bits of four of a counter and two of a key, which may be broadcast.

    Products that wrap around to negative numbers do no harm: shifts are followed by masks.
    """
    a, b, c, d = counter
    k0, k1 = key
    for _ in range(ROUNDS):
        p, q = a * MULTIPLIERS[0], c * MULTIPLIERS[1]
        a, b, c, d = (q >> 32 & LOW) ^ b ^ k0, q & LOW, (p >> 32 & LOW) ^ d ^ k1, p & LOW
        k0, k1 = k0 + WEYL[0] & LOW, k1 + WEYL[1] & LOW
    return a, b, c, d


def words(stream: Stream, count: int, first: int = 0) -> UInt64[np.ndarray, " count"]:
    """`Stream.words` from block `first` on, by NumPy."""
    number = np.arange(first, first + -(-count // 2))
    bits = block((number, stream.client, stream.round, 0), halves(stream.key))
    return np.stack(bits, axis=-1).astype(np.uint32).view(np.uint64).reshape(-1)[:count]


def lanes(stream: Stream, shape: tuple[int, ...], bits: int) -> Integer[np.ndarray, " *shape"]:
    """16 or 32 random bits for each element, by NumPy; the last axis is a row."""
    *rows, width = shape
    blocks = row_blocks(width, bits)
    drawn = words(stream, 2 * blocks * prod(rows)).view(f"u{bits // 8}")
    return drawn.reshape(*rows, blocks * 128 // bits)[..., :width]


def tensor_lanes(
    streams: Streams,
    purpose: str,
    client: Int[Tensor, " rows"],
    row: Int[Tensor, " rows"],
    width: int,
    bits: int,
) -> Int[Tensor, "rows width"]:
    """The same for some rows of some clients, by integer operations on any device."""
    blocks = row_blocks(width, bits)
    number = row[:, None] * blocks + torch.arange(blocks, device=row.device)
    counter = (number, client[:, None], streams.round, 0)
    found = torch.stack(block(counter, halves(streams.key(purpose))), dim=-1)
    parts = [found >> low & (1 << bits) - 1 for low in range(0, 32, bits)]
    return torch.stack(parts, dim=-1).flatten(1)[:, :width]


def halves(key: int) -> tuple[int, int]:
    """The key as Philox takes it: its low 32 bits first."""
    return key & LOW, key >> 32
