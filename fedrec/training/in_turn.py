"""Run several tasks in one thread, one step of each in turn.

On a GPU each run has its own stream, and a round of one cell leaves most of the GPU idle. So the
rounds of several seeds share the GPU.
"""

from collections.abc import Generator, Iterable
from typing import TypeVar

from fedrec.errors import Interrupted

T = TypeVar("T")
Steps = Generator[None, None, T]


def finished(steps: Steps[T]) -> T:
    """Run all steps of a task and return its result."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            found: T = end.value
            return found


def in_turn(works: Iterable[Steps[None]]) -> None:
    """Run several tasks, one step of each in turn.

    Raises:
        Interrupted: a task was interrupted. The other tasks continue until they are interrupted
            too or finish, so that each one is saved.
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
