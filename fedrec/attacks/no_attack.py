"""No attack: the clients that could be malicious behave honestly."""

from fedrec.attacks.base import AttackerView, Forgery
from fedrec.rng import Streams
from fedrec.settings import settings


@settings
class NoAttack:
    """The baseline that every attack is compared with."""

    def initial_state(self) -> None:
        """Return None: nothing is carried between rounds."""

    def forge(self, view: AttackerView, state: None, streams: Streams) -> Forgery[None]:
        """Return the honest uploads, unchanged."""
        return Forgery(view.benign, None)
