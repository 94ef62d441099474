"""The existing records of a study: those of its own runs, and the published ones."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from fedrec.errors import RecordError
from fedrec.plan.cells import Cell, cell_path
from fedrec.plan.plan import Plan
from fedrec.records import Record, read_record, read_records


@dataclass(frozen=True)
class Kept:
    """The folder of a study's records."""

    results: Path

    @staticmethod
    def of(study: Plan) -> "Kept":
        """Return the records of a study."""
        return Kept(Path(study.results))

    def path(self, cell: Cell) -> Path:
        """Return the path where the workflow and `fedrec run` write the record of a cell."""
        return self.results / "runs" / cell_path(cell)

    def published(self) -> dict[Cell, Record]:
        """Return the published records, by cell."""
        pack = self.results / "published" / "records.jsonl.gz"
        return {record.cell: record for record in (read_records([pack]) if pack.exists() else ())}

    def some(self, cells: Iterable[Cell], published: bool = True) -> dict[Cell, Record]:
        """Return the records of cells: of the study's own runs, else published ones if allowed."""
        wanted = list(cells)
        own = {cell: read_record(p) for cell in wanted if (p := self.path(cell)).exists()}
        others = self.published() if published and len(own) < len(wanted) else {}
        return {cell: others[cell] for cell in wanted if cell in others} | own

    def one(self, cell: Cell) -> Record:
        """Return the record of a cell.

        Raises:
            RecordError: there is none; the message names the nearest cells that have one.
        """
        found = self.some([cell])
        if cell not in found:
            raise RecordError(f"no record of {cell_path(cell)}{self._nearest(cell)}")
        return found[cell]

    def _nearest(self, cell: Cell) -> str:
        runs = self.results / "runs"
        there = {str(path.relative_to(runs)) for path in runs.glob("*/*/*/*/*/seed*.json")}
        there |= {cell_path(other) for other in self.published()}
        close = difflib.get_close_matches(cell_path(cell), sorted(there), n=3, cutoff=0.0)
        return (
            f"; nearest: {', '.join(close)}"
            if close
            else f"; make it with `fedrec run {cell_path(cell)}`"
        )
