"""The majority cluster of numbers on a GPU: see `defenses._gap_statistic.majority_of`."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from fedrec.kernels.triton.jit import kernel

FAR = tl.constexpr(float("inf"))


@kernel
def majority_kernel(values, among, references, keep, at_most, n, N: tl.constexpr):
    """Compare all numbers with each other, in one program."""
    i = tl.arange(0, N)
    counted = tl.load(among + i, mask=i < n, other=0) != 0
    value = tl.load(values + i, mask=i < n, other=0.0)
    least = tl.min(tl.where(counted, value, FAR), 0)
    spread = tl.max(tl.where(counted, value, -FAR), 0) - least
    count = tl.sum(counted.to(tl.int32), 0)
    x = tl.where(counted, (value - least) / tl.where(spread > 0, spread, 1.0), 0.0)
    # Row i, column j: whether number j counts, and comes no later than number i.
    level = (x[None, :] == x[:, None]) & counted[None, :]
    earlier = (x[None, :] < x[:, None]) & counted[None, :] | level & (i[None, :] <= i[:, None])
    place = tl.sum(earlier.to(tl.int32), 1)
    sums = tl.sum(tl.where(earlier, x[None, :], 0.0), 1)
    squares = tl.sum(tl.where(earlier, x[None, :] * x[None, :], 0.0), 1)
    whole, all_squares = tl.sum(x, 0), tl.sum(x * x, 0)
    below = squares - sums * sums / tl.maximum(place, 1)
    rest = tl.maximum(count - place, 1)
    above = (all_squares - squares) - (whole - sums) * (whole - sums) / rest
    # Equal numbers are never separated.
    last = tl.sum((level & (i[None, :] > i[:, None])).to(tl.int32), 1) == 0
    possible = counted & last & (place < count)
    cost = tl.where(possible, tl.maximum(below + above, 0.0), FAR)
    best = tl.min(cost, 0)
    low = tl.min(tl.where(possible & (cost == best), place, N), 0)
    one, two = tl.load(references + count * 3), tl.load(references + count * 3 + 1)
    error = tl.load(references + count * 3 + 2)
    gap_one = one - tl.log(all_squares - whole * whole / tl.maximum(count, 1))
    falls = tl.where(count >= 3, gap_one < two - tl.log(best) - error, False)
    parted = tl.where(tl.minimum(low, count - low) <= at_most, True, falls)
    parted = tl.where(low < N, parted, False)  # if all numbers are equal, there is no cut
    minority = (place <= low) == (2 * low <= count)
    kept = counted & (tl.where(parted, minority, False) == 0)
    tl.store(keep + i, kept, mask=i < n)


def majority_of(values: Tensor, among: Tensor, references: Tensor, at_most: int) -> Tensor:
    """See `defenses._gap_statistic.majority_of`."""
    keep, n = torch.empty_like(among), len(values)
    majority_kernel[(1,)](
        values, among.to(torch.int8), references, keep, at_most, n, N=triton.next_power_of_2(n)
    )
    return keep
