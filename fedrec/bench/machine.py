"""What the machine can do: memory traffic and arithmetic, measured before anything is timed."""

import time
from collections.abc import Callable

import torch

from fedrec.kernels.threads import torch_threads, use_threads
from fedrec.settings import RecordPart

STREAM = 2**26  # numbers in each of the triad's three arrays: 256 MiB, far beyond any cache
GEMM = 2048
REPEATS = 5  # of which the fastest counts


class Machine(RecordPart):
    """A device as this process may use it."""

    device: str
    threads: int
    bandwidth: float  # bytes a second
    arithmetic: float  # float32 operations a second

    def milliseconds(self, bytes: float, operations: float) -> float:
        """The least time for so much work, if memory and arithmetic overlap (roofline)."""
        return max(bytes / self.bandwidth, operations / self.arithmetic) * 1e3


def measure_machine(device: str, threads: int) -> Machine:
    """Bandwidth of a = b + s·c over long arrays (STREAM's triad), and speed of a product."""
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
    """The shortest of some runs, in seconds."""
    return min(seconds(work, device) for _ in range(REPEATS))


def seconds(work: Callable[[], object], device: str) -> float:
    """How long it takes, to the end of what it started on a GPU."""
    start = time.perf_counter()
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start
