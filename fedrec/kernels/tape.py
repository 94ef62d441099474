"""A round on a GPU is recorded once, as a graph of kernels, and played again without its code.

Python takes longer to start a kernel than the kernel runs. So the code of a round runs once while
CUDA records what it starts. What differs from round to round has to come from outside: draws of the
host are made anew before the kernels run. Nothing may wait for a kernel to hear what it found.
"""

import warnings
from collections.abc import Callable, Hashable
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
import torch
from torch import Tensor

Draw = Callable[[int], np.ndarray]  # the number of a round -> what is drawn in it
T = TypeVar("T")
UNKNOWN = -1  # the number of a round while it is recorded
ALIGNED = 16  # bytes, at which each array begins
ROOM = 2**20  # bytes of all that a round draws


class NotRecordable(Exception):
    """A round does what cannot be recorded; it has to be played by its code each time."""


@runtime_checkable
class Host(Protocol):
    """What a round on a GPU asks the host for."""

    @property
    def counter(self) -> Tensor:
        """The number of the round, where kernels read it."""

    def drawn(self, draw: Draw, number: int) -> Tensor:
        """What the host draws in this round."""


class ByCode:
    """Plays a round by its code."""

    def __init__(self, device: torch.device, number: int) -> None:
        self._device = device
        self.counter = uploaded(np.array(number), device)

    def drawn(self, draw: Draw, number: int) -> Tensor:
        """Draw, and send it over."""
        return uploaded(draw(number), self._device)


def uploaded(array: np.ndarray, device: torch.device) -> Tensor:
    """A copy on a device, for which the host does not wait."""
    found = torch.from_numpy(np.ascontiguousarray(array))
    return found.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else found


class Tape:
    """A recorded round: a graph of kernels, and what the host draws before."""

    def __init__(self, device: torch.device, number: int, pool: Any) -> None:
        # Made before the graph is recorded: a graph's own memory is used again within it.
        self._block = torch.zeros(ROOM, dtype=torch.uint8, device=device)
        self._used, self._number, self._pool = 0, number, pool
        self._draws: list[tuple[int, Draw]] = []
        self._graph, self._result = torch.cuda.CUDAGraph(), None
        self.counter = self.drawn(np.array, number)

    def record(self, body: Callable[["Tape"], Any]) -> None:
        """Record what a function starts; nothing of it runs.

        Raises:
            NotRecordable: it waits for the device, or draws by itself.
        """
        try:
            self._graph.capture_begin(self._pool, capture_error_mode="thread_local")
            self._result = body(self)
            self._graph.capture_end()
        except Exception as error:
            with suppress(RuntimeError):  # a recording that CUDA has given up
                self._graph.capture_end()
            raise NotRecordable(str(error)) from error

    def play(self, number: int) -> Any:
        """Play a round; gives what the function gave, with this round's numbers in it."""
        host = torch.empty(self._used, dtype=torch.uint8, pin_memory=True)
        for end, draw in self._draws:
            drawn = np.ascontiguousarray(draw(number)).reshape(-1).view(np.uint8)
            host.numpy()[end - len(drawn) : end] = drawn
        self._block[: self._used].copy_(host, non_blocking=True)
        self._graph.replay()
        return self._result

    def drawn(self, draw: Draw, number: int) -> Tensor:
        """Where what is drawn will lie. It must have the same shape in every round."""
        like = draw(self._number)
        begin = -(-self._used // ALIGNED) * ALIGNED
        self._used = begin + like.nbytes
        if self._used > ROOM:
            raise NotRecordable(f"a round draws more than {ROOM} bytes")
        self._draws.append((self._used, draw))
        kind = torch.from_numpy(np.empty(0, like.dtype)).dtype
        return self._block[begin : self._used].view(kind).view(like.shape)


class Tapes:
    """The kinds of rounds that are recorded so far."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        # A pretended GPU has no graphs.
        self._records = device.type == "cuda" and torch.backends.cuda.is_built()
        self._stream = torch.cuda.Stream(device) if self._records else None
        # One memory for all: no two play at a time, and what one leaves is copied at once.
        self._pool = torch.cuda.graph_pool_handle() if self._records else None
        self._met: set[Hashable] = set()
        self._tapes: dict[Hashable, Tape | None] = {}

    def on_stream(self) -> AbstractContextManager[object]:
        """Whatever touches what the rounds touch belongs in here: a run has a queue of its own.

        CUDA records no other, and the runs of several seeds do not wait for one another.
        """
        return nullcontext() if self._stream is None else torch.cuda.stream(self._stream)

    def wait(self) -> None:
        """Until all is made that was asked for so far, on another stream it may be."""
        if self._records:
            torch.cuda.synchronize(self._device)

    def play(self, kind: Hashable | None, number: int, body: Callable[[Host, int], T]) -> T:
        """Play a round of a kind: by its code the first time, then by a recording.

        The first time, kernels are compiled and libraries get ready. A kind of None is never
        recorded; nor is a round that turns out not to be recordable.
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
            self._pool = torch.cuda.graph_pool_handle()  # the other may be left half given back
            warnings.warn(
                f"rounds are played by their code, which is slower: {reason}", stacklevel=2
            )
            return None
        return tape
