"""Work shared out among as many threads as PyTorch uses."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import TypeVar

import torch

A = TypeVar("A")
B = TypeVar("B")


def spread(work: Callable[[A], B], parts: Iterable[A]) -> list[B]:
    """The results of `work` on each part, in order; for work that releases the interpreter lock.

    The parts must not depend on the number of threads if sums over them are to be repeatable.
    """
    threads = torch.get_num_threads()
    return list(map(work, parts)) if threads == 1 else list(_pool(threads).map(work, parts))


@lru_cache(maxsize=1)
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads)
