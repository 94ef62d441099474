"""Every run that a study needs or that has a record: how it ended, and the command to make it."""

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fedrec.analysis.measure import Measure, seedless
from fedrec.analysis.summary import ending
from fedrec.plan.cells import Cell, cell_path
from fedrec.records import Record

STATES = ("finished", "diverged", "stopped", "failed", "missing")
ENDED_BY = "fedrec train: "  # beginning of an error message in a run's log


@dataclass(frozen=True)
class Places:
    """Folders and files, and the command that makes records."""

    runs: str = "results/runs"  # folder of records, as in the command
    command: str = "snakemake --cores 1"
    record: str = ""  # path from the page to the file with all records, or to the folder of runs
    logs: Path | None = None  # logs of runs

    def made_by(self, cell: Cell) -> str:
        """Return the command that makes a cell's record."""
        return f"{self.command} {shlex.quote(f'{self.runs}/{cell_path(cell)}')}"

    def link(self, cell: Cell) -> str:
        """Return the path from the page to the file with a cell's record."""
        packed = self.record.endswith(".gz")
        return self.record if packed else f"{self.record}/{cell_path(cell)}"

    def error(self, cell: Cell) -> str:
        """Return the last message that ended a cell's run; empty if no log has one."""
        log = self.logs / f"{cell_path(cell)}.log" if self.logs else None
        lines = log.read_text(errors="replace").splitlines() if log and log.exists() else []
        found = [line.removeprefix(ENDED_BY) for line in lines if line.startswith(ENDED_BY)]
        return found[-1] if found else ""


@dataclass(frozen=True)
class Run:
    """One run: how it ended, its result, and the source of the result."""

    cell: Cell
    state: str  # one of STATES
    note: str  # the round in which it diverged or stopped, or the error that ended it
    value: float | None  # the metric at the reported round
    round: int | None  # that round
    command: str
    link: str  # to its record; empty if there is none

    @property
    def id(self) -> str:
        """The id of the run in the page."""
        return f"run-{cell_path(self.cell).removesuffix('.json')}"


def runs_of(
    records: Sequence[Record], wanted: Sequence[Cell], measure: Measure, places: Places
) -> dict[Cell, list[Run]]:
    """Return runs by arm (seed -1): the wanted ones in order, then all others with a record."""
    found = {record.cell: record for record in records}
    runs: dict[Cell, list[Run]] = {}
    for cell in dict.fromkeys([*wanted, *found]):
        record = found.get(cell)
        run = _made(record, measure, places) if record else _not_made(cell, places)
        runs.setdefault(seedless(cell), []).append(run)
    return runs


def tally(runs: Mapping[Cell, Sequence[Run]]) -> dict[str, int]:
    """Count the runs by how they ended; every state is present."""
    counts = Counter(run.state for group in runs.values() for run in group)
    return {state: counts[state] for state in STATES}


def _made(record: Record, measure: Measure, places: Places) -> Run:
    state = ending(record)
    return Run(
        record.cell,
        state,
        ""
        if state == "finished"
        else f"in round {record.diverged_at or record.trajectory.round[-1]}",
        measure(record),
        record.trajectory.round[record.reported_index(measure.report)],
        places.made_by(record.cell),
        places.link(record.cell),
    )


def _not_made(cell: Cell, places: Places) -> Run:
    error = places.error(cell)
    state = "failed" if error else "missing"
    return Run(cell, state, error, None, None, places.made_by(cell), "")
