"""Weights of causal attention on a GPU: see `kernels.device.transformer`."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from fedrec.kernels.dropout import Mask
from fedrec.kernels.triton.jit import kernel
from fedrec.kernels.triton.masks import drawn_by, factors
from fedrec.kernels.triton.wide import tile

NUMBERS = 2048  # weights that one program works on


@kernel
def weights_kernel(
    scores,
    weights,
    kept,
    scale,
    heads,
    time,
    stride,
    clients,
    apart,
    counter,
    key_low,
    key_high,
    below,
    blocks,
    factor,
    DROP: tl.constexpr,
    WIDE: tl.constexpr,
    R: tl.constexpr,
):
    """Compute the weights of R places of a head; `stride` rows of masks lie between two heads."""
    b, i, j = tl.program_id(0), tl.program_id(1) * R + tl.arange(0, R), tl.arange(0, WIDE)
    at = (b.to(tl.int64) * time + i)[:, None] * time + j[None, :]
    inside, earlier = (i < time)[:, None] & (j < time)[None, :], j[None, :] <= i[:, None]
    x = tl.load(scores + at, mask=inside & earlier, other=0.0) * scale
    x = tl.where(earlier, x, float("-inf"))
    power = tl.exp(x - tl.max(x, 1)[:, None])
    w = power / tl.sum(power, 1)[:, None]
    tl.store(weights + at, w, mask=inside)
    if DROP:
        row = b % heads * stride + i
        w *= factors(
            b // heads, row, clients, apart, counter, key_low, key_high, below, blocks, factor, WIDE
        )
        tl.store(kept + at, w, mask=inside)


def attention_weights(scores: Tensor, scale: float, mask: Mask | None) -> tuple[Tensor, Tensor]:
    """See `kernels.device.transformer.attention_weights`."""
    n, heads, time, _ = scores.shape
    weights = torch.empty(scores.shape, device=scores.device)
    kept = weights if mask is None else torch.empty_like(weights)
    columns, rows = tile(time, NUMBERS)
    weights_kernel[(n * heads, triton.cdiv(time, rows))](
        scores.contiguous(),
        weights,
        kept,
        scale,
        heads,
        time,
        0 if mask is None else mask.places.stride,
        **drawn_by(mask, scores),
        WIDE=columns,
        R=rows,
    )
    return weights, kept


@kernel
def weights_back_kernel(
    gradient, weights, kept, out, scale, time, WIDE: tl.constexpr, R: tl.constexpr
):
    """Compute the gradients of the scores of R places of a head."""
    b, i, j = tl.program_id(0), tl.program_id(1) * R + tl.arange(0, R), tl.arange(0, WIDE)
    at = (b.to(tl.int64) * time + i)[:, None] * time + j[None, :]
    inside = (i < time)[:, None] & (j < time)[None, :]
    known = inside & (j[None, :] <= i[:, None])  # later weights are 0
    product = tl.load(gradient + at, mask=known, other=0.0)
    product *= tl.load(kept + at, mask=known, other=0.0)
    w = tl.load(weights + at, mask=known, other=0.0)
    found = (product - w * tl.sum(product, 1)[:, None]) * scale
    tl.store(out + at, found, mask=inside)


def attention_back(gradient: Tensor, weights: Tensor, kept: Tensor, scale: float) -> Tensor:
    """See `kernels.device.transformer.attention_back`."""
    n, heads, time, _ = weights.shape
    out = torch.empty_like(weights)
    columns, rows = tile(time, NUMBERS)
    grid = (n * heads, triton.cdiv(time, rows))
    given = (gradient.contiguous(), weights, kept, out, scale, time)
    weights_back_kernel[grid](*given, WIDE=columns, R=rows)
    return out
