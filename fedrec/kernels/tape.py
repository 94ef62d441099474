"""Rounds on a GPU are recorded once, as a graph of kernels, and then replayed without their code.

Python takes longer to start a kernel than the kernel runs. So the code of a round runs once, while
CUDA records the kernels that it starts. Whatever differs between rounds has to come from outside:
the host draws new numbers before the kernels run. The code may not wait for a kernel's result.
"""

import warnings
from collections.abc import Callable, Hashable
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
import torch
from torch import Tensor

Draw = Callable[[int], np.ndarray]  # the number of a round -> the numbers drawn for it
T = TypeVar("T")
UNKNOWN = -1  # the number of the round during recording
ALIGNED = 16  # bytes: the alignment of each array
ROOM = 2**20  # bytes for all draws of a round


class NotRecordable(Exception):
    """A round cannot be recorded, so its code has to run each time."""


@runtime_checkable
class Host(Protocol):
    """The data that a round on a GPU needs from the host."""

    @property
    def counter(self) -> Tensor:
        """The number of the round, in memory that kernels read."""

    def drawn(self, draw: Draw, number: int) -> Tensor:
        """Return the numbers that the host draws in this round."""


class ByCode:
    """Runs a round by its code."""

    def __init__(self, device: torch.device, number: int) -> None:
        self._device = device
        self.counter = uploaded(np.array(number), device)

    def drawn(self, draw: Draw, number: int) -> Tensor:
        """Draw the numbers, and send them to the device."""
        return uploaded(draw(number), self._device)


def uploaded(array: np.ndarray, device: torch.device) -> Tensor:
    """Copy an array to a device, without waiting for the copy."""
    found = torch.from_numpy(np.ascontiguousarray(array))
    return found.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else found


class Tape:
    """A recorded round: a graph of kernels, and the draws of the host before it."""

    def __init__(self, device: torch.device, number: int, pool: Any) -> None:
        # Allocated before the recording: a graph reuses its own memory within itself.
        self._block = torch.zeros(ROOM, dtype=torch.uint8, device=device)
        self._used, self._number, self._pool = 0, number, pool
        self._draws: list[tuple[int, Draw]] = []
        self._graph, self._result = torch.cuda.CUDAGraph(), None
        self.counter = self.drawn(np.array, number)

    def record(self, body: Callable[["Tape"], Any]) -> None:
        """Record the kernels that a function starts, without running them.

        Raises:
            NotRecordable: the function waits for the device, or draws numbers itself.
        """
        try:
            self._graph.capture_begin(self._pool, capture_error_mode="thread_local")
            self._result = body(self)
            self._graph.capture_end()
        except Exception as error:
            with suppress(RuntimeError):  # CUDA has already abandoned the recording
                self._graph.capture_end()
            raise NotRecordable(str(error)) from error

    def play(self, number: int) -> Any:
        """Replay a round; return the function's result, with this round's numbers in it."""
        host = torch.empty(self._used, dtype=torch.uint8, pin_memory=True)
        for end, draw in self._draws:
            drawn = np.ascontiguousarray(draw(number)).reshape(-1).view(np.uint8)
            host.numpy()[end - len(drawn) : end] = drawn
        self._block[: self._used].copy_(host, non_blocking=True)
        self._graph.replay()
        return self._result

    def drawn(self, draw: Draw, number: int) -> Tensor:
        """Return the place of the drawn numbers. They must have the same shape in every round."""
        like = draw(self._number)
        begin = -(-self._used // ALIGNED) * ALIGNED
        self._used = begin + like.nbytes
        if self._used > ROOM:
            raise NotRecordable(f"a round draws more than {ROOM} bytes")
        self._draws.append((self._used, draw))
        kind = torch.from_numpy(np.empty(0, like.dtype)).dtype
        return self._block[begin : self._used].view(kind).view(like.shape)


def has_graphs(device: torch.device) -> bool:
    """Return whether rounds can be recorded on a device. A simulated GPU replaces this function."""
    return device.type == "cuda"


class Tapes:
    """The recorded kinds of rounds."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._records = has_graphs(device)
        self._stream = torch.cuda.Stream(device) if self._records else None
        # All graphs share memory: only one runs at a time, and its results are copied at once.
        self._pool = torch.cuda.graph_pool_handle() if self._records else None
        self._met: set[Hashable] = set()
        self._tapes: dict[Hashable, Tape | None] = {}

    def on_stream(self) -> AbstractContextManager[object]:
        """Return the context for all code that uses a round's data: each run has its own stream.

        CUDA records no other stream, and the runs of several seeds do not wait for one another.
        """
        return nullcontext() if self._stream is None else torch.cuda.stream(self._stream)

    def wait(self) -> None:
        """Wait until all work on the device is finished, including that of other streams."""
        if self._records:
            torch.cuda.synchronize(self._device)

    def play(self, kind: Hashable | None, number: int, body: Callable[[Host, int], T]) -> T:
        """Run a round of a kind: by its code the first time, then by a recording.

        The first run compiles kernels and initialises libraries. A round is never recorded if its
        kind is None, or if recording it fails.
        """
        if kind is None or not self._records or kind not in self._met:
            self._met.add(kind)
            return body(ByCode(self._device, number), number)
        if kind not in self._tapes:
            self._tapes[kind] = self._recorded(number, body)
        tape = self._tapes[kind]
        return tape.play(number) if tape else body(ByCode(self._device, number), number)

    def _recorded(self, number: int, body: Callable[[Host, int], T]) -> Tape | None:
        self.wait()
        tape = Tape(self._device, number, self._pool)
        try:
            tape.record(lambda host: body(host, UNKNOWN))
        except NotRecordable as reason:
            self._pool = torch.cuda.graph_pool_handle()  # the other may be left half released
            why = str(reason).partition("\n")[0]  # CUDA adds lines of advice
            warnings.warn(f"rounds are played by their code, which is slower: {why}", stacklevel=2)
            return None
        return tape
