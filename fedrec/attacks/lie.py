"""LIE, "a little is enough": the normal mean, shifted by a few deviations (Baruch et al. 2019)."""

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
    """All malicious clients of a round upload μ − zσ, coordinate by coordinate.

    z = 0.1 is the first upload's; Baruch et al.'s code has 1.5. By their formula
    z = Φ⁻¹((n − m − s) / (n − m)) with s = ⌊n/2 + 1⌋ − m most benign uploads look farther out than
    the forged ones. It asks for many malicious clients: with one of 50, z = −0.026, which is no
    attack.
    """

    z: float | Literal["formula"] = Field(
        default=0.1, description="Shift in σ (first upload), or Baruch et al.'s formula."
    )
    clients: int = Field(
        default=50, ge=3, description="The n of the formula: uploads in a round, as the attacker "
        "believes."
    )  # fmt: skip
    normal_clients: int = Field(
        default=50, ge=1, description="Malicious clients whose benign gradients give μ and σ."
    )

    def initial_state(self) -> None:
        """Nothing is carried between rounds."""

    def forge(self, view: AttackerView, state: None, streams: Streams) -> Forgery[None]:
        """The shifted mean, the same for every malicious client."""
        normal = normal_updates(view, self.normal_clients, streams)
        mean, deviation = coordinate_statistics(normal)
        z = formula(self.clients, len(view)) if self.z == "formula" else self.z

        shifted = mean.map(lambda center, spread: center - z * spread, deviation)
        return Forgery(forged_everywhere(view, shifted), None, {"z": z})


def formula(n: int, m: int) -> float:
    """The z of Baruch et al. (2019), Algorithm 3, for m malicious among n clients.

    Where no z is far out enough (s ≤ 0, malicious clients are a majority) it is infinite; a
    bound of 3 keeps uploads plausible.
    """
    supporters = n // 2 + 1 - m
    share = (n - m - supporters) / (n - m) if n > m else 1.0
    return min(NormalDist().inv_cdf(share), 3.0) if 0 < share < 1 else 3.0
