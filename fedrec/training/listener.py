"""Who follows a run: a progress bar, a keeper of checkpoints, a log, or a rule that stops it."""

from fedrec.training.checkpoint import Identity
from fedrec.training.simulation import Evaluation, Simulation


class Listener:
    """Is told what happens to a run; a subclass overrides what it cares about.

    A listener may read the run, restore it when it begins, and `stop` it; it changes nothing else,
    so a record does not depend on who listened.
    """

    def begins(self, run: Simulation, identity: Identity) -> None:
        """No round is played yet; the identity says of what the run is, and what makes it."""

    def played(self, run: Simulation, evaluation: Evaluation | None) -> None:
        """One more round is over, and an evaluation is in if one was due."""

    def ends(self, run: Simulation) -> None:
        """No round follows, because all are played or because an error ended the run."""
