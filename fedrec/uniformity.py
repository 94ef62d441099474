"""How far apart item embeddings lie: the mean distance of all pairs (paper, Eq. 6, Algorithm 2)."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from fedrec.parallel import spread
from fedrec.updates import Updates, on_cpu

Part = tuple[Tensor, Tensor]  # a client's rows: their places among the items, and the points there
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
    sizes = torch.bincount(owner, minlength=len(received)).tolist()
    clients = list(zip(place.split(sizes), moved.split(sizes), strict=True))
    found = moved.new_empty(len(received))
    for ridge in received.ridge.unique():
        base = step(ridge * received.table[items], items)
        alike = (received.ridge == ridge).nonzero()[:, 0]
        found[alike] = _replaced(base, [clients[c] for c in alike.tolist()], squared)
    return found


def _replaced(
    base: Float[Tensor, "t d"],
    clients: list[Part],
    squared: bool,
) -> Float[Tensor, " n"]:
    """The uniformity of `base` with some points moved to other places, for each client."""
    t, center = len(base), base.mean(0)  # shorter vectors, less cancellation
    base = base - center
    if squared:
        return torch.stack(
            [uniformity(base.index_copy(0, *_about(center, part)), squared) for part in clients]
        )
    stays = base.new_ones(len(clients), t)
    for row, (place, _) in zip(stays, clients, strict=True):
        row[place] = 0
    total = ((stays @ distances(base, base)) * stays).sum(1) / 2  # pairs of two that stay
    total += base.new_tensor(
        spread(lambda part: moved_distances(base, *_about(center, part)), clients)
    )
    return total * 2 / (t * (t - 1))


def _about(center: Float[Tensor, " d"], part: Part) -> Part:
    return part[0], part[1] - center


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
