"""k-means on a GPU: see `kernels.k_means.lloyd`."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from fedrec.kernels.triton.jit import kernel

PRODUCTS = 1024  # products of points and centroids that one program works on
LEAST = 16  # smallest number of rows and columns in a kernel's matrix product


@kernel
def arrived(shift, tolerance, k, K: tl.constexpr):
    """Return whether all centroids together have moved by less than the tolerance."""
    i = tl.arange(0, K)
    return tl.sqrt(tl.sum(tl.load(shift + i, mask=i < k, other=0.0), 0)) < tolerance


@kernel
def assign_kernel(
    points,
    label,
    centroid,
    partial,
    members,
    shift,
    tolerance,
    count,
    k,
    D: tl.constexpr,
    WIDE: tl.constexpr,
    K: tl.constexpr,
    P: tl.constexpr,
):
    """Find the nearest centroids of some points, the first of equals, and sum these clusters."""
    if not arrived(shift, tolerance, k, K):
        p, i, j = tl.program_id(0) * P + tl.arange(0, P), tl.arange(0, K), tl.arange(0, WIDE)
        live, some, inside = p < count, i < k, j < D
        at = p[:, None] * D + j[None, :]
        x = tl.load(points + at, mask=live[:, None] & inside[None, :], other=0.0)
        where = i[:, None] * D + j[None, :]
        c = tl.load(centroid + where, mask=some[:, None] & inside[None, :], other=0.0)
        # ‖x − c‖² without ‖x‖², which is the same for all centroids
        product = tl.dot(x, tl.trans(c), input_precision="ieee")
        away = tl.where(some, tl.sum(c * c, 1), float("inf"))[None, :] - 2 * product
        # No centroid is near a NaN; the host may not have checked for NaNs yet.
        nearest = tl.minimum(tl.argmin(away, 1, tie_break_left=True), k - 1)
        tl.store(label + p, nearest.to(tl.int64), mask=live)
        mine = (i[:, None] == nearest[None, :]) & live[None, :]
        summed = tl.dot(mine.to(tl.float32), x, input_precision="ieee")
        own = tl.program_id(0) * k
        tl.store(partial + own * D + where, summed, mask=some[:, None] & inside[None, :])
        tl.store(members + own + i, tl.sum(mine.to(tl.int32), 1), mask=some)


@kernel
def move_kernel(
    centroid,
    partial,
    members,
    shift,
    tolerance,
    programs,
    k,
    D: tl.constexpr,
    WIDE: tl.constexpr,
    K: tl.constexpr,
    P: tl.constexpr,
):
    """Move a centroid to the mean of its cluster; it stays if the cluster is empty."""
    c, j = tl.program_id(0), tl.arange(0, WIDE)
    inside, moved = j < D, tl.zeros([WIDE], tl.float64)
    if not arrived(shift, tolerance, k, K):
        summed, size, first = tl.zeros([WIDE], tl.float64), 0, 0
        while first < programs:
            b = first + tl.arange(0, P)
            at = (b[:, None] * k + c) * D + j[None, :]
            some = (b < programs)[:, None] & inside[None, :]
            summed += tl.sum(tl.load(partial + at, mask=some, other=0.0).to(tl.float64), 0)
            size += tl.sum(tl.load(members + b * k + c, mask=b < programs, other=0), 0)
            first += P
        old = tl.load(centroid + c * D + j, mask=inside, other=0.0)
        mean = (summed / tl.maximum(size, 1)).to(tl.float32)
        new = tl.where(size > 0, mean, old)
        tl.store(centroid + c * D + j, new, mask=inside)
        moved = (new - old).to(tl.float64)
    # The shift for the next iteration; zero once the centroids have arrived.
    tl.store(shift + k + c, tl.sum(moved * moved, 0))


def lloyd(
    points: Tensor, start: Tensor, tolerance: float, max_iterations: int
) -> tuple[Tensor, Tensor]:
    """See `kernels.k_means.lloyd`. All iterations are started; those after the end do nothing."""
    (count, d), k, device = points.shape, len(start), points.device
    wide, many = (max(triton.next_power_of_2(x), LEAST) for x in (d, k))
    some = max(PRODUCTS // many, LEAST)
    programs, sizes = triton.cdiv(count, some), {"D": d, "WIDE": wide, "K": many, "P": some}
    centroid, label = start.clone(), torch.zeros(count, dtype=torch.int64, device=device)
    partial = torch.empty(programs, k, d, device=device)
    members = torch.empty(programs, k, dtype=torch.int32, device=device)
    shift = torch.full((max_iterations + 1, k), torch.inf, dtype=torch.float64, device=device)
    for i in range(max_iterations):
        own = (centroid, partial, members, shift[i], tolerance)
        assign_kernel[(programs,)](points, label, *own, count, k, **sizes)
        move_kernel[(k,)](*own, programs, k, **sizes)
    return label, centroid
