"""Several pieces of work in one thread, a step of each in turn.

On a GPU each run has a queue of its own, and a round of one cell leaves most of the card idle: the
rounds of several seeds share it.
"""

from collections.abc import Generator, Iterable
from typing import TypeVar

from fedrec.errors import Interrupted

T = TypeVar("T")
Steps = Generator[None, None, T]


def finished(steps: Steps[T]) -> T:
    """What a piece of work gives once all its steps are done."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            found: T = end.value
            return found


def in_turn(works: Iterable[Steps[None]]) -> None:
    """Do several pieces of work.

    Raises:
        Interrupted: one was. The others go on until they are too, so that each is kept.
    """
    left, interrupted = list(works), None
    while left:
        for work in list(left):
            try:
                next(work)
            except StopIteration:
                left.remove(work)
            except Interrupted as reason:
                left.remove(work)
                interrupted = reason
    if interrupted:
        raise interrupted
