"""Mean distances of all pairs, one client at a time and all at once."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from fedrec.metrics.uniformity import uniformities, uniformity
from fedrec.updates import Updates
from tests.oracles.defenses import mean_distance
from tests.oracles.dense import dense_items, random_updates

squared_or_not = pytest.mark.parametrize("squared", [False, True])


@pytest.mark.parametrize(("squared", "expected"), [(False, 8 / 3), (True, 26 / 3)])
def test_three_points_on_a_line(squared: bool, expected: float) -> None:
    """At 0, 3 and 4: distances 3, 4 and 1."""
    points = torch.tensor([[0.0], [3.0], [4.0]])
    assert float(uniformity(points, squared)) == pytest.approx(expected)


@squared_or_not
def test_it_equals_a_loop_over_pairs(squared: bool) -> None:
    points = torch.randn(40, 7, generator=torch.Generator().manual_seed(0))
    assert float(uniformity(points, squared)) == pytest.approx(mean_distance(points, squared))


@squared_or_not
@pytest.mark.parametrize("shift", [1.0, 100.0])
def test_where_the_points_lie_does_not_matter(squared: bool, shift: float) -> None:
    points = torch.randn(40, 7, generator=torch.Generator().manual_seed(0))
    found, moved = uniformity(points, squared), uniformity(points + shift, squared)
    assert float(moved) == pytest.approx(float(found), rel=1e-4)


@squared_or_not
@pytest.mark.parametrize("t", [2, 50])
def test_equal_points_are_at_no_distance(squared: bool, t: int) -> None:
    points = torch.randn(1, 64, generator=torch.Generator().manual_seed(0)).expand(t, 64)
    assert float(uniformity(points, squared)) == pytest.approx(0, abs=1e-6)


def down(table: Tensor, eta: float = 0.1):
    """A step with some curvature to it, so that moves do not simply add up."""

    def step(gradient: Tensor, items: Tensor) -> Tensor:
        return table[items] - eta * gradient / (1 + gradient.abs())

    return step


def slow_uniformities(received: Updates, items: Tensor, squared: bool) -> list[float]:
    table = received.table.double()
    step = down(table)
    everything = torch.arange(len(table))
    moved = [step(g.double(), everything) for g in dense_items(received)]
    return [mean_distance(points[items], squared) for points in moved]


def ridges(received: Updates, kind: str) -> Updates:
    some = torch.tensor([0.5, 0.0, 0.5, 2.0, 0.0, 0.5, 0.5, 0.0, 2.0])
    chosen = {"some": some, "equal": torch.full((9,), 0.3), "none": torch.zeros(9)}
    return replace(received, ridge=chosen[kind])


@squared_or_not
@pytest.mark.parametrize("kind", ["some", "equal", "none"])
@pytest.mark.parametrize("t", [2, 7, 25])
def test_all_clients_equal_a_loop_over_them(squared: bool, kind: str, t: int) -> None:
    received = ridges(random_updates(n=9, items=25, d=5), kind)
    items = torch.randperm(25, generator=torch.Generator().manual_seed(1))[:t]
    found = uniformities(received, items, down(received.table), squared)
    expected = slow_uniformities(received, items, squared)
    assert_close(found.tolist(), expected, rtol=1e-5, atol=1e-6)


@squared_or_not
def test_clients_that_touch_all_or_none_of_the_items(squared: bool) -> None:
    received = ridges(random_updates(n=9, items=25, d=5), "some")
    like = random_updates(n=2, items=25, d=5)
    full = Updates.over_all_items(like, torch.randn(2, 25, 5), torch.zeros(2, 2))
    received = received.replaced(torch.tensor([0, 8]), full)
    rows = received.owner != 4
    received = replace(
        received, owner=received.owner[rows], item=received.item[rows], value=received.value[rows]
    )
    items = torch.arange(0, 25, 2)
    found = uniformities(received, items, down(received.table), squared)
    expected = slow_uniformities(received, items, squared)
    assert_close(found.tolist(), expected, rtol=1e-5, atol=1e-6)


@squared_or_not
def test_uploads_that_touch_nothing_at_all(squared: bool) -> None:
    received = random_updates(n=9, items=25, d=5).select(torch.zeros(9, dtype=torch.bool))
    like = random_updates(n=9, items=25, d=5)
    received = ridges(
        replace(received, table=like.table, dense=like.dense, weight=like.weight, ridge=like.ridge),
        "some",
    )
    found = uniformities(received, torch.arange(25), down(received.table), squared)
    expected = slow_uniformities(received, torch.arange(25), squared)
    assert_close(found.tolist(), expected, rtol=1e-5, atol=1e-6)


@squared_or_not
@pytest.mark.parametrize("eta", [1e-2, 1e-3])
def test_rounding_does_not_drown_the_differences_between_uploads(squared: bool, eta: float) -> None:
    """A filter clusters differences: after small steps they must stand out from rounding."""
    received = ridges(random_updates(n=9, items=300, d=16), "equal")

    def step(gradient: Tensor, items: Tensor) -> Tensor:
        return received.table[items] - eta * gradient

    found = uniformities(received, torch.arange(300), step, squared).double()
    table, stack = received.table.double(), dense_items(received).double()
    expected = torch.tensor(
        [mean_distance(table - eta * g, squared) for g in stack], dtype=torch.float64
    )
    difference = (found - found.mean()) - (expected - expected.mean())
    assert difference.abs().max() < 0.02 * expected.std()


def peak_memory() -> int:
    """The most memory that this process has held since the last call, in kB."""
    (line,) = [x for x in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in x]
    Path("/proc/self/clear_refs").write_text("5")  # starts the count anew
    return int(line.split()[1])


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux for the peak of memory")
@squared_or_not
def test_no_tensor_of_all_pairs_of_all_clients_is_ever_built(squared: bool) -> None:
    """50 uploads of 500 items and d = 64 would make 3.2 GB of differences."""
    n, t, d = 50, 500, 64
    like = random_updates(n=n, items=t, d=d)
    received = Updates.over_all_items(like, torch.randn(n, t, d), like.dense)
    few = torch.arange(5)
    uniformities(received, few, down(received.table), squared)  # compiles
    peak_memory()
    before = peak_memory()
    uniformities(received, torch.arange(t), down(received.table), squared)
    assert peak_memory() - before < 200_000
