"""The activation of layers on a GPU: see `kernels.device.transformer`."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from fedrec.kernels.dropout import Mask
from fedrec.kernels.triton.jit import kernel
from fedrec.kernels.triton.masks import drawn_by, factors
from fedrec.kernels.triton.wide import tile, wide

NUMBERS = 1024  # that one program works on


@kernel
def relu_kernel(
    x_pointer,
    out,
    step,
    time,
    clients,
    apart,
    counter,
    key_low,
    key_high,
    below,
    blocks,
    factor,
    DROP: tl.constexpr,
    D: tl.constexpr,
    WIDE: tl.constexpr,
    R: tl.constexpr,
):
    """Activate R states of a client."""
    c, t, k = tl.program_id(0), tl.program_id(1) * R + tl.arange(0, R), tl.arange(0, WIDE)
    live, inside = t < time, (t < time)[:, None] & (k < D)[None, :]
    row = c.to(tl.int64) * time + t
    x = tl.load(x_pointer + row[:, None] * D + k[None, :], mask=inside, other=0.0)
    x = tl.where(x < 0, 0.0, x)  # a NaN stays one
    if DROP:
        x *= factors(c, t, clients, apart, counter, key_low, key_high, below, blocks, factor, WIDE)
    tl.store(out + row[:, None] * step + k[None, :], x, mask=inside)
    tl.store(out + row * step + D, 1.0, mask=live)


def activated(x: Tensor, mask: Mask | None) -> Tensor:
    """See `kernels.device.transformer.activated`."""
    n, time, d = x.shape
    out = wide(x, d)
    columns, rows = tile(d, NUMBERS)
    relu_kernel[(n, triton.cdiv(time, rows))](
        x.contiguous(),
        out,
        out.stride(1),
        time,
        **drawn_by(mask, x),
        D=d,
        WIDE=columns,
        R=rows,
    )
    return out


@kernel
def relu_back_kernel(
    gradient,
    active,
    step,
    out,
    scale,
    count,
    D: tl.constexpr,
    WIDE: tl.constexpr,
    R: tl.constexpr,
):
    """Compute the gradients of R states of any clients."""
    row, k = tl.program_id(0).to(tl.int64) * R + tl.arange(0, R), tl.arange(0, WIDE)
    inside, at = (row < count)[:, None] & (k < D)[None, :], row[:, None] * D + k[None, :]
    positive = tl.load(active + row[:, None] * step + k[None, :], mask=inside, other=0.0) > 0
    g = tl.load(gradient + at, mask=inside, other=0.0)
    tl.store(out + at, tl.where(positive, g * scale, 0.0), mask=inside)


def activated_back(gradient: Tensor, active: Tensor, scale: float) -> Tensor:
    """See `kernels.device.transformer.activated_back`."""
    n, time, d = gradient.shape
    gradient, (columns, rows) = gradient.contiguous(), tile(d, NUMBERS)
    out = torch.empty_like(gradient)
    relu_back_kernel[(triton.cdiv(n * time, rows),)](
        gradient, active, active.stride(1), out, scale, n * time, D=d, WIDE=columns, R=rows
    )
    return out
