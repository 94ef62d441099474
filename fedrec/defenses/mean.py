"""FedAvg's aggregation (McMahan et al. 2017)."""

from jaxtyping import Bool
from torch import Tensor

from fedrec.defenses.base import ServerView
from fedrec.settings import settings
from fedrec.updates import Gradient, Updates


@settings
class Mean:
    """Σ_c w_c g_c / Σ_c w_c, with w_c the sample count that client c reports."""

    def reduce(self, received: Updates, kept: Bool[Tensor, " n"], view: ServerView) -> Gradient:
        """The sample-count weighted mean of the uploads kept."""
        weight = received.weight * kept
        return received.weighted_sum(weight / weight.sum())
