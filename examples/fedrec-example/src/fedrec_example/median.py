"""Median: the coordinate-wise median of all uploads (Yin et al. 2018)."""

from jaxtyping import Bool
from torch import Tensor

from fedrec.defenses.base import ServerView
from fedrec.settings import settings
from fedrec.updates import Gradient, Updates


@settings
class Median:
    """The median of every coordinate over the kept uploads, whatever their sample counts."""

    def reduce(self, received: Updates, kept: Bool[Tensor, " n"], view: ServerView) -> Gradient:
        """Return the mean of the middle value, or of the two middle values, of each coordinate."""
        some = received.select(kept)
        return some.trimmed_mean((len(some) - 1) // 2)
