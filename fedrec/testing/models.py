"""The rules for every model."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor
from torch.testing import assert_close

from fedrec.models.base import Batch, LocalGradients, Model, Sequences, Shared
from fedrec.rng import Streams
from fedrec.testing.federation import devices_of
from fedrec.testing.rules import hyper_parameters_are_frozen_strict_and_described, run_rules
from fedrec.testing.uploads import dense_items

USERS, ITEMS, STEP = 6, 30, 1e-3


def check_model(model: type) -> None:
    """Check a model, with its default settings, against all rules.

    Raises:
        AssertionError: the model breaks a rule; the message names the rule.
    """
    run_rules(MODEL_RULES, model)


def it_is_a_model_by_its_protocol(model: type) -> None:
    """A model must have all members of `fedrec.models.base.Model`."""
    assert isinstance(model(), Model)


def parameters_start_finite_and_the_same_for_a_seed(model: type) -> None:
    """Embeddings (items, d) and flat others must be shared; each user has one local row."""
    method = model()
    (one, home), (two, same), (other, _) = (_start(method, seed) for seed in (0, 0, 1))
    assert one.items.shape[0] == ITEMS and one.items.ndim == 2
    assert one.dense.ndim == 1 and home.shape[0] == USERS
    assert torch.isfinite(one.items).all() and torch.isfinite(home).all()
    assert torch.equal(one.items, two.items) and torch.equal(one.dense, two.dense)
    assert torch.equal(home, same) and not torch.equal(one.items, other.items)


def gradients_are_one_finite_upload_a_client(model: type) -> None:
    """Rows must ascend by client, items be unique, weights count samples, losses be means."""
    method, (shared, local), batch = model(), _start(model()), _batch(model())
    found = _gradients(method, shared, local, batch)
    updates, n = found.updates, len(batch.clients)
    assert len(updates) == n and found.loss.shape == (n,)
    assert found.local.shape == local[batch.clients].shape
    assert updates.dense.shape == (n, len(shared.dense))
    assert updates.owner.tolist() == sorted(updates.owner.tolist())
    pairs = torch.stack([updates.owner, updates.item])
    assert pairs.unique(dim=1).shape == pairs.shape
    assert (updates.weight > 0).all() and (updates.weight <= batch.sizes).all()
    assert all(x.isfinite().all() for x in (updates.value, updates.dense, found.local, found.loss))


def equal_streams_give_equal_gradients(model: type) -> None:
    """All randomness must come from `streams`, and no argument may be changed."""
    method, (shared, local), batch = model(), _start(model()), _batch(model())
    before = shared.items.clone(), local.clone()
    first, second = (_gradients(method, shared, local, batch) for _ in range(2))
    assert torch.equal(first.updates.value, second.updates.value)
    assert torch.equal(first.local, second.local)
    assert torch.equal(shared.items, before[0]) and torch.equal(local, before[1])


def a_clients_gradient_does_not_depend_on_its_company(model: type) -> None:
    """A client's gradient must be the same alone or with others, at any position."""
    method, (shared, local) = model(), _start(model())
    many, alone = _batch(method, (4, 0, 3)), _batch(method, (3,))
    together, one = (_gradients(method, shared, local, batch) for batch in (many, alone))
    assert_close(dense_items(together.updates)[2], dense_items(one.updates)[0])
    assert_close(together.local[2], one.local[0])


def a_small_step_against_the_gradient_lowers_the_loss(model: type) -> None:
    """For one client, with the same dropout masks, the loss must fall."""
    method, (shared, local), batch = model(), _start(model()), _batch(model(), (4,))
    found = _gradients(method, shared, local, batch)
    moved = Shared(
        shared.items - STEP * dense_items(found.updates)[0],
        shared.dense - STEP * found.updates.dense[0],
    )
    own = local.clone()
    own[4] -= STEP * found.local[0]
    assert _gradients(method, moved, own, batch).loss[0] < found.loss[0]


def scores_rank_all_items_without_chance(model: type) -> None:
    """Scores (users, items) must be finite, repeatable, and independent of other users."""
    method, (shared, local) = model(), _start(model())
    past = Sequences(torch.tensor([1, 2, 3, 4, 5]), torch.tensor([2, 3]))
    first, second = (method.scores(shared, local[:2], past) for _ in range(2))
    assert first.shape == (2, ITEMS) and torch.isfinite(first).all()
    assert torch.equal(first, second)
    alone = method.scores(shared, local[1:2], Sequences(torch.tensor([3, 4, 5]), torch.tensor([3])))
    assert_close(alone[0], first[1])


def scores_at_pairs_rank_all_items(model: type) -> None:
    """Scores must have the shape (requested pairs, items), and be finite."""
    method, (shared, local), batch = model(), _start(model()), _batch(model())
    pairs = torch.tensor([0, 3])
    found = method.scores_at(shared, local[batch.clients], batch, pairs)
    assert found.shape == (2, ITEMS) and torch.isfinite(found).all()


MODEL_RULES: tuple[Callable[[type], None], ...] = (
    hyper_parameters_are_frozen_strict_and_described,
    it_is_a_model_by_its_protocol,
    parameters_start_finite_and_the_same_for_a_seed,
    gradients_are_one_finite_upload_a_client,
    equal_streams_give_equal_gradients,
    a_clients_gradient_does_not_depend_on_its_company,
    a_small_step_against_the_gradient_lowers_the_loss,
    scores_rank_all_items_without_chance,
    scores_at_pairs_rank_all_items,
)


def _start(model: Model, seed: int = 0) -> tuple[Shared, Tensor]:
    streams = Streams(seed)
    shared = model.init_shared(ITEMS, streams)
    return replace(shared, items=shared.items.clone()), model.init_local(USERS, streams)


def _batch(model: Model, clients: tuple[int, ...] = (4, 0, 3)) -> Batch:
    pairs = devices_of(model, USERS, ITEMS).pairs
    return pairs.batch(torch.tensor(clients), Streams(0).at(1))


def _gradients(model: Model, shared: Shared, local: Tensor, batch: Batch) -> LocalGradients:
    return model.gradients(shared, local[batch.clients], batch, Streams(0).at(1))
