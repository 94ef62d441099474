"""What a process that simulates rounds sets up once."""

import ctypes
import sys

from fedrec.kernels.threads import use_threads

# Parameters of glibc's mallopt (malloc.h) and the largest threshold that it accepts.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
LARGEST = 4 * 2**20 * ctypes.sizeof(ctypes.c_long)


def prepare(threads: int) -> None:
    """Use this many threads, and keep freed memory for the next round."""
    use_threads(threads)
    if sys.platform == "linux":
        keep_freed_memory()


def keep_freed_memory() -> None:
    """Have glibc serve large arrays from its heap, and not give the heap back.

    Otherwise each round gets its large arrays as fresh pages, which the kernel clears one by one:
    a fifth of a round under UNION. Other C libraries are left as they are.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        mallopt(M_MMAP_THRESHOLD, LARGEST)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
