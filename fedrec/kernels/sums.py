"""Sums in an order that is written down, on the CPU: their bits depend on their numbers alone.

PyTorch's own add up in an order that hangs on how many numbers the machine's vectors hold, and the
matrix products of its libraries on much more. On a GPU they are used all the same.
"""

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from fedrec.kernels.threads import row_ranges, spread


def total(x: Float[Tensor, "*shape"]) -> Float64[Tensor, ""]:
    """The sum of all numbers, as float64."""
    if not x.is_cpu:
        return x.double().sum()
    return torch.tensor(np.sum(x.numpy(), dtype=np.float64))


def mean_row(x: Float[Tensor, "rows d"]) -> Float[Tensor, " d"]:
    """The mean over the rows."""
    return torch.from_numpy(x.numpy().mean(axis=0)) if x.is_cpu and len(x) else x.mean(0)


def squared_norms(x: Float[Tensor, "rows d"]) -> Float[Tensor, " rows"]:
    """‖x‖² of each row."""
    if not x.is_cpu:
        return x.square().sum(1)
    from fedrec.kernels import vectors as kernels  # numba takes a while to import

    rows, squares = x.contiguous().numpy(), np.empty(len(x), np.float32)
    spread(lambda part: kernels.squared_norms(rows, squares, *part), row_ranges(len(x)))
    return torch.from_numpy(squares)


def inner_products(a: Float[Tensor, "n d"], b: Float[Tensor, "m d"]) -> Float[Tensor, "n m"]:
    """a · bᵀ."""
    if not a.is_cpu:
        return a @ b.T
    from fedrec.kernels import vectors as kernels

    products = a.new_empty(len(a), len(b))
    kernels.inner_products(a.contiguous().numpy(), b.contiguous().numpy(), products.numpy())
    return products
