"""Records of other seeds, made ahead of their own commands by a process that is already running.

Importing and reading data take as long as a few hundred rounds. So one process may continue with
the other seeds of its cell; on a GPU it plays their rounds in turn with its own.

Such a record is stored next to its final place, as `<record>.ahead`, until its own command moves
it there. It is not declared as a Snakemake output, because Snakemake deletes the outputs of a job
before it runs and after it fails.
"""

import fcntl
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fedrec import __version__
from fedrec.errors import Interrupted, RecordError
from fedrec.records import Record, config_hash, read_record
from fedrec.training.in_turn import Steps, finished, in_turn

POLL = 0.2  # seconds between two checks whether another process has finished


@dataclass(frozen=True)
class Job:
    """One cell, and the path of its record."""

    values: Mapping[str, Any]  # the argument of `CellConfig.parse`
    dataset_checksum: str
    record: Path
    device: str  # the argument of `choose_device`

    @property
    def waiting(self) -> Path:
        """The path of a record made ahead, until its own command takes it."""
        return self.record.with_name(f"{self.record.name}.ahead")

    @property
    def is_done(self) -> bool:
        """Whether a record exists, either at its final path, from any device, or made ahead."""
        return self._found(self.record) is not None or self._waits

    def with_seed(self, seed: int) -> "Job":
        """Return the job of the same cell with another seed; its record is next to this one."""
        cell = {**self.values["cell"], "seed": seed}
        record = self.record.with_name(f"seed{seed}.json")
        return replace(self, values={**self.values, "cell": cell}, record=record)

    def take(self) -> bool:
        """Move a record made ahead to its final path, if this job would make the same one here."""
        fits = self._waits
        if fits:
            os.replace(self.waiting, self.record)
        self.waiting.unlink(missing_ok=True)
        return fits

    @contextmanager
    def claimed(self) -> Iterator[bool]:
        """Try to lock the job for this process; yield whether it worked.

        The lock is also released when the process ends.
        """
        path = self.record.with_name(f"{self.record.name}.lock")
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            try:
                yield True
            finally:
                path.unlink(missing_ok=True)

    @property
    def _waits(self) -> bool:
        found = self._found(self.waiting)
        return found is not None and found.provenance.device == _named(self.device)

    def _found(self, path: Path) -> Record | None:
        """Return the record at `path`, if it belongs to this cell, data and version."""
        if not path.exists():
            return None
        try:
            found = read_record(path)
        except RecordError:
            return None
        wanted = (config_hash(self.values), self.dataset_checksum, __version__)
        fits = (found.config_hash, found.dataset_checksum, found.provenance.fedrec) == wanted
        return found if fits else None


def _named(device: str) -> str:
    """Return the name that records have for a device which `choose_device` accepts."""
    # Looking for a GPU needs PyTorch, which takes two seconds to import.
    if device == "cpu":
        return device
    from fedrec.training.provenance import device_name
    from fedrec.training.run import choose_device

    return device_name(choose_device(device))


Simulate = Callable[[Job, Path], Steps[None]]  # runs a job and writes its record to a path


def make_with(
    job: Job, others: Sequence[Job], simulate: Simulate, stop: Callable[[], bool]
) -> None:
    """Make a record, and make ahead the records of other jobs that no process has or is making.

    Raises:
        Interrupted: the process was asked to end; finished records are kept.
    """
    while True:
        with job.claimed() as mine:
            if mine:
                return _make_all(job, others, simulate)
        if stop():
            raise Interrupted(f"interrupted while another process makes {job.record}")
        time.sleep(POLL)


def _make_all(job: Job, others: Sequence[Job], simulate: Simulate) -> None:
    if job.take():
        return
    if _named(job.device) == "cpu":
        finished(simulate(job, job.waiting))
        for other in others:
            with other.claimed() as mine:
                if mine and not other.is_done:
                    finished(_ahead(simulate, other))
    else:
        with ExitStack() as claims:
            free = [o for o in others if claims.enter_context(o.claimed()) and not o.is_done]
            in_turn([simulate(job, job.waiting), *(_ahead(simulate, other) for other in free)])
    job.take()


def _ahead(simulate: Simulate, job: Job) -> Steps[None]:
    """Make a record ahead. An error is only printed; the job's own command will raise it again."""
    try:
        yield from simulate(job, job.waiting)
    except Interrupted:
        raise
    except Exception as error:
        print(f"{job.record} was not made ahead: {error}", file=sys.stderr, flush=True)
