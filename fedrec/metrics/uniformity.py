"""Uniformity of item embeddings: the mean distance of all pairs (paper, Eq. 6, Algorithm 2)."""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from fedrec.kernels.distances import (
    Moves,
    distances,
    mean_distance,
    mean_distances,
    moved_bases,
    pair_sums,
)
from fedrec.kernels.sums import mean_row, total
from fedrec.updates import Updates

# (gradients, the item of each) -> the item's embedding after one step with each gradient
Step = Callable[[Float[Tensor, "rows d"], Int[Tensor, " rows"]], Tensor]


def uniformity(points: Float[Tensor, "t d"], squared: bool) -> Float[Tensor, ""]:
    """Return the mean (squared) L2 distance of all pairs of points; needs at least two points."""
    if not squared:
        return mean_distance(points)
    # Σ over pairs ‖x − y‖² = t Σ ‖x − mean‖²
    found = total((points - mean_row(points)).square()) * 2 / (len(points) - 1)
    return found.to(points.dtype)


def uniformities(
    received: Updates, items: Int[Tensor, " t"], step: Step, squared: bool
) -> Float[Tensor, " n"]:
    """Return, for each of n uploads, the uniformity of some distinct items after a step with it.

    An item that a client does not touch moves by the client's ridge only. All clients with the same
    ridge share these moved items, so only pairs with a touched item are computed per client.
    """
    if received.whole:
        return _of_stack(received, items, step, squared)
    owner, place, gradient = received.rows_on(items)
    embedding = received.table[items]
    center = mean_row(embedding)  # centring shortens the vectors and reduces cancellation
    moved = step(gradient, items.index_select(0, place)).sub_(center)
    ridges, group = received.ridge.unique(return_inverse=True)
    base = torch.stack([step(ridge * embedding, items) - center for ridge in ridges])
    sizes = torch.bincount(owner, minlength=len(received)).cpu().numpy()
    bounds = np.concatenate([[0], np.cumsum(sizes)])
    moves = Moves(group=group, bounds=bounds, place=place, point=moved)
    if squared:
        return torch.stack([uniformity(x, squared) for x in moved_bases(base, moves)])
    return mean_distances(base, moves)


def _of_stack(
    received: Updates, items: Int[Tensor, " t"], step: Step, squared: bool
) -> Float[Tensor, " n"]:
    """Compute the same for whole uploads: every point of every client at once."""
    gradient = received.gather(items)
    n, t, d = gradient.shape
    points = step(gradient.view(n * t, d), items.repeat(n)).view(n, t, d)
    points = points - points.mean(1, keepdim=True)
    if squared:
        return points.square().sum((1, 2)) * (2 / (t - 1))
    if points.dtype == torch.float64:
        return distances(points).sum((1, 2)) / (t * (t - 1))
    return pair_sums(points) * (2 / (t * (t - 1)))
