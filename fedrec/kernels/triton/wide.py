"""Wide states on a GPU (see `kernels.device.transformer`), and the tiles of kernels."""

import triton
from torch import Tensor

ALIGNED = 4  # rows begin at multiples of so many numbers, 16 bytes
BITS = 8  # elements whose masks are drawn at a time


def wide(like: Tensor, d: int) -> Tensor:
    """Return memory for (n, time, d + 1) states; a gap aligns each row."""
    n, time = like.shape[:2]
    return like.new_empty(n, time, -(-(d + 1) // ALIGNED) * ALIGNED)[:, :, : d + 1]


def tile(columns: int, numbers: int) -> tuple[int, int]:
    """Return columns and rows of a program's tile: all columns, and about so many numbers."""
    padded = max(triton.next_power_of_2(columns), BITS)
    return padded, max(numbers // padded, 1)
