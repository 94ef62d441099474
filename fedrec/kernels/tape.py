"""A round on a GPU is recorded once, as graphs of kernels, and played again without its code.

Python takes longer to start a kernel than the kernel runs. So the code of a round runs once while
CUDA records what it starts. What differs from round to round has to come from outside: draws of the
host are made anew before the graphs run, and decisions of the host between two of them.
"""

import warnings
from collections.abc import Callable, Hashable
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
import torch
from torch import Tensor

Draw = Callable[[int], np.ndarray]  # the number of a round -> what is drawn in it
Decide = Callable[[np.ndarray], np.ndarray]
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

    def decided(self, decide: Decide, seen: Tensor) -> Tensor:
        """What the host decides when it sees some numbers."""


class ByCode:
    """Plays a round by its code."""

    def __init__(self, device: torch.device, number: int) -> None:
        self._device = device
        self.counter = uploaded(np.array(number), device)

    def drawn(self, draw: Draw, number: int) -> Tensor:
        """Draw, and send it over."""
        return uploaded(draw(number), self._device)

    def decided(self, decide: Decide, seen: Tensor) -> Tensor:
        """Wait for the numbers, decide, and send that over."""
        return uploaded(decide(seen.cpu().numpy()), self._device)


def uploaded(array: np.ndarray, device: torch.device) -> Tensor:
    """A copy on a device, for which the host does not wait."""
    found = torch.from_numpy(np.ascontiguousarray(array))
    return found.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else found


class Tape:
    """A recorded round: graphs, and what the host draws before and decides between them."""

    def __init__(self, device: torch.device, number: int) -> None:
        # Made before any graph is recorded: a graph's own memory is used again within it.
        self._block = torch.zeros(ROOM, dtype=torch.uint8, device=device)
        self._used, self._number = 0, number
        self._draws: list[tuple[int, Draw]] = []
        self._decisions: list[tuple[Decide, Tensor, Tensor]] = []
        self._graphs: list[torch.cuda.CUDAGraph] = []
        self._result: Any = None
        self.counter = self.drawn(np.array, number)

    def record(self, body: Callable[["Tape"], Any]) -> None:
        """Record what a function starts; nothing of it runs.

        Raises:
            NotRecordable: it waits for the device, or draws by itself.
        """
        try:
            self._begin()
            self._result = body(self)
            self._graphs[-1].capture_end()
        except Exception as error:
            with suppress(RuntimeError):  # a recording that CUDA has given up
                self._graphs[-1].capture_end()
            raise NotRecordable(str(error)) from error

    def play(self, number: int) -> Any:
        """Play a round; gives what the function gave, with this round's numbers in it."""
        self._draw(number)
        self._graphs[0].replay()
        for graph, (decide, seen, place) in zip(self._graphs[1:], self._decisions, strict=True):
            decision = torch.from_numpy(decide(seen.cpu().numpy())).pin_memory()
            place.copy_(decision, non_blocking=True)
            graph.replay()
        return self._result

    def drawn(self, draw: Draw, number: int) -> Tensor:
        """Where what is drawn will lie. It must have the same shape in every round."""
        place = self._place(draw(self._number))
        self._draws.append((self._used, draw))
        return place

    def decided(self, decide: Decide, seen: Tensor) -> Tensor:
        """Where what is decided will lie: a truth for each number that is seen."""
        self._graphs[-1].capture_end()
        place = self._place(np.zeros(len(seen), np.bool_))
        self._decisions.append((decide, seen, place))
        self._begin()
        return place

    def _begin(self) -> None:
        """Record one more graph. All of a tape's graphs share their memory."""
        graph = torch.cuda.CUDAGraph()
        pool = self._graphs[0].pool() if self._graphs else None
        self._graphs.append(graph)
        graph.capture_begin(pool, capture_error_mode="thread_local")

    def _draw(self, number: int) -> None:
        """Draw all arrays, and send them over in one go."""
        host = torch.empty(self._used, dtype=torch.uint8, pin_memory=True)
        for end, draw in self._draws:
            drawn = np.ascontiguousarray(draw(number)).reshape(-1).view(np.uint8)
            host.numpy()[end - len(drawn) : end] = drawn
        self._block[: self._used].copy_(host, non_blocking=True)

    def _place(self, like: np.ndarray) -> Tensor:
        """Room for an array, at the end of what is used."""
        begin = -(-self._used // ALIGNED) * ALIGNED
        self._used = begin + like.nbytes
        if self._used > ROOM:
            raise NotRecordable(f"a round draws more than {ROOM} bytes")
        kind = torch.from_numpy(np.empty(0, like.dtype)).dtype
        return self._block[begin : self._used].view(kind).view(like.shape)


class Tapes:
    """The kinds of rounds that are recorded so far."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        # A pretended GPU has no graphs.
        self._records = device.type == "cuda" and torch.backends.cuda.is_built()
        self._stream = torch.cuda.Stream(device) if self._records else None
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
        tape = Tape(self._device, number)
        try:
            tape.record(lambda host: body(host, UNKNOWN))
        except NotRecordable as reason:
            warnings.warn(
                f"rounds are played by their code, which is slower: {reason}", stacklevel=2
            )
            return None
        return tape
