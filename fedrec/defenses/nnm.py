"""NNM, nearest-neighbour mixing (Allouah et al. 2023, "Fixing by Mixing")."""

import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from fedrec.defenses._distances import squared_distances
from fedrec.defenses.base import Mixture, ServerView
from fedrec.settings import settings
from fedrec.updates import Updates


@settings
class NNM:
    """Each upload becomes the mean of the n − f uploads nearest to it, itself included.

    A filter and a reduction then work on the mixed uploads. f, the assumed number of malicious
    uploads, is ⌈n·m%⌉. Without attack, all mixed uploads are the mean of all uploads. They are
    equal then, so there is only one.

    Uploads count equally in a mean, as in the paper and in byzfl. A mixed upload has the sample
    counts of all uploads in it. Of equally near uploads, the first are taken.
    """

    def mix(self, received: Updates, view: ServerView) -> Mixture:
        """Return one mixed upload for each received upload; without attack, one for all."""
        received, n = received.written_out(), len(received)
        place = torch.arange(n, device=received.weight.device)
        if view.expected_malicious == 0:
            return Mixture.of_groups(received, place[None] >= 0, torch.zeros_like(place))
        near = nearest(received.gram(), max(n - view.expected_malicious, 1))
        return Mixture.of_groups(received, near, place)


def nearest(gram: Float64[Tensor, "n n"], count: int) -> Bool[Tensor, "n n"]:
    """Mark in each row the upload itself and its nearest others, `count` in all.

    `gram` has the inner products of the uploads.
    """
    order = squared_distances(gram).fill_diagonal_(-1).argsort(dim=1, stable=True)
    return order.argsort(dim=1) < count
