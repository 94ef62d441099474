"""What every defence must keep to, with every model: all that the folders and plug-ins offer."""

import copy
import dataclasses
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from fedrec.config.methods import KINDS
from fedrec.defenses.base import ClientView, Defense, Judgement, Reduce, ServerView
from fedrec.defenses.mean import Mean
from fedrec.models.base import LocalGradients
from fedrec.settings import settings
from fedrec.testing import check_defense
from fedrec.testing.defenses import ROLES, model_rules_of, rules_of
from fedrec.updates import Updates
from tests.defenses.views import client_view, marked, server_view
from tests.oracles.dense import dense_items, random_updates

DEFENSES, MODELS = KINDS["defenses"], KINDS["models"]


def composed(kind: str) -> Defense:
    method = DEFENSES[kind]()
    return Defense.compose([method] if isinstance(method, Reduce) else [method, Mean()])


def named(rules: list[tuple]) -> list:
    return [pytest.param(*one, id="-".join([*one[:-1], one[-1].__name__])) for one in rules]


@pytest.mark.parametrize(
    ("kind", "rule"), named([(k, rule) for k in DEFENSES for rule in rules_of(DEFENSES[k])])
)
def test_contract(kind: str, rule: Callable[[type], None]) -> None:
    rule(DEFENSES[kind])


@pytest.mark.parametrize(
    ("kind", "model", "rule"),
    named([(k, m, r) for k in DEFENSES for m in MODELS for r in model_rules_of(DEFENSES[k])]),
)
def test_contract_with_a_model(kind: str, model: str, rule: Callable[..., None]) -> None:
    rule(DEFENSES[kind], MODELS[model])


def test_every_role_is_played_by_some_method() -> None:
    methods = [DEFENSES[kind]() for kind in DEFENSES]
    assert all(any(isinstance(method, role) for method in methods) for role in ROLES)


def test_a_broken_defence_is_told_which_rule_it_breaks() -> None:
    @settings
    class Hasty(Mean):
        def reduce(self, received, kept, view):  # type: ignore[no-untyped-def]
            return super().reduce(received, torch.ones_like(kept), view)

    with pytest.raises(AssertionError, match="Hasty: a reduction uses the uploads kept alone"):
        check_defense(Hasty)


# The threat model


def test_a_defence_sees_no_label_of_malice() -> None:
    names = {kind: {f.name for f in dataclasses.fields(kind)} for kind in (ServerView, Updates)}
    assert names[ServerView] == {"shared", "preview", "expected_malicious", "streams"}
    assert names[Updates] == {
        *("table", "owner", "item", "value", "ridge", "dense", "weight", "noise", "whole")
    }


def test_a_client_view_holds_what_the_clients_hold() -> None:
    fields = {field.name for field in dataclasses.fields(ClientView)}
    assert fields == {"shared", "devices", "positions", "batch", "plain", "streams"}


# Composition, with small parts made for the purpose


class DropFirst:
    """Drops the first of those that it judges."""

    def judge(self, received: Updates, among: Tensor, view: ServerView) -> Judgement:
        keep = among.clone()
        keep[among.nonzero()[0]] = False
        return Judgement(keep, {"first": received.weight})


class DropHeaviest:
    """Drops the one of the highest sample count among those that it judges."""

    def judge(self, received: Updates, among: Tensor, view: ServerView) -> Judgement:
        weight = torch.where(among, received.weight, 0)
        return Judgement(among & (weight < weight.max()), {"heaviest": weight})


class Double:
    """Doubles every upload."""

    def transform(self, received: Updates, view: ServerView) -> Updates:
        return received.scaled(torch.full_like(received.weight, 2.0))


class AddOne:
    """Adds 1 to every dense parameter."""

    def transform(self, received: Updates, view: ServerView) -> Updates:
        return dataclasses.replace(received, dense=received.dense + 1)


class Task:
    """Scales the honest clients' uploads."""

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def on_clients(self, honest: LocalGradients, view: ClientView) -> LocalGradients:
        factors = torch.full_like(honest.updates.weight, self.factor)
        return dataclasses.replace(honest, updates=honest.updates.scaled(factors))


