"""DP-FedAvg: clipped uploads, their mean, and Gaussian noise (McMahan et al., ICLR 2018)."""

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor

from fedrec.defenses.base import ServerView
from fedrec.defenses.norm_bound import NormBound
from fedrec.kernels.compiled import on_cpu
from fedrec.kernels.device import draws
from fedrec.kernels.device.stacks import constant
from fedrec.rng import Streams
from fedrec.settings import settings
from fedrec.updates import Gradient, Updates


@settings
class DPFedAvg:
    """Clips each upload to norm S, and adds N(0, (z·S/n)²) to each coordinate of the mean.

    This is Algorithm 1 of McMahan et al. with flat clipping: the norm is that of the whole upload.
    The mean over the n uploads is unweighted, so that no client counts for more than S/n. The
    source takes each user into a round by chance and divides by the expected number; here a round
    has a fixed number of clients. Noise is drawn anew in each round.

    No privacy is accounted for: the method serves as a defence against poisoning, and no (ε, δ) is
    computed. S = 15 in the source bounds the updates of a language model. Here it is the bound of
    NormBound, because gradients of a recommender are smaller. Noise on every coordinate of all
    items then has a norm far above S.
    """

    bound: float = Field(
        default=0.1, gt=0, description="S, the L2 norm of an upload at most (as for NormBound)."
    )
    noise: float = Field(
        default=1.0,
        ge=0,
        description="z: the standard deviation is z·S/n (1 in McMahan et al.'s experiments).",
    )

    def transform(self, received: Updates, view: ServerView) -> Updates:
        """Scale down the uploads whose norm is above S."""
        return NormBound(bound=self.bound).transform(received, view)

    def reduce(self, received: Updates, kept: Bool[Tensor, " n"], view: ServerView) -> Gradient:
        """Return the unweighted mean of the kept uploads, with noise."""
        n = kept.sum()
        mean, spread = received.weighted_sum(kept / n), self.noise * self.bound / n
        return Gradient(
            mean.items + spread * normal(mean.items, "dp-fedavg-items", view.streams),
            mean.dense + spread * normal(mean.dense[None], "dp-fedavg-dense", view.streams)[0],
        )


def normal(
    like: Float[Tensor, "rows width"], purpose: str, streams: Streams
) -> Float[Tensor, "rows width"]:
    """Draw N(0, 1) for each element of a tensor, on its device."""
    if on_cpu(like):
        return torch.from_numpy(streams.of(purpose).normal(tuple(like.shape)))
    return draws.normal(streams.of_clients(purpose), constant((0,), like.device), *like.shape)[0]
