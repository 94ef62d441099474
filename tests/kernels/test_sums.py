"""Sums in a written order are sums: against float64, for sizes that do and do not fill vectors."""

from math import exp, inf, log1p, nan

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from fedrec.kernels import vectors as kernels
from fedrec.kernels.sums import inner_products, mean_row, squared_norms, total

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
    kernels.squared_norms(x[None], squares, 0, 1)
    # lanes 1 to 15 have 2 each: 2²⁴ + 2 (fold 8), + 4 (fold 4), + 8 (fold 2), + 16 (fold 1)
    assert squares[0] == 2**24 + 30


def logistic(values: list[float]) -> tuple[np.ndarray, np.ndarray]:
    x, slope, cost = np.zeros(16), np.empty(16, np.float32), np.empty(16)
    x[: len(values)] = values
    kernels.logistic(x, 1.0, slope, cost)
    return slope[: len(values)], cost[: len(values)]


def test_the_logistic_function_is_that_of_the_library() -> None:
    for values in np.linspace(-30, 30, 600).reshape(-1, 10).tolist():
        slope, cost = logistic(values)
        np.testing.assert_allclose(slope, [1 / (1 + exp(x)) for x in values], rtol=6e-8)
        wanted = [log1p(exp(-abs(x))) + max(-x, 0) for x in values]
        np.testing.assert_allclose(cost, wanted, rtol=1e-8)


def test_what_diverges_stays_so() -> None:
    slope, cost = logistic([inf, -inf, nan, 2000.0, -2000.0])
    assert slope[[0, 1, 3, 4]].tolist() == [0, 1, 0, 1]
    assert cost[[1, 4]].tolist() == [inf, 2000] and np.isnan(cost[2])
    assert (cost[[0, 3]] < 1e-300).all()
