"""IPM, inner product manipulation: the mean of normal gradients, reversed (Xie et al. 2019)."""

from pydantic import Field

from fedrec.attacks._normal_gradients import forged_everywhere, normal_updates
from fedrec.attacks.base import AttackerView, Forgery
from fedrec.rng import Streams
from fedrec.settings import settings


@settings
class IPM:
    """All malicious clients of a round upload −εμ, where μ is the mean of normal gradients.

    The inner product of the aggregate with the true gradient is to become negative (Xie, Koyejo and
    Gupta 2019, "Fall of Empires"). Their attacker knows the gradients of all honest clients; here μ
    is estimated from the benign gradients of malicious clients, as in LIE. With a small ε the
    uploads are short, and so close to honest ones. A mean over n equally weighted uploads, m of
    them malicious, is (n − m − εm)/n · μ: it changes its sign only if ε > (n − m)/m, which is 49
    for one of 50.
    """

    epsilon: float = Field(
        default=0.1,
        gt=0,
        description="ε. 0.1 is the value in the code of Karimireddy, He and Jaggi (2021, "
        "2022). Reversing a plain mean takes more than (n − m)/m for m malicious of n uploads.",
    )
    normal_clients: int = Field(
        default=50,
        ge=1,
        description="Number of malicious clients whose benign gradients give μ.",
    )

    def initial_state(self) -> None:
        """Return None: nothing is carried between rounds."""

    def forge(self, view: AttackerView, state: None, streams: Streams) -> Forgery[None]:
        """Return the reversed mean, the same for every malicious client."""
        normal = normal_updates(view, self.normal_clients, streams)
        shares = normal.weight.new_full((len(normal),), -self.epsilon / len(normal))
        return Forgery(forged_everywhere(view, normal.weighted_sum(shares)), None)
