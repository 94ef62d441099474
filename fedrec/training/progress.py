"""Progress of a run: a bar on a terminal, a line for each evaluation in a log."""

import sys
import time
from types import TracebackType

from tqdm import tqdm

from fedrec.training.simulation import Evaluation


class Progress:
    """Shows round, rounds per second, time left, the latest HR@5 and what the attack reports.

    `done` rounds were played before an interruption.
    """

    def __init__(self, rounds: int, done: int = 0) -> None:
        self._rounds, self._done, self._start = rounds, done, time.perf_counter()
        hidden = not sys.stderr.isatty()
        self._bar = tqdm(total=rounds, initial=done, unit="round", disable=hidden)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.close()

    def played(self) -> None:
        """One more round is over."""
        self._bar.update()

    def evaluated(self, evaluation: Evaluation) -> None:
        """An evaluation is in."""
        shown = {"HR@5": f"{evaluation.test['hr@5']:.4f}"}
        if "clusters" in evaluation.attack:
            shown["K"] = f"{evaluation.attack['clusters']:.0f}"
        self._bar.set_postfix(shown)
        if self._bar.disable:
            print(self._line(evaluation.round, shown), file=sys.stderr, flush=True)

    def _line(self, round: int, shown: dict[str, str]) -> str:
        rate = (round - self._done) / (time.perf_counter() - self._start)
        left = (self._rounds - round) / rate
        metrics = "  ".join(f"{name} {value}" for name, value in shown.items())
        return f"round {round}/{self._rounds}  {rate:.0f} rounds/s  {left:.0f} s left  {metrics}"
