"""The server's step is Adam's (Kingma and Ba 2015, Algorithm 1)."""

from typing import Any

import pytest
import torch
from torch.testing import assert_close

from fedrec.models.base import Shared
from fedrec.server import Server
from fedrec.updates import Gradient
from tests.elsewhere import by_tensors
from tests.oracles.defenses import after_adam


def test_two_steps_by_hand() -> None:
    server = Server(Shared(torch.tensor([[1.0]]), torch.tensor([5.0])), learning_rate=0.1)
    server.apply(Gradient(torch.tensor([[2.0]]), torch.tensor([0.0])))
    # The first step is the learning rate, whatever the gradient's size.
    assert_close(server.shared.items, torch.tensor([[0.9]]))
    server.apply(Gradient(torch.tensor([[-1.0]]), torch.tensor([0.0])))
    # m̂ = (0.9·0.2 − 0.1) / 0.19 = 0.421053, v̂ = (0.999·0.004 + 0.001) / 0.001999 = 2.499250
    assert_close(server.shared.items, torch.tensor([[0.9 - 0.1 * 0.421053 / 2.499250**0.5]]))
    assert server.shared.dense.tolist() == [5.0]


# Previews


def stepped(steps: int) -> tuple[Server, torch.Tensor, list[torch.Tensor]]:
    """A server after some steps, where it started, and the item gradients that it took."""
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(8, 3, generator=generator)
    server = Server(Shared(start.clone(), torch.ones(2)), learning_rate=0.1)
    taken = [torch.randn(8, 3, generator=generator) for _ in range(steps)]
    for gradient in taken:
        server.apply(Gradient(gradient, torch.ones(2)))
    return server, start, taken


ALL = torch.arange(8)


def test_a_plain_preview_by_hand() -> None:
    server = Server(Shared(torch.tensor([[1.0], [5.0]]), torch.zeros(0)), learning_rate=0.1)
    gradient, items = torch.tensor([[2.0]]), torch.tensor([1])
    found = server.preview(gradient, items, "sgd")
    assert_close(found, torch.tensor([[4.8]], dtype=torch.float64))


@pytest.mark.parametrize("steps", [0, 1, 4])
def test_adams_preview_is_the_step_that_adam_would_take(steps: int) -> None:
    server, start, taken = stepped(steps)
    gradient = torch.randn(8, 3, generator=torch.Generator().manual_seed(9))
    found = server.preview(gradient, ALL, "adam")
    assert_close(found.double(), after_adam(start, [*taken, gradient], 0.1), rtol=1e-5, atol=1e-5)
    server.apply(Gradient(gradient, torch.ones(2)))
    assert_close(found, server.shared.items)


@pytest.mark.parametrize("rule", ["sgd", "adam"])
def test_previews_change_nothing(rule: Any) -> None:
    (server, *_), (twin, *_) = stepped(2), stepped(2)
    for _ in range(3):
        server.preview(torch.ones(8, 3), ALL, rule)
    assert torch.equal(server.shared.items, twin.shared.items)
    for one in (server, twin):
        one.apply(Gradient(torch.ones(8, 3), torch.ones(2)))
    assert torch.equal(server.shared.items, twin.shared.items)
    assert torch.equal(server.shared.dense, twin.shared.dense)


@pytest.mark.parametrize("rule", ["sgd", "adam"])
@pytest.mark.parametrize("steps", [0, 2])
def test_a_preview_of_some_items_is_part_of_that_of_all(rule: Any, steps: int) -> None:
    """Several gradients of one item are previewed apart, each by itself."""
    server, *_ = stepped(steps)
    items = torch.tensor([3, 6, 3, 0])
    gradient = torch.randn(4, 3, generator=torch.Generator().manual_seed(9))
    found = server.preview(gradient, items, rule)
    for row, one, item in zip(found, gradient, items.tolist(), strict=True):
        whole = server.preview(
            torch.zeros(8, 3).index_copy(0, torch.tensor([item]), one[None]), ALL, rule
        )
        assert_close(row, whole[item])


@pytest.mark.parametrize("rule", ["sgd", "adam"])
@pytest.mark.parametrize("steps", [0, 2])
def test_a_preview_leaves_the_gradient_alone(rule: Any, steps: int) -> None:
    server, *_ = stepped(steps)
    gradient = torch.ones(8, 3)
    server.preview(gradient, ALL, rule)
    assert torch.equal(gradient, torch.ones(8, 3))


@pytest.mark.parametrize("steps", [0, 2])
def test_a_preview_by_tensor_operations_is_the_same(steps: int) -> None:
    server, *_ = stepped(steps)
    gradient, items = torch.randn(20, 3), torch.randint(8, (20,))
    compiled = server.preview(gradient, items, "adam")
    with by_tensors():
        plain = server.preview(gradient, items, "adam")
    assert_close(plain, compiled)
