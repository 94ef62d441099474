"""Work in turns: each a step, and what one gives or suffers is its own."""

import pytest

from fedrec.errors import Interrupted
from fedrec.training.in_turn import Steps, finished, in_turn

DONE: list[str] = []


def work(name: str, steps: int, interrupted_at: int | None = None) -> Steps[None]:
    for step in range(steps):
        if step == interrupted_at:
            raise Interrupted(name)
        DONE.append(name)
        yield


def test_each_takes_a_step_at_a_time() -> None:
    DONE.clear()
    in_turn([work("a", 3), work("b", 1), work("c", 2)])
    assert "".join(DONE) == "abcaca"


def test_the_others_go_on_when_one_is_interrupted() -> None:
    DONE.clear()
    with pytest.raises(Interrupted, match="b"):
        in_turn([work("a", 3), work("b", 3, interrupted_at=1), work("c", 2)])
    assert "".join(DONE) == "abcaca"


def test_work_gives_what_it_returns() -> None:
    def steps() -> Steps[int]:
        yield
        return 7

    assert finished(steps()) == 7
