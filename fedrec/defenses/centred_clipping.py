"""CentredClipping: clip uploads around the last aggregate (Karimireddy, He and Jaggi 2021)."""

import torch
from jaxtyping import Bool, Float64
from pydantic import Field
from torch import Tensor
from torch.nn.functional import pad

from fedrec.defenses._distances import distances
from fedrec.defenses.base import Memory, ServerView
from fedrec.kernels.sums import total
from fedrec.models.base import Shared
from fedrec.settings import settings
from fedrec.updates import Gradient, Updates, with_others


@settings
class CentredClipping:
    """v ← v + mean of (g_c − v) · min(1, τ / ‖g_c − v‖) over the uploads g_c.

    v starts at the aggregate of the previous round, and at zero in the first. After L iterations it
    is the aggregate. Every v is a combination of the uploads and the first v. So all distances
    follow from inner products, and no difference is written out.

    An upload can move v by at most τ/n in an iteration, whatever its size. Uploads count equally,
    as in the paper. An upload whose norm overflows does not count.

    The paper's clients upload momenta, and the same clients take part in every round. Here they
    upload gradients, and each round has other clients. So v remembers what others uploaded.
    """

    radius: float = Field(
        default=0.1,
        gt=0,
        description="τ (ours: as `norm_bound.bound`, because it depends on the size of gradients. "
        "The authors' code has 100 for CIFAR-10 and 10 for MNIST. Benign gradients here are far "
        "shorter).",
    )
    iterations: int = Field(
        default=1,
        ge=1,
        description="L (authors' code: 1 on CIFAR-10 in 2021; 3 on MNIST in 2022).",
    )

    def remember(self, shared: Shared) -> Memory:
        """Return v before the first round: zero."""
        return {"items": torch.zeros_like(shared.items), "dense": torch.zeros_like(shared.dense)}

    def reduce(self, received: Updates, kept: Bool[Tensor, " n"], view: ServerView) -> Gradient:
        """Return v after clipping the kept uploads around it, and remember it."""
        memory = view.memory
        last = Gradient(memory["items"], memory["dense"])
        everything = with_others(received.written_out(), last)
        found = everything.weighted_sum(self.coefficients(everything.gram(), kept).float())
        memory["items"].copy_(found.items)
        memory["dense"].copy_(found.dense)
        return found

    def coefficients(
        self, gram: Float64[Tensor, "n_and_1 n_and_1"], kept: Bool[Tensor, " n"]
    ) -> Float64[Tensor, " n_and_1"]:
        """Return the coefficients of the uploads and of the last aggregate in the new one.

        `gram` has their inner products, those of the last aggregate at the end.
        """
        sound = pad((kept & gram.diagonal()[:-1].isfinite()).double(), (0, 1))
        found = pad(torch.zeros_like(sound[:-1]), (0, 1), value=1.0)
        counts = (sound + found).bool()
        gram = gram.where(counts[:, None] & counts, 0)
        each = sound / sound.sum().clamp(min=1)
        for _ in range(self.iterations):
            step = each * (self.radius / distances(gram, found).clamp(min=self.radius))
            found = found * (1 - total(step)) + step
        return found
