"""Saving a run to a checkpoint from time to time, and resuming from it."""

import sys
import time
from collections.abc import Callable
from pathlib import Path

from fedrec.errors import Interrupted
from fedrec.files import remove_unfinished
from fedrec.training.checkpoint import CheckpointError, Identity, load, save, set_aside
from fedrec.training.listener import Listener
from fedrec.training.simulation import Evaluation, Simulation


class Keeper(Listener):
    """Keeps the checkpoint of one run, next to the record that the run will make.

    The checkpoint is not declared as a Snakemake output, because Snakemake deletes the outputs of a
    failed job.
    """

    def __init__(self, record: Path, stop: Callable[[], bool], every: float) -> None:
        self._path = record.with_name(f"{record.name}.checkpoint")
        self._stop, self._every = stop, every
        self._last = time.monotonic()
        self._identity: Identity = {}

    def begins(self, run: Simulation, identity: Identity) -> None:
        """Restore the run from its checkpoint, if there is a valid one."""
        self._identity = identity
        if not self._path.exists():
            return
        try:
            run.restore(load(self._path, identity))
        except CheckpointError as error:
            _say(f"{self._path} is not used: {error}; kept as {set_aside(self._path).name}")
        else:
            _say(f"{self._path}: resuming after round {run.round}")

    def played(self, run: Simulation, evaluation: Evaluation | None) -> None:
        """Save the run if a checkpoint is due.

        Raises:
            Interrupted: the process was asked to end; the run has been saved.
        """
        if run.over or not run.can_be_saved:
            return
        if self._stop():
            save(self._path, run.snapshot(), self._identity)
            raise Interrupted(
                f"interrupted after round {run.round}; the same command resumes from {self._path}"
            )
        if time.monotonic() - self._last >= self._every:
            self._try_to_save(run)
            self._last = time.monotonic()

    def forget(self) -> None:
        """Delete the checkpoint, once the record is written."""
        self._path.unlink(missing_ok=True)
        remove_unfinished(self._path)

    def _try_to_save(self, run: Simulation) -> None:
        """Save the run. If this fails, only print a message, because the run can still finish."""
        try:
            save(self._path, run.snapshot(), self._identity)
        except OSError as error:
            _say(f"no checkpoint of round {run.round}, the run continues: {error}")


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)
