"""No attack: the clients that could be malicious behave."""

from fedrec.attacks.base import AttackerView, Forgery
from fedrec.rng import Streams
from fedrec.settings import settings


@settings
class NoAttack:
    """The arm that every attack is compared with."""

    def initial_state(self) -> None:
        """Nothing is carried between rounds."""

    def forge(self, view: AttackerView, state: None, streams: Streams) -> Forgery[None]:
        """The honest uploads, unchanged."""
        return Forgery(view.benign, None)
