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
    Mix,
    Reduce,
    Remembering,
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

ROLES = (ClientTask, Mix, Filter, Transform, Reduce)
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
    """It must have a method of a role in `fedrec.defenses.base`, such as `judge` or `reduce`."""
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
    """Shuffled uploads must get the same verdicts and the same gradient.

    A mixer may draw which uploads it mixes, so uploads have equal sample counts if there is one.
    """
    received, order = random_updates(n=10, items=20), torch.randperm(10)
    if isinstance(defense(), Mix):
        received = replace(received, weight=torch.ones(10))
    shuffled, method = received.replaced(order, received), _composed(defense)
    plain = method(received, server_view(received))
    moved = method(shuffled, server_view(received))
    assert torch.equal(moved.kept[order], plain.kept)
    assert_close(_vector(moved.gradient), _vector(plain.gradient), rtol=1e-4, atol=1e-6)


# Each role


def a_mixer_says_which_mixture_holds_each_upload(defense: type) -> None:
    """Every upload must be in a mixture, and every mixture must have an upload and samples."""
    received = random_updates(n=10, items=20)
    for expected_malicious in (0, 3):
        mixture = defense().mix(received, server_view(received, expected_malicious))
        assert mixture.holder.shape == (10,)
        assert mixture.holder.unique().tolist() == [*range(len(mixture.uploads))]
        assert (mixture.uploads.weight > 0).all()


def equal_uploads_mix_to_themselves(defense: type) -> None:
    """A mixture of equal uploads must be that upload."""
    received = _all_equal(random_updates(n=10))
    mixed = defense().mix(received, server_view(received)).uploads
    for items, dense in zip(dense_items(mixed), mixed.dense, strict=True):
        assert_close(items, dense_items(received)[0])
        assert_close(dense, received.dense[0])


def a_filter_keeps_one_at_least_of_those_it_judges_and_no_other(defense: type) -> None:
    """It must keep at least one of the uploads it judges, and not change the given mask."""
    received = random_updates(n=10, items=20)
    for among in (range(10), [3], [0, 9], [1, 2, 5, 7, 8]):
        candidates = marked(10, among)
        keep = defense().judge(received, candidates, _view(defense, received)).keep
        assert keep.any()
        assert not (keep & ~candidates).any()
        assert torch.equal(candidates, marked(10, among))


def a_filter_compares_only_those_it_judges(defense: type) -> None:
    """The other uploads must not change any verdict."""
    received, among = random_updates(n=10, items=20), marked(10, [1, 2, 5, 7, 8])
    wild = received.scaled(torch.where(among, 1.0, 50.0))
    keep = defense().judge(received, among, _view(defense, received)).keep
    others = defense().judge(wild, among, _view(defense, received)).keep
    assert others.tolist() == keep.tolist()


def scores_are_one_number_an_upload(defense: type) -> None:
    """Scores must be finite, one for each upload, judged or not."""
    received = random_updates(n=10, items=20)
    scores = defense().judge(received, marked(10, [1, 3]), _view(defense, received)).scores
    assert all(score.shape == (10,) and score.isfinite().all() for score in scores.values())


def a_transform_keeps_the_count_and_the_sample_counts(defense: type) -> None:
    """There must be one upload for each received one, with the same weight."""
    received = random_updates(n=10, items=20)
    changed = defense().transform(received, _view(defense, received))
    assert len(changed) == 10
    assert torch.equal(changed.weight, received.weight)


def a_reduction_uses_the_uploads_kept_alone(defense: type) -> None:
    """The uploads that were not kept must not change the result."""
    received, kept = random_updates(n=10, items=20), marked(10, [0, 2, 3, 6, 9])
    wild = received.scaled(torch.where(kept, 1.0, 1e4))
    expected = defense().reduce(received, kept, _view(defense, received))
    found = defense().reduce(wild, kept, _view(defense, received))
    assert_close(_vector(found), _vector(expected))


def equal_uploads_aggregate_to_themselves(defense: type) -> None:
    """The average of equal small gradients must be that gradient; noise must have mean 0."""
    received, method, everyone = _all_equal(random_updates(n=10)), defense(), marked(10, range(10))
    small = received.scaled(1e-3 / received.norms())  # within any bound
    expected = Gradient(dense_items(small)[0], small.dense[0])
    view = _view(defense, small)
    _check_mean(lambda now: method.reduce(small, everyone, now), view, expected)


