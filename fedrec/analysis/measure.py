"""What is measured of a run, and runs of one arm together."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from fedrec.plan.cells import Cell
from fedrec.plan.metrics import Report
from fedrec.records import Record

LAST = 5  # evaluations


@dataclass(frozen=True)
class Measure:
    """A test metric of a run: at the evaluation that counts, or the mean of the last ones."""

    metric: str = "hr@5"
    report: Report = "best_val"
    settled: bool = False  # the mean of the last evaluations

    def __call__(self, record: Record) -> float:
        """The result of a run."""
        if self.settled:
            return float(np.mean(record.trajectory.test[self.metric][-LAST:]))
        return record.reported(self.metric, self.report)

    def __str__(self) -> str:
        metric = self.metric.upper()
        return f"{metric}, mean of the last {LAST} evaluations" if self.settled else metric


def measures(report: Report) -> tuple[Measure, ...]:
    """The one that judges, and those beside it."""
    return Measure(report=report), Measure("mrr", report), Measure(report=report, settled=True)


def by_arm(records: Iterable[Record]) -> dict[Cell, list[Record]]:
    """Records of the same cell but for the seed, together."""
    arms: dict[Cell, list[Record]] = {}
    for record in records:
        arms.setdefault(seedless(record.cell), []).append(record)
    return arms


def seedless(cell: Cell) -> Cell:
    """A cell that stands for all seeds."""
    return cell.model_copy(update={"seed": -1})
