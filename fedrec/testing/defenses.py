"""The rules for every defence, by the roles it has, checked with every model."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.testing import assert_close

from fedrec.defenses.base import (
    ClientTask,
    Defense,
    Filter,
    Reduce,
    ServerView,
    Transform,
)
from fedrec.defenses.mean import Mean
from fedrec.errors import ConfigError
from fedrec.models.base import LocalGradients, Model
from fedrec.rng import Streams
from fedrec.testing.federation import client_view, server_view
from fedrec.testing.rules import (
    hyper_parameters_are_frozen_strict_and_described,
    models_of,
    run_rules,
)
from fedrec.testing.uploads import dense_items, random_updates
from fedrec.updates import Gradient, Updates

ROLES = (ClientTask, Filter, Transform, Reduce)
MakeModel = Callable[[], Model]
NOISY_ROUNDS = 50
Rule = Callable[[type], None]
ModelRule = Callable[[type, MakeModel], None]


def check_defense(defense: type, model: MakeModel | None = None) -> None:
    """Check a defence, with its default settings, against the rules of all methods and its roles.

    `model` builds the model to check it with (default: every available model).

    Raises:
        AssertionError: the defence breaks a rule; the message names the rule.
    """
    run_rules(rules_of(defense), defense)
    for make in models_of(model):
        run_rules(model_rules_of(defense), defense, make)


def rules_of(defense: type) -> list[Rule]:
    """Return the rules for a defence and its roles that need no model."""
    return [rule for role, rule in DEFENSE_RULES if isinstance(defense(), role)]


def model_rules_of(defense: type) -> list[ModelRule]:
    """Return the rules for a defence and its roles that need a model."""
    return [rule for role, rule in DEFENSE_MODEL_RULES if isinstance(defense(), role)]


# All methods


def it_plays_at_least_one_role(defense: type) -> None:
    """It must have `on_clients`, `judge`, `transform` or `reduce`, as in `fedrec.defenses.base`."""
    assert isinstance(defense(), ROLES)


def the_gradient_is_finite_and_has_the_parameters_shape(defense: type) -> None:
    """The aggregated gradient must be finite and have the parameters' shape."""
    received = random_updates(n=10, items=20)
    gradient = _composed(defense)(received, server_view(received)).gradient
    assert gradient.items.shape == received.table.shape
    assert gradient.dense.shape == received.dense.shape[1:]
    assert torch.isfinite(_vector(gradient)).all()


def equal_uploads_give_equal_verdicts(defense: type) -> None:
    """All randomness must come from the view's `streams`."""
    received = random_updates(n=10, items=20)
    first, second = (_composed(defense)(received, server_view(received)) for _ in range(2))
    assert torch.equal(first.kept, second.kept)
    assert torch.equal(_vector(first.gradient), _vector(second.gradient))


def uploads_and_parameters_are_left_as_they_were(defense: type) -> None:
    """The defence must not change its arguments in place."""
    received, before = random_updates(n=10, items=20), random_updates(n=10, items=20)
    view = server_view(received)
    _composed(defense)(received, view)
    assert torch.equal(dense_items(received), dense_items(before))
    assert torch.equal(received.dense, before.dense)
    assert torch.equal(view.shared.items, before.table)


def a_single_upload_is_an_average_of_itself(defense: type) -> None:
    """A single small upload must be kept, and aggregated to itself; noise must have mean 0."""
    received = random_updates(n=1)
    received = received.scaled(1e-3 / received.norms())  # within any bound
    method, view = _composed(defense), server_view(received)
    assert method(received, view).kept.tolist() == [True]
    expected = Gradient(dense_items(received)[0], received.dense[0])
    _check_mean(lambda now: method(received, now).gradient, view, expected)


def the_order_of_uploads_gives_nothing_away(defense: type) -> None:
    """Shuffled uploads must get the same verdicts and the same gradient."""
    received, order = random_updates(n=10, items=20), torch.randperm(10)
    shuffled, method = received.replaced(order, received), _composed(defense)
    plain = method(received, server_view(received))
    moved = method(shuffled, server_view(received))
    assert torch.equal(moved.kept[order], plain.kept)
    assert_close(_vector(moved.gradient), _vector(plain.gradient), rtol=1e-4, atol=1e-6)


