"""Series are the functions that they stand for."""

from math import exp, inf, log1p, nan

import numpy as np

from fedrec.kernels import series


def logistic(values: list[float]) -> tuple[np.ndarray, np.ndarray]:
    x, slope, cost = np.zeros(16), np.empty(16, np.float32), np.empty(16)
    x[: len(values)] = values
    series.logistic(x, 1.0, slope, cost)
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
