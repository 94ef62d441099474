"""Min-Max: farther from no normal gradient than they are apart (Shejwalkar, Houmansadr 2021)."""

import torch

from fedrec.attacks._perturbation import Perturbed, Rule
from fedrec.attacks.base import AttackerView, Forgery
from fedrec.rng import Streams
from fedrec.settings import settings


@settings
class MinMax(Perturbed):
    """All malicious clients upload μ + γp with max_i ‖∇_m − ∇_i‖ ≤ max_ij ‖∇_i − ∇_j‖.

    ∇_m is the forged upload, μ is the mean of the normal gradients ∇_i, and p is a perturbation
    against μ. γ is the largest one that the halving search of Algorithm 1 finds (Shejwalkar and
    Houmansadr, NDSS 2021, "Manipulating the Byzantine"). So no distance from ∇_m reveals it: two
    normal gradients are as far apart. The attacker knows neither the aggregation rule nor the
    benign clients' gradients. The normal gradients are those of its own clients, and distances are
    of whole uploads.
    """

    def forge(self, view: AttackerView, state: None, streams: Streams) -> Forgery[None]:
        """Return the perturbed mean, the same for every malicious client."""
        return self.forged(view, streams, Rule(bound=torch.max, extent=torch.max))
