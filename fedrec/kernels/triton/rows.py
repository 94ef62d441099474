"""Writing of rows to their places: see `kernels.device.gradients.put_rows`."""

import triton
import triton.language as tl
from torch import Tensor

from fedrec.kernels.triton.jit import kernel

BLOCK = 1024


@kernel
def put_kernel(target, place, rows, width, B: tl.constexpr):
    """Write a part of a row."""
    r, i = tl.program_id(1), tl.program_id(0) * B + tl.arange(0, B)
    x = tl.load(rows + r.to(tl.int64) * width + i, mask=i < width)
    tl.store(target + tl.load(place + r).to(tl.int64) * width + i, x, mask=i < width)


def put_rows(target: Tensor, place: Tensor, rows: Tensor) -> None:
    """See `kernels.device.gradients.put_rows`."""
    width = rows.shape[1]
    if not rows.numel():
        return
    grid = (triton.cdiv(width, BLOCK), len(place))
    put_kernel[grid](target, place, rows.contiguous(), width, B=BLOCK)
