"""UA-FedRec: like items pushed apart, unlike ones pulled together (Yi et al. 2023)."""

from dataclasses import replace
from typing import Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from fedrec.attacks._normal_gradients import (
    dense_statistics,
    forged_everywhere,
    mean_and_deviation,
    normal_updates,
)
from fedrec.attacks.base import AttackerView, Forgery
from fedrec.kernels.device.gradients import scattered
from fedrec.kernels.partners import partners
from fedrec.kernels.sums import squared_norms, total
from fedrec.rng import Streams
from fedrec.settings import settings
from fedrec.updates import Gradient, Updates


@settings
class UAFedRec:
    """Moves each item towards the one least like it and away from the one most like it.

    Yi et al. (KDD 2023, "UA-FedRec: Untargeted Attack on Federated News Recommendation") perturb
    the similarity of news, the user model, and the sample counts. Here the item embeddings stand
    for their news, and the other shared parameters for their user model:

    - The item gradient is that of Σ_i ‖v_i − f_i‖² − ‖v_i − n_i‖². n_i is the item with the largest
      inner product with v_i, and f_i the one with the smallest. It is scaled to a norm of μ + 3σ of
      normal item gradients (`AdverItemNormTrainTask` in their code).
    - The other gradients are μ − 3σ sign(μ) of normal ones, coordinate by coordinate.
    - The sample count is μ + 3σ of normal ones, rounded down.

    There are two differences. Their code finds n_i and f_i anew every 100 rounds; here it is done
    in each attacked round, because a state holds numbers and no vector of the model's size. And
    their code uploads the *change* that a step of the attacker makes, where their server expects a
    gradient, so that it has the opposite effect of what the paper's abstract says. The default is
    the gradient; `sent: change` is the code.
    """

    item_spread: float = Field(
        default=3.0, description="Norm of the item gradient: normal norms' μ + this many σ."
    )
    dense_spread: float = Field(
        default=3.0, ge=0, description="Distance of the other gradients from μ, in σ."
    )
    count_spread: float = Field(
        default=3.0, description="Claimed sample count: normal counts' μ + this many σ."
    )
    sent: Literal["gradient", "change"] = Field(
        default="gradient",
        description="Upload the gradient, which the server descends (the abstract), or the change "
        "of the parameters (code).",
    )
    normal_clients: int = Field(
        default=50,
        ge=1,
        description="Number of malicious clients whose benign gradients and sample counts give μ "
        "and σ.",
    )

    def initial_state(self) -> None:
        """Return None: nothing is carried between rounds."""

    def forge(self, view: AttackerView, state: None, streams: Streams) -> Forgery[None]:
        """Return the same upload for every malicious client."""
        normal = normal_updates(view, self.normal_clients, streams)
        items = self._bounded(confusion(view.shared.items), normal)
        uploads = forged_everywhere(view, Gradient(items, self._opposed(normal.dense)))
        mean, deviation = mean_and_deviation(normal.weight)
        claimed = (mean + self.count_spread * deviation).floor().clamp(min=1).float()
        return Forgery(replace(uploads, weight=claimed.expand(len(view)).contiguous()), None)

    def _bounded(
        self, gradient: Float[Tensor, "items d"], normal: Updates
    ) -> Float[Tensor, "items d"]:
        """Scale the item gradient to a norm that normal clients could have."""
        mean, deviation = mean_and_deviation(replace(normal, dense=normal.dense[:, :0]).norms())
        own = total(squared_norms(gradient)).sqrt().clamp(min=1e-12)
        side = 1 if self.sent == "gradient" else -1
        return gradient * (side * (mean + self.item_spread * deviation) / own).float()

    def _opposed(self, dense: Float[Tensor, "n params"]) -> Float[Tensor, " params"]:
        mean, deviation = dense_statistics(dense)
        return mean - self.dense_spread * torch.sign(mean) * deviation


def confusion(items: Float[Tensor, "items d"]) -> Float[Tensor, "items d"]:
    """Return half the gradient of Σ_i ‖v_i − f_i‖² − ‖v_i − n_i‖², with n_i and f_i fixed.

    Each term also moves the partners: f_i towards v_i, and n_i away from it.
    """
    nearest, farthest = partners(items)
    own = torch.arange(len(items), device=items.device)
    to_nearest = items.index_select(0, nearest) - items
    to_farthest = items.index_select(0, farthest) - items
    places = torch.cat([own, farthest, nearest])
    moves = torch.cat([to_nearest - to_farthest, to_farthest, -to_nearest])
    return scattered(items, places[None], moves[None], 0.0)[0]
