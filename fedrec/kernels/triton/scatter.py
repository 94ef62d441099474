"""Gradients of places summed by item: see `kernels.device.gradients.scattered`."""

import triton
import triton.language as tl
from torch import Tensor

from fedrec.kernels.triton.jit import kernel
from fedrec.kernels.triton.stacks import add_at, empty_sums, settled

PLACES = 64  # places that one program works on


@kernel
def scatter_kernel(
    places, gradient, sums, count, size, D: tl.constexpr, WIDE: tl.constexpr, P: tl.constexpr
):
    """Add some of a client's places."""
    c, p, k = tl.program_id(0), tl.program_id(1) * P + tl.arange(0, P), tl.arange(0, WIDE)
    place = tl.load(places + c * count + p, mask=p < count, other=-1)
    inside = (place >= 0)[:, None] & (k < D)[None, :]
    at = (c * count + p).to(tl.int64)[:, None] * D + k[None, :]
    x = tl.load(gradient + at, mask=inside, other=0.0)
    add_at(sums + c.to(tl.int64) * size, place[:, None] * D + k[None, :], x, inside)


def scattered(table: Tensor, places: Tensor, gradient: Tensor, ridge: float) -> Tensor:
    """See `kernels.device.gradients.scattered`."""
    (n, count, d), items = gradient.shape, table.shape[-2]
    sums = empty_sums(n, items, d, gradient.device)
    scatter_kernel[(n, triton.cdiv(count, PLACES))](
        places.contiguous(),
        gradient.contiguous(),
        sums,
        count,
        items * d,
        D=d,
        WIDE=triton.next_power_of_2(d),
        P=PLACES,
    )
    return settled(sums, table, ridge)
