"""The GPU's kernels give what their plain twins give: on a GPU, or interpreted on the CPU."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from fedrec.defenses._gap_statistic import majority_of, reference_table
from fedrec.kernels import adam, distances, dropout, k_means
from fedrec.kernels.device import draws, gradients
from fedrec.kernels.device.operation import Operation
from fedrec.kernels.device.resident import Resident
from fedrec.kernels.philox import ClientStreams

pytest.importorskip("triton")
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
KEY, ROUND = 0xFEDCBA9876543210, 7
D, ITEMS = 20, 37
SIZES = (3, 1, 70, 9)  # pairs of each client
OTHERS = (5, 2)  # whose data lie among theirs


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def streams(key: int = KEY) -> ClientStreams:
    return ClientStreams(key, ROUND, torch.tensor(ROUND, device=DEVICE))


def resident() -> Resident:
    """Four clients among six; the third has a long history, the fourth one with repeats."""
    rng = np.random.default_rng(0)
    sizes = np.array([*OTHERS, *SIZES])
    own = [rng.choice(ITEMS, size, replace=size > ITEMS // 4) for size in sizes]
    gaps = [np.unique(items) - np.arange(len(np.unique(items))) for items in own]
    counts = np.array([len(g) for g in gaps])
    starts, first = (np.cumsum(x) - x for x in (sizes, counts))
    columns = (np.arange(6) + 11, starts, sizes, first, counts, starts)
    index = np.stack(columns, 1)[[5, 3, 4, 2]]
    history, negative = np.concatenate(own), rng.integers(0, ITEMS, sizes.sum())
    arrays = (index, history, negative, history, np.concatenate(gaps))
    return Resident(*map(torch.from_numpy, arrays), longest=int(sizes.max()))


def both(operation: Any, *given: Any, **tolerance: float) -> None:
    """Twin and kernel on copies of the same: what they give, and what they change."""
    assert isinstance(operation, Operation)
    outcomes = []
    for function in (operation.twin, operation.kernel):
        mine = _moved(given, DEVICE if function is operation.kernel else "cpu")
        outcomes.append(_moved((function(*mine), mine), "cpu"))
    assert_close(_tensors(outcomes[1]), _tensors(outcomes[0]), **tolerance)


def _moved(x: Any, device: str) -> Any:
    if isinstance(x, Tensor):
        return x.clone().to(device)
    if isinstance(x, tuple):
        parts = [_moved(part, device) for part in x]
        return type(x)(*parts) if hasattr(x, "_fields") else tuple(parts)
    return x


def _tensors(x: Any) -> list[Tensor]:
    if isinstance(x, Tensor):
        return [x]
    return [t for part in x for t in _tensors(part)] if isinstance(x, tuple) else []


@pytest.mark.parametrize("rate", [0.0, 0.3])
@pytest.mark.parametrize("shape", [(ITEMS, D), (4, ITEMS, D)])
def test_bpr(rate: float, shape: tuple[int, ...]) -> None:
    given = (drawn(4, D), drawn(*shape, seed=1), resident(), streams(), rate, 0.01)
    both(gradients.bpr, *given, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("mean", [True, False])
@pytest.mark.parametrize("negatives", [1, 15])
def test_the_contrastive_task(mean: bool, negatives: int) -> None:
    given = (drawn(4, ITEMS, D), drawn(ITEMS, D, seed=1), resident(), streams(), streams(99))
    both(gradients.with_info_nce, *given, 0.2, negatives, 0.7, mean, rtol=1e-5, atol=3e-6)


def test_places_are_added_up() -> None:
    places = torch.randint(-1, ITEMS, (3, 150), generator=torch.Generator().manual_seed(0))
    given = (drawn(ITEMS, D), places, drawn(3, 150, D, seed=1), 0.5)
    both(gradients.scattered, *given, rtol=1e-5, atol=3e-6)


@pytest.mark.parametrize("kept", [[True] * 7, [True, False, True, True, False, True, True]])
def test_trimmed_mean(kept: list[bool]) -> None:
    value = drawn(7, ITEMS, D).round(decimals=1)  # some are equal
    trims = torch.tensor([0, 0, 0, 1, 1, 2, 2, 2])
    both(gradients.trimmed_mean, value, torch.tensor(kept), trims, rtol=1e-5, atol=3e-6)


def test_rows_are_put() -> None:
    both(gradients.put_rows, drawn(6, 1100), torch.tensor([4, 0]), drawn(2, 1100, seed=1))


@pytest.mark.parametrize("width", [1, 8, 33])
def test_uniform_numbers_are_the_same_bits(width: int) -> None:
    given = (streams(), torch.tensor([3, 70_000]), 5, width)
    both(draws.uniform, *given, rtol=0, atol=0)


@pytest.mark.parametrize("width", [1, 8, 33])
def test_normal_numbers(width: int) -> None:
    both(draws.normal, streams(), torch.tensor([3, 70_000]), 90, width, rtol=1e-5, atol=2e-6)


def test_laplace_noise() -> None:
    change = drawn(2, 30, D, seed=1).abs() * 1e-3
    given = (drawn(2, 30, D), change, streams(), torch.tensor([3, 5]), 1e-3)
    both(draws.add_laplace_noise, *given, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("shape", [(4, 10), (3, 4, 4)])
def test_masks_are_the_same_bits(shape: tuple[int, ...]) -> None:
    places = dropout.Places(shape, width=25, stride=6)
    both(dropout.masks, streams(), torch.tensor([4, 0, 19]), places, 0.3, rtol=0, atol=0)


@pytest.mark.parametrize("k", [1, 3, 20])
def test_k_means(k: int) -> None:
    points = drawn(150, D) + 3 * torch.randint(0, 3, (150, 1))
    both(k_means.lloyd, points, points[:k].clone(), 1e-4, 30, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["spread", "parted", "equal", "in two places", "few"])
@pytest.mark.parametrize("at_most", [0, 2])
def test_who_is_in_the_majority(kind: str, at_most: int) -> None:
    values, among = drawn(21).double(), torch.arange(21) % 5 != 3
    if kind == "parted":
        values[:4] += 9
    if kind == "equal":
        values[:] = 0.3
    if kind == "in two places":
        values = (values > 0.5).double()
    if kind == "few":
        among = torch.arange(21) < 2
    references = reference_table(21, 50, 0, torch.device("cpu"))
    both(majority_of, values, among, references, at_most, rtol=0, atol=0)


def test_what_is_not_a_number_is_in_some_cluster() -> None:
    points = drawn(70, D)
    points[3] = torch.nan
    moved = _moved((points, points[:5].clone()), DEVICE)
    label, _ = k_means.lloyd.kernel(*moved, 1e-4, 5)  # type: ignore[attr-defined]
    assert label.min() >= 0 and label.max() < 5


@pytest.mark.parametrize("step", [0, 5000])
def test_adam(step: int) -> None:
    moments = adam.Moments(drawn(40, D), drawn(40, D).square(), torch.tensor(float(step)))
    given = (drawn(40, D), drawn(40, D, seed=1), moments, 1e-3)
    both(adam.adam_step, *given, rtol=1e-5, atol=1e-6)


def test_distances_of_pairs() -> None:
    points = drawn(3, 150, D)
    points[1, 70] = points[1, 3]  # two at one place
    both(distances.pair_sums, points, rtol=1e-6, atol=0)


def test_an_empty_cluster_keeps_its_centroid() -> None:
    start = torch.cat([drawn(2, D), torch.full((1, D), 100.0)])
    both(k_means.lloyd, drawn(50, D), start, 1e-4, 30, rtol=1e-5, atol=1e-5)
