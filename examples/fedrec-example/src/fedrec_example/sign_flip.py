"""SignFlip: malicious clients upload the negative of their benign gradients, scaled up."""

from pydantic import Field

from fedrec.attacks.base import AttackerView, Forgery
from fedrec.rng import Streams
from fedrec.settings import settings


@settings
class SignFlip:
    """An attack that uploads -`factor` times the benign gradient of each malicious client."""

    factor: float = Field(default=50.0, gt=0, description="Factor of the gradient.")

    def initial_state(self) -> None:
        """Return None: the attack has no state."""

    def forge(self, view: AttackerView, state: None, streams: Streams) -> Forgery[None]:
        """Return the benign uploads, scaled by -`factor`."""
        factors = view.benign.weight.new_full((len(view),), -self.factor)
        return Forgery(view.benign.scaled(factors), None, {"factor": self.factor})
