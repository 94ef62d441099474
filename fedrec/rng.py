"""Named random streams: a draw depends on (seed, purpose, round, client, index), nothing else."""

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
    """Three 64-bit words, given to SFC64 as its seed."""

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

    A stream is the blocks of 128 bits that Philox 4x32-10 makes of a key, 64 bits of a hash of
    (seed, purpose), and of the counters (number of the block, client, round, 0), 32 bits each. So
    the order of draws never matters, a stream can be entered anywhere, every device can draw the
    same bits (`kernels.philox`), and the arms of an experiment that share a seed share cohorts,
    initial values, negatives and dropout masks.

    The 32-bit lanes of a block, and the halves of a lane, are numbered from the low end: a stream
    read as 64, 32 or 16 bits at a time is the same little-endian bytes. Where bits are drawn for an
    array, the last axis is a row, and each row starts a new block: element i of row r lies in block
    r · `philox.row_blocks` + i · bits // 128, whatever the number of rows.
    """

    seed: int
    round: int = 0
    host: Host | None = None  # of a round on a GPU, which may be played again without its code

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
        self._check_round()
        words = np.array([*_key(self.seed, purpose), self.round << 32 | client], np.uint64)
        return np.random.Generator(np.random.SFC64(_State(words)))  # type: ignore[arg-type]

    def key(self, purpose: str) -> int:
        """The 64 bits of Philox's key, the low 32 first."""
        return _key(self.seed, purpose)[0]

    def of_clients(self, purpose: str) -> ClientStreams:
        """The streams of one purpose, one for each client."""
        counter = None if self.host is None else self.host.counter
        return ClientStreams(self.key(purpose), self.round, counter)

    def of(self, purpose: str, client: int = 0) -> Stream:
        """The stream of one purpose, for one client (0 where no client is meant)."""
        self._check_round()
        return Stream(self.key(purpose), self.round, client)

    def drawn(self, draw: Callable[["Streams"], np.ndarray]) -> Tensor:
        """What the host draws from the streams of this round, on the device of the round.

        `draw` must depend on the streams alone, but for what no other round changes: a round on a
        GPU is recorded once and played again, and only what is drawn here is drawn anew.
        """
        if self.host is None:
            return torch.from_numpy(draw(self))
        return self.host.drawn(lambda number: draw(Streams(self.seed, number)), self.round)

    def _check_round(self) -> None:
        if self.round < 0:
            raise NotRecordable("what it draws would be the same in every round: use Streams.drawn")
