"""Distribution of work over threads, this package's and PyTorch's, and the setup of a process."""

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
PARTS = 8  # pieces into which work is cut by size, independent of the number of threads
INNER = np.arange(1, PARTS) / PARTS  # the borders between them

# Parameters of glibc's mallopt (malloc.h) and the largest threshold that it accepts.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
LARGEST = 4 * 2**20 * ctypes.sizeof(ctypes.c_long)

_threads = 1


def prepare(threads: int) -> None:
    """Use `threads` threads, and keep freed memory for the next round."""
    use_threads(threads)
    if sys.platform == "linux":
        keep_freed_memory()


def use_threads(count: int) -> None:
    """Use `count` threads from now on.

    PyTorch keeps one: its threads spin for a while after each operation and would slow down others.
    """
    global _threads
    _threads = count
    torch.set_num_threads(1)


def keep_freed_memory() -> None:
    """Make glibc serve large arrays from its heap, and keep the heap.

    Otherwise each round gets its large arrays as fresh pages, each of which the kernel clears: a
    fifth of a round under UNION. Other C libraries are not changed.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        mallopt(M_MMAP_THRESHOLD, LARGEST)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


@contextmanager
def torch_threads() -> Iterator[None]:
    """Let PyTorch use all threads in this context, for large operations of its own."""
    torch.set_num_threads(_threads)
    try:
        yield
    finally:
        torch.set_num_threads(1)


def spread(work: Callable[[A], B], parts: Iterable[A]) -> list[B]:
    """Return the results of `work` on each part, in order; `work` must release the GIL to gain.

    The parts must not depend on the number of threads if sums over them are to be repeatable.
    """
    if _threads == 1:
        return list(map(work, parts))
    parts = list(parts)
    results: list[Any] = [None] * len(parts)
    rest = iter(range(len(parts)))  # shared by all threads; each takes the next part

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
    """Return ranges (first, end) of clients with about equally many rows.

    They are for work on each client separately: a single thread takes all clients at once.
    """
    if _threads == 1:
        return [(0, len(bounds) - 1)]
    return [(some.start, some.stop - 1) for some in even_ranges(bounds)]


def even_ranges(bounds: Int[np.ndarray, " bounds"]) -> list[slice]:
    """Return ranges of about equally many rows, as slices of `bounds` that share their ends.

    They do not depend on the number of threads, so they are suited for sums over the ranges.
    """
    cuts = np.searchsorted(bounds, bounds[-1] * INNER).tolist()
    ends = sorted({0, *cuts, len(bounds) - 1})
    return [slice(first, last + 1) for first, last in pairwise(ends)]


def row_ranges(rows: int) -> list[tuple[int, int]]:
    """Return ranges (first, end) of equally many rows, for work on each row separately."""
    if _threads == 1:
        return [(0, rows)]
    return list(pairwise(rows * part // PARTS for part in range(PARTS + 1)))


@lru_cache(maxsize=1)
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads)
