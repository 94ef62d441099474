"""BPR on a GPU: see `kernels.device.gradients.bpr`."""

import triton
import triton.language as tl
from torch import Tensor

from fedrec.kernels.device.resident import Resident
from fedrec.kernels.dropout import dropped_below, product_scale
from fedrec.kernels.philox import ClientStreams, halves
from fedrec.kernels.triton.jit import kernel
from fedrec.kernels.triton.lanes import lane16
from fedrec.kernels.triton.stacks import add_at, empty_sums, settled

PAIRS = 16  # pairs of a client that one program works on


@kernel
def bpr_kernel(
    local,
    table,
    stride,
    index,
    positive,
    negative,
    sums,
    to_user,
    loss,
    counter,
    key_low,
    key_high,
    below,
    scale,
    size,
    chunks,
    D: tl.constexpr,
    WIDE: tl.constexpr,
    P: tl.constexpr,
):
    """Process P pairs of one client. Sums over its pairs are written as one row for each P."""
    c, chunk = tl.program_id(0), tl.program_id(1)
    client, start = tl.load(index + c * 6), tl.load(index + c * 6 + 1)
    pairs, number = tl.load(index + c * 6 + 2), tl.load(counter)
    k = tl.arange(0, WIDE)
    to_own, cost = tl.zeros([WIDE], tl.float32), 0.0
    if chunk * P < pairs:
        p = chunk * P + tl.arange(0, P)
        live = p < pairs
        plus = tl.load(positive + start + p, mask=live, other=0)
        less = tl.load(negative + start + p, mask=live, other=0)
        inside = live[:, None] & (k < D)[None, :]
        row, element, blocks = p[:, None], k[None, :], (3 * D * 16 + 127) // 128
        of_user = lane16(key_low, key_high, number, client, row, element, blocks) >= below
        of_plus = lane16(key_low, key_high, number, client, row, element + D, blocks) >= below
        of_less = lane16(key_low, key_high, number, client, row, element + 2 * D, blocks) >= below
        own = tl.load(local + c * D + k, mask=k < D, other=0.0)
        at_plus = plus[:, None] * D + k[None, :]
        at_less = less[:, None] * D + k[None, :]
        v = tl.load(table + c * stride + at_plus, mask=inside & of_plus, other=0.0)
        w = tl.load(table + c * stride + at_less, mask=inside & of_less, other=0.0)
        hat = tl.where(of_user & inside, own[None, :], 0.0)
        x = tl.sum(hat * (v - w), 1) * scale
        slope = tl.where(live, -scale / pairs / (1 + tl.exp(x)), 0.0)
        to_own = tl.sum(tl.where(of_user, v - w, 0.0) * slope[:, None], 0)
        costs = tl.log(1 + tl.exp(-tl.abs(x))) + tl.maximum(-x, 0.0)
        cost = tl.sum(tl.where(live, costs, 0.0), 0) / pairs
        upward = hat * slope[:, None]
        own_sums = sums + c.to(tl.int64) * size
        add_at(own_sums, at_plus, upward, inside & of_plus)
        add_at(own_sums, at_less, -upward, inside & of_less)
    tl.store(to_user + (c * chunks + chunk) * D + k, to_own, mask=k < D)
    tl.store(loss + c * chunks + chunk, cost)


def bpr(
    local: Tensor,
    table: Tensor,
    resident: Resident,
    streams: ClientStreams,
    rate: float,
    ridge: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """See `kernels.device.gradients.bpr`."""
    (n, d), items = local.shape, table.shape[-2]
    sums, chunks = empty_sums(n, items, d, local.device), triton.cdiv(resident.longest, PAIRS)
    to_user, loss = local.new_empty(n, chunks, d), local.new_empty(n, chunks)
    bpr_kernel[(n, chunks)](
        local,
        table,
        items * d if table.dim() == 3 else 0,
        resident.entry,
        resident.positive,
        resident.negative,
        sums,
        to_user,
        loss,
        streams.counter,
        *halves(streams.key),
        dropped_below(rate),
        product_scale(rate),
        items * d,
        chunks,
        D=d,
        WIDE=triton.next_power_of_2(d),
        P=PAIRS,
    )
    return settled(sums, table, ridge), to_user.sum(1), loss.sum(1)
