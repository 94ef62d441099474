"""The contrastive task on a GPU: see `kernels.device.gradients.with_info_nce`."""

import triton
import triton.language as tl
from torch import Tensor

from fedrec.kernels.device.resident import Resident
from fedrec.kernels.dropout import dropped_below, product_scale
from fedrec.kernels.philox import ClientStreams, halves
from fedrec.kernels.triton.jit import kernel
from fedrec.kernels.triton.lanes import lane16, lane32
from fedrec.kernels.triton.stacks import add_at, empty_sums, settled

PROGRAMS = 512  # programs that share a client's anchors
FAR = tl.constexpr(2**62)


@kernel
def scaled_down(bits, n):
    """Convert 32 random bits to an integer below n."""
    return ((bits.to(tl.uint64) * n.to(tl.uint64)) >> 32).to(tl.int64)


@kernel
def missing(gaps, count, rank, STEPS: tl.constexpr):
    """Return the rank-th item missing from a history: rank plus the number of gaps up to rank."""
    low = rank * 0
    high = low + count
    for _ in range(STEPS):
        middle = (low + high) // 2
        gap = tl.load(gaps + middle, mask=middle < count, other=FAR)
        go_up = (low < high) & (gap <= rank)
        high = tl.where((low < high) & (gap > rank), middle, high)
        low = tl.where(go_up, middle + 1, low)
    return rank + low


@kernel
def info_nce_kernel(
    table,
    index,
    history,
    gaps,
    sums,
    counter,
    draw_low,
    draw_high,
    drop_low,
    drop_high,
    below,
    scale,
    weight,
    n_items,
    MEAN: tl.constexpr,
    NEGATIVES: tl.constexpr,
    C: tl.constexpr,
    D: tl.constexpr,
    WIDE: tl.constexpr,
    STEPS: tl.constexpr,
    STRIDE: tl.constexpr,
):
    """Process every STRIDE-th anchor of a client: anchor, positive and negatives are C rows."""
    c, a = tl.program_id(0), tl.program_id(1)
    client, start = tl.load(index + c * 6), tl.load(index + c * 6 + 5)
    size, number = tl.load(index + c * 6 + 2), tl.load(counter)
    first_gap, own_gaps = tl.load(index + c * 6 + 3), tl.load(index + c * 6 + 4)
    j, k = tl.arange(0, C), tl.arange(0, WIDE)
    inside = (j < NEGATIVES + 2)[:, None] & (k < D)[None, :]
    blocks = ((NEGATIVES + 2) * D * 16 + 127) // 128
    draw_blocks = ((NEGATIVES + 1) * 32 + 127) // 128
    outside = n_items - own_gaps
    # If a history has all items, none is missing: then its negatives are any items.
    count = tl.where(outside == 0, 0, own_gaps)
    outside = tl.where(outside == 0, n_items, outside)
    share = weight / size if MEAN else weight
    while (a < size) & (size > 1):
        bits = lane32(draw_low, draw_high, number, client, a, tl.maximum(j - 1, 0), draw_blocks)
        other = missing(gaps + first_gap, count, scaled_down(bits, outside), STEPS)
        following = (a + 1 + scaled_down(bits, size - 1)) % size
        at = tl.where(j == 0, a, following)
        met = tl.load(history + start + at, mask=j < 2, other=0)
        place = tl.where(j < 2, met, other)[:, None] * D + k[None, :]
        element = j[:, None] * D + k[None, :]
        kept = lane16(drop_low, drop_high, number, client, a, element, blocks) >= below
        kept = kept & inside
        hat = tl.load(table + place, mask=kept, other=0.0)
        anchor = tl.sum(tl.where(j[:, None] == 0, hat, 0.0), 0)
        candidate = (j > 0) & (j < NEGATIVES + 2)
        logit = tl.where(candidate, tl.sum(hat * anchor[None, :], 1) * scale, -1e30)
        power = tl.exp(logit - tl.max(logit, 0))
        q = power / tl.sum(power, 0) - tl.where(j == 1, 1.0, 0.0)
        q = tl.where(candidate, q, 0.0) * (share * scale)
        to_anchor = tl.sum(q[:, None] * hat, 0)
        gradient = tl.where(j[:, None] == 0, to_anchor[None, :], q[:, None] * anchor[None, :])
        add_at(sums + c.to(tl.int64) * n_items * D, place, gradient, kept)
        a += STRIDE


def with_info_nce(
    base: Tensor,
    table: Tensor,
    resident: Resident,
    draws: ClientStreams,
    dropout: ClientStreams,
    rate: float,
    negatives: int,
    weight: float,
    mean: bool,
) -> Tensor:
    """See `kernels.device.gradients.with_info_nce`."""
    n, (items, d) = len(resident.entry), table.shape
    sums = empty_sums(n, items, d, table.device)
    info_nce_kernel[(n, PROGRAMS)](
        table,
        resident.entry,
        resident.history,
        resident.gaps,
        sums,
        draws.counter,
        *halves(draws.key),
        *halves(dropout.key),
        dropped_below(rate),
        product_scale(rate),
        weight,
        items,
        MEAN=mean,
        NEGATIVES=negatives,
        C=triton.next_power_of_2(negatives + 2),
        D=d,
        WIDE=triton.next_power_of_2(d),
        STEPS=max(resident.longest, 1).bit_length() + 1,
        STRIDE=PROGRAMS,
    )
    return settled(sums, base, 1.0)
