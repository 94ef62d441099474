"""Progress of a run: a bar on a terminal, or one line per evaluation in a log."""

import sys
import time

from tqdm import tqdm

from fedrec.plan.metrics import Item
from fedrec.training.checkpoint import Identity
from fedrec.training.listener import Listener
from fedrec.training.simulation import Evaluation, Simulation


class Progress(Listener):
    """Shows the round, rounds per second, time left, the latest HR@5 and the attack's K, if any."""

    def __init__(self, shown: Item = "test") -> None:
        self._item: Item = shown

    def begins(self, run: Simulation, identity: Identity) -> None:
        """Start the bar. In a resumed run, the rounds before the interruption count as done."""
        self._done, self._start = run.round, time.perf_counter()
        hidden = not sys.stderr.isatty()
        self._bar = tqdm(total=run.rounds, initial=run.round, unit="round", disable=hidden)

    def played(self, run: Simulation, evaluation: Evaluation | None) -> None:
        """Advance the bar, and show an evaluation if there is one."""
        self._bar.update()
        if evaluation:
            self._show(run, evaluation)

    def ends(self, run: Simulation) -> None:
        """Close the bar; it stays on the screen."""
        self._bar.close()

    def _show(self, run: Simulation, evaluation: Evaluation) -> None:
        metrics = {"test": evaluation.test, "validation": evaluation.validation}[self._item]
        name = "HR@5" if self._item == "test" else f"{self._item} HR@5"
        shown = {name: f"{metrics['hr@5']:.4f}"}
        if "clusters" in evaluation.attack:
            shown["K"] = f"{evaluation.attack['clusters']:.0f}"
        self._bar.set_postfix(shown)
        if self._bar.disable:
            print(self._line(run, shown), file=sys.stderr, flush=True)

    def _line(self, run: Simulation, shown: dict[str, str]) -> str:
        rate = (run.round - self._done) / (time.perf_counter() - self._start)
        left = (run.rounds - run.round) / rate
        metrics = "  ".join(f"{name} {value}" for name, value in shown.items())
        return f"round {run.round}/{run.rounds}  {rate:.0f} rounds/s  {left:.0f} s left  {metrics}"
