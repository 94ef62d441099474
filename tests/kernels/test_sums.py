"""Sums in a written order are sums: against float64, for sizes that do and do not fill vectors."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from fedrec.kernels.sums import inner_products, mean_row, norms_of_rows, squared_norms, total

sizes = pytest.mark.parametrize("d", [0, 1, 3, 15, 16, 17, 64, 100])


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


@sizes
def test_squared_norms(d: int) -> None:
    x = drawn(9, d)
    assert_close(squared_norms(x), x.double().square().sum(1).float())


@sizes
def test_inner_products(d: int) -> None:
    a, b = drawn(5, d), drawn(150, d).flip(0)
    assert_close(inner_products(a, b), (a.double() @ b.double().T).float())


def test_total_is_taken_in_float64() -> None:
    x = torch.tensor([1e8, 1.0, -1e8])
    assert float(total(x)) == 1
    assert float(total(x[:0])) == 0


def test_mean_row() -> None:
    assert mean_row(torch.tensor([[1.0, 2.0], [3.0, 6.0]])).tolist() == [2, 4]


def test_a_sum_is_of_sixteen_lanes_folded_in_halves() -> None:
    """By hand: a number that is lost beside 2²⁴ is kept in a lane of its own."""
    x = np.ones(32, np.float32)
    x[0] = 2**12  # its square is 2²⁴: lane 0 has 2²⁴ + 1, which rounds to 2²⁴
    squares = np.empty(1, np.float32)
    norms_of_rows(x[None], squares, 0, 1)
    # lanes 1 to 15 have 2 each: 2²⁴ + 2 (fold 8), + 4 (fold 4), + 8 (fold 2), + 16 (fold 1)
    assert squares[0] == 2**24 + 30