def memory_is_zero_at_first_and_new_for_each_run(defense: type) -> None:
    """`remember` must return new tensors of zeros, which rounds change in place."""
    received, method = random_updates(n=10, items=20), _composed(defense)
    view, other = (server_view(received, method=method) for _ in range(2))
    assert view.memory and not any(tensor.any() for tensor in view.memory.values())
    method(received, view)
    assert any(tensor.any() for tensor in view.memory.values())
    assert not any(tensor.any() for tensor in other.memory.values())


def what_a_defence_remembers_is_in_its_memory(defense: type) -> None:
    """A new instance with a copy of the memory must decide as one that played the round before."""
    first, second = (random_updates(n=10, items=20, seed=seed) for seed in (0, 1))
    method = _composed(defense)
    view = server_view(first, method=method)
    method(first, view)
    saved = {name: tensor.clone() for name, tensor in view.memory.items()}
    found = method(second, view)
    restored = _composed(defense)(second, replace(view, memory=saved))
    assert torch.equal(found.kept, restored.kept)
    assert torch.equal(_vector(found.gradient), _vector(restored.gradient))


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


def a_client_task_changes_gradients_alone(defense: type, model: MakeModel) -> None:
    """A task may change uploads and local gradients, but no loss, sample count or order."""
    view = client_view(model())
    honest = defense().on_clients(view.plain, view)
    assert honest.local.shape == view.plain.local.shape
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
    (Mix, a_mixer_says_which_mixture_holds_each_upload),
    (Mix, equal_uploads_mix_to_themselves),
    (Filter, a_filter_keeps_one_at_least_of_those_it_judges_and_no_other),
    (Filter, a_filter_compares_only_those_it_judges),
    (Filter, scores_are_one_number_an_upload),
    (Transform, a_transform_keeps_the_count_and_the_sample_counts),
    (Reduce, a_reduction_uses_the_uploads_kept_alone),
    (Reduce, equal_uploads_aggregate_to_themselves),
    (Remembering, memory_is_zero_at_first_and_new_for_each_run),
    (Remembering, what_a_defence_remembers_is_in_its_memory),
)
DEFENSE_MODEL_RULES: tuple[tuple[type, ModelRule], ...] = (
    (object, a_models_uploads_count_as_if_written_out),
    (ClientTask, a_client_task_changes_gradients_alone),
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
    wanted = _vector(expected)
    first, second = (_vector(run(_in_round(view, number))) for number in (1, 2))
    if torch.equal(first, second):
        assert_close(first / wanted.norm(), wanted / wanted.norm())
        return
    drawn = torch.stack([_vector(run(_in_round(view, number))) for number in range(NOISY_ROUNDS)])
    error = drawn.std(0) / NOISY_ROUNDS**0.5
    assert ((drawn.mean(0) - wanted).abs() <= 6 * error + 1e-5).all()


def _in_round(view: ServerView, number: int) -> ServerView:
    """Return the view in another round, with the same memory."""
    memory = {name: tensor.clone() for name, tensor in view.memory.items()}
    return replace(view, streams=view.streams.at(number), memory=memory)


def _refuses_whole_uploads(defense: type) -> bool:
    whole = replace(random_updates().in_whole(), whole=True)
    try:
        _composed(defense)(whole, server_view(whole))
    except ConfigError:
        return True
    return False


def _view(defense: type, received: Updates) -> ServerView:
    """Return the view of one method, before the first round."""
    return server_view(received, method=defense())


def _all_equal(received: Updates) -> Updates:
    """Return uploads that all have the gradient of the fourth."""
    one = received.select(marked(len(received), [3]))
    for position in range(len(received)):
        received = received.replaced(torch.tensor([position]), one)
    return received


def _vector(gradient: Gradient) -> Float[Tensor, " all"]:
    return torch.cat([gradient.items.flatten(), gradient.dense])


def _written(honest: LocalGradients) -> tuple[Tensor, Tensor]:
    out = honest.updates.written_out()
    return dense_items(out), out.dense
