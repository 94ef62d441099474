"""BitFlip: each malicious client uploads its own benign gradient, reversed (Li et al. 2019)."""

from pydantic import Field

from fedrec.attacks.base import AttackerView, Forgery
from fedrec.rng import Streams
from fedrec.settings import settings


@settings
class BitFlip:
    """Each malicious client uploads −`scale` times the gradient of its own loss.

    It is known as sign flipping (Li et al. 2019, "RSA") and as bit flipping (the code of
    Karimireddy, He and Jaggi, 2021 and 2022, class `BitFlippingWorker`). The clients do not
    cooperate: in contrast to IPM, each one needs only its own data. An upload has the length of a
    benign one, and touches the same items, if `scale` is 1.
    """

    scale: float = Field(
        default=1.0,
        gt=0,
        description="Factor of the reversed gradient. 1 is the value in the code of Karimireddy, "
        "He and Jaggi.",
    )

    def initial_state(self) -> None:
        """Return None: nothing is carried between rounds."""

    def forge(self, view: AttackerView, state: None, streams: Streams) -> Forgery[None]:
        """Return each malicious client's benign upload, reversed."""
        factors = view.benign.weight.new_full((len(view),), -self.scale)
        return Forgery(view.benign.scaled(factors), None)
