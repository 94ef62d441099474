"""LIE, "a little is enough": a slightly shifted mean of normal gradients (Baruch et al. 2019)."""

from statistics import NormalDist
from typing import Literal

from pydantic import Field

from fedrec.attacks._normal_gradients import (
    coordinate_statistics,
    forged_everywhere,
    normal_updates,
)
from fedrec.attacks.base import AttackerView, Forgery
from fedrec.rng import Streams
from fedrec.settings import settings


@settings
class LIE:
    """All malicious clients of a round upload μ − zσ, computed for each coordinate.

    The first upload has z = 0.1; the code of Baruch et al. has 1.5. Their formula
    z = Φ⁻¹((n − m − s) / (n − m)) with s = ⌊n/2 + 1⌋ − m makes most benign uploads look farther out
    than the forged ones. It needs many malicious clients: with one of 50, z = −0.026, which is not
    an attack.
    """

    z: float | Literal["formula"] = Field(
        default=0.1, description="Shift in σ (first upload), or the formula of Baruch et al."
    )
    clients: int = Field(
        default=50, ge=3, description="n in the formula: the attacker's estimate of the number of "
        "uploads per round."
    )  # fmt: skip
    normal_clients: int = Field(
        default=50,
        ge=1,
        description="Number of malicious clients whose benign gradients give μ and σ.",
    )

    def initial_state(self) -> None:
        """Return None: nothing is carried between rounds."""

    def forge(self, view: AttackerView, state: None, streams: Streams) -> Forgery[None]:
        """Return the shifted mean, the same for every malicious client."""
        normal = normal_updates(view, self.normal_clients, streams)
        mean, deviation = coordinate_statistics(normal)
        z = formula(self.clients, len(view)) if self.z == "formula" else self.z

        shifted = mean.map(lambda center, spread: center - z * spread, deviation)
        return Forgery(forged_everywhere(view, shifted), None, {"z": z})


def formula(n: int, m: int) -> float:
    """Return z of Baruch et al. (2019), Algorithm 3, for m malicious among n clients.

    If malicious clients are a majority (s ≤ 0), no z is far enough and the formula gives infinity.
    z is limited to 3, which keeps the uploads plausible.
    """
    supporters = n // 2 + 1 - m
    share = (n - m - supporters) / (n - m) if n > m else 1.0
    return min(NormalDist().inv_cdf(share), 3.0) if 0 < share < 1 else 3.0
