"""Records that a warm process makes ahead of the commands that they belong to.

Importing and reading take as long as some hundred rounds, so one process may go on with a cell's
other seeds; on a GPU it plays their rounds in turn with its own.

Such a record waits beside its place, as `<record>.ahead`, until its own command takes
it. It is no output that Snakemake knows of, because Snakemake deletes the outputs of a job before
it runs and after it fails.
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

POLL = 0.2  # seconds between two looks at what another process is making


@dataclass(frozen=True)
class Job:
    """One cell, and where its record goes."""

    values: Mapping[str, Any]  # what `CellConfig.parse` takes
    dataset_checksum: str
    record: Path
    device: str  # what `choose_device` takes

    @property
    def waiting(self) -> Path:
        """Where the record waits until its own command takes it."""
        return self.record.with_name(f"{self.record.name}.ahead")

    @property
    def is_done(self) -> bool:
        """Whether there is a record already: in its place, of any device, or waiting."""
        return self._found(self.record) is not None or self._waits

    def with_seed(self, seed: int) -> "Job":
        """The same cell with another seed, whose record lies beside this one."""
        cell = {**self.values["cell"], "seed": seed}
        record = self.record.with_name(f"seed{seed}.json")
        return replace(self, values={**self.values, "cell": cell}, record=record)

    def take(self) -> bool:
        """Put a record that waits into its place, if it is what this job would make here."""
        fits = self._waits
        if fits:
            os.replace(self.waiting, self.record)
        self.waiting.unlink(missing_ok=True)
        return fits

    @contextmanager
    def claimed(self) -> Iterator[bool]:
        """Whether the job is this process's own for a while; its end frees the job too."""
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
        """The record there, if it is of this cell, data and version."""
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
    """What records call a device that `choose_device` takes."""
    # To look for a GPU takes PyTorch, and two seconds to import it.
    if device == "cpu":
        return device
    from fedrec.training.provenance import device_name
    from fedrec.training.run import choose_device

    return device_name(choose_device(device))


Simulate = Callable[[Job, Path], Steps[None]]  # runs a job and writes its record to a path


def make_with(
    job: Job, others: Sequence[Job], simulate: Simulate, stop: Callable[[], bool]
) -> None:
    """Make a record, and those of other jobs that nobody has made or is making, ahead.

    Raises:
        Interrupted: the process was asked to end; what is finished waits.
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
    """What goes wrong ahead of time is for the job's own command to say."""
    try:
        yield from simulate(job, job.waiting)
    except Interrupted:
        raise
    except Exception as error:
        print(f"{job.record} was not made ahead: {error}", file=sys.stderr, flush=True)
