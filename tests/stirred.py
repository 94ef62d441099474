"""Compiled loops, made again with their memory elsewhere: their bits must not hang on addresses."""

import functools
import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from fedrec.kernels import vectors as kernels

LOOPS: dict[str, Any] = {name: x for name, x in vars(kernels).items() if hasattr(x, "py_func")}
KEPT = 12  # calls of each loop that are kept, to be made again later
SLACK = 512  # bytes that an array may be shifted by


class Stirred:
    """Makes each call again `repeats` times, and counts the repetitions and those that differed."""

    def __init__(self, repeats: int, seed: int = 0) -> None:
        self._repeats, self._draw = repeats, random.Random(seed)
        self._held: list[Any] = []
        self.again: Counter[str] = Counter()
        self.differed: Counter[str] = Counter()
        self.calls: dict[str, list[tuple[Any, ...]]] = {}
        self._spies = {name: self._watched(name) for name in LOOPS}

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch the loops that are called meanwhile."""
        vars(kernels).update(self._spies)
        try:
            yield
        finally:
            vars(kernels).update(LOOPS)

    def repeat(self, name: str, given: tuple[Any, ...]) -> None:
        """Make a call twice, on copies, and compare all that it has written or gives."""
        outcomes = []
        for _ in range(2):
            self._stir()
            mine = [self._elsewhere(x) for x in given]
            outcomes.append(_bits(LOOPS[name](*mine), *mine))
        self._count(name, outcomes[0] == outcomes[1])

    def _watched(self, name: str) -> Callable[..., Any]:
        @functools.wraps(LOOPS[name])
        def call(*given: Any) -> Any:
            before = tuple(self._elsewhere(x) for x in given)
            # A loop looks for those that it calls by name when it is compiled.
            vars(kernels).update(LOOPS)
            result = LOOPS[name](*given)
            expected = _bits(result, *given)
            for _ in range(self._repeats):
                self._stir()
                mine = [self._elsewhere(x) for x in before]
                self._count(name, _bits(LOOPS[name](*mine), *mine) == expected)
            self._keep(name, before)
            vars(kernels).update(self._spies)
            return result

        return call

    def _count(self, name: str, same: bool) -> None:
        self.again[name] += 1
        self.differed[name] += not same

    def _keep(self, name: str, given: tuple[Any, ...]) -> None:
        """Of the many calls of a loop, a random few."""
        kept = self.calls.setdefault(name, [])
        if len(kept) < KEPT:
            kept.append(given)
        elif self._draw.random() < 0.05:
            kept[self._draw.randrange(KEPT)] = given

    def _stir(self) -> None:
        """Move the free places of the heap about."""
        for _ in range(self._draw.randrange(20)):
            if self._held and self._draw.random() < 0.5:
                self._held.pop(self._draw.randrange(len(self._held)))
            else:
                size = int(2 ** self._draw.uniform(4, 16))
                self._held.append(np.empty(size, np.uint8))

    def _elsewhere(self, x: Any) -> Any:
        """A copy of an array with the same strides, at a random distance from a block's start."""
        if not isinstance(x, np.ndarray):
            return x
        steps = sum((n - 1) * s for n, s in zip(x.shape, x.strides, strict=True) if n)
        room = np.empty(max(steps, 0) + x.itemsize + SLACK, np.uint8)
        start = -room.ctypes.data % 8 + 8 * self._draw.randrange(SLACK // 8 - 1)
        copy = np.ndarray(x.shape, x.dtype, room, start, x.strides)
        copy[...] = x
        copy.flags.writeable = x.flags.writeable
        return copy


def _bits(*values: Any) -> list[Any]:
    """Arrays as bytes, and everything else as it is."""
    flat = [part for x in values for part in (x if isinstance(x, tuple) else (x,))]
    return [x.tobytes() if isinstance(x, np.ndarray) else repr(x) for x in flat]
