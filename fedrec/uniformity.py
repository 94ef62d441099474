"""How far apart item embeddings lie: the mean distance of all pairs (paper, Eq. 6, Algorithm 2)."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from fedrec.parallel import spread
from fedrec.updates import Updates, on_cpu

# (gradients, the item of each) -> that item's embedding after a step down each
Step = Callable[[Float[Tensor, "rows d"], Int[Tensor, " rows"]], Tensor]


def uniformity(points: Float[Tensor, "t d"], squared: bool) -> Float[Tensor, ""]:
    """The mean (squared) L2 distance of all pairs of points; two at least."""
    t = len(points)
    centered = points - points.mean(0)
    if squared:  # Σ over pairs ‖x − y‖² = t Σ ‖x − mean‖²
        return centered.square().sum() * 2 / (t - 1)
    return distances(centered, centered).sum() / (t * (t - 1))


def uniformities(
    received: Updates, items: Int[Tensor, " t"], step: Step, squared: bool
) -> Float[Tensor, " n"]:
    """For each of n uploads, the uniformity of these distinct items after a step down it alone.

    Items that a client does not touch move by its ridge alone: all clients with the same ridge
    share them, and only pairs with a touched item are worked out client by client.
    """
    owner, place, gradient = received.rows_on(items)
    moved = step(gradient, items[place])
    found = moved.new_empty(len(received))
    for ridge in received.ridge.unique():
        base = step(ridge * received.table[items], items)
        alike = received.ridge == ridge
        rows = alike[owner]
        position = alike.cumsum(0) - 1
        sizes = torch.bincount(position[owner[rows]], minlength=int(alike.sum()))
        found[alike] = _replaced(base, place[rows], moved[rows], sizes, squared)
    return found


def _replaced(
    base: Float[Tensor, "t d"],
    place: Int[Tensor, " rows"],
    moved: Float[Tensor, "rows d"],
    sizes: Int[Tensor, " n"],
    squared: bool,
) -> Float[Tensor, " n"]:
    """The uniformity of `base` with some points moved, for each of n clients in turn."""
    t, center = len(base), base.mean(0)  # shorter vectors, less cancellation
    base, moved = base - center, moved - center
    parts = list(zip(place.split(sizes.tolist()), moved.split(sizes.tolist()), strict=True))
    if squared:
        return torch.stack([uniformity(base.index_copy(0, *part), squared) for part in parts])
    owner = torch.arange(len(sizes), device=place.device).repeat_interleave(sizes)
    stays = base.new_ones(len(sizes), t)
    stays[owner, place] = 0
    total = ((stays @ distances(base, base)) * stays).sum(1) / 2  # pairs of two that stay
    total += base.new_tensor(spread(lambda part: moved_distances(base, *part), parts))
    return total * 2 / (t * (t - 1))


def moved_distances(
    base: Float[Tensor, "t d"], place: Int[Tensor, " k"], moved: Float[Tensor, "k d"]
) -> float:
    """Σ ‖x_i − x_j‖ over the pairs of which a point has moved: k of the base, to other places."""
    if on_cpu(base) and base.dtype == torch.float32:
        from fedrec import kernels

        return kernels.moved_distances(base.numpy(), place.numpy(), moved.numpy())
    stays = base.new_ones(len(base)).index_fill_(0, place, 0)
    # Pairs with one moved point, and half of those with two, which come twice.
    apart = distances(moved, base.index_copy(0, place, moved))
    return float((apart @ (1 + stays)).sum() / 2)


def distances(x: Float[Tensor, "a d"], y: Float[Tensor, "b d"]) -> Float[Tensor, "a b"]:
    """‖x_i − y_j‖; 0 where its square is less than the rounding of norms."""
    both = x.square().sum(1)[:, None] + y.square().sum(1)
    squares = torch.addmm(both, x, y.T, alpha=-2)
    rounding = 8 * torch.finfo(x.dtype).eps
    return squares.masked_fill_(squares <= rounding * both, 0).sqrt_()
