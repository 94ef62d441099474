"""GeometricMedian: RFA's robust aggregation (Pillutla, Kakade and Harchaoui 2022)."""

from typing import Literal

import torch
from jaxtyping import Bool, Float64
from pydantic import Field
from torch import Tensor

from fedrec.defenses._distances import distances
from fedrec.defenses.base import ServerView
from fedrec.kernels.sums import total
from fedrec.settings import settings
from fedrec.updates import Gradient, Updates

Weights = Literal["samples", "equal"]


@settings
class GeometricMedian:
    """The point z with the least Σ_c α_c ‖g_c − z‖ over the uploads g_c, approximately.

    The smoothed Weiszfeld algorithm starts at the weighted mean of the uploads. In each iteration,
    z becomes the mean of the uploads with weights α_c / max(ν, ‖g_c − z‖). All distances follow
    from the inner products of the uploads, because z is always a weighted mean of them. The number
    of iterations is fixed; RFA's code also stops when the sum improves by less than 10⁻⁶ of it. As
    there, uploads whose norm overflows have no weight.

    The start gives a distant upload the weight 1/n, and each iteration divides it by about n. So an
    upload moves the result if its distance is above about n to the power of `iterations` + 1, in
    units of the distances between the others.
    """

    iterations: int = Field(
        default=4,
        ge=1,
        description="Weiszfeld iterations after the mean (RFA's code: default 4; its scripts: 2).",
    )
    smoothing: float = Field(
        default=1e-5,
        gt=0,
        description="ν, the least distance that counts (RFA's code: eps).",
    )
    weights: Weights = Field(
        default="samples",
        description="α_c: sample counts (RFA), or the same for all uploads, as in other "
        "libraries: a client cannot gain weight by reporting more samples.",
    )

    def reduce(self, received: Updates, kept: Bool[Tensor, " n"], view: ServerView) -> Gradient:
        """Return the smoothed geometric median of the kept uploads."""
        gram = received.gram()
        kept = kept & gram.diagonal().isfinite()
        weight = received.weight if self.weights == "samples" else torch.ones_like(received.weight)
        share = weight.double().where(kept, 0)
        found = self.coefficients(gram.where(kept[:, None] & kept, 0), share / total(share))
        return received.weighted_sum(found.float())

    def coefficients(
        self, gram: Float64[Tensor, "n n"], share: Float64[Tensor, " n"]
    ) -> Float64[Tensor, " n"]:
        """Return the weights of the uploads in z, which sum to 1, from their inner products."""
        found = share
        for _ in range(self.iterations):
            pull = share / distances(gram, found).clamp(min=self.smoothing)
            found = pull / total(pull)
        return found
