"""Compiled loops, made again with their memory elsewhere: their bits must not hang on addresses."""

import functools
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import numpy as np

from tests.elsewhere import MODULES

LOOPS: dict[str, Any] = {}
HOME: dict[str, ModuleType] = {}  # where each loop is written, and called from
for module in MODULES:
    for name, found in vars(module).items():
        if hasattr(found, "py_func") and found.py_func.__module__ == module.__name__:
            assert name not in LOOPS, f"two loops are called {name}"
            LOOPS[name], HOME[name] = found, module
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
        _put(self._spies)
        try:
            yield
        finally:
            _put(LOOPS)

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
            _put(LOOPS)
            result = LOOPS[name](*given)
            expected = _bits(result, *given)
            for _ in range(self._repeats):
                self._stir()
                mine = [self._elsewhere(x) for x in before]
                self._count(name, _bits(LOOPS[name](*mine), *mine) == expected)
            self._keep(name, before)
            _put(self._spies)
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
        """A copy of an array with the same strides, at a random distance from a block's start.

        Of a named tuple, a copy of all arrays in it.
        """
        if hasattr(x, "_fields"):
            return type(x)(*map(self._elsewhere, x))
        if not isinstance(x, np.ndarray):
            return x
        steps = sum((n - 1) * s for n, s in zip(x.shape, x.strides, strict=True) if n)
        room = np.empty(max(steps, 0) + x.itemsize + SLACK, np.uint8)
        start = -room.ctypes.data % 8 + 8 * self._draw.randrange(SLACK // 8 - 1)
        copy = np.ndarray(x.shape, x.dtype, room, start, x.strides)
        copy[...] = x
        copy.flags.writeable = x.flags.writeable
        return copy


def _put(loops: Mapping[str, Any]) -> None:
    """Have the loops' own files call these by their names."""
    for name, loop in loops.items():
        vars(HOME[name])[name] = loop


def _bits(*values: Any) -> list[Any]:
    """Arrays as bytes, and everything else as it is; what tuples hold, one by one."""
    found: list[Any] = []
    for x in values:
        if isinstance(x, tuple):
            found += _bits(*x)
        else:
            found.append(x.tobytes() if isinstance(x, np.ndarray) else repr(x))
    return found
