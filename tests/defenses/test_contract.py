"""What every defence must keep to: run over all that the folder holds."""

import dataclasses

import pytest
import torch
from torch.testing import assert_close

from fedrec import defenses
from fedrec.defenses.base import Defense, Filter, Reduce, ServerView, Transform
from fedrec.defenses.mean import Mean
from fedrec.methods import find_methods
from fedrec.models.base import Shared
from fedrec.rng import Streams
from fedrec.updates import Updates
from tests.oracles.dense import dense_items, random_updates

DEFENSES = find_methods(defenses)
every_defense = pytest.mark.parametrize("kind", DEFENSES)


def view(received: Updates) -> ServerView:
    return ServerView(Shared(received.table, torch.zeros(received.dense.shape[1])), Streams(0))


def composed(kind: str) -> Defense:
    method = DEFENSES[kind]()
    return Defense.compose([method] if isinstance(method, Reduce) else [method, Mean()])


@every_defense
def test_a_method_is_one_of_filter_transform_reduce(kind: str) -> None:
    method = DEFENSES[kind]()
    assert sum(isinstance(method, role) for role in (Filter, Transform, Reduce)) == 1


@every_defense
def test_the_gradient_is_finite_and_has_the_parameters_shape(kind: str) -> None:
    received = random_updates(n=10, items=20)
    gradient = composed(kind)(received, view(received)).gradient
    assert gradient.items.shape == received.table.shape
    assert gradient.dense.shape == received.dense.shape[1:]
    assert torch.isfinite(gradient.items).all()


@every_defense
def test_equal_uploads_give_equal_verdicts(kind: str) -> None:
    received = random_updates(n=10, items=20)
    first, second = (composed(kind)(received, view(received)) for _ in range(2))
    assert torch.equal(first.kept, second.kept)
    assert torch.equal(first.gradient.items, second.gradient.items)


@every_defense
def test_the_uploads_are_left_as_they_were(kind: str) -> None:
    received, before = random_updates(n=10, items=20), random_updates(n=10, items=20)
    composed(kind)(received, view(received))
    assert torch.equal(dense_items(received), dense_items(before))


def test_a_defence_sees_no_label_of_malice() -> None:
    assert {f.name for f in dataclasses.fields(ServerView)} == {"shared", "streams"}
    names = {"table", "owner", "item", "value", "ridge", "dense", "weight"}
    assert {f.name for f in dataclasses.fields(Updates)} == names


# Composition, with small parts made for the purpose


class DropFirst:
    def keep(self, received: Updates, view: ServerView) -> torch.Tensor:
        return torch.arange(len(received)) > 0


class DropHeaviest:
    def keep(self, received: Updates, view: ServerView) -> torch.Tensor:
        return received.weight < received.weight.max()


class Double:
    def transform(self, received: Updates, view: ServerView) -> Updates:
        return dataclasses.replace(
            received, value=2 * received.value, ridge=2 * received.ridge, dense=2 * received.dense
        )


def test_filters_judge_all_then_transforms_then_the_reduction() -> None:
    received = random_updates(n=4)  # weights 1, 2, 3, 4
    verdict = Defense.compose([Mean(), Double(), DropFirst(), DropHeaviest()])(
        received, view(received)
    )
    assert verdict.kept.tolist() == [False, True, True, False]
    stack = dense_items(received)
    assert_close(verdict.gradient.items, 2 * (2 * stack[1] + 3 * stack[2]) / 5)


@pytest.mark.parametrize("parts", [[DropFirst()], [Mean(), Mean()]])
def test_a_defence_has_exactly_one_reduction(parts: list[object]) -> None:
    with pytest.raises(ValueError, match="exactly one reduction"):
        Defense.compose(parts)
