"""PerRow: a robust rule for each item, over the clients that touch it (Zhang et al., AAAI 2025)."""

from functools import partial
from typing import Literal

from jaxtyping import Bool
from pydantic import Field
from torch import Tensor

from fedrec.defenses.base import ServerView
from fedrec.errors import ConfigError
from fedrec.kernels.touched import touched_krum, touched_mean
from fedrec.settings import settings
from fedrec.updates import Gradient, Updates

RowRule = Literal["median", "trimmed_mean", "krum"]


@settings
class PerRow:
    """Aggregates each item's rows by a robust rule, over only the clients that touch the item.

    This is the sparse aggregation that Zhang et al. ("Rethinking Byzantine Robustness in Federated
    Recommendation from Sparse Aggregation Perspective") attack. A client touches an item if its
    upload has a row for it: an honest client trained on the item, and a forged upload often has
    rows for all items. The rules are those of CoordinateMedian, TrimmedMean and Krum.

    Of n clients, k touch an item. Its gradient is k/n times the rule's result on their k gradients,
    plus 1/n times the L2 gradient of each of the other clients. So the mean as a rule would give
    the unweighted mean of all uploads. The code of Zhang et al. has no factor k/n, because its
    plain aggregation is the mean over the k clients. All parameters other than items are
    aggregated by the same rule over all clients.

    Malicious clients may be most of an item's k clients, so the server assumes the same number
    f = ⌈n·m%⌉ of them on every item, as that code does. Where k is too small, f is the largest
    number that the rule allows: (k − 1) / 2 for the trimmed mean, (k − 3) / 2 for Krum. In that
    code, Krum's neighbours are then k − f or k, its distances are not squared, and the trimmed mean
    drops the f values that are farthest from the median, not f on each side.
    """

    rule: RowRule = Field(
        default="median",
        description="Rule for the rows of an item: coordinate-wise median or trimmed mean, or the "
        "row with the lowest Krum score.",
    )

    def reduce(self, received: Updates, kept: Bool[Tensor, " n"], view: ServerView) -> Gradient:
        """Return the aggregate of the kept uploads.

        Raises:
            ConfigError: the uploads are on a GPU, where the touched items are not recorded.
        """
        if received.whole:
            raise ConfigError(
                "per_row: on a GPU the touched items are not recorded; "
                "run this cell with --device cpu"
            )
        survivors = received if bool(kept.all()) else received.select(kept)
        if self.rule == "krum":
            return survivors.by_item(partial(touched_krum, f=view.expected_malicious))
        # The median is the trimmed mean that leaves one value or two.
        trim = len(survivors) if self.rule == "median" else view.expected_malicious
        return survivors.by_item(partial(touched_mean, trim=trim))
