"""k-means by Lloyd's algorithm (Lloyd 1982), on the CPU or the GPU."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from fedrec.kernels.compiled import compiled, on_cpu
from fedrec.kernels.device.operation import operation
from fedrec.kernels.sums import total
from fedrec.kernels.vectors import LANES, dot, folded, fused, load, no_lanes


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
    """Run Lloyd's iterations from the given centroids until they move by less than `tolerance`.

    The movement is the Frobenius norm over all centroids. A cluster that loses all its points keeps
    its centroid.
    """
    return Clusters(*lloyd(points, start, tolerance, max_iterations))


@operation("lloyd")
def lloyd(
    points: Float[Tensor, "points d"],
    start: Float[Tensor, "k d"],
    tolerance: float,
    max_iterations: int,
) -> tuple[Int[Tensor, " points"], Float[Tensor, "k d"]]:
    """Return each point's cluster, and the centroids."""
    centroid, step = start, _compiled_step if on_cpu(points) else _step
    for _ in range(max_iterations):
        label, moved = step(points, centroid)
        shift = total((moved - centroid).square()).sqrt()
        centroid = moved
        if shift < tolerance:
            break
    return label, centroid


def _step(
    points: Float[Tensor, "points d"], centroid: Float[Tensor, "k d"]
) -> tuple[Int[Tensor, " points"], Float[Tensor, "k d"]]:
    """Return each point's nearest centroid, the first of equals, and the means of the clusters."""
    # ‖x − c‖² without ‖x‖², which is the same for all centroids
    label = (centroid.square().sum(1) - 2 * points @ centroid.T).argmin(1)
    size = torch.bincount(label, minlength=len(centroid))[:, None]
    summed = torch.zeros_like(centroid).index_add_(0, label, points)
    return label, torch.where(size > 0, summed / size.clamp(min=1), centroid)


def _compiled_step(
    points: Float[Tensor, "points d"], centroid: Float[Tensor, "k d"]
) -> tuple[Int[Tensor, " points"], Float[Tensor, "k d"]]:
    """Do the same as `_step`, in one pass over the points."""
    label, moved = torch.empty(len(points), dtype=torch.int64), torch.empty_like(centroid)
    lloyd_step(points.numpy(), centroid.numpy(), label.numpy(), moved.numpy())
    return label, moved


@compiled()
def lloyd_step(
    points: Float[np.ndarray, "points d"],
    centroid: Float[np.ndarray, "k d"],
    label: Int[np.ndarray, " points"],
    moved: Float[np.ndarray, "k d"],
) -> None:
    """Do one iteration of k-means: labels of the nearest centroids, then the means of clusters.

    Of equally near centroids the first counts; a cluster without points keeps its centroid.
    """
    k, d = centroid.shape
    squares, size, total = np.empty(k, np.float32), np.zeros(k, np.int64), np.zeros((k, d))
    for c in range(k):
        squares[c] = dot(centroid[c], centroid[c])
    for p in range(len(points)):
        best, nearest = np.float32(0), 0
        for c in range(0, k, 2):  # two products for three loaded numbers
            other = min(c + 1, k - 1)
            one, two = no_lanes(), no_lanes()
            for j in range(0, d, LANES):
                x = load(points[p], j)
                one, two = (
                    fused(x, load(centroid[c], j), one),
                    fused(x, load(centroid[other], j), two),
                )
            for which, product in ((c, folded(one)), (other, folded(two))):
                away = squares[which] - np.float32(2) * product
                if which == 0 or away < best:
                    best, nearest = away, which
        label[p] = nearest
        size[nearest] += 1
        for j in range(d):
            total[nearest, j] += points[p, j]
    for c in range(k):
        for j in range(d):
            moved[c, j] = total[c, j] / size[c] if size[c] else centroid[c, j]
