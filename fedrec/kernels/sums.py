"""Sums in a fixed order on the CPU: their bits depend only on the numbers.

The order of PyTorch's sums depends on the width of the machine's vectors, and the matrix products
of its libraries depend on much more. On a GPU they are used all the same.
"""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from fedrec.kernels.compiled import compiled, on_cpu
from fedrec.kernels.threads import row_ranges, spread
from fedrec.kernels.vectors import LANES, copy, dot, every, fused, load, padded, store


def total(x: Float[Tensor, "*shape"]) -> Float64[Tensor, ""]:
    """Return the sum of all numbers, as float64."""
    if not on_cpu(x):
        return x.double().sum()
    return torch.tensor(np.sum(x.numpy(), dtype=np.float64))


def mean_row(x: Float[Tensor, "rows d"]) -> Float[Tensor, " d"]:
    """Return the mean over the rows."""
    return torch.from_numpy(x.numpy().mean(axis=0)) if on_cpu(x) and len(x) else x.mean(0)


def squared_norms(x: Float[Tensor, "rows d"]) -> Float[Tensor, " rows"]:
    """Return ‖x‖² of each row."""
    if not on_cpu(x):
        return x.square().sum(1)
    rows, squares = x.contiguous().numpy(), np.empty(len(x), np.float32)
    spread(lambda part: norms_of_rows(rows, squares, *part), row_ranges(len(x)))
    return torch.from_numpy(squares)


def inner_products(a: Float[Tensor, "n d"], b: Float[Tensor, "m d"]) -> Float[Tensor, "n m"]:
    """Return a · bᵀ."""
    if not on_cpu(a):
        return a @ b.T
    products = a.new_empty(len(a), len(b))
    products_of_rows(a.contiguous().numpy(), b.contiguous().numpy(), products.numpy())
    return products


@compiled()
def four_products(
    four: Float[np.ndarray, "4 d4"],
    points: Float[np.ndarray, "d4 wide"],
    end: int,
    products: Float[np.ndarray, "4 wide"],
) -> None:
    """products = inner products of four points with the first `end` points given as columns.

    Each is summed coordinate by coordinate. Four coordinates at a time make 16 products for 8
    loaded numbers. d4 is a multiple of four, and the width is a multiple of LANES, the loop's step.
    """
    end = padded(end, LANES)
    products[:, :end] = 0
    for j in range(0, len(points), 4):
        a0, a1, a2, a3 = four_of(four[0], j)
        b0, b1, b2, b3 = four_of(four[1], j)
        c0, c1, c2, c3 = four_of(four[2], j)
        d0, d1, d2, d3 = four_of(four[3], j)
        for i in range(0, end, LANES):
            x0, x1 = load(points[j], i), load(points[j + 1], i)
            x2, x3 = load(points[j + 2], i), load(points[j + 3], i)
            own = fused(a1, x1, fused(a0, x0, load(products[0], i)))
            store(products[0], i, fused(a3, x3, fused(a2, x2, own)))
            own = fused(b1, x1, fused(b0, x0, load(products[1], i)))
            store(products[1], i, fused(b3, x3, fused(b2, x2, own)))
            own = fused(c1, x1, fused(c0, x0, load(products[2], i)))
            store(products[2], i, fused(c3, x3, fused(c2, x2, own)))
            own = fused(d1, x1, fused(d0, x0, load(products[3], i)))
            store(products[3], i, fused(d3, x3, fused(d2, x2, own)))


@compiled(inline="always")
def four_of(row: Float[np.ndarray, " d4"], j: int) -> tuple[Any, Any, Any, Any]:
    """Return LANES copies of each of the four numbers from j on."""
    return every(row[j]), every(row[j + 1]), every(row[j + 2]), every(row[j + 3])


@compiled()
def products_of_rows(
    a: Float[np.ndarray, "n d"], b: Float[np.ndarray, "m d"], out: Float[np.ndarray, "n m"]
) -> None:
    """out[i, j] = a_i · b_j, by `four_products` with as many columns as fit in a cache."""
    d, wide = a.shape[1], 8 * LANES
    four, products = np.zeros((4, padded(d, 4)), np.float32), np.empty((4, wide), np.float32)
    columns = np.zeros((four.shape[1], wide), np.float32)
    for first in range(0, len(b), wide):
        some = min(wide, len(b) - first)
        for i in range(some):
            for j in range(d):
                columns[j, i] = b[first + i, j]
        for row in range(0, len(a), 4):
            rows = min(4, len(a) - row)
            for r in range(rows):
                copy(a[row + r], four[r])
            four_products(four, columns, some, products)
            for r in range(rows):
                copy(products[r, :some], out[row + r, first : first + some])


@compiled()
def norms_of_rows(
    x: Float[np.ndarray, "rows d"], squares: Float[np.ndarray, " rows"], first: int, end: int
) -> None:
    """squares = ‖x‖² of the rows from `first` to `end`."""
    for r in range(first, end):
        squares[r] = dot(x[r], x[r])
