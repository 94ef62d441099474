"""Work shared out among threads, ours and PyTorch's own, and what a process sets up for it once."""

import ctypes
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import lru_cache
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import Int

A = TypeVar("A")
B = TypeVar("B")
PARTS = 8  # pieces of work that are cut by size, whatever the threads
INNER = np.arange(1, PARTS) / PARTS  # where they meet

# Parameters of glibc's mallopt (malloc.h) and the largest threshold that it accepts.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
LARGEST = 4 * 2**20 * ctypes.sizeof(ctypes.c_long)

_threads = 1


def prepare(threads: int) -> None:
    """Use this many threads, and keep freed memory for the next round."""
    use_threads(threads)
    if sys.platform == "linux":
        keep_freed_memory()


def use_threads(count: int) -> None:
    """Work on this many threads from now on.

    PyTorch is left with one: its threads spin for a while after each operation, in the way of ours.
    """
    global _threads
    _threads = count
    torch.set_num_threads(1)


def keep_freed_memory() -> None:
    """Have glibc serve large arrays from its heap, and not give the heap back.

    Otherwise each round gets its large arrays as fresh pages, which the kernel clears one by one:
    a fifth of a round under UNION. Other C libraries are left as they are.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        mallopt(M_MMAP_THRESHOLD, LARGEST)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


@contextmanager
def torch_threads() -> Iterator[None]:
    """Where PyTorch's own operations are large: they may use all threads."""
    torch.set_num_threads(_threads)
    try:
        yield
    finally:
        torch.set_num_threads(1)


def spread(work: Callable[[A], B], parts: Iterable[A]) -> list[B]:
    """The results of `work` on each part, in order; for work that releases the interpreter lock.

    The parts must not depend on the number of threads if sums over them are to be repeatable.
    """
    if _threads == 1:
        return list(map(work, parts))
    parts = list(parts)
    results: list[Any] = [None] * len(parts)
    rest = iter(range(len(parts)))  # one for all threads, of which each takes the next

    def take() -> None:
        for i in rest:
            results[i] = work(parts[i])

    helpers = [_pool(_threads - 1).submit(take) for _ in parts[1:_threads]]
    try:
        take()
    finally:
        started = [helper for helper in helpers if not helper.cancel()]
        wait(started)
    for helper in started:
        helper.result()
    return results


def client_ranges(bounds: Int[np.ndarray, " clients_plus_1"]) -> list[tuple[int, int]]:
    """The first and the end of clients that have about equally many rows together.

    For work on each client by itself: a single thread takes all of them at once.
    """
    if _threads == 1:
        return [(0, len(bounds) - 1)]
    return [(some.start, some.stop - 1) for some in even_ranges(bounds)]


def even_ranges(bounds: Int[np.ndarray, " bounds"]) -> list[slice]:
    """Ranges of about equally many rows, as slices of `bounds` that share their ends.

    The same whatever the threads, for what is summed over the ranges.
    """
    cuts = np.searchsorted(bounds, bounds[-1] * INNER).tolist()
    ends = sorted({0, *cuts, len(bounds) - 1})
    return [slice(first, last + 1) for first, last in pairwise(ends)]


def row_ranges(rows: int) -> list[tuple[int, int]]:
    """The first and the end of equally many rows each, for work on each row by itself."""
    if _threads == 1:
        return [(0, rows)]
    return list(pairwise(rows * part // PARTS for part in range(PARTS + 1)))


@lru_cache(maxsize=1)
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads)
