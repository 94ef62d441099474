"""Krum and MultiKrum: keep the uploads closest to their neighbours (Blanchard et al. 2017)."""

from typing import Literal

import torch
from jaxtyping import Bool, Float64
from pydantic import Field, PositiveInt
from torch import Tensor

from fedrec.defenses.base import Judgement, ServerView
from fedrec.kernels.sums import total
from fedrec.settings import settings
from fedrec.updates import Updates

Neighbours = Literal["n-f-2", "n-f-1"]


@settings
class Krum:
    """Keeps the uploads with the lowest scores: sums of squared distances to the nearest others.

    Krum keeps one upload (section 4 of Blanchard et al.). MultiKrum keeps several, and the
    reduction takes their mean. f, the assumed number of malicious uploads, is ⌈n·m%⌉ (first
    upload), so MultiKrum keeps all uploads if there is no attack. A score sums over n − f − 2
    neighbours, but at least over one.
    """

    keep: Literal["n-f"] | PositiveInt = Field(
        default=1,
        description="Number of uploads to keep: 1 is Krum; MultiKrum keeps n-f (first upload; "
        "Blanchard et al. leave the number m open).",
    )
    neighbours: Neighbours = Field(
        default="n-f-2",
        description="Nearest other uploads that a score sums over: n-f-2 (Blanchard et al.), or "
        "n-f-1 (El Mhamdi et al. 2018, who count the upload itself among the n-f nearest).",
    )
    squared: bool = Field(
        default=True,
        description="Use squared distances (Blanchard et al.), or plain ones as in some ports.",
    )

    def judge(self, received: Updates, among: Bool[Tensor, " n"], view: ServerView) -> Judgement:
        """Keep the `keep` best uploads of `among`; of equal scores, the first."""
        if received.whole:
            return Judgement(self._best(received.gram(), among, view.expected_malicious))
        candidates = among.nonzero()[:, 0]
        f = view.expected_malicious
        scores = self.scores(received.gram()[candidates][:, candidates], f)
        count = max(len(candidates) - f, 1) if self.keep == "n-f" else self.keep
        best = candidates[scores.argsort(stable=True)[:count]]
        keep = torch.zeros_like(among).index_fill_(0, best, True)
        return Judgement(keep)

    def _best(
        self, gram: Float64[Tensor, "n n"], among: Bool[Tensor, " n"], f: int
    ) -> Bool[Tensor, " n"]:
        """Choose the same uploads on a GPU, where the number of candidates is not known."""
        norms, n = gram.diagonal(), among.sum()
        distance = (norms[:, None] + norms - 2 * gram).clamp_(min=0)
        if not self.squared:
            distance.sqrt_()
        distance.fill_diagonal_(torch.inf)
        nearest = distance.where(among[:, None] & among, torch.inf).sort(dim=1).values
        count = (n - f - (2 if self.neighbours == "n-f-2" else 1)).clamp(min=1)
        count = torch.minimum(count, n - 1)
        place = torch.arange(len(gram), device=among.device)
        scores = nearest.where(place < count, 0).sum(1).where(among, torch.inf)
        rank = scores.argsort(stable=True).argsort()
        kept = (n - f).clamp(min=1) if self.keep == "n-f" else self.keep
        return (rank < kept) & among

    def scores(self, gram: Float64[Tensor, "n n"], f: int) -> Float64[Tensor, " n"]:
        """Return each upload's score, computed from the inner products of all uploads."""
        n, norms = len(gram), gram.diagonal()
        distance = (norms[:, None] + norms - 2 * gram).clamp_(min=0)
        if not self.squared:
            distance.sqrt_()
        distance.fill_diagonal_(torch.inf)
        count = n - f - (2 if self.neighbours == "n-f-2" else 1)
        count = min(max(count, 1), n - 1)
        return torch.stack([total(nearest[:count]) for nearest in distance.sort(dim=1).values])
