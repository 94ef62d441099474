"""Bucketing: means of random groups of uploads (Karimireddy, He and Jaggi, ICLR 2022)."""

import torch
from jaxtyping import Int
from pydantic import Field
from torch import Tensor

from fedrec.defenses.base import Mixture, ServerView
from fedrec.settings import settings
from fedrec.updates import Updates


@settings
class Bucketing:
    """Uploads are put into ⌈n / s⌉ random buckets, and each bucket becomes its mean (Algorithm 1).

    A filter and a reduction then work on the buckets. A filter that drops a bucket drops all
    uploads in it. Every round draws other buckets. The last has fewer than s uploads, if s does not
    divide n. As in the authors' code, the assumed number of malicious uploads f stays the same: it
    is the largest number of buckets that malicious uploads can reach.

    Uploads count equally in a mean, as in the paper. A bucket has the sample counts of all uploads
    in it.
    """

    size: int = Field(
        default=2,
        ge=1,
        description="s, uploads in a bucket (authors' code: 2; 3 as well in exp8.py).",
    )

    def mix(self, received: Updates, view: ServerView) -> Mixture:
        """Return the means of the buckets."""
        holder = self._holders(len(received), view)
        bucket = torch.arange(-(-len(received) // self.size), device=holder.device)
        return Mixture.of_groups(received, holder == bucket[:, None], holder)

    def _holders(self, n: int, view: ServerView) -> Int[Tensor, " n"]:
        """Draw each upload's bucket: its place in a random order, divided by s."""
        return view.streams.drawn(
            lambda own: own.of("bucketing").lanes((n,)).argsort(kind="stable") // self.size
        )
