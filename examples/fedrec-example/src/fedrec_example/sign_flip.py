"""SignFlip: malicious clients upload the negative of their benign gradients, many times over."""

from pydantic import Field

from fedrec.attacks.base import AttackerView, Forgery
from fedrec.rng import Streams
from fedrec.settings import settings


@settings
class SignFlip:
    """Uploads -`factor` times the benign gradient of each malicious client."""

    factor: float = Field(default=50.0, gt=0, description="How many times over.")

    def initial_state(self) -> None:
        """Nothing is carried between rounds."""

    def forge(self, view: AttackerView, state: None, streams: Streams) -> Forgery[None]:
        """The benign uploads, scaled."""
        factors = view.benign.weight.new_full((len(view),), -self.factor)
        return Forgery(view.benign.scaled(factors), None, {"factor": self.factor})
