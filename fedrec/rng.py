"""Named random streams. A draw depends only on (seed, purpose, round, client, index)."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.random.bit_generator import ISeedSequence
from torch import Tensor

from fedrec.kernels.philox import ClientStreams, Stream
from fedrec.kernels.tape import Host, NotRecordable


class _State(ISeedSequence):
    """Three 64-bit words that seed SFC64."""

    def __init__(self, words: np.ndarray) -> None:
        self._words = words

    def generate_state(self, n_words: int, dtype: Any = np.uint64) -> np.ndarray:
        return self._words


@lru_cache(maxsize=256)
def _key(seed: int, purpose: str) -> tuple[int, int]:
    digest = hashlib.blake2b(f"{seed}/{purpose}".encode(), digest_size=16).digest()
    return int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:], "little")


@dataclass(frozen=True)
class Streams:
    """The random streams of one run at one round.

    A stream is a sequence of 128-bit blocks. Philox 4x32-10 computes each block from a key (64 bits
    of a hash of (seed, purpose)) and the counters (block number, client, round, 0), 32 bits each.
    Therefore the order of draws does not matter, a stream can be entered at any position, and every
    device can draw the same bits (`kernels.philox`). The arms of an experiment with the same seed
    share cohorts, initial values, negatives and dropout masks.

    The 32-bit lanes of a block, and the halves of a lane, are numbered from the low end: reading a
    stream 64, 32 or 16 bits at a time gives the same little-endian bytes. When bits are drawn for
    an array, the last axis is a row, and each row starts a new block: element i of row r lies in
    block r · `philox.row_blocks` + i · bits // 128, for any number of rows.
    """

    seed: int
    round: int = 0
    host: Host | None = None  # set on a GPU, where a recorded round is replayed without its code

    def at(self, round: int) -> "Streams":
        """Return the same streams at another round."""
        return replace(self, round=round)

    def generator(self, purpose: str, client: int = 0) -> np.random.Generator:
        """Return a NumPy generator for one purpose and client (0 if no client is meant).

        It serves draws that happen once per run or a few numbers at a time: cohorts, initial
        values, malicious users, negatives, starts of k-means. The generator is not Philox but
        SFC64, seeded with a hash of (seed, purpose) and the pair (round, client). Creating it takes
        2 µs (NumPy's own Philox: 20 µs), but it is serial and runs only on the CPU.
        """
        self._check_round()
        words = np.array([*_key(self.seed, purpose), self.round << 32 | client], np.uint64)
        return np.random.Generator(np.random.SFC64(_State(words)))  # type: ignore[arg-type]

    def key(self, purpose: str) -> int:
        """Return the 64-bit Philox key, low 32 bits first."""
        return _key(self.seed, purpose)[0]

    def of_clients(self, purpose: str) -> ClientStreams:
        """Return the streams of one purpose, one for each client."""
        counter = None if self.host is None else self.host.counter
        return ClientStreams(self.key(purpose), self.round, counter)

    def of(self, purpose: str, client: int = 0) -> Stream:
        """Return the stream of one purpose and one client (0 if no client is meant)."""
        self._check_round()
        return Stream(self.key(purpose), self.round, client)

    def drawn(self, draw: Callable[["Streams"], np.ndarray]) -> Tensor:
        """Draw on the host from this round's streams, and put the result on the round's device.

        `draw` may depend only on the streams and on values that are constant over rounds. On a GPU
        a round is recorded once and then replayed, and only draws made here are repeated.
        """
        if self.host is None:
            return torch.from_numpy(draw(self))
        return self.host.drawn(lambda number: draw(Streams(self.seed, number)), self.round)

    def _check_round(self) -> None:
        if self.round < 0:
            raise NotRecordable("a draw would be the same in every round: use Streams.drawn")