class AllInOne(DropFirst, Double, Mean, Task):
    """Plays every role."""

    def __init__(self) -> None:
        Task.__init__(self, 3.0)


def test_filters_then_transforms_then_the_reduction_whatever_their_order_in_the_list() -> None:
    received = random_updates(n=4)  # weights 1, 2, 3, 4
    defense = Defense.compose([Mean(), Double(), DropFirst(), DropHeaviest()])
    decision = defense(received, server_view(received))
    assert decision.kept.tolist() == [False, True, True, False]
    stack = dense_items(received)
    assert_close(decision.gradient.items, 2 * (2 * stack[1] + 3 * stack[2]) / 5)


def test_transforms_run_in_the_order_of_the_list() -> None:
    received = random_updates(n=4)
    mean = (received.dense * received.weight[:, None]).sum(0) / 10
    for parts, expected in (
        ([Double(), AddOne(), Mean()], 2 * mean + 1),
        ([AddOne(), Double(), Mean()], 2 * (mean + 1)),
    ):
        decision = Defense.compose(parts)(received, server_view(received))
        assert_close(decision.gradient.dense, expected)


@pytest.mark.parametrize(
    ("in_turn", "kept"),
    [(False, [False, True, True, True, True]), (True, [False, False, True, True, True])],
)
def test_a_filter_judges_all_or_what_those_before_it_kept(in_turn: bool, kept: list[bool]) -> None:
    received = random_updates(n=5)
    defense = Defense.compose([DropFirst(), DropFirst(), Mean()], in_turn=in_turn)
    assert defense(received, server_view(received)).kept.tolist() == kept


def test_in_turn_the_order_of_filters_counts() -> None:
    received = dataclasses.replace(random_updates(n=3), weight=torch.tensor([3.0, 1.0, 2.0]))
    # The heaviest is client 0, and then the first is client 1; or the first is client 0, and
    # then the heaviest is client 2.
    for filters, left in (([DropHeaviest(), DropFirst()], 2), ([DropFirst(), DropHeaviest()], 1)):
        defense = Defense.compose([*filters, Mean()], in_turn=True)
        assert defense(received, server_view(received)).kept.tolist() == marked(3, left).tolist()


def test_the_scores_of_all_filters_are_recorded() -> None:
    received = random_updates(n=4)
    decision = Defense.compose([DropFirst(), DropHeaviest(), Mean()])(
        received, server_view(received)
    )
    assert set(decision.scores) == {"first", "heaviest"}


def test_one_method_may_play_several_roles() -> None:
    defense = Defense.compose([AllInOne()])
    received, view = random_updates(n=3), client_view()
    decision, stack = defense(received, server_view(received)), dense_items(received)
    assert decision.kept.tolist() == [False, True, True]
    assert_close(decision.gradient.items, 2 * (2 * stack[1] + 3 * stack[2]) / 5)
    honest = defense.on_clients(view.plain, view)
    assert_close(honest.updates.value, 3 * view.plain.updates.value)


def test_client_tasks_run_one_after_the_other() -> None:
    view = client_view()
    defense = Defense.compose([Task(2.0), Task(5.0), Mean()])
    honest = defense.on_clients(view.plain, view)
    assert_close(honest.updates.value, 10 * view.plain.updates.value)


def test_a_defence_without_tasks_leaves_clients_alone() -> None:
    view = client_view()
    assert Defense.compose([Mean()]).on_clients(view.plain, view) is view.plain


@pytest.mark.parametrize("parts", [[DropFirst()], [Mean(), Mean()], [], [Mean(), AllInOne()]])
def test_a_defence_has_exactly_one_reduction(parts: list[object]) -> None:
    with pytest.raises(ValueError, match="exactly one reduction"):
        Defense.compose(parts)


def test_a_defence_is_a_value_that_can_be_copied() -> None:
    """Nothing that a round leaves behind hides in a defence."""
    received = random_updates(n=10, items=20)
    for kind in DEFENSES:
        defense = composed(kind)
        twin = copy.deepcopy(defense)
        defense(received, server_view(received))
        assert defense == twin
