"""Random arrays on a GPU: see `kernels.device.draws` and `kernels.dropout.masks`."""

from math import prod

import torch
import triton
import triton.language as tl
from torch import Tensor

from fedrec.kernels.dropout import Places, dropped_below
from fedrec.kernels.philox import ClientStreams, halves, row_blocks
from fedrec.kernels.triton.jit import kernel
from fedrec.kernels.triton.lanes import lane16, lane32, log_uniform

BLOCK = 1024
UNIFORM, NORMAL = tl.constexpr(0), tl.constexpr(1)


@kernel
def quarter_turns(bits):
    """Return cosine and sine of the angle given by 32 bits, as in `Stream.normal`."""
    quarter = bits >> 30
    x = (bits << 2).to(tl.int32, bitcast=True).to(tl.float32) * (3.14159265358979 / 2 / 4294967296)
    cosine, sine = tl.cos(x), tl.sin(x)
    across = tl.where(quarter % 2 == 1, sine, cosine)
    up = tl.where(quarter % 2 == 1, cosine, sine)
    across = tl.where((quarter == 1) | (quarter == 2), -across, across)
    return across, tl.where(quarter >= 2, -up, up)


@kernel
def draw_kernel(
    out,
    clients,
    counter,
    key_low,
    key_high,
    rows,
    width,
    blocks,
    LAW: tl.constexpr,
    B: tl.constexpr,
):
    """Draw some numbers of a client."""
    c, i = tl.program_id(1), tl.program_id(0) * B + tl.arange(0, B)
    client, number = tl.load(clients + c), tl.load(counter)
    row, element = i // width, i % width
    if LAW == UNIFORM:
        bits = lane32(key_low, key_high, number, client, row, element, blocks)
        x = (bits >> 8).to(tl.float32) * (1.0 / 16777216)
    else:
        even = element // 2 * 2
        first = lane32(key_low, key_high, number, client, row, even, blocks)
        second = lane32(key_low, key_high, number, client, row, even + 1, blocks)
        across, up = quarter_turns(second)
        radius = tl.sqrt(tl.maximum(-2.0 * log_uniform(first), 0.0))
        x = radius * tl.where(element % 2 == 0, across, up)
    tl.store(out + c.to(tl.int64) * rows * width + i, x, mask=i < rows * width)


def uniform(streams: ClientStreams, clients: Tensor, rows: int, width: int) -> Tensor:
    """See `kernels.device.draws.uniform`."""
    return _drawn(streams, clients, rows, width, UNIFORM)


def normal(streams: ClientStreams, clients: Tensor, rows: int, width: int) -> Tensor:
    """See `kernels.device.draws.normal`."""
    return _drawn(streams, clients, rows, width, NORMAL)


def _drawn(
    streams: ClientStreams, clients: Tensor, rows: int, width: int, law: tl.constexpr
) -> Tensor:
    out = torch.empty(len(clients), rows, width, device=clients.device)
    if out.numel():
        blocks = row_blocks(width + width % 2 if law == NORMAL else width, 32)
        draw_kernel[(triton.cdiv(rows * width, BLOCK), len(clients))](
            out,
            clients.contiguous(),
            streams.counter,
            *halves(streams.key),
            rows,
            width,
            blocks,
            LAW=law,
            B=BLOCK,
        )
    return out


@kernel
def laplace_kernel(
    value, change, clients, counter, key_low, key_high, scale, rows, width, blocks, B: tl.constexpr
):
    """Add noise to some coordinates of a client."""
    c, i = tl.program_id(1), tl.program_id(0) * B + tl.arange(0, B)
    client, number = tl.load(clients + c), tl.load(counter)
    bits = lane32(key_low, key_high, number, client, i // width, i % width, blocks)
    size = -scale * log_uniform(bits)
    noise = tl.where(bits % 2 == 1, size, -size)
    at, inside = c.to(tl.int64) * rows * width + i, i < rows * width
    moved = tl.load(change + at, mask=inside, other=0.0)
    x = tl.load(value + at, mask=inside, other=0.0)
    tl.store(value + at, x + tl.where(tl.abs(moved) <= size, noise, 0.0), mask=inside)


def add_laplace_noise(
    value: Tensor, change: Tensor, streams: ClientStreams, clients: Tensor, scale: float
) -> None:
    """See `kernels.device.draws.add_laplace_noise`."""
    n, rows, width = value.shape
    if value.numel():
        laplace_kernel[(triton.cdiv(rows * width, BLOCK), n)](
            value,
            change.contiguous(),
            clients.contiguous(),
            streams.counter,
            *halves(streams.key),
            scale,
            rows,
            width,
            row_blocks(width, 32),
            B=BLOCK,
        )


@kernel
def mask_kernel(
    out,
    clients,
    counter,
    key_low,
    key_high,
    below,
    size,
    rows,
    last,
    stride,
    blocks,
    B: tl.constexpr,
):
    """Draw some masks of a client: row j of group i is row i · stride + j of the lanes."""
    c, e = tl.program_id(1), tl.program_id(0) * B + tl.arange(0, B)
    client, number = tl.load(clients + c), tl.load(counter)
    row = e // (rows * last) * stride + e // last % rows
    kept = lane16(key_low, key_high, number, client, row, e % last, blocks) >= below
    tl.store(out + c.to(tl.int64) * size + e, kept.to(tl.float32), mask=e < size)


def masks(streams: ClientStreams, clients: Tensor, places: Places, rate: float) -> Tensor:
    """See `kernels.dropout.masks`."""
    *_, rows, last = places.shape
    size = prod(places.shape)
    out = torch.empty(len(clients), *places.shape, device=clients.device)
    mask_kernel[(triton.cdiv(size, BLOCK), len(clients))](
        out,
        clients.contiguous(),
        streams.counter,
        *halves(streams.key),
        dropped_below(rate),
        size,
        rows,
        last,
        places.stride,
        row_blocks(places.width, 16),
        B=BLOCK,
    )
    return out
