"""Distances of all pairs of points on a GPU: see `kernels.distances.pair_sums`."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from fedrec.kernels.triton.jit import kernel

POINTS = 64  # rows and columns that one program works on


@kernel
def pair_kernel(
    points, out, t, tiles, rounding, D: tl.constexpr, WIDE: tl.constexpr, P: tl.constexpr
):
    """Sum the distances between some rows of a set and some columns that do not precede them."""
    s, a, b = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    found = 0.0
    if a <= b:
        i, j, k = a * P + tl.arange(0, P), b * P + tl.arange(0, P), tl.arange(0, WIDE)
        own = points + s.to(tl.int64) * t * D
        inside = (k < D)[None, :]
        x = tl.load(own + i[:, None] * D + k[None, :], mask=(i < t)[:, None] & inside, other=0.0)
        y = tl.load(own + j[:, None] * D + k[None, :], mask=(j < t)[:, None] & inside, other=0.0)
        both = tl.sum(x * x, 1)[:, None] + tl.sum(y * y, 1)[None, :]
        square = both - 2 * tl.dot(x, tl.trans(y), input_precision="ieee")
        counts = (i[:, None] < j[None, :]) & (j < t)[None, :] & (square > rounding * both)
        found = tl.sum(tl.sum(tl.sqrt(tl.where(counts, square, 0.0)), 1), 0)
    tl.store(out + (s * tiles + a) * tiles + b, found)


def pair_sums(points: Tensor) -> Tensor:
    """See `kernels.distances.pair_sums`."""
    n, t, d = points.shape
    tiles, wide = triton.cdiv(t, POINTS), max(triton.next_power_of_2(d), 16)
    out = torch.empty(n, tiles * tiles, device=points.device)
    rounding = 8 * torch.finfo(points.dtype).eps
    pair_kernel[(n, tiles, tiles)](
        points.contiguous(), out, t, tiles, rounding, D=d, WIDE=wide, P=POINTS
    )
    return out.double().sum(1)
