"""The kernels of a transformer give what their plain twins give, for sizes that fill no tile."""

from typing import Any

import pytest
import torch
from torch import Tensor

from fedrec.kernels.device import sequences, transformer
from fedrec.kernels.dropout import Mask, Places
from tests.kernels.triton.test_kernels import ITEMS, D, both, drawn, resident, streams

N = 4
CLOSE = {"rtol": 1e-5, "atol": 3e-6}
with_and_without = pytest.mark.parametrize("rate", [0.0, 0.3])
# Of states: the number of coordinates, and of tokens.
sizes = pytest.mark.parametrize(("d", "time"), [(20, 11), (64, 70), (3, 1)])


def mask(rate: float, *shape: int, stride: int = 90) -> Mask | None:
    """For clients whose ids are a column of a table, as they are in `Resident`."""
    clients = torch.tensor([[4, 0], [0, 0], [19, 0], [7, 0]])[:, 0]
    return Mask(streams(), clients, Places(shape, shape[-1] + 9, stride), rate) if rate else None


def wide(*shape: int, seed: int = 0) -> Tensor:
    return transformer.with_one(drawn(*shape, seed=seed))


def own(d: int, everybodys: bool, seed: int = 5) -> Tensor:
    """Scale and shift, among other parameters: of all clients, or of each."""
    dense = drawn(1 if everybodys else N, 2 * d + 7, seed=seed).expand(N, -1)
    return dense[:, 3 : 3 + 2 * d].unflatten(1, (2, d))


@sizes
@pytest.mark.parametrize("everybodys", [True, False])
def test_norm(d: int, time: int, everybodys: bool) -> None:
    both(transformer.normed, wide(N, time, d), own(d, everybodys), **CLOSE)


@sizes
@with_and_without
def test_sum_and_norm(d: int, time: int, rate: float) -> None:
    given = (drawn(N, time, d), mask(rate, time, d), wide(N, time, d, seed=1), own(d, False))
    both(transformer.add_normed, *given, **CLOSE)


@sizes
@with_and_without
@pytest.mark.parametrize("other", [True, False])
def test_norm_back(d: int, time: int, rate: float, other: bool) -> None:
    given = (drawn(N, time, d), wide(N, time, d, seed=1), own(d, True))
    more = drawn(N, time, d, seed=2) if other else None
    to_own = own(d, False, seed=3)
    both(transformer.norm_back, *given, more, mask(rate, time, d), to_own, rtol=1e-5, atol=1e-5)


@with_and_without
@pytest.mark.parametrize(("heads", "time"), [(1, 1), (1, 70), (3, 11)])
def test_attention(heads: int, time: int, rate: float) -> None:
    shape = (heads, time, time)
    scores, gradient = drawn(N, *shape) * 3, drawn(N, *shape, seed=1)
    given = (scores, 0.7, mask(rate, *shape))
    both(transformer.attention_weights, *given, **CLOSE)
    weights, kept = transformer.attention_weights(*_on_host(given))
    both(transformer.attention_back, gradient, weights, kept, 0.7, **CLOSE)


def _on_host(given: tuple[Any, ...]) -> tuple[Any, ...]:
    *rest, last = given
    return (*rest, last and last._replace(streams=last.streams._replace(counter=None)))


@sizes
@with_and_without
def test_relu(d: int, time: int, rate: float) -> None:
    x = drawn(N, time, d)
    x[0, 0] = 0
    both(transformer.activated, x, mask(rate, time, d), **CLOSE)
    active = transformer.activated(*_on_host((x, mask(rate, time, d))))
    both(transformer.activated_back, drawn(N, time, d, seed=1), active, 1.25, **CLOSE)


@with_and_without
@pytest.mark.parametrize("length", [1, 9, 90])
@pytest.mark.parametrize("tables", [1, N])
def test_tokens(length: int, rate: float, tables: int) -> None:
    table = drawn(*(N, ITEMS, D)[tables == 1 :])
    positions = drawn(tables, length * D + 3, seed=1)[:, 3:].unflatten(1, (length, D))
    time = sequences.longest(resident(), length)
    given = (table, positions.expand(N, -1, -1), resident(), time, mask(rate, time, D))
    both(sequences.tokens, *given, **CLOSE)


def counts(time: int) -> Tensor:
    return torch.tensor([time, 0, 1, min(time, 9)])


@sizes
def test_slopes(d: int, time: int) -> None:
    given = (wide(N, time, d), drawn(N, time, d, seed=1), counts(time), torch.zeros(N, 3 * time, d))
    both(sequences.bpr_slopes, *given, **CLOSE)


@sizes
@pytest.mark.parametrize("more", [0, 5])
def test_tokens_back(d: int, time: int, more: int) -> None:
    gradient = drawn(N, time, d) * (torch.arange(time) < counts(time)[:, None])[:, :, None]
    given = (counts(time), torch.zeros(N, 3 * time, d), drawn(N, time + more, d, seed=1))
    both(sequences.tokens_back, gradient, *given, **CLOSE)
