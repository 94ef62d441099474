"""Keeps a run from being lost: saves it now and then, and brings it back."""

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
    """The checkpoint of one run, beside the record that it will make.

    It is no output that Snakemake knows of, because Snakemake deletes those of a failed job.
    """

    def __init__(self, record: Path, stop: Callable[[], bool], every: float) -> None:
        self._path = record.with_name(f"{record.name}.checkpoint")
        self._stop, self._every = stop, every
        self._last = time.monotonic()
        self._identity: Identity = {}

    def begins(self, run: Simulation, identity: Identity) -> None:
        """Take the run to where its checkpoint is, if there is one to trust."""
        self._identity = identity
        if not self._path.exists():
            return
        try:
            run.restore(load(self._path, identity))
        except CheckpointError as error:
            _say(f"{self._path} is not used: {error}; kept as {set_aside(self._path).name}")
        else:
            _say(f"{self._path}: goes on after round {run.round}")

    def played(self, run: Simulation, evaluation: Evaluation | None) -> None:
        """Save the run if it is time to.

        Raises:
            Interrupted: the process was asked to end; the run is saved.
        """
        if run.over or not run.can_be_saved:
            return
        if self._stop():
            save(self._path, run.snapshot(), self._identity)
            raise Interrupted(
                f"interrupted after round {run.round}; the same command goes on from {self._path}"
            )
        if time.monotonic() - self._last >= self._every:
            self._try_to_save(run)
            self._last = time.monotonic()

    def forget(self) -> None:
        """The record is written: nothing else of the run is needed."""
        self._path.unlink(missing_ok=True)
        remove_unfinished(self._path)

    def _try_to_save(self, run: Simulation) -> None:
        """A run that cannot be saved is still worth finishing."""
        try:
            save(self._path, run.snapshot(), self._identity)
        except OSError as error:
            _say(f"no checkpoint of round {run.round}, the run goes on: {error}")


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)
