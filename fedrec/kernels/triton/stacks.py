"""Stacks of item gradients to which many programs add, as integer multiples of 2⁻⁴⁰."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from fedrec.kernels.triton.jit import kernel

UNIT = tl.constexpr(2.0**-40)
BLOCK = 4096


def empty_sums(n: int, items: int, d: int, device: torch.device) -> Tensor:
    """Return a stack of sums that are zero."""
    return torch.zeros(n, items, d, dtype=torch.int64, device=device)


@kernel
def add_at(sums, place, x, mask):
    """sums[place] += x, by many programs at a time."""
    tl.atomic_add(sums + place, tl.floor(x * (1.0 / UNIT) + 0.5).to(tl.int64), mask=mask)


@kernel
def settle_kernel(sums, base, stride, out, share, size, B: tl.constexpr):
    """out = sums + share · base."""
    c, i = tl.program_id(1).to(tl.int64), tl.program_id(0) * B + tl.arange(0, B)
    inside = i < size
    whole = tl.load(sums + c * size + i, mask=inside, other=0)
    under = tl.load(base + c * stride + i, mask=inside, other=0.0)
    tl.store(out + c * size + i, whole.to(tl.float32) * UNIT + share * under, mask=inside)


def settled(sums: Tensor, base: Tensor, share: float) -> Tensor:
    """Return the sums as floats, plus `share` times a table common to all, or a stack."""
    n, items, d = sums.shape
    out = torch.empty(n, items, d, device=sums.device)
    stride = items * d if base.dim() == 3 else 0
    grid = (triton.cdiv(items * d, BLOCK), n)
    settle_kernel[grid](sums, base, stride, out, share, items * d, B=BLOCK)
    return out
