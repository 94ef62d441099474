"""Many cells back to back in one process: memory, open files and disk use must not grow.

`python -m tests.soak` (`make soak`). The cells are the miniature's, of fewer rounds, one after the
other with a checkpoint every round.
"""

import argparse
import os
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory

from fedrec.config.cell_config import CellConfig
from fedrec.config.study import Study
from fedrec.data.split import Split, leave_one_out
from fedrec.process import prepare
from fedrec.records import write_record
from fedrec.training.resume import Keeper
from fedrec.training.run import run_cell


@dataclass(frozen=True)
class Use:
    """What a process and a folder hold."""

    memory_mb: float
    open_files: int
    threads: int
    disk_bytes: int
    files: int


def use(folder: Path) -> Use:
    """What is in use now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    return Use(
        memory_mb=pages * os.sysconf("SC_PAGE_SIZE") / 2**20,
        open_files=len(os.listdir("/proc/self/fd")),
        threads=len(os.listdir("/proc/self/task")),
        disk_bytes=sum(sizes),
        files=len(sizes),
    )


def miniature_cells(rounds: int) -> tuple[list[CellConfig], Split]:
    """The miniature's cells, cut short, and its data."""
    study = Study.load("config/miniature.yaml")
    named = dict.fromkeys(cell for b in study.blocks().values() for cell in study.cells(b))
    cells = map(study.cell_config, named)
    short = {"rounds": rounds, "evaluate_every": rounds}
    parsed = [
        CellConfig.parse({**c.values, "protocol": {**c.values["protocol"], **short}}) for c in cells
    ]
    synthetic = study.datasets["synthetic"].synthetic
    assert synthetic
    return parsed, leave_one_out(synthetic.generate())


def soak(cells: list[CellConfig], split: Split, count: int, folder: Path) -> list[Use]:
    """What is in use after each of `count` cells, whose records replace each other."""
    uses = []
    for number, config in enumerate(islice(cycle(cells), count)):
        record = folder / f"{number % len(cells)}.json"
        keeper = Keeper(record, lambda: False, every=0.0)
        write_record(run_cell(config, split, "cpu", [keeper]), record)
        keeper.forget()
        uses.append(use(folder))
    return uses


def verdict(uses: list[Use], warm_up: int) -> tuple[str, bool]:
    """A line for some moments, and whether nothing has grown since the warm-up.

    That is one pass over all kinds of cells: then the allocator holds all that it will need.
    """
    early, late = uses[warm_up - 1], uses[-1]
    steady = (
        late.memory_mb < early.memory_mb * 1.05
        and late.open_files <= early.open_files
        and late.threads <= early.threads
        and late.files == early.files
    )
    moments = sorted({warm_up - 1, *range(0, len(uses), len(uses) // 5 or 1)})
    shown = [f"after {n + 1:4d} cells: {uses[n]}" for n in moments]
    return "\n".join([*shown, f"at the end: {late}", "steady" if steady else "GROWN"]), steady


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--cells", type=int, default=300)
    options.add_argument("--rounds", type=int, default=40)
    given = options.parse_args()
    prepare(1)
    with TemporaryDirectory() as place:
        cells, split = miniature_cells(given.rounds)
        uses = soak(cells, split, max(given.cells, len(cells) + 1), Path(place))
    message, steady = verdict(uses, warm_up=len(cells))
    print(message)
    raise SystemExit(not steady)
