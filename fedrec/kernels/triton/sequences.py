"""The tokens of sequences on a GPU: see `kernels.device.sequences`."""

from math import sqrt

import torch
import triton
import triton.language as tl
from torch import Tensor

from fedrec.kernels.device.resident import Resident
from fedrec.kernels.device.sequences import Tokens
from fedrec.kernels.dropout import Mask
from fedrec.kernels.triton.jit import kernel
from fedrec.kernels.triton.masks import drawn_by, factors
from fedrec.kernels.triton.wide import tile, wide

NUMBERS = 1024  # coordinates that one program works on


@kernel
def token_count(sizes, length):
    """Return the number of tokens of clients with so many pairs."""
    return tl.minimum(tl.maximum(sizes - 1, 0), length)


@kernel
def tokens_kernel(
    table,
    stride,
    positions,
    own_step,
    index,
    positive,
    negative,
    history,
    states,
    step,
    pairs_apart,
    places,
    counts,
    length,
    time,
    root,
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
    """Look up R tokens of a client."""
    c, t, k = (
        tl.program_id(0).to(tl.int64),
        tl.program_id(1) * R + tl.arange(0, R),
        tl.arange(0, WIDE),
    )
    start, size = tl.load(index + c * 6 + 1), tl.load(index + c * 6 + 2)
    past = tl.load(index + c * 6 + 5)
    count = token_count(size, length)
    tl.store(counts + c, count, mask=tl.program_id(1) == 0)
    live, used = t < time, t < count
    inside, row, column = used[:, None] & (k < D)[None, :], c * time + t, k[None, :]
    number = size - 1 - count + t
    read = tl.load(history + past + number, mask=used, other=-1)
    plus = tl.load(positive + start + number + 1, mask=used, other=-1)
    less = tl.load(negative + start + number + 1, mask=used, other=-1)
    at = places + c * 3 * time + t
    tl.store(at, read, mask=live)
    tl.store(at + time, plus, mask=live)
    tl.store(at + 2 * time, less, mask=live)
    own = table + c * stride + column
    x = tl.load(own + read[:, None] * D, mask=inside, other=0.0) * root
    place = (length - count + t)[:, None] * D + column
    x += tl.load(positions + c * own_step + place, mask=inside, other=0.0)
    v = tl.load(own + plus[:, None] * D, mask=inside, other=0.0)
    w = tl.load(own + less[:, None] * D, mask=inside, other=0.0)
    if DROP:
        x *= factors(c, t, clients, apart, counter, key_low, key_high, below, blocks, factor, WIDE)
    written = live[:, None] & (k < D)[None, :]
    tl.store(states + row[:, None] * step + column, x, mask=written)
    tl.store(states + row * step + D, 1.0, mask=live)
    tl.store(pairs_apart + row[:, None] * D + column, v - w, mask=written)


def tokens(
    table: Tensor, positions: Tensor, resident: Resident, time: int, mask: Mask | None
) -> Tokens:
    """See `kernels.device.sequences.tokens`."""
    (n, length, d), items = positions.shape, table.shape[-2]
    entry = resident.entry.contiguous()
    apart = table.new_empty(n, time, d)
    states, places = wide(apart, d), entry.new_empty(n, 3 * time)
    counts, (columns, rows) = entry.new_empty(n), tile(d, NUMBERS)
    tokens_kernel[(n, triton.cdiv(time, rows))](
        table.contiguous(),
        items * d if table.dim() == 3 else 0,
        positions,
        positions.stride(0),
        entry,
        resident.positive,
        resident.negative,
        resident.history,
        states,
        states.stride(1),
        apart,
        places,
        counts,
        length,
        time,
        sqrt(d),
        **drawn_by(mask, table),
        D=d,
        WIDE=columns,
        R=rows,
    )
    return Tokens(states, apart, places, counts)


@kernel
def slopes_kernel(
    states,
    step,
    apart,
    counts,
    loss,
    to_states,
    to_items,
    time,
    D: tl.constexpr,
    WIDE: tl.constexpr,
    R: tl.constexpr,
):
    """Compute the losses of R tokens of a client, and their gradients."""
    c, t, k = (
        tl.program_id(0).to(tl.int64),
        tl.program_id(1) * R + tl.arange(0, R),
        tl.arange(0, WIDE),
    )
    count, live = tl.load(counts + c), t < time
    row, column, inside = c * time + t, k[None, :], live[:, None] & (k < D)[None, :]
    state = tl.load(states + row[:, None] * step + column, mask=inside, other=0.0)
    away = tl.load(apart + row[:, None] * D + column, mask=inside, other=0.0)
    x = tl.sum(state * away, 1)
    share = tl.where(t < count, 1.0 / tl.maximum(count, 1), 0.0)
    slope = (-share / (1 + tl.exp(x)))[:, None]
    cost = tl.log(1 + tl.exp(-tl.abs(x))) + tl.maximum(-x, 0.0)
    tl.store(loss + row, cost * share, mask=live)
    tl.store(to_states + row[:, None] * D + column, slope * away, mask=inside)
    at = to_items + (c * 3 * time + t)[:, None] * D + column
    tl.store(at + time * D, slope * state, mask=inside)
    tl.store(at + 2 * time * D, -slope * state, mask=inside)


def bpr_slopes(
    states: Tensor, apart: Tensor, counts: Tensor, to_items: Tensor
) -> tuple[Tensor, Tensor]:
    """See `kernels.device.sequences.bpr_slopes`."""
    n, time, d = apart.shape
    loss, to_states = apart.new_empty(n, time), torch.empty_like(apart)
    given = (states, states.stride(1), apart, counts, loss, to_states, to_items, time)
    columns, rows = tile(d, NUMBERS)
    slopes_kernel[(n, triton.cdiv(time, rows))](*given, D=d, WIDE=columns, R=rows)
    return loss, to_states


@kernel
def tokens_back_kernel(
    gradient,
    counts,
    to_items,
    to_positions,
    own_step,
    length,
    time,
    root,
    D: tl.constexpr,
    WIDE: tl.constexpr,
    R: tl.constexpr,
):
    """Write the gradients of R tokens of a client. No two tokens have the same position."""
    c, t, k = (
        tl.program_id(0).to(tl.int64),
        tl.program_id(1) * R + tl.arange(0, R),
        tl.arange(0, WIDE),
    )
    count, column = tl.load(counts + c), k[None, :]
    inside = (t < time)[:, None] & (k < D)[None, :]
    g = tl.load(gradient + (c * time + t)[:, None] * D + column, mask=inside, other=0.0)
    tl.store(to_items + (c * 3 * time + t)[:, None] * D + column, g * root, mask=inside)
    used = inside & (t < count)[:, None]
    at = to_positions + c * own_step + (length - count + t)[:, None] * D + column
    tl.store(at, tl.load(at, mask=used, other=0.0) + g, mask=used)


def tokens_back(gradient: Tensor, counts: Tensor, to_items: Tensor, to_positions: Tensor) -> None:
    """See `kernels.device.sequences.tokens_back`."""
    (n, time, d), length = gradient.shape, to_positions.shape[1]
    given = (gradient.contiguous(), counts, to_items, to_positions, to_positions.stride(0))
    columns, rows = tile(d, NUMBERS)
    tokens_back_kernel[(n, triton.cdiv(time, rows))](
        *given, length, time, sqrt(d), D=d, WIDE=columns, R=rows
    )
