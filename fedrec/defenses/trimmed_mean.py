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
    """In each coordinate, the mean of the values without the largest and the smallest ones.

    Each side drops f = ⌈n·m%⌉ values, the assumed number of malicious uploads (first upload), or
    ⌊trim · n⌋ of n uploads. The mean is not weighted by sample counts, because the definition has
    no weights; without attack it is the plain mean. A row that few clients touch is trimmed away,
    because all other clients have only its ridge.
    """

    trim: Literal["f"] | Share = Field(
        default="f",
        description="Uploads to drop on each side: f (first upload), or a share (β of Yin et al.).",
    )

    def reduce(self, received: Updates, kept: Bool[Tensor, " n"], view: ServerView) -> Gradient:
        """Return the trimmed mean of the kept uploads."""
        sizes = range(len(received) + 1)
        trims = [self._count(n, view.expected_malicious) for n in sizes]
        return received.trimmed_mean_of(kept, trims)

    def _count(self, n: int, f: int) -> int:
        """Return how many values each side drops; at least one value is left."""
        # Rounded first: 0.29 · 100 is a little less than 29 in floating point.
        wanted = f if self.trim == "f" else int(round(self.trim * n, 9))
        return max(min(wanted, (n - 1) // 2), 0)
