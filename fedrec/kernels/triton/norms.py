"""Layer normalisation on a GPU: see `kernels.device.transformer`."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from fedrec.kernels.device.transformer import NORM_EPS
from fedrec.kernels.dropout import Mask
from fedrec.kernels.triton.jit import kernel
from fedrec.kernels.triton.masks import drawn_by, factors
from fedrec.kernels.triton.wide import tile, wide

NUMBERS = 1024  # that one program works on
# The same with sums over a client's time: there are few programs, one for each client.
SUMMED, WARPS = 4096, 8


@kernel
def standardised(x, inside, eps, D: tl.constexpr):
    """Return rows with mean 0 and variance 1, and 1 / their standard deviation before."""
    centred = tl.where(inside, x - (tl.sum(x, 1) / D)[:, None], 0.0)
    inverse = 1 / tl.sqrt(tl.sum(centred * centred, 1) / D + eps)
    return centred * inverse[:, None], inverse


@kernel
def add_norm_kernel(
    change,
    change_step,
    base,
    base_step,
    own,
    own_step,
    summed,
    out,
    step,
    time,
    eps,
    clients,
    apart,
    counter,
    key_low,
    key_high,
    below,
    blocks,
    factor,
    DROP: tl.constexpr,
    ADD: tl.constexpr,
    D: tl.constexpr,
    WIDE: tl.constexpr,
    R: tl.constexpr,
):
    """Add R states of a client to others, and normalise them."""
    c, t, k = tl.program_id(0), tl.program_id(1) * R + tl.arange(0, R), tl.arange(0, WIDE)
    live, inside = t < time, (t < time)[:, None] & (k < D)[None, :]
    row, column = (c.to(tl.int64) * time + t)[:, None], k[None, :]
    x = tl.load(change + row * change_step + column, mask=inside, other=0.0)
    if DROP:
        x *= factors(c, t, clients, apart, counter, key_low, key_high, below, blocks, factor, WIDE)
    at, one = row * step + column, (c.to(tl.int64) * time + t) * step + D
    if ADD:
        x += tl.load(base + row * base_step + column, mask=inside, other=0.0)
        tl.store(summed + at, x, mask=inside)
        tl.store(summed + one, 1.0, mask=live)
    unit, _ = standardised(x, inside, eps, D)
    own += c.to(tl.int64) * own_step
    scale = tl.load(own + k, mask=k < D, other=0.0)[None, :]
    shift = tl.load(own + D + k, mask=k < D, other=0.0)[None, :]
    tl.store(out + at, unit * scale + shift, mask=inside)
    tl.store(out + one, 1.0, mask=live)


def normed(x: Tensor, own: Tensor) -> Tensor:
    """See `kernels.device.transformer.normed`."""
    return _normed(x, None, None, own)[1]


def add_normed(
    change: Tensor, mask: Mask | None, base: Tensor, own: Tensor
) -> tuple[Tensor, Tensor]:
    """See `kernels.device.transformer.add_normed`."""
    return _normed(change, mask, base, own)


def _normed(
    change: Tensor, mask: Mask | None, base: Tensor | None, own: Tensor
) -> tuple[Tensor, Tensor]:
    n, time, d = *change.shape[:2], own.shape[2]
    out, other = wide(change, d), change if base is None else base
    summed = out if base is None else wide(change, d)
    columns, rows = tile(d, NUMBERS)
    add_norm_kernel[(n, triton.cdiv(time, rows))](
        change,
        change.stride(1),
        other,
        other.stride(1),
        own,
        own.stride(0),
        summed,
        out,
        out.stride(1),
        time,
        NORM_EPS,
        **drawn_by(mask, change),
        ADD=base is not None,
        D=d,
        WIDE=columns,
        R=rows,
    )
    return summed, out


@kernel
def norm_back_kernel(
    gradient,
    x_pointer,
    x_step,
    own,
    own_step,
    other,
    to_x,
    to_change,
    to_own,
    to_own_step,
    time,
    eps,
    clients,
    apart,
    counter,
    key_low,
    key_high,
    below,
    blocks,
    factor,
    DROP: tl.constexpr,
    ADD: tl.constexpr,
    D: tl.constexpr,
    WIDE: tl.constexpr,
    R: tl.constexpr,
):
    """Go through the states of a client, R at a time, and sum the gradients of its parameters."""
    c, k = tl.program_id(0), tl.arange(0, WIDE)
    scale = tl.load(own + c.to(tl.int64) * own_step + k, mask=k < D, other=0.0)[None, :]
    to_scale, to_shift = tl.zeros([WIDE], tl.float32), tl.zeros([WIDE], tl.float32)
    first = 0
    while first < time:
        t = first + tl.arange(0, R)
        inside = (t < time)[:, None] & (k < D)[None, :]
        row = (c.to(tl.int64) * time + t)[:, None]
        at = row * D + k[None, :]
        g = tl.load(gradient + at, mask=inside, other=0.0)
        x = tl.load(x_pointer + row * x_step + k[None, :], mask=inside, other=0.0)
        unit, inverse = standardised(x, inside, eps, D)
        to_scale += tl.sum(g * unit, 0)
        to_shift += tl.sum(g, 0)
        scaled = g * scale
        along = (tl.sum(scaled * unit, 1) / D)[:, None] * unit
        found = (scaled - (tl.sum(scaled, 1) / D)[:, None] - along) * inverse[:, None]
        if ADD:
            found += tl.load(other + at, mask=inside, other=0.0)
        tl.store(to_x + at, found, mask=inside)
        if DROP:
            found *= factors(
                c, t, clients, apart, counter, key_low, key_high, below, blocks, factor, WIDE
            )
            tl.store(to_change + at, found, mask=inside)
        first += R
    sums = to_own + c.to(tl.int64) * to_own_step + k
    tl.store(sums, tl.load(sums, mask=k < D, other=0.0) + to_scale, mask=k < D)
    tl.store(sums + D, tl.load(sums + D, mask=k < D, other=0.0) + to_shift, mask=k < D)


def norm_back(
    gradient: Tensor,
    x: Tensor,
    own: Tensor,
    other: Tensor | None,
    mask: Mask | None,
    to_own: Tensor,
) -> tuple[Tensor, Tensor]:
    """See `kernels.device.transformer.norm_back`."""
    n, time, d = gradient.shape
    gradient = gradient.contiguous()
    to_x = torch.empty_like(gradient)
    to_change = to_x if mask is None else torch.empty_like(gradient)
    columns, rows = tile(d, SUMMED)
    norm_back_kernel[(n,)](
        gradient,
        x,
        x.stride(1),
        own,
        own.stride(0),
        gradient if other is None else other.contiguous(),
        to_x,
        to_change,
        to_own,
        to_own.stride(0),
        time,
        NORM_EPS,
        **drawn_by(mask, gradient),
        ADD=other is not None,
        D=d,
        WIDE=columns,
        R=rows,
        num_warps=WARPS,
    )
    return to_x, to_change
