"""Min-Sum: as near to all normal gradients as one of them is (Shejwalkar, Houmansadr 2021)."""

from typing import Literal

from jaxtyping import Float64
from pydantic import Field
from torch import Tensor

from fedrec.attacks._perturbation import Perturbed, Rule
from fedrec.attacks.base import AttackerView, Forgery
from fedrec.kernels.sums import mean_row, total
from fedrec.rng import Streams
from fedrec.settings import settings


@settings
class MinSum(Perturbed):
    """All malicious clients upload μ + γp with Σ_i ‖∇_m − ∇_i‖² ≤ max_i Σ_j ‖∇_i − ∇_j‖².

    ∇_m is the forged upload, μ is the mean of the normal gradients ∇_i, and p is a perturbation
    against μ. γ is the largest one that the halving search of Algorithm 1 finds (Shejwalkar and
    Houmansadr, NDSS 2021, "Manipulating the Byzantine"). Krum scores uploads by sums of this kind.
    The attacker knows neither the aggregation rule nor the benign clients' gradients. The normal
    gradients are those of its own clients, and distances are of whole uploads.
    """

    reference: Literal["farthest", "nearest"] = Field(
        default="farthest",
        description="The normal gradient whose sum of squared distances is the bound: the one with "
        "the largest sum (the paper's text), or the smallest (its authors' code).",
    )

    def forge(self, view: AttackerView, state: None, streams: Streams) -> Forgery[None]:
        """Return the perturbed mean, the same for every malicious client."""
        return self.forged(view, streams, Rule(bound=self._of_reference, extent=total))

    def _of_reference(self, pairs: Float64[Tensor, "n n"]) -> Float64[Tensor, ""]:
        """Return the sum of the reference's squared distances from all normal gradients."""
        sums = mean_row(pairs) * len(pairs)
        return sums.max() if self.reference == "farthest" else sums.min()
