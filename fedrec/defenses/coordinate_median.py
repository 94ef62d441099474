"""CoordinateMedian: the coordinate-wise median (Yin et al. 2018, Definition 1)."""

from jaxtyping import Bool
from torch import Tensor

from fedrec.defenses.base import ServerView
from fedrec.settings import settings
from fedrec.updates import Gradient, Updates


@settings
class CoordinateMedian:
    """In each coordinate, the median of the uploads' values.

    Of an even number of uploads, it is the mean of the two middle values: the trimmed mean that
    leaves one or two values. Sample counts do not weigh, because the definition has no weights. A
    row that less than half of the clients touch gets their common ridge, so rarely touched items
    are hardly trained. The server needs no estimate of the number of malicious clients.
    """

    def reduce(self, received: Updates, kept: Bool[Tensor, " n"], view: ServerView) -> Gradient:
        """Return the coordinate-wise median of the kept uploads."""
        trims = [max(n - 1, 0) // 2 for n in range(len(received) + 1)]
        return received.trimmed_mean_of(kept, trims)
