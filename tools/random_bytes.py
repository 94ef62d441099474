"""Random bytes for a statistical battery: streams of neighbouring seeds, rounds and clients.

    python -m tools.random_bytes | dieharder -g 200 -a

Consecutive words come from the next client, then the next seed, then the next round, so a battery
would detect a correlation between two of them. The output is endless, until the reader closes it.
"""

import sys
from itertools import count

import numpy as np
from jaxtyping import UInt64

from fedrec.rng import Streams

SEEDS, ROUNDS, CLIENTS, WORDS = 4, 4, 16, 1024


def interleaved(first_round: int) -> UInt64[np.ndarray, "words streams"]:
    """Return the first words of some streams, side by side."""
    return np.stack(
        [
            Streams(seed, round).of("dropout", client).words(WORDS)
            for round in range(first_round, first_round + ROUNDS)
            for seed in range(SEEDS)
            for client in range(CLIENTS)
        ],
        axis=1,
    )


def main() -> None:
    """Write them to standard output, round after round."""
    try:
        for first_round in count(0, ROUNDS):
            sys.stdout.buffer.write(interleaved(first_round).tobytes())
    except BrokenPipeError:
        sys.stderr.close()  # or Python would report the error again at exit


if __name__ == "__main__":
    main()
