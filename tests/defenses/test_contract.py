"""What every defence must keep to, with every model: all that the folders and plug-ins offer."""

import copy
import dataclasses
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from fedrec.config.methods import KINDS
from fedrec.defenses.base import (
    ClientView,
    Defense,
    Judgement,
    Memory,
    Mixture,
    Reduce,
    ServerView,
)
from fedrec.defenses.mean import Mean
from fedrec.models.base import LocalGradients, Shared
from fedrec.settings import settings
from fedrec.testing import check_defense
from fedrec.testing.defenses import ROLES, model_rules_of, rules_of
from fedrec.updates import Gradient, Updates
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
    assert names[ServerView] == {*("shared", "preview", "expected_malicious", "streams", "memory")}
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


class Pairs:
    """Mixes the first upload with the second, the third with the fourth, and so on."""

    def mix(self, received: Updates, view: ServerView) -> Mixture:
        holder = torch.arange(len(received)) // 2
        return Mixture.of_groups(received, holder == holder.unique()[:, None], holder)


class DropAll:
    """Keeps no upload, and counts its calls."""

    def remember(self, shared: Shared) -> Memory:
        return {"calls": torch.zeros(())}

    def judge(self, received: Updates, among: Tensor, view: ServerView) -> Judgement:
        view.memory["calls"].add_(1)
        return Judgement(torch.zeros_like(among))


class Total(Mean):
    """Adds up the gradients of all rounds."""

    def remember(self, shared: Shared) -> Memory:
        return {"items": torch.zeros_like(shared.items)}

    def reduce(self, received: Updates, kept: Tensor, view: ServerView) -> Gradient:
        found = super().reduce(received, kept, view)
        view.memory["items"].add_(found.items)
        return dataclasses.replace(found, items=view.memory["items"].clone())


class DoubleWithTotal(Double):
    """Remembers nothing of use, under a name that `Total` uses as well."""

    def remember(self, shared: Shared) -> Memory:
        return {"items": torch.zeros(1)}

    def transform(self, received: Updates, view: ServerView) -> Updates:
        view.memory["items"].sub_(1)
        return super().transform(received, view)


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


def test_mixers_come_first_and_verdicts_go_back_to_what_was_received() -> None:
    received = random_updates(n=5)  # weights 1, 2, 3, 4, 5
    defense = Defense.compose([Mean(), DropFirst(), Pairs()])
    decision, stack = defense(received, server_view(received)), dense_items(received)
    assert decision.kept.tolist() == [False, False, True, True, True]
    assert decision.scores["first"].tolist() == [3.0, 3.0, 7.0, 7.0, 5.0]
    expected = (7 * (stack[2] + stack[3]) / 2 + 5 * stack[4]) / 12
    assert_close(decision.gradient.items, expected)


def test_mixers_run_one_after_the_other() -> None:
    received = random_updates(n=6)
    decision = Defense.compose([Pairs(), Pairs(), DropFirst(), Mean()])(
        received, server_view(received)
    )
    assert decision.kept.tolist() == [False] * 4 + [True] * 2
    assert_close(decision.gradient.items, dense_items(received)[4:].mean(0))


def test_each_method_sees_its_own_memory_alone() -> None:
    received = random_updates(n=4)
    defense = Defense.compose([DoubleWithTotal(), DoubleWithTotal(), Total()])
    view = server_view(received, method=defense)
    for number in (1, 2):
        once = defense(received, view).gradient.items
        assert_close(once, number * 4 * Mean().reduce(received, marked(4, *range(4)), view).items)
    calls = [tensor.item() for tensor in view.memory.values() if tensor.numel() == 1]
    assert calls == [-2.0, -2.0]


def test_without_a_memory_in_the_view_each_round_is_the_first() -> None:
    received, defense = random_updates(n=4), Defense.compose([Total()])
    view = server_view(received)
    first, second = (defense(received, view).gradient.items for _ in range(2))
    assert torch.equal(first, second)


@pytest.mark.parametrize("whole", [False, True])
def test_dropped_uploads_leave_no_trace_in_the_memory_of_a_reduction(whole: bool) -> None:
    received = random_updates(n=4)
    if whole:
        received = dataclasses.replace(received.in_whole(), whole=True)
    defense = Defense.compose([DropAll(), Total()])
    view = server_view(received, method=defense)
    decision = defense(received, view)
    assert decision.kept.all() and not decision.gradient.items.any()
    assert not decision.gradient.dense.any()
    calls, items = view.memory.values()
    assert calls.item() == 1 and not items.any()


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
