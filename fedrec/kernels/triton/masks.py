"""Dropout masks that other kernels draw in passing: see `kernels.dropout.Mask`."""

from typing import Any

import triton.language as tl
from torch import Tensor

from fedrec.kernels.dropout import Mask, dropped_below
from fedrec.kernels.philox import halves, row_blocks
from fedrec.kernels.triton.jit import kernel
from fedrec.kernels.triton.lanes import row_lanes16

SIGN = 2**31


def drawn_by(mask: Mask | None, anything: Tensor) -> dict[str, Any]:
    """Return the arguments with which a kernel draws masks; without a mask it reads none."""
    if mask is None:
        names = "apart", "key_low", "key_high", "below", "blocks"
        rest = {"clients": anything, "counter": anything, "factor": 1.0, "DROP": False}
        return rest | dict.fromkeys(names, 0)
    low, high = map(_signed, halves(mask.streams.key))
    return {
        "clients": mask.clients,
        "apart": mask.clients.stride(0),
        "counter": mask.streams.counter,
        "key_low": low,
        "key_high": high,
        "below": dropped_below(mask.rate),
        "blocks": row_blocks(mask.places.width, 16),
        "factor": mask.scale,
        "DROP": True,
    }


def _signed(bits: int) -> int:
    """Return 32 bits as a signed number, so that a kernel is compiled once for all keys."""
    return bits - 2 * SIGN if bits >= SIGN else bits


@kernel
def factors(
    client,
    row,
    clients,
    apart,
    counter,
    key_low,
    key_high,
    below,
    blocks,
    factor,
    WIDE: tl.constexpr,
):
    """Return the scaled masks of some rows of a client, (rows, WIDE)."""
    number, who = tl.load(counter), tl.load(clients + client * apart)
    lanes = row_lanes16(key_low, key_high, number, who, row, blocks, WIDE)
    return tl.where(lanes >= below, factor, 0.0)
