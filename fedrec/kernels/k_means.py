"""k-means by Lloyd's algorithm (Lloyd 1982), on the CPU or the GPU."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from fedrec.kernels.compiled import on_cpu
from fedrec.kernels.sums import total


@dataclass(frozen=True)
class Clusters:
    """A partition of points: each point's cluster, and the centroids."""

    label: Int[Tensor, " points"]
    centroid: Float[Tensor, "k d"]


def k_means(
    points: Float[Tensor, "points d"],
    start: Float[Tensor, "k d"],
    tolerance: float,
    max_iterations: int,
) -> Clusters:
    """Lloyd's iterations from the given centroids until they move by less than `tolerance`.

    The movement is the Frobenius norm over all centroids. A cluster that loses all its points
    keeps its centroid.
    """
    centroid, step = start, _compiled_step if on_cpu(points) else _step
    for _ in range(max_iterations):
        label, moved = step(points, centroid)
        shift = total((moved - centroid).square()).sqrt()
        centroid = moved
        if shift < tolerance:
            break
    return Clusters(label, centroid)


def _step(
    points: Float[Tensor, "points d"], centroid: Float[Tensor, "k d"]
) -> tuple[Int[Tensor, " points"], Float[Tensor, "k d"]]:
    """Each point's nearest centroid, the first of equals, and the means of these clusters."""
    # ‖x − c‖² less the ‖x‖² that all centroids share
    label = (centroid.square().sum(1) - 2 * points @ centroid.T).argmin(1)
    size = torch.bincount(label, minlength=len(centroid))[:, None]
    summed = torch.zeros_like(centroid).index_add_(0, label, points)
    return label, torch.where(size > 0, summed / size.clamp(min=1), centroid)


def _compiled_step(
    points: Float[Tensor, "points d"], centroid: Float[Tensor, "k d"]
) -> tuple[Int[Tensor, " points"], Float[Tensor, "k d"]]:
    """The same in one pass over the points."""
    from fedrec.kernels.vectors import lloyd_step

    label, moved = torch.empty(len(points), dtype=torch.int64), torch.empty_like(centroid)
    lloyd_step(points.numpy(), centroid.numpy(), label.numpy(), moved.numpy())
    return label, moved
