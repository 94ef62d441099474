"""What every defence must keep to, with every model: run over all that the folders hold."""

import copy
import dataclasses
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from fedrec import defenses, models
from fedrec.config.methods import find_methods
from fedrec.defenses.base import (
    ClientTask,
    ClientView,
    Defense,
    Filter,
    Judgement,
    Reduce,
    ServerView,
    Transform,
)
from fedrec.defenses.mean import Mean
from fedrec.models.base import LocalGradients
from fedrec.rng import Streams
from fedrec.updates import Updates
from tests.defenses.views import client_view, marked, server_view
from tests.oracles.defenses import one_vector
from tests.oracles.dense import dense_items, random_updates

DEFENSES, MODELS = find_methods(defenses), find_methods(models)
ROLES = (ClientTask, Filter, Transform, Reduce)


def of_role(role: type) -> pytest.MarkDecorator:
    """Run a test over the methods that play a role."""
    return pytest.mark.parametrize(
        "kind", [kind for kind in DEFENSES if isinstance(DEFENSES[kind](), role)]
    )


every_defense = pytest.mark.parametrize("kind", DEFENSES)
every_model = pytest.mark.parametrize("model", MODELS)


def composed(kind: str) -> Defense:
    method = DEFENSES[kind]()
    return Defense.compose([method] if isinstance(method, Reduce) else [method, Mean()])


# All methods


@every_defense
def test_a_method_plays_at_least_one_role(kind: str) -> None:
    assert any(isinstance(DEFENSES[kind](), role) for role in ROLES)


def test_every_role_is_played_by_some_method() -> None:
    methods = [DEFENSES[kind]() for kind in DEFENSES]
    assert all(any(isinstance(method, role) for method in methods) for role in ROLES)


@every_defense
def test_hyper_parameters_are_frozen_strict_and_described(kind: str) -> None:
    defense = DEFENSES[kind]
    with pytest.raises(ValueError):
        defense(no_such_field=1)
    for field in dataclasses.fields(defense):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(defense(), field.name, None)
        assert defense.__pydantic_fields__[field.name].description


@every_defense
def test_the_gradient_is_finite_and_has_the_parameters_shape(kind: str) -> None:
    received = random_updates(n=10, items=20)
    gradient = composed(kind)(received, server_view(received)).gradient
    assert gradient.items.shape == received.table.shape
    assert gradient.dense.shape == received.dense.shape[1:]
    assert torch.isfinite(one_vector(gradient)).all()


@every_defense
def test_equal_uploads_give_equal_verdicts(kind: str) -> None:
    received = random_updates(n=10, items=20)
    first, second = (composed(kind)(received, server_view(received)) for _ in range(2))
    assert torch.equal(first.kept, second.kept)
    assert torch.equal(one_vector(first.gradient), one_vector(second.gradient))


@every_defense
def test_the_uploads_and_the_parameters_are_left_as_they_were(kind: str) -> None:
    received, before = random_updates(n=10, items=20), random_updates(n=10, items=20)
    view = server_view(received)
    composed(kind)(received, view)
    assert torch.equal(dense_items(received), dense_items(before))
    assert torch.equal(received.dense, before.dense)
    assert torch.equal(view.shared.items, before.table)


@every_defense
def test_a_single_upload_is_an_average_of_itself(kind: str) -> None:
    received = random_updates(n=1)
    received = received.scaled(1e-3 / received.norms())  # within any bound
    decision = composed(kind)(received, server_view(received))
    assert decision.kept.tolist() == [True]
    assert_close(decision.gradient.items, dense_items(received)[0])


@every_defense
def test_the_order_of_uploads_gives_nothing_away(kind: str) -> None:
    received, order = random_updates(n=10, items=20), torch.randperm(10)
    shuffled = received.replaced(order, received)
    defense = composed(kind)
    plain = defense(received, server_view(received))
    moved = defense(shuffled, server_view(received))
    assert torch.equal(moved.kept[order], plain.kept)
    assert_close(one_vector(moved.gradient), one_vector(plain.gradient), rtol=1e-4, atol=1e-6)


# Each role


@of_role(Filter)
@pytest.mark.parametrize("among", [range(10), [3], [0, 9], [1, 2, 5, 7, 8]])
def test_a_filter_keeps_at_least_one_of_those_it_judges_and_no_other(
    kind: str, among: list[int]
) -> None:
    received, candidates = random_updates(n=10, items=20), marked(10, *among)
    keep = DEFENSES[kind]().judge(received, candidates, server_view(received)).keep
    assert keep.any()
    assert not (keep & ~candidates).any()
    assert candidates.tolist() == marked(10, *among).tolist()


@of_role(Filter)
def test_a_filter_compares_only_those_it_judges(kind: str) -> None:
    received, among = random_updates(n=10, items=20), marked(10, 1, 2, 5, 7, 8)
    wild = received.scaled(torch.where(among, 1.0, 50.0))
    method, view = DEFENSES[kind](), server_view(received)
    keep = method.judge(received, among, view).keep
    assert method.judge(wild, among, view).keep.tolist() == keep.tolist()


