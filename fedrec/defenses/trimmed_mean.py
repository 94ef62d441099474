"""TrimmedMean: the coordinate-wise trimmed mean (Yin et al. 2018, Definition 2)."""

from typing import Annotated, Literal

from jaxtyping import Bool
from pydantic import Field
from torch import Tensor

from fedrec.defenses.base import ServerView
from fedrec.settings import settings
from fedrec.updates import Gradient, Updates

Share = Annotated[float, Field(ge=0, lt=0.5)]


@settings
class TrimmedMean:
    """In each coordinate, the mean of what is left without the largest and smallest values.

    On each side as many are dropped as malicious uploads are prepared for, f = ⌈n·m%⌉ (first
    upload), or ⌊trim · n⌋ of n uploads. The mean is not weighted by sample counts, for which the
    definition has no place: without attack it is the plain mean. A row that few clients touch is
    trimmed away: all the others hold its ridge alone.
    """

    trim: Literal["f"] | Share = Field(
        default="f",
        description="Uploads dropped on each side: f (first upload), or a share, β of Yin.",
    )

    def reduce(self, received: Updates, kept: Bool[Tensor, " n"], view: ServerView) -> Gradient:
        """The trimmed mean of the uploads kept."""
        sizes = range(len(received) + 1)
        trims = [self._count(n, view.expected_malicious) for n in sizes]
        return received.trimmed_mean_of(kept, trims)

    def _count(self, n: int, f: int) -> int:
        """How many are dropped on each side; one at least is left."""
        # Rounded first: 0.29 · 100 is a little less than 29 in floating point.
        wanted = f if self.trim == "f" else int(round(self.trim * n, 9))
        return max(min(wanted, (n - 1) // 2), 0)