# Each role


def a_filter_keeps_one_at_least_of_those_it_judges_and_no_other(defense: type) -> None:
    """It must keep at least one of the uploads it judges, and not change the given mask."""
    received = random_updates(n=10, items=20)
    for among in (range(10), [3], [0, 9], [1, 2, 5, 7, 8]):
        candidates = marked(10, among)
        keep = defense().judge(received, candidates, server_view(received)).keep
        assert keep.any()
        assert not (keep & ~candidates).any()
        assert torch.equal(candidates, marked(10, among))


def a_filter_compares_only_those_it_judges(defense: type) -> None:
    """The other uploads must not change any verdict."""
    received, among = random_updates(n=10, items=20), marked(10, [1, 2, 5, 7, 8])
    wild = received.scaled(torch.where(among, 1.0, 50.0))
    method, view = defense(), server_view(received)
    keep = method.judge(received, among, view).keep
    assert method.judge(wild, among, view).keep.tolist() == keep.tolist()


def scores_are_one_number_an_upload(defense: type) -> None:
    """Scores must be finite, one for each upload, judged or not."""
    received = random_updates(n=10, items=20)
    scores = defense().judge(received, marked(10, [1, 3]), server_view(received)).scores
    assert all(score.shape == (10,) and score.isfinite().all() for score in scores.values())


def a_transform_keeps_the_count_and_the_sample_counts(defense: type) -> None:
    """There must be one upload for each received one, with the same weight."""
    received = random_updates(n=10, items=20)
    changed = defense().transform(received, server_view(received))
    assert len(changed) == 10
    assert torch.equal(changed.weight, received.weight)


def a_reduction_uses_the_uploads_kept_alone(defense: type) -> None:
    """The uploads that were not kept must not change the result."""
    received, kept = random_updates(n=10, items=20), marked(10, [0, 2, 3, 6, 9])
    wild = received.scaled(torch.where(kept, 1.0, 1e4))
    method, view = defense(), server_view(received)
    expected = method.reduce(received, kept, view)
    assert_close(_vector(method.reduce(wild, kept, view)), _vector(expected))


def equal_uploads_aggregate_to_themselves(defense: type) -> None:
    """The average of equal gradients must be that gradient; noise must have mean 0."""
    received, method = random_updates(n=10), defense()
    one, everyone = received.select(marked(10, [3])), marked(10, range(10))
    for position in range(10):
        received = received.replaced(torch.tensor([position]), one)
    expected = Gradient(dense_items(one)[0], one.dense[0])
    view = server_view(received)
    _check_mean(lambda now: method.reduce(received, everyone, now), view, expected)


# With a model


def a_models_uploads_count_as_if_written_out(defense: type, model: MakeModel) -> None:
    """Rows, ridge and dense part must count as one long vector, unless whole uploads are refused.

    A defence that refuses whole uploads uses which rows an upload has.
    """
    if _refuses_whole_uploads(defense):
        return
    view, method = client_view(model(), cohort=(4, 0, 3, 5)), _composed(defense)
    received = method.on_clients(view.plain, view).updates
    items, dense = _written(replace(view.plain, updates=received))
    decision = method(received, server_view(received))
    plain = method(Updates.over_all_items(received, items, dense), server_view(received))
    assert torch.equal(decision.kept, plain.kept)
    assert_close(_vector(decision.gradient), _vector(plain.gradient), rtol=1e-4, atol=1e-6)
    assert _vector(decision.gradient).any()


def a_client_task_leaves_what_stays_at_home_alone(defense: type, model: MakeModel) -> None:
    """A task may change uploads, but no local gradient, loss, sample count or order."""
    view = client_view(model())
    honest = defense().on_clients(view.plain, view)
    assert torch.equal(honest.local, view.plain.local)
    assert torch.equal(honest.loss, view.plain.loss)
    assert torch.equal(honest.updates.weight, view.plain.updates.weight)
    assert len(honest.updates) == len(view.positions)
    assert honest.updates.owner.tolist() == sorted(honest.updates.owner.tolist())


