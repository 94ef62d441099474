"""Fang: the attack on the trimmed mean, with partial knowledge (Fang et al. 2020)."""

import torch
from pydantic import Field, model_validator
from torch import Tensor

from fedrec.attacks.base import AttackerView, Forgery, forged_everywhere, normal_updates
from fedrec.normal_gradients import coordinate_statistics
from fedrec.rng import Stream, Streams
from fedrec.settings import settings


@settings
class Fang:
    """Each coordinate lies 3 to 4 σ from normal gradients' mean μ, on the far side of zero.

    With s = sign μ it is drawn from U[μ − 4σ, μ − 3σ] where s > 0, from U[μ + 3σ, μ + 4σ] where
    s < 0, and is μ where s = 0; for each client by itself.
    """

    near: float = Field(default=3.0, ge=0, description="The least distance from μ, in σ.")
    far: float = Field(default=4.0, ge=0, description="The greatest distance from μ, in σ.")
    normal_clients: int = Field(
        default=50, ge=1, description="Malicious clients whose benign gradients give μ and σ."
    )

    @model_validator(mode="after")
    def _ordered(self) -> "Fang":
        if self.near > self.far:
            raise ValueError("near must not be above far")
        return self

    def initial_state(self) -> None:
        """Nothing is carried between rounds."""

    def forge(self, view: AttackerView, state: None, streams: Streams) -> Forgery[None]:
        """A sample of the opposite direction for each malicious client."""
        normal = normal_updates(view, self.normal_clients, streams)
        mean, deviation = coordinate_statistics(normal)
        uploads = forged_everywhere(view, mean, deviation, self.opposed, "fang", streams)
        return Forgery(uploads, None)

    def opposed(self, mean: Tensor, deviation: Tensor, stream: Stream) -> Tensor:
        """μ − sign(μ) · U[near, far] · σ for every coordinate."""
        drawn = torch.from_numpy(stream.uniform(tuple(mean.shape))).to(mean.device)
        distance = drawn.mul_(self.far - self.near).add_(self.near).mul_(deviation)
        return mean - torch.sign(mean) * distance
