"""TrimmedMean: the coordinate-wise trimmed mean (Yin et al. 2018, Definition 2)."""

from jaxtyping import Bool
from pydantic import Field
from torch import Tensor

from fedrec.defenses.base import ServerView
from fedrec.settings import settings
from fedrec.updates import Gradient, Updates


@settings
class TrimmedMean:
    """In each coordinate, the mean of what is left without the largest and smallest values.

    Of n uploads ⌊trim · n⌋ are dropped on each side. The mean is not weighted by sample counts,
    for which the definition has no place. A row that few clients touch is trimmed away: all the
    others hold its ridge alone.
    """

    trim: float = Field(
        default=0.1, ge=0, lt=0.5, description="Share of uploads dropped on each side, β of Yin."
    )

    def reduce(self, received: Updates, kept: Bool[Tensor, " n"], view: ServerView) -> Gradient:
        """The trimmed mean of the uploads kept."""
        survivors = received if bool(kept.all()) else received.select(kept)
        # Rounded first: 0.29 · 100 is a little less than 29 in floating point.
        return survivors.trimmed_mean(int(round(self.trim * len(survivors), 9)))
