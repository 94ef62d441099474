"""The most and the least similar other row of each row of a table."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from fedrec.kernels.sums import inner_products

AT_ONCE = 2**24  # inner products that are kept at a time: 64 MB


class Partners(NamedTuple):
    """Each row's most and least similar other row."""

    nearest: Int[Tensor, " rows"]
    farthest: Int[Tensor, " rows"]


def partners(table: Float[Tensor, "rows d"]) -> Partners:
    """Find the other rows with the largest and the smallest inner product, the first of equals.

    A row without others is its own partner.
    """
    at_once = max(AT_ONCE // len(table), 1)
    found = [_partners(table, first, at_once) for first in range(0, len(table), at_once)]
    return Partners(*(torch.cat(side) for side in zip(*found, strict=True)))


def _partners(table: Float[Tensor, "rows d"], first: int, count: int) -> Partners:
    """Find the partners of some rows."""
    products = inner_products(table[first : first + count], table)
    own = products.diagonal(first)
    own.fill_(-torch.inf)
    nearest = products.argmax(1)
    own.fill_(torch.inf)
    return Partners(nearest, products.argmin(1))
