"""Each compiled loop gives what its plain twin gives, which other devices use."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from fedrec.kernels import adam, distances, dropout, k_means, ranks, sums
from fedrec.kernels.divergence import divergence_gradients
from fedrec.kernels.rows import with_shares
from fedrec.rng import Streams
from fedrec.updates import Updates
from tests.elsewhere import by_tensors
from tests.oracles.dense import random_updates

STREAMS = Streams(3).at(7)


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def both_agree(result: Callable[[], Any], **tolerance: float) -> None:
    """A result by loops and by tensors; tuples are compared part by part."""
    compiled = result()
    with by_tensors():
        plain = result()
    assert_close(compiled, plain, **tolerance)


def uploads(n: int = 12) -> Updates:
    return random_updates(n=n, items=30, d=17, seed=4)


OF_UPLOADS: dict[str, Callable[[Updates], Any]] = {
    "weighted_sum": lambda u: u.weighted_sum(torch.rand(len(u), generator=generator())).items,
    "dense": lambda u: u.weighted_sum(torch.rand(len(u), generator=generator())).dense,
    "scaled": lambda u: u.scaled(torch.rand(len(u), generator=generator())).value,
    "gather": lambda u: u.gather(torch.tensor([3, 0, 8])),
    "rows_on": lambda u: u.rows_on(torch.tensor([3, 0, 8])),
    "row_norms": Updates.row_norms,
    "norms": Updates.norms,
    "gram": Updates.gram,
    "trimmed_mean": lambda u: u.trimmed_mean(2).items,
    "median": lambda u: u.trimmed_mean(5).items,
    "mean_near_median": lambda u: u.mean_near_median(7).items,
    "moments": lambda u: u.moments(torch.tensor(0.3)),
}


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(9)


@pytest.mark.parametrize("name", OF_UPLOADS)
def test_rows(name: str) -> None:
    received = uploads()
    both_agree(lambda: OF_UPLOADS[name](received), atol=1e-5, rtol=1e-5)


def test_sums() -> None:
    x, y = drawn(9, 21), drawn(5, 21, seed=1)
    both_agree(lambda: (sums.total(x), sums.mean_row(x), sums.squared_norms(x)))
    both_agree(lambda: sums.inner_products(x, y), atol=1e-5, rtol=1e-5)


def test_divergence_gradients() -> None:
    both_agree(lambda: divergence_gradients(drawn(6, 21) * 9, drawn(1, 21, seed=1)[0]))


def test_shares() -> None:
    rows, table, place = drawn(7, 21), drawn(5, 21, seed=1), torch.tensor([6, 0, 3])
    item, share = torch.tensor([4, 4, 1]), torch.tensor([0.5, -2.0, 3.0])
    both_agree(lambda: with_shares(rows, place, item, share, table))


@pytest.mark.parametrize("shape", [(4, 10), (3, 4, 4)])
def test_dropout(shape: tuple[int, ...]) -> None:
    clients, places = torch.tensor([4, 0, 19]), dropout.Places(shape, width=25, stride=6)
    both_agree(
        lambda: dropout.masks(STREAMS.of_clients("any"), clients, places, 0.3), atol=0, rtol=0
    )


def test_ranks() -> None:
    scores, target = drawn(6, 40).round(decimals=1), torch.arange(6)
    seen, hidden = torch.tensor([0, 3, 45, 100]), torch.zeros(6, dtype=torch.bool)
    both_agree(lambda: ranks.positions(scores, target, seen, hidden), atol=0, rtol=0)


def test_k_means() -> None:
    points = drawn(80, 5)

    def found() -> tuple[torch.Tensor, torch.Tensor]:
        clusters = k_means.k_means(points, points[:4], 1e-4, 50)
        return clusters.label, clusters.centroid

    both_agree(found)


def test_adam() -> None:
    def stepped() -> tuple[torch.Tensor, ...]:
        table = drawn(8, 3)
        optimiser = adam.Adam([table], 0.01)
        for seed in range(3):
            optimiser.step([drawn(8, 3, seed=seed + 1)])
        previewed = optimiser.preview(0, drawn(4, 3, seed=9), torch.tensor([7, 0, 0, 2]))
        return table, previewed

    both_agree(stepped)


def test_distances() -> None:
    moves = distances.Moves(
        group=torch.tensor([1, 0, 1]),
        bounds=np.array([0, 2, 2, 5]),
        place=torch.tensor([0, 9, 3, 4, 5]),
        point=drawn(5, 6, seed=2),
    )
    both_agree(lambda: distances.mean_distances(drawn(2, 20, 6), moves), atol=1e-5, rtol=1e-5)
