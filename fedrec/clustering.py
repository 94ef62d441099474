"""k-means by Lloyd's algorithm (Lloyd 1982), on the CPU or the GPU."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor


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
    centroid = start
    for _ in range(max_iterations):
        label = nearest(points, centroid)
        moved = _means(points, label, centroid)
        shift = (moved - centroid).norm()
        centroid = moved
        if shift < tolerance:
            break
    return Clusters(label, centroid)


def nearest(
    points: Float[Tensor, "points d"], centroid: Float[Tensor, "k d"]
) -> Int[Tensor, " points"]:
    """The nearest centroid of each point; the first of equals."""
    # ‖x − c‖² less the ‖x‖² that all centroids share
    return (centroid.square().sum(1) - 2 * points @ centroid.T).argmin(1)


def _means(
    points: Float[Tensor, "points d"], label: Int[Tensor, " points"], empty: Float[Tensor, "k d"]
) -> Float[Tensor, "k d"]:
    """The mean of each cluster's points, or its row of `empty` where it has none."""
    size = torch.bincount(label, minlength=len(empty))[:, None]
    total = torch.zeros_like(empty).index_add_(0, label, points)
    return torch.where(size > 0, total / size.clamp(min=1), empty)
