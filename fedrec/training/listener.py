"""Listeners of a run: a progress bar, a keeper of checkpoints, a log, or a rule that stops it."""

from fedrec.training.checkpoint import Identity
from fedrec.training.simulation import Evaluation, Simulation


class Listener:
    """Receives the events of a run; a subclass overrides the methods that it needs.

    A listener may read the run, restore it at the beginning, and `stop` it. It must not change
    anything else, so that a record does not depend on its listeners.
    """

    def begins(self, run: Simulation, identity: Identity) -> None:
        """Handle the start, before any round; `identity` names cell, data, versions and device."""

    def played(self, run: Simulation, evaluation: Evaluation | None) -> None:
        """Handle the end of a round; `evaluation` is None if none was due."""

    def ends(self, run: Simulation) -> None:
        """Handle the end of the run: all rounds are played, or an error ended it."""
