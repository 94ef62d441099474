"""The generator: published vectors, and the same bits by NumPy, PyTorch and the compiled loop."""

from typing import Any

import numpy as np
import pytest
import torch

from fedrec.kernels import philox
from fedrec.kernels.dropout import draw_masks, dropped_below
from fedrec.kernels.philox import Stream
from fedrec.rng import Streams

ONES = 0xFFFFFFFF
# `kat_vectors` of Random123, the authors' library: counter, key, output
VECTORS = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((ONES,) * 4, (ONES, ONES), (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (  # digits of π
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


def integers(count: int, columns: int) -> np.ndarray:
    return np.random.default_rng(columns).integers(0, 2**32, (count, columns))


@pytest.mark.parametrize(("counter", "key", "expected"), VECTORS, ids=["0", "1", "pi"])
def test_published_vectors(
    counter: tuple[int, ...], key: tuple[int, int], expected: tuple[int, ...]
) -> None:
    assert philox.block(counter, key) == expected
    for kind in (np.array, torch.tensor):
        of_arrays = philox.block(tuple(kind([x]) for x in counter), key)
        assert tuple(x.item() for x in of_arrays) == expected


def test_a_compiled_round_looks_at_low_halves_alone() -> None:
    for counter, key, expected in VECTORS:
        found: tuple[Any, ...] = tuple(np.uint64(x) | np.uint64(0xABCD << 40) for x in counter)
        k0, k1 = map(np.uint64, key)
        with np.errstate(over="ignore"):
            for _ in range(10):
                found = tuple(map(np.uint64, philox.philox_round(*found, k0, k1)))
                k0, k1 = k0 + philox.LOW_STEP, k1 + philox.HIGH_STEP
        assert tuple(int(x) & ONES for x in found) == expected


def test_numpy_and_pytorch_agree_on_a_million_counters_and_keys() -> None:
    numbers = integers(1_000_000, 6).T
    by_numpy = philox.block(tuple(numbers[:4]), (numbers[4], numbers[5]))
    tensors = [torch.from_numpy(x.copy()) for x in numbers]
    by_pytorch = philox.block(tuple(tensors[:4]), (tensors[4], tensors[5]))
    for one, other in zip(by_numpy, by_pytorch, strict=True):
        assert np.array_equal(one, other.numpy())


def test_the_compiled_loop_agrees_on_a_million_counters_and_keys() -> None:
    """1000 streams of any key, round and client, entered anywhere, 1000 blocks of each."""
    words = np.empty(2000, np.uint64)
    for low, high, number, client, first in integers(1000, 5).tolist():
        stream = Stream(key=high << 32 | low, round=number, client=client)
        philox.fill(stream.seed, first % 2**31, words)
        assert np.array_equal(words, philox.words(stream, 2000, first % 2**31))


@pytest.mark.parametrize("blocks", [1, 2, 3, 7, 8, 15, 24, 33])
def test_a_stream_can_be_entered_anywhere(blocks: int) -> None:
    """Whatever part of it a vector of the compiled loop holds."""
    stream = Streams(5, 11).of("any purpose", 3)
    whole, part = philox.words(stream, 200), np.empty(2 * blocks, np.uint64)
    assert np.array_equal(stream.words(200), whole)
    for first in (0, 1, 5, 60):
        philox.fill(stream.seed, first, part)
        assert np.array_equal(part, whole[2 * first : 2 * (first + blocks)])


@pytest.mark.parametrize(("width", "bits"), [(1, 16), (8, 16), (9, 16), (192, 16), (5, 32)])
def test_each_row_starts_a_block(width: int, bits: int) -> None:
    streams = Streams(5, 11)
    found = philox.lanes(streams.of("rows", 3), (4, width), bits)
    apart = -(-width * bits // 128)
    for row in range(4):
        own = philox.words(streams.of("rows", 3), 2 * apart, row * apart)
        assert np.array_equal(found[row], own.view(f"u{bits // 8}")[:width])
    rows = torch.tensor([2, 0, 3])
    some = philox.tensor_lanes(streams.of_clients("rows"), torch.full((3,), 3), rows, width, bits)
    assert np.array_equal(some.numpy(), found[[2, 0, 3]])
    if bits == 32:
        assert np.array_equal(streams.of("rows", 3).lanes((4, width)), found)


def test_masks_of_a_cohort_are_the_compiled_loops() -> None:
    """50 clients' pairs in one tensor of integer operations, and client by client on the CPU."""
    streams, sizes = Streams(1, 9), np.random.default_rng(0).integers(1, 300, 50)
    clients = np.random.default_rng(1).permutation(6040)[:50]
    row = torch.cat([torch.arange(int(size)) for size in sizes])
    client = torch.from_numpy(clients.repeat(sizes))
    lanes = philox.tensor_lanes(streams.of_clients("dropout"), client, row, 192, 16)
    masks, start = (lanes >= dropped_below(0.2)).float().numpy(), 0
    for one, size in zip(clients, sizes, strict=True):
        found = np.empty((1, 1, size, 192), np.float32)
        seeds = streams.of_clients("dropout").seeds(np.array([one]))
        draw_masks(seeds, 0, 192, dropped_below(0.2), found)
        assert np.array_equal(found[0, 0], masks[start : start + size])
        start += size
    assert masks.mean() == pytest.approx(0.8, abs=5 * (0.16 / masks.size) ** 0.5)
