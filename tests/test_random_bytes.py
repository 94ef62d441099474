"""Bytes for a battery: neighbouring streams, word by word, until the reader ends."""

import subprocess
import sys

import numpy as np

from fedrec.rng import Streams
from tools.random_bytes import CLIENTS, SEEDS, interleaved


def test_clients_come_before_seeds_and_rounds() -> None:
    words = interleaved(5)
    first = [Streams(0, 5).of("dropout", client).words(3) for client in range(CLIENTS)]
    assert np.array_equal(words[:3, :CLIENTS], np.stack(first, axis=1))
    assert words[2, CLIENTS] == Streams(1, 5).of("dropout").words(3)[2]
    assert words[2, CLIENTS * SEEDS] == Streams(0, 6).of("dropout").words(3)[2]


def test_they_go_on_until_the_reader_has_enough() -> None:
    command = [sys.executable, "-m", "tools.random_bytes"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout and process.stderr
        found = np.frombuffer(process.stdout.read(8 * 1000), np.uint64)
        process.stdout.close()
        assert process.wait(timeout=60) == 0 and process.stderr.read() == b""
    assert np.array_equal(found, interleaved(0).ravel()[:1000])
