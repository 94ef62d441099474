"""NormBound: clip the norm of each upload (Wang et al. 2020, "Attack of the Tails")."""

from pydantic import Field

from fedrec.defenses.base import ServerView
from fedrec.settings import settings
from fedrec.updates import Updates


@settings
class NormBound:
    """g / max(1, ‖g‖₂ / C) for each client's upload g, items and dense part together."""

    bound: float = Field(default=0.1, gt=0, description="L2 norm bound C (Table 6).")

    def transform(self, received: Updates, view: ServerView) -> Updates:
        """Scale down the uploads whose norm is above C."""
        return received.scaled(self.bound / received.norms().clamp(min=self.bound))
