"""Bulyan: iterated Krum, then a mean around the median (El Mhamdi et al. 2018, section 4)."""

import torch
from jaxtyping import Bool, Float64, Int
from torch import Tensor

from fedrec.defenses._distances import squared_distances
from fedrec.defenses.base import Judgement, ServerView
from fedrec.settings import settings
from fedrec.updates import Gradient, Updates


@settings
class Bulyan:
    """Keeps n − 2f uploads by Krum; in each coordinate, averages those closest to the median.

    Krum chooses the upload with the lowest sum of squared distances to its n' − f − 2 nearest
    others, out of the n' that are left, until θ = n − 2f are chosen. In each coordinate, the
    gradient is the unweighted mean of the β = θ − 2f values closest to the median of the chosen
    uploads; the median of an even number is the mean of the two middle ones. f, the assumed number
    of malicious uploads, is ⌈n·m%⌉. Without attack, the gradient is the unweighted mean of all.

    The definition needs n ≥ 4f + 3. With fewer uploads, f is the largest number that n allows. If f
    is 1 or 2, the formula leaves no or one neighbour to the last choices. They use two, because two
    uploads that are each other's only neighbour have equal scores.
    """

    def judge(self, received: Updates, among: Bool[Tensor, " n"], view: ServerView) -> Judgement:
        """Keep the uploads that Krum chooses from `among`, one at a time."""
        if view.expected_malicious == 0:
            return Judgement(among)
        n = among.sum()
        f = ((n - 3) // 4).clamp(min=0, max=view.expected_malicious)
        return Judgement(chosen_by_krum(received.gram(), among, n - 2 * f, f))

    def reduce(self, received: Updates, kept: Bool[Tensor, " n"], view: ServerView) -> Gradient:
        """Return the coordinate-wise mean of the kept values that are closest to their median."""
        n = len(received)
        f = min(view.expected_malicious, max(n - 3, 0) // 4)
        return received.mean_near_median_of(kept, [max(k - 2 * f, 1) for k in range(n + 1)])


def chosen_by_krum(
    gram: Float64[Tensor, "n n"], among: Bool[Tensor, " n"], number: Int[Tensor, ""], f: Tensor
) -> Bool[Tensor, " n"]:
    """Mark the uploads that Krum chooses, of equal scores the first; `gram`: inner products."""
    norms, place = gram.diagonal(), torch.arange(len(gram), device=gram.device)
    near, order = squared_distances(gram).fill_diagonal_(torch.inf).sort(dim=1)
    sound = among & norms.isfinite()  # an upload whose norm overflows is not chosen
    left = sound
    for step in range(len(gram)):
        scores = krum_scores(near, left[order], f).where(left, torch.inf)
        left = left & ((place != scores.argmin()) | (step >= number))
    return sound & ~left


def krum_scores(
    near: Float64[Tensor, "n n"], left: Bool[Tensor, "n n"], f: Tensor
) -> Float64[Tensor, " n"]:
    """Sum each upload's squared distances to its nearest others.

    `near` has the distances in ascending order, and `left` marks those to uploads that are left.
    """
    others = left.sum(1) - 1
    count = torch.minimum((others - f - 1).clamp(min=2), others)
    nearest = left & (left.cumsum(1) <= count[:, None])
    return near.where(nearest, 0).sum(1)