@of_role(Filter)
def test_scores_are_one_number_an_upload(kind: str) -> None:
    received = random_updates(n=10, items=20)
    scores = DEFENSES[kind]().judge(received, marked(10, 1, 3), server_view(received)).scores
    assert all(score.shape == (10,) and score.isfinite().all() for score in scores.values())


@of_role(Transform)
def test_a_transform_keeps_the_count_and_the_sample_counts(kind: str) -> None:
    received = random_updates(n=10, items=20)
    changed = DEFENSES[kind]().transform(received, server_view(received))
    assert len(changed) == 10
    assert torch.equal(changed.weight, received.weight)


@of_role(Reduce)
def test_a_reduction_uses_the_uploads_kept_alone(kind: str) -> None:
    received, kept = random_updates(n=10, items=20), marked(10, 0, 2, 3, 6, 9)
    wild = received.scaled(torch.where(kept, 1.0, 1e4))
    method, view = DEFENSES[kind](), server_view(received)
    expected = method.reduce(received, kept, view)
    assert_close(one_vector(method.reduce(wild, kept, view)), one_vector(expected))


@of_role(Reduce)
def test_equal_uploads_aggregate_to_themselves(kind: str) -> None:
    received = random_updates(n=10)
    one = received.select(marked(10, 3))
    for position in range(10):
        received = received.replaced(torch.tensor([position]), one)
    gradient = DEFENSES[kind]().reduce(received, marked(10, *range(10)), server_view(received))
    assert_close(gradient.items, dense_items(one)[0])
    assert_close(gradient.dense, one.dense[0])


def written(honest: LocalGradients) -> tuple[Tensor, Tensor]:
    out = honest.updates.written_out()
    return dense_items(out), out.dense


@every_model
@every_defense
def test_a_models_uploads_count_as_if_written_out(kind: str, model: str) -> None:
    """Rows, ridge and dense part of an upload are one long vector to every defence."""
    view, defense = client_view(MODELS[model](), cohort=(4, 0, 3, 5)), composed(kind)
    received = defense.on_clients(view.plain, view).updates
    items, dense = written(replace(view.plain, updates=received))
    decision = defense(received, server_view(received))
    plain = defense(Updates.over_all_items(received, items, dense), server_view(received))
    assert torch.equal(decision.kept, plain.kept)
    assert_close(one_vector(decision.gradient), one_vector(plain.gradient), rtol=1e-4, atol=1e-6)
    assert one_vector(decision.gradient).any()


@every_model
@of_role(ClientTask)
def test_a_client_task_leaves_what_stays_at_home_alone(kind: str, model: str) -> None:
    view = client_view(MODELS[model]())
    honest = DEFENSES[kind]().on_clients(view.plain, view)
    assert torch.equal(honest.local, view.plain.local)
    assert torch.equal(honest.loss, view.plain.loss)
    assert torch.equal(honest.updates.weight, view.plain.updates.weight)
    assert len(honest.updates) == len(view.positions)
    assert honest.updates.owner.tolist() == sorted(honest.updates.owner.tolist())


@every_model
@of_role(ClientTask)
def test_a_client_task_changes_nothing_in_place(kind: str, model: str) -> None:
    view, before = client_view(MODELS[model]()), client_view(MODELS[model]())
    DEFENSES[kind]().on_clients(view.plain, view)
    assert torch.equal(view.shared.items, before.shared.items)
    assert torch.equal(view.devices.local, before.devices.local)
    assert torch.equal(view.plain.updates.value, before.plain.updates.value)
    assert torch.equal(view.plain.local, before.plain.local)


@every_model
@of_role(ClientTask)
def test_what_a_client_does_depends_on_seed_round_and_itself_alone(kind: str, model: str) -> None:
    def by_client(cohort: tuple[int, ...], streams: Streams) -> dict[int, Tensor]:
        view = client_view(MODELS[model](), cohort=cohort, streams=streams)
        items, _ = written(DEFENSES[kind]().on_clients(view.plain, view))
        return dict(zip(cohort, items, strict=True))

    many, few = by_client((4, 0, 3), Streams(0, 1)), by_client((3, 4), Streams(0, 1))
    later, other = by_client((4,), Streams(0, 2)), by_client((4,), Streams(1, 1))
    assert_close(few[3], many[3])
    assert_close(few[4], many[4])
    assert not torch.equal(later[4], many[4])
    assert not torch.equal(other[4], many[4])


# The threat model


def test_a_defence_sees_no_label_of_malice() -> None:
    names = {kind: {f.name for f in dataclasses.fields(kind)} for kind in (ServerView, Updates)}
    assert names[ServerView] == {"shared", "preview", "expected_malicious", "streams"}
    assert names[Updates] == {
        *("table", "owner", "item", "value", "ridge", "dense", "weight", "noise")
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
