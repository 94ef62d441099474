"""How far apart item embeddings lie: the mean distance of all pairs (paper, Eq. 6, Algorithm 2)."""

from collections.abc import Callable
from itertools import repeat

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from fedrec.kernels.compiled import on_cpu
from fedrec.kernels.sums import mean_row, total
from fedrec.kernels.threads import client_ranges, spread
from fedrec.updates import Updates

# (gradients, the item of each) -> that item's embedding after a step down each
Step = Callable[[Float[Tensor, "rows d"], Int[Tensor, " rows"]], Tensor]


def uniformity(points: Float[Tensor, "t d"], squared: bool) -> Float[Tensor, ""]:
    """The mean (squared) L2 distance of all pairs of points; two at least."""
    t = len(points)
    centered = points - mean_row(points)
    if squared:  # Σ over pairs ‖x − y‖² = t Σ ‖x − mean‖²
        found = total(centered.square()) * 2 / (t - 1)
    else:
        found = total(distances(centered)) / (t * (t - 1))
    return found.to(points.dtype)


def uniformities(
    received: Updates, items: Int[Tensor, " t"], step: Step, squared: bool
) -> Float[Tensor, " n"]:
    """For each of n uploads, the uniformity of these distinct items after a step down it alone.

    Items that a client does not touch move by its ridge alone: all clients with the same ridge
    share these bases, and only pairs with a touched item are worked out client by client.
    """
    owner, place, gradient = received.rows_on(items)
    embedding = received.table[items]
    center = mean_row(embedding)  # shorter vectors, less cancellation
    moved = step(gradient, items.index_select(0, place)).sub_(center)
    ridges, group = received.ridge.unique(return_inverse=True)
    base = torch.stack([step(ridge * embedding, items) - center for ridge in ridges])
    sizes = torch.bincount(owner, minlength=len(received))
    if squared or not on_cpu(base) or base.dtype != torch.float32:
        parts = (part.split(sizes.tolist()) for part in (place, moved))
        points = map(torch.index_copy, base[group], repeat(0), *parts)
        return torch.stack([uniformity(x, squared) for x in points])
    t, bounds = len(items), np.concatenate([[0], sizes.cumsum(0).numpy()])
    return _distance_sums(base, group, bounds, place, moved) * (2 / (t * (t - 1)))


def _distance_sums(
    base: Float[Tensor, "g t d"],
    group: Int[Tensor, " n"],
    bounds: Int[np.ndarray, " n_plus_1"],
    place: Int[Tensor, " rows"],
    moved: Float[Tensor, "rows d"],
) -> Float[Tensor, " n"]:
    """Σ ‖x_i − x_j‖ over all pairs, for each client with some points of its base moved."""
    from fedrec.kernels.vectors import LANES, distance_sums, distances_before, padded

    sums, across = moved.new_empty(len(group)), base.mT.contiguous().numpy()
    t = base.shape[1]
    apart = np.empty((len(base), t, padded(t, LANES)), np.float32)
    for columns, pairs in zip(across, apart, strict=True):
        distances_before(columns, pairs)
    whose, where, points, out = (x.numpy() for x in (group, place, moved, sums))

    def work(some: tuple[int, int]) -> None:
        distance_sums(across, apart, whose, bounds, where, points, out, *some)

    spread(work, client_ranges(bounds))
    return sums


def distances(x: Float[Tensor, "t d"]) -> Float[Tensor, "t t"]:
    """‖x_i − x_j‖; 0 where its square is less than the rounding of norms."""
    squares = x.square().sum(1)
    both = squares[:, None] + squares
    apart = torch.addmm(both, x, x.T, alpha=-2)
    rounding = 8 * torch.finfo(x.dtype).eps
    return apart.masked_fill_(apart <= rounding * both, 0).sqrt_()
