"""DnC, divide and conquer: a spectral filter (Shejwalkar and Houmansadr 2021, Algorithm 2)."""

import math

import torch
from jaxtyping import Bool, Float64, Int
from pydantic import Field
from torch import Tensor

from fedrec.defenses.base import Judgement, ServerView
from fedrec.settings import settings
from fedrec.updates import Updates

SQUARINGS = 30  # tells singular values apart whose squares differ by a factor of 1 + 1e-8


@settings
class DnC:
    """Drops the c · f uploads that lie farthest along the main direction of their differences.

    In each draw, the server takes a random subset of the coordinates and subtracts the mean of the
    uploads. An upload's score is its squared projection on the top right singular vector. The
    uploads with the c · f largest scores fail the draw, and an upload is kept if it passes all. f,
    the assumed number of malicious uploads, is ⌈n·m%⌉, so all uploads are kept without attack.

    The paper draws single coordinates. Here the server draws items, with all coordinates of their
    rows, because uploads are stored by row; and the same share of the other shared parameters. If
    no upload passes all draws, those that pass the most are kept.
    """

    iterations: int = Field(
        default=1, ge=1, description="Draws of a subset (default of the port in Blades)."
    )
    share: float = Field(
        default=1.0,
        gt=0,
        description="c, uploads that fail a draw for each assumed malicious one (Blades).",
    )
    sample: int = Field(
        default=156,
        ge=1,
        description="Items of a draw: 10,000 coordinates (Blades) if items have 64 dimensions.",
    )

    def judge(self, received: Updates, among: Bool[Tensor, " n"], view: ServerView) -> Judgement:
        """Keep the uploads of `among` that pass every draw."""
        # Rounded first: 0.29 · 100 is a little less than 29 in floating point.
        fail = int(round(self.share * view.expected_malicious, 9))
        if fail == 0:
            return Judgement(among)
        points = (self._subset(received, view, draw) for draw in range(self.iterations))
        draws = [in_line(outlier_scores(some, among), among, fail) for some in points]
        passed = torch.stack(draws).sum(0)
        return Judgement(among & (passed == passed.max()))

    def _subset(
        self, received: Updates, view: ServerView, draw: int
    ) -> Float64[Tensor, "n coordinates"]:
        """Return all uploads' coordinates in one draw."""
        received = received.written_out()
        n_items, params = len(received.table), received.dense.shape[1]
        count = min(self.sample, n_items)
        rows = received.gather(_chosen(view, "dnc-items", draw, n_items, count)).flatten(1)
        if not params:
            return rows.double()
        some = _chosen(view, "dnc-params", draw, params, math.ceil(params * count / n_items))
        return torch.cat([rows, received.dense.index_select(1, some)], dim=1).double()


def in_line(
    scores: Float64[Tensor, " n"], among: Bool[Tensor, " n"], fail: int
) -> Bool[Tensor, " n"]:
    """Mark all of `among` but the `fail` with the largest scores, of equal ones the last."""
    rank = scores.where(among, torch.inf).argsort(stable=True).argsort()
    return (rank < (among.sum() - fail).clamp(min=1)) & among


def outlier_scores(
    points: Float64[Tensor, "n k"], among: Bool[Tensor, " n"]
) -> Float64[Tensor, " n"]:
    """Return squared projections of the centred points on their top right singular vector.

    Only the points of `among` count; the scores are divided by the squared singular value. They
    are the diagonal of u uᵀ, where u is the top left singular vector. Squaring the matrix of inner
    products again and again leads to u uᵀ, without waiting for a GPU, as a decomposition would.
    """
    points = points.where(among[:, None], 0)
    centred = (points - points.sum(0) / among.sum()).where(among[:, None], 0)
    gram = scaled_to_trace(centred @ centred.mT)
    for _ in range(SQUARINGS):
        gram = scaled_to_trace(gram @ gram)
    return gram.diagonal()


def scaled_to_trace(matrix: Float64[Tensor, "n n"]) -> Float64[Tensor, "n n"]:
    """Divide a matrix by its trace, unless it is zero."""
    trace = matrix.trace()
    return matrix / trace.where(trace > 0, 1)


def _chosen(view: ServerView, purpose: str, draw: int, n: int, count: int) -> Int[Tensor, " t"]:
    """Draw `count` of the numbers below n."""
    return view.streams.drawn(lambda own: own.of(purpose, draw).chosen(n, count))
