"""The `status` subcommand: what a study has, and what it still lacks."""

import argparse
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fedrec.cli.arguments import add_config, print_lines, stage_of
from fedrec.cli.kept import Kept
from fedrec.cli.text import columns
from fedrec.plan.cells import Cell, cell_path
from fedrec.records import Record

if TYPE_CHECKING:  # importing them takes a while
    from fedrec.config.study import Study

STATES = ("done", "diverged", "outdated", "failed", "half-way", "missing")
TO_MAKE = ("outdated", "failed", "half-way", "missing")
SHOWN_FAILURES = 5


def add_to(stages: Any) -> None:
    """Add the subcommand to a parser's."""
    stage = stage_of(stages)
    add_config(stage("status", status))


@dataclass(frozen=True)
class State:
    """The state of a cell."""

    name: str  # one of STATES
    message: str = ""  # the error, if the run failed


def status(args: argparse.Namespace) -> None:
    """Count the finished and missing cells of each table and figure, and estimate the time left.

    `done` counts the study's own and the published records with the config's settings; `diverged`
    runs are done as well. `outdated` records were made with other settings, `half-way` runs left a
    checkpoint, and `failed` runs left a message in their logs. Times are for one CPU thread, as in
    the records. For example:

      fedrec status
      fedrec status --config config/demo.yaml
    """
    from fedrec.config.study import Study

    study = Study.load(*args.config)
    states, records = _states(study), list(Kept.of(study).published().values())
    rows = [["", *STATES, "time left"]]
    for name, block in study.blocks().items():
        rows.append(_status_row(name, study.cells(block), states, records))
    rows.append(_status_row("all together", list(states), states, records))
    print_lines(columns(rows, right=range(1, 9)))
    failed = [(cell, state) for cell, state in states.items() if state.name == "failed"]
    for cell, state in failed[:SHOWN_FAILURES]:
        print(f"failed: {cell_path(cell)}: {state.message}")
    if len(failed) > SHOWN_FAILURES:
        print(f"and {len(failed) - SHOWN_FAILURES} more: {study.results}/logs/runs/")


def _states(study: "Study") -> dict[Cell, State]:
    """Return the state of every cell of a study."""
    kept = Kept.of(study)
    cells = study.distinct(cell for block in study.blocks().values() for cell in study.cells(block))
    found = kept.some(cells)
    return {cell: _state(study, kept, cell, found.get(cell)) for cell in cells}


def _state(study: "Study", kept: Kept, cell: Cell, record: Record | None) -> State:
    if record and record.config_hash == study.cell_config(cell).digest:
        return State("done" if record.diverged_at is None else "diverged")
    if record:
        return State("outdated")
    path = kept.path(cell)
    if path.with_name(f"{path.name}.checkpoint").exists():
        return State("half-way")
    log = kept.results / "logs" / "runs" / f"{cell_path(cell)}.log"
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    last = next((line for line in reversed(lines) if line.startswith("fedrec train: ")), "")
    return State("failed", last.removeprefix("fedrec train: ")) if last else State("missing")


def _status_row(
    name: str, cells: Sequence[Cell], states: Mapping[Cell, State], records: Sequence[Record]
) -> list[str]:
    from fedrec.analysis.effort import effort

    counts = Counter(states[cell].name for cell in cells)
    left = effort((cell for cell in cells if states[cell].name in TO_MAKE), records)
    return [name, *(str(counts[state] or "–") for state in STATES), left.time or "–"]
