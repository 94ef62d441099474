"""The trimmed mean on a GPU: see `kernels.device.gradients.trimmed_mean`."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from fedrec.kernels.triton.jit import kernel

COORDINATES = 64  # coordinates that one program works on


@kernel
def trimmed_kernel(value, kept, trims, out, n, size, N: tl.constexpr, B: tl.constexpr):
    """Trim some coordinates of all clients, one lowest and one highest value at a time."""
    c, i = tl.arange(0, N), tl.program_id(0) * B + tl.arange(0, B)
    stays = tl.load(kept + c, mask=c < n, other=0) != 0
    count = tl.sum(stays.to(tl.int32), 0)
    trim = tl.load(trims + count).to(tl.int32)
    at = c.to(tl.int64)[:, None] * size + i[None, :]
    x = tl.load(value + at, mask=stays[:, None] & (i < size)[None, :], other=0.0)
    left = stays[:, None] & (i >= 0)[None, :]
    done = trim * 0
    while done < trim:
        least = tl.min(tl.where(left, x, float("inf")), 0)
        first = tl.min(tl.where(left & (x == least[None, :]), c[:, None], N), 0)
        left = left & (c[:, None] != first[None, :])
        most = tl.max(tl.where(left, x, float("-inf")), 0)
        first = tl.min(tl.where(left & (x == most[None, :]), c[:, None], N), 0)
        left = left & (c[:, None] != first[None, :])
        done += 1
    mean = tl.sum(tl.where(left, x, 0.0), 0) / (count - 2 * trim)
    tl.store(out + i, mean, mask=i < size)


def trimmed_mean(value: Tensor, kept: Tensor, trims: Tensor) -> Tensor:
    """See `kernels.device.gradients.trimmed_mean`."""
    n, items, d = value.shape
    out = torch.empty(items, d, device=value.device)
    grid = (triton.cdiv(items * d, COORDINATES),)
    flags = kept.to(torch.int8)
    if not out.numel():
        return out
    wide = triton.next_power_of_2(n)
    trimmed_kernel[grid](value, flags, trims, out, n, items * d, N=wide, B=COORDINATES)
    return out
