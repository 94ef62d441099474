"""Gaussian: random gradients that look normal in each coordinate (Fang et al. 2020)."""

from pydantic import Field

from fedrec.attacks._normal_gradients import (
    NORMAL,
    coordinate_statistics,
    forged_everywhere,
    normal_updates,
    of_each_coordinate,
)
from fedrec.attacks.base import AttackerView, Forgery
from fedrec.rng import Streams
from fedrec.settings import settings


@settings
class Gaussian:
    """Draws each coordinate from N(μ, σ²) of normal gradients, separately for each client."""

    normal_clients: int = Field(
        default=50,
        ge=1,
        description="Number of malicious clients whose benign gradients give μ and σ.",
    )

    def initial_state(self) -> None:
        """Return None: nothing is carried between rounds."""

    def forge(self, view: AttackerView, state: None, streams: Streams) -> Forgery[None]:
        """Draw a sample of the estimated distribution for each malicious client."""
        normal = normal_updates(view, self.normal_clients, streams)
        mean, deviation = coordinate_statistics(normal)
        noise = of_each_coordinate(mean, NORMAL, "gaussian", view, streams)
        drawn = mean.map(lambda center, spread, x: center + spread * x, deviation, noise)
        return Forgery(forged_everywhere(view, drawn), None)
