"""Fang: the mean of normal gradients, moved by a few standard deviations (Fang et al. 2020)."""

from typing import ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float
from pydantic import Field, model_validator

from fedrec.attacks._normal_gradients import (
    UNIFORM,
    coordinate_statistics,
    forged_everywhere,
    normal_updates,
    of_each_coordinate,
)
from fedrec.attacks.base import AttackerView, Forgery
from fedrec.rng import Streams
from fedrec.settings import Presets, settings
from fedrec.updates import Gradient


@settings
class Fang:
    """Uploads μ ± λ sign(μ) σ of normal gradients, per coordinate, with λ ~ U[near, far].

    The first upload draws one λ for each malicious client and round, and moves *along* the mean,
    which the server descends. Fang et al. (2020, the attack on the trimmed mean with partial
    knowledge) draw λ for each coordinate and move *against* the mean, as in the paper's text.
    UA-FedRec (Yi et al.) moves against it by exactly 3 σ. Coordinates with μ = 0 are not moved.
    """

    PRESETS: ClassVar[Presets] = {"paper": {"direction": "against", "drawn": "per_coordinate"}}

    near: float = Field(default=3.0, ge=0, description="Smallest distance from μ, in σ.")
    far: float = Field(default=4.0, ge=0, description="Largest distance from μ, in σ.")
    direction: Literal["along", "against"] = Field(
        default="along",
        description="Direction from μ: along its sign (first upload), or against it (section 5.2; "
        "Fang et al.; UA-FedRec).",
    )
    drawn: Literal["once", "per_coordinate"] = Field(
        default="once",
        description="Draw λ once for each malicious client and round (first upload), or for each "
        "coordinate (Fang et al.).",
    )
    normal_clients: int = Field(
        default=50,
        ge=1,
        description="Number of malicious clients whose benign gradients give μ and σ.",
    )

    @model_validator(mode="after")
    def _ordered(self) -> "Fang":
        if self.near > self.far:
            raise ValueError("near must not be above far")
        return self

    def initial_state(self) -> None:
        """Return None: nothing is carried between rounds."""

    def forge(self, view: AttackerView, state: None, streams: Streams) -> Forgery[None]:
        """Return a moved mean for each malicious client."""
        normal = normal_updates(view, self.normal_clients, streams)
        mean, deviation = coordinate_statistics(normal)
        distance = self._distances(mean, view, streams)
        return Forgery(forged_everywhere(view, self.moved(mean, deviation, distance)), None)

    def moved(self, mean: Gradient, deviation: Gradient, distance: Gradient) -> Gradient:
        """Return the clients' uploads, given their λ."""
        side = 1 if self.direction == "along" else -1
        return mean.map(
            lambda center, spread, distance: center + side * torch.sign(center) * distance * spread,
            deviation,
            distance,
        )

    def _distances(self, like: Gradient, view: AttackerView, streams: Streams) -> Gradient:
        """Draw λ for each malicious client, one per coordinate or one for all coordinates."""
        if self.drawn == "once":
            once = view.drawn(streams, self._once)
            return Gradient(once[:, None, None], once[:, None])
        drawn = of_each_coordinate(like, UNIFORM, "fang", view, streams)
        return drawn.map(lambda part: part * (self.far - self.near) + self.near)

    def _once(self, streams: Streams, client: int) -> Float[np.ndarray, ""]:
        drawn = streams.generator("fang", client).uniform(self.near, self.far)
        return np.array(drawn, np.float32)
