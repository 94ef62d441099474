"""Mean: the aggregation of FedAvg (McMahan et al. 2017)."""

from jaxtyping import Bool
from torch import Tensor

from fedrec.defenses.base import ServerView
from fedrec.settings import settings
from fedrec.updates import Gradient, Updates


@settings
class Mean:
    """Σ_c w_c g_c / Σ_c w_c, where w_c is the sample count that client c reports."""

    def reduce(self, received: Updates, kept: Bool[Tensor, " n"], view: ServerView) -> Gradient:
        """Return the mean of the kept uploads, weighted by sample counts."""
        weight = received.weight * kept
        return received.weighted_sum(weight / weight.sum())
