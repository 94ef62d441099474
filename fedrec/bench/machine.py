"""The machine's limits: memory bandwidth and arithmetic, measured before anything is timed."""

import time
from collections.abc import Callable

import torch

from fedrec.kernels.threads import torch_threads, use_threads
from fedrec.settings import RecordPart

STREAM = 2**26  # numbers in each of the triad's three arrays: 256 MiB, much more than any cache
GEMM = 2048
REPEATS = 5  # runs, of which the fastest counts


class Machine(RecordPart):
    """A device, with the speed available to this process."""

    device: str
    threads: int
    bandwidth: float  # bytes per second
    arithmetic: float  # float32 operations per second

    def milliseconds(self, bytes: float, operations: float) -> float:
        """Return the least time for some work, if memory and arithmetic overlap (roofline)."""
        return max(bytes / self.bandwidth, operations / self.arithmetic) * 1e3


def measure_machine(device: str, threads: int) -> Machine:
    """Measure the speeds of a = b + s·c on long arrays (STREAM's triad) and a matrix product."""
    use_threads(threads)
    return Machine(
        device=device, threads=threads, bandwidth=_bandwidth(device), arithmetic=_arithmetic(device)
    )


def _bandwidth(device: str) -> float:
    a, b, c = (torch.ones(STREAM, device=device) for _ in range(3))
    seconds = fastest(lambda: torch.add(b, c, alpha=3.0, out=a), device)
    return 3 * a.nbytes / seconds


def _arithmetic(device: str) -> float:
    a, b, c = (torch.ones(GEMM, GEMM, device=device) for _ in range(3))
    return 2 * GEMM**3 / fastest(lambda: torch.mm(a, b, out=c), device)


@torch_threads()
def fastest(work: Callable[[], object], device: str) -> float:
    """Return the shortest of some runs, in seconds."""
    return min(seconds(work, device) for _ in range(REPEATS))


def seconds(work: Callable[[], object], device: str) -> float:
    """Return the seconds of some work, including the GPU work that it starts."""
    start = time.perf_counter()
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start
