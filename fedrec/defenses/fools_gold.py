"""FoolsGold: less weight for uploads that resemble one another (Fung et al., RAID 2020)."""

from jaxtyping import Bool, Float64
from pydantic import Field
from torch import Tensor

from fedrec.defenses.base import ServerView
from fedrec.settings import settings
from fedrec.updates import Gradient, Updates

CLOSE = 1e-6  # differences of cosines that may be rounding errors
HIGHEST = 0.99  # of what the logit is taken


@settings
class FoolsGold:
    """Multiplies each upload by a factor from 0 to 1, which is low if a similar upload exists.

    The similarity of two uploads is their cosine. v_i is an upload's largest similarity to another,
    and at least 0. Pardoning multiplies the similarity of i to j by v_i / v_j if v_i < v_j. Then
    1 − max_j of the similarities, divided by its largest value, gives α_i. The factor is
    κ (ln(α_i / (1 − α_i)) + 0.5), limited to [0, 1], with 0.99 in place of an α_i above it (the
    authors' code, deep-fg/fg/foolsgold.py, where κ is 1). The gradient is the mean of the uploads
    times their factors, weighted by sample counts; the authors' code divides by n as well.

    Two things differ from the source. It compares the sums of all past uploads of each client. Here
    the server compares the uploads of one round, which is `use_memory: false` in the authors' code:
    a client is in one round of about 120, and the server keeps no table of users. And it compares
    the coordinates of the output layer, or those that indicate a class; here all coordinates count.

    An upload that is zero has similarity 0 to all others. If all uploads are equal, the authors'
    code divides zero by zero; here all factors are then 1.
    """

    kappa: float = Field(
        default=1.0, gt=0, description="κ, the factor of the logit (authors' code: 1)."
    )

    def reduce(self, received: Updates, kept: Bool[Tensor, " n"], view: ServerView) -> Gradient:
        """Return the weighted mean of the kept uploads, each multiplied by its factor."""
        weight = received.weight * kept
        factors = self.factors(received.gram(), kept).float()
        return received.weighted_sum(weight * factors / weight.sum())

    def factors(
        self, gram: Float64[Tensor, "n n"], kept: Bool[Tensor, " n"]
    ) -> Float64[Tensor, " n"]:
        """Return the factors of the kept uploads, from the inner products of all uploads."""
        similar = cosines(gram, kept)
        most = similar.amax(1)
        pardon = (most[:, None] / most).where(most[:, None] < most, 1)
        alone = (1 - (similar * pardon).amax(1)).where(kept, 0)
        alone = alone.where(alone > CLOSE, 0)
        highest = alone.max()
        share = (alone / highest).clamp(max=HIGHEST)
        logit = self.kappa * ((share / (1 - share)).log() + 0.5)
        return logit.clamp(0, 1).where(highest > 0, 1)


def cosines(gram: Float64[Tensor, "n n"], kept: Bool[Tensor, " n"]) -> Float64[Tensor, "n n"]:
    """Return the cosines of all pairs of kept uploads; 0 for any other pair and on the diagonal."""
    norms = gram.diagonal().sqrt()
    found = (gram / norms[:, None] / norms).nan_to_num(nan=0, posinf=0, neginf=0)
    return found.where(kept[:, None] & kept, 0).fill_diagonal_(0)