def a_client_task_changes_nothing_in_place(defense: type, model: MakeModel) -> None:
    """Neither the parameters nor the plain gradients may be changed in place."""
    view, before = client_view(model()), client_view(model())
    defense().on_clients(view.plain, view)
    assert torch.equal(view.shared.items, before.shared.items)
    assert torch.equal(view.devices.local, before.devices.local)
    assert torch.equal(view.plain.updates.value, before.plain.updates.value)
    assert torch.equal(view.plain.local, before.plain.local)


def what_a_client_does_depends_on_seed_round_and_itself_alone(
    defense: type, model: MakeModel
) -> None:
    """A client's upload must not depend on the rest of the cohort."""

    def by_client(cohort: tuple[int, ...], streams: Streams) -> dict[int, Tensor]:
        view = client_view(model(), cohort=cohort, streams=streams)
        items, _ = _written(defense().on_clients(view.plain, view))
        return dict(zip(cohort, items, strict=True))

    many, few = by_client((4, 0, 3), Streams(0, 1)), by_client((3, 4), Streams(0, 1))
    later, other = by_client((4,), Streams(0, 2)), by_client((4,), Streams(1, 1))
    assert_close(few[3], many[3])
    assert_close(few[4], many[4])
    assert not torch.equal(later[4], many[4])
    assert not torch.equal(other[4], many[4])


# A rule applies to defences with its role; `object` stands for all defences.
DEFENSE_RULES: tuple[tuple[type, Rule], ...] = (
    *product(
        [object],
        [
            hyper_parameters_are_frozen_strict_and_described,
            it_plays_at_least_one_role,
            the_gradient_is_finite_and_has_the_parameters_shape,
            equal_uploads_give_equal_verdicts,
            uploads_and_parameters_are_left_as_they_were,
            a_single_upload_is_an_average_of_itself,
            the_order_of_uploads_gives_nothing_away,
        ],
    ),
    (Filter, a_filter_keeps_one_at_least_of_those_it_judges_and_no_other),
    (Filter, a_filter_compares_only_those_it_judges),
    (Filter, scores_are_one_number_an_upload),
    (Transform, a_transform_keeps_the_count_and_the_sample_counts),
    (Reduce, a_reduction_uses_the_uploads_kept_alone),
    (Reduce, equal_uploads_aggregate_to_themselves),
)
DEFENSE_MODEL_RULES: tuple[tuple[type, ModelRule], ...] = (
    (object, a_models_uploads_count_as_if_written_out),
    (ClientTask, a_client_task_leaves_what_stays_at_home_alone),
    (ClientTask, a_client_task_changes_nothing_in_place),
    (ClientTask, what_a_client_does_depends_on_seed_round_and_itself_alone),
)


def marked(n: int, positions: Sequence[int]) -> Bool[Tensor, " n"]:
    """Return a mask of length n that is true at some positions."""
    return torch.zeros(n, dtype=torch.bool).index_fill_(0, torch.tensor([*positions]), True)


def _composed(defense: type) -> Defense:
    """Return the method as a whole defence: with a mean, unless it reduces."""
    method = defense()
    return Defense.compose([method] if isinstance(method, Reduce) else [method, Mean()])


def _check_mean(
    run: Callable[[ServerView], Gradient], view: ServerView, expected: Gradient
) -> None:
    """Check a gradient, or its mean over rounds within six standard errors if it has noise."""
    first, second = (_vector(run(_in_round(view, number))) for number in (1, 2))
    if torch.equal(first, second):
        assert_close(first, _vector(expected))
        return
    drawn = torch.stack([_vector(run(_in_round(view, number))) for number in range(NOISY_ROUNDS)])
    error = drawn.std(0) / NOISY_ROUNDS**0.5
    assert ((drawn.mean(0) - _vector(expected)).abs() <= 6 * error + 1e-5).all()


def _in_round(view: ServerView, number: int) -> ServerView:
    return replace(view, streams=view.streams.at(number))


def _refuses_whole_uploads(defense: type) -> bool:
    whole = replace(random_updates().in_whole(), whole=True)
    try:
        _composed(defense)(whole, server_view(whole))
    except ConfigError:
        return True
    return False


def _vector(gradient: Gradient) -> Float[Tensor, " all"]:
    return torch.cat([gradient.items.flatten(), gradient.dense])


def _written(honest: LocalGradients) -> tuple[Tensor, Tensor]:
    out = honest.updates.written_out()
    return dense_items(out), out.dense
