"""The result of a run, and runs grouped by arm."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from fedrec.plan.cells import Cell
from fedrec.plan.metrics import Report
from fedrec.records import Record

LAST = 5  # evaluations


@dataclass(frozen=True)
class Measure:
    """A test metric of a run: at the reported evaluation, or the mean of the last evaluations."""

    metric: str = "hr@5"
    report: Report = "best_val"
    settled: bool = False  # the mean of the last evaluations

    def __call__(self, record: Record) -> float:
        """Return the result of a run."""
        if self.settled:
            return float(np.mean(record.trajectory.test[self.metric][-LAST:]))
        return record.reported(self.metric, self.report)

    def __str__(self) -> str:
        metric = self.metric.upper()
        return f"{metric}, mean of the last {LAST} evaluations" if self.settled else metric


def measures(report: Report) -> tuple[Measure, ...]:
    """Return the measure that decides, and then the measures shown beside it."""
    return Measure(report=report), Measure("mrr", report), Measure(report=report, settled=True)


def by_arm(records: Iterable[Record]) -> dict[Cell, list[Record]]:
    """Group records by cell, ignoring the seed."""
    arms: dict[Cell, list[Record]] = {}
    for record in records:
        arms.setdefault(seedless(record.cell), []).append(record)
    return arms


def seedless(cell: Cell) -> Cell:
    """Return the cell with seed -1, which stands for all seeds."""
    return cell.model_copy(update={"seed": -1})
