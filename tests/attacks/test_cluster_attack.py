"""ClusterAttack: Eq. 2 and 3, and Algorithm 1 step by step."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from fedrec.attacks._normal_gradients import item_norm_statistics
from fedrec.attacks.cluster_attack import (
    ClusterAttack,
    Clustering,
    NormRule,
    hold_to_bound,
)
from fedrec.clients.contrastive import Reduction
from fedrec.models.base import Shared
from fedrec.models.mf import MF
from fedrec.rng import Streams
from fedrec.updates import Updates
from tests.attacks.views import attacker_view
from tests.oracles.attacks import candidates, info_nce, lloyd, told_view
from tests.oracles.dense import dense_items

TEXT = ClusterAttack.PRESETS["paper"]


def test_the_upload_is_the_gradient_of_the_within_cluster_variance() -> None:
    """With no bound to speak of, a forged row is autograd's gradient of Eq. 2."""
    view = attacker_view()
    attack = ClusterAttack(**TEXT, clusters=1, min_clusters=1, spread=1e9)
    forged = dense_items(attack.forge(view, attack.initial_state(), Streams(0).at(1)).updates)
    items = view.shared.items.clone().requires_grad_()
    loss = (items - view.shared.items.mean(0)).square().sum()
    loss.backward()
    assert_close(forged, items.grad.expand_as(forged), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("rule", "second"), [("clip", [0.3, 0.4]), ("rescale", [0.6, 0.8])], ids=["clip", "rescale"]
)
def test_norms_are_held_to_their_bounds(rule: NormRule, second: list[float]) -> None:
    """Norms 5, 0.5 and 0 under a bound of 1: clipping never stretches, rescaling does."""
    gradient = torch.tensor([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0]])
    held = hold_to_bound(gradient, torch.ones(1, 3), rule)
    assert_close(held, torch.tensor([[[0.6, 0.8], second, [0.0, 0.0]]]))


def test_bounds_differ_by_item_and_client_and_lie_in_range() -> None:
    view, streams = attacker_view(), Streams(0).at(1)
    attack = ClusterAttack(norm_rule="rescale")
    bounds = dense_items(attack.forge(view, attack.initial_state(), streams).updates).norm(dim=2)
    normal = view.devices.gradients(
        view.shared, torch.arange(len(view.devices.local)), streams
    ).updates
    mean, deviation = item_norm_statistics(normal, over_all_items=True)
    assert (bounds >= mean - 1e-5).all() and (bounds <= mean + 3 * deviation + 1e-5).all()
    assert not torch.allclose(bounds[0], bounds[1])
    assert bounds[0].std() > 0


def test_dividing_the_loss_by_k_divides_the_gradient() -> None:
    view, streams = attacker_view(), Streams(0).at(1)
    whole = ClusterAttack(**TEXT, clusters=2, spread=1e9)
    shared = replace(whole, loss_over_clusters=True)
    first, second = (a.forge(view, a.initial_state(), streams) for a in (whole, shared))
    assert_close(first.updates.value, 2 * second.updates.value)
    assert first.trace["attack_loss"] == pytest.approx(2 * second.trace["attack_loss"])


def test_sample_counts_and_dense_gradients_are_the_true_ones() -> None:
    view = attacker_view()
    attack = ClusterAttack()
    forged = attack.forge(view, attack.initial_state(), Streams(0).at(1)).updates
    assert torch.equal(forged.weight, view.benign.weight)
    assert torch.equal(forged.dense, view.benign.dense)


def four_items() -> Updates:
    """Items 0, 1, 10 and 12 on a line, and two clients whose gradients all have the norm 1.5."""
    return Updates(
        table=torch.tensor([[0.0], [1.0], [10.0], [12.0]]),
        owner=torch.arange(2).repeat_interleave(4),
        item=torch.arange(4).repeat(2),
        value=torch.tensor([[1.5], [-1.5]] * 4),
        ridge=torch.zeros(2),
        dense=torch.tensor([[7.0], [8.0]]),
        weight=torch.tensor([3.0, 5.0]),
    )


@pytest.mark.parametrize("round", range(4))
def test_a_whole_round_by_hand(round: int) -> None:
    """As uploaded. The clusters {0, 1} and {10, 12}, from any start; all norms become 1.5."""
    view, attack = told_view(four_items(), [1, 0]), ClusterAttack(clusters=2)
    forgery = attack.forge(view, attack.initial_state(), Streams(0).at(round))
    assert_close(dense_items(forgery.updates), torch.tensor([[[-1.5], [1.5], [-1.5], [1.5]]] * 2))
    assert forgery.trace == {"clusters": 2, "attack_loss": 1.25}  # (0.25 + 0.25 + 1 + 1) / K


@pytest.mark.parametrize("round", range(4))
def test_a_whole_round_of_the_text_by_hand(round: int) -> None:
    """The clusters {0, 1} and {10, 12}, from any start; norms 1, 1, 2, 2 under a bound of 1.5."""
    view, attack = told_view(four_items(), [1, 0]), ClusterAttack(**TEXT, clusters=2)
    forgery = attack.forge(view, attack.initial_state(), Streams(0).at(round))
    assert_close(dense_items(forgery.updates), torch.tensor([[[-1.0], [1.0], [-1.5], [1.5]]] * 2))
    assert forgery.updates.dense.tolist() == [[8.0], [7.0]]
    assert forgery.updates.weight.tolist() == [5.0, 3.0]
    assert forgery.trace == {"clusters": 2, "attack_loss": 2.5}  # 0.25 + 0.25 + 1 + 1


@pytest.mark.parametrize("k", [2, 3, 5])
def test_the_gradient_equals_autograd_on_clusters_found_slowly(k: int) -> None:
    """Centroids are the means of their clusters, and count as constants (Eq. 2)."""
    view, streams = attacker_view(), Streams(0).at(k)
    attack = ClusterAttack(**TEXT, clusters=k, spread=1e9, tolerance=1e-9)
    forged = dense_items(attack.forge(view, attack.initial_state(), streams).updates)
    items = view.shared.items.clone().requires_grad_()
    within_clusters(view.shared, k, items, streams).backward()
    assert_close(forged, items.grad.expand_as(forged), atol=1e-6, rtol=1e-5)


def within_clusters(shared: Shared, k: int, items: torch.Tensor, streams: Streams) -> torch.Tensor:
    """L_attack (Eq. 2), to be differentiated by `items`."""
    start = streams.generator("cluster-start").choice(len(items), k, replace=False)
    labels = torch.tensor(lloyd(shared.items, start.tolist()))
    centroids = torch.stack([shared.items[labels == label].mean(0) for label in range(k)])
    return (items - centroids[labels]).square().sum()


# ClusterAttack+CL


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_with_the_contrastive_task_the_upload_is_the_gradient_of_both(
    reduction: Reduction,
) -> None:
    """With no bound to speak of, and no dropout: L_attack + α L_cl of each client's own data."""
    view, streams = attacker_view(MF(dim=4, dropout=0)), Streams(0).at(1)
    attack = ClusterAttack(
        **TEXT,
        clusters=2,
        spread=1e9,
        tolerance=1e-9,
        contrastive=0.7,
        negatives=5,
        reduction=reduction,
    )
    forgery = attack.forge(view, attack.initial_state(), streams)
    forged = dense_items(forgery.updates)
    batch = view.devices.pairs.batch(view.selected, streams)
    for i, client in enumerate(batch.clients.tolist()):
        history = batch.positive[batch.owner == i].tolist()
        drawn = candidates(history, 30, 5, streams, client)
        items = view.shared.items.clone().requires_grad_()
        loss = info_nce(items, drawn, torch.ones(len(drawn), 7, 4), 0.0, reduction)
        (within_clusters(view.shared, 2, items, streams) + 0.7 * loss).backward()
        assert_close(forged[i], items.grad, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(forged[0], forged[1])


def test_the_contrastive_task_is_bounded_with_the_rest() -> None:
    """Its gradient is added before Eq. 3, which would be for nothing otherwise."""
    view, streams = attacker_view(), Streams(0).at(1)
    attack = ClusterAttack(contrastive=100.0, reduction="sum")
    plain = replace(attack, norm_rule="rescale", contrastive=0.0)
    found = dense_items(attack.forge(view, attack.initial_state(), streams).updates).norm(dim=2)
    bound = dense_items(plain.forge(view, plain.initial_state(), streams).updates).norm(dim=2)
    assert (found <= bound * (1 + 1e-5)).all()


def test_the_contrastive_task_leaves_loss_and_adaptation_alone() -> None:
    view, streams = attacker_view(), Streams(0).at(1)
    with_task, without = ClusterAttack(contrastive=1.0), ClusterAttack()
    first, second = (a.forge(view, a.initial_state(), streams) for a in (with_task, without))
    assert first.trace == second.trace and first.state == second.state
    assert not torch.equal(first.updates.value, second.updates.value)


def test_at_a_weight_of_zero_the_contrastive_task_changes_nothing() -> None:
    view, streams = attacker_view(), Streams(0).at(1)
    without, zero = ClusterAttack(), ClusterAttack(contrastive=0.0, negatives=3, reduction="sum")
    first, second = (a.forge(view, a.initial_state(), streams) for a in (without, zero))
    assert torch.equal(first.updates.value, second.updates.value)
    # and a tiny weight hardly anything
    small = ClusterAttack(contrastive=1e-6)
    third = small.forge(view, small.initial_state(), streams)
    assert_close(third.updates.value, first.updates.value, atol=1e-5, rtol=1e-4)


# Algorithm 1


def test_one_step_by_hand() -> None:
    attack = ClusterAttack(decay=0.9)
    state = Clustering(clusters=2, rounds=1, average=1.0, smoothed=10.0, rises=1, falls=0)
    after = attack.adapt(state, loss=4.0)
    # L̃ = 0.9·1 + 0.1·4 = 1.3;  L̂ = 1.3 / (1 − 0.81) = 6.8421 < 10
    assert after.average == pytest.approx(1.3)
    assert after.smoothed == pytest.approx(6.842105)
    assert (after.rounds, after.rises, after.falls, after.clusters) == (2, 1, 1, 2)


def after_losses(attack: ClusterAttack, losses: list[float]) -> Clustering:
    state = attack.initial_state()
    for loss in losses:
        state = attack.adapt(state, loss)
    return state


def test_rising_losses_raise_k_by_the_root_of_the_room_above() -> None:
    attack = ClusterAttack(**TEXT, clusters=2, threshold=3)
    losses = [1.0, 2.0, 3.0, 4.0]  # the first counts as a rise over 0
    assert after_losses(attack, losses[:3]).clusters == 2
    assert after_losses(attack, losses) == Clustering(clusters=8)  # floor(2 + √48)


def test_falling_losses_lower_k() -> None:
    attack = ClusterAttack(**TEXT, clusters=10, threshold=2)
    losses = [9.0, 8.0, 7.0, 6.0, 5.0]  # one rise over 0, then falls; the gap needs 3
    assert after_losses(attack, losses[:4]).clusters == 10
    assert after_losses(attack, losses).clusters == 7  # floor(10 − 3)


def test_k_stays_within_its_range() -> None:
    attack = ClusterAttack(clusters=4, threshold=1, max_clusters=4)
    assert after_losses(attack, [1.0, 2.0]).clusters == 4
    low = ClusterAttack(clusters=1, threshold=1)
    assert after_losses(low, [9.0, 8.0, 7.0, 6.0]).clusters == 1


def test_the_codes_switches() -> None:
    reached = ClusterAttack(**{**TEXT, "trigger": "reached"}, clusters=2, threshold=3)
    assert after_losses(reached, [1.0, 2.0, 3.0]).clusters == 8
    nearest = replace(reached, rounding="nearest")
    assert after_losses(nearest, [1.0, 2.0, 3.0]).clusters == 9  # round(8.93)
    skipping = replace(reached, count_first=False)
    assert after_losses(skipping, [1.0, 2.0, 3.0]).clusters == 2
    assert after_losses(skipping, [1.0, 2.0, 3.0, 4.0]).clusters == 8
    assert replace(skipping, rounding="nearest", loss_over_clusters=True, norm_rule="rescale") == (
        ClusterAttack(clusters=2, threshold=3)
    )


def test_a_changed_k_is_used_in_the_next_round() -> None:
    """The authors' code fails here on an undefined argument."""
    view, attack = attacker_view(), ClusterAttack(clusters=2, threshold=1)
    state = attack.initial_state()
    seen = []
    for number in range(1, 9):
        forgery = attack.forge(view, state, Streams(0).at(number))
        state = forgery.state
        seen.append(forgery.trace["clusters"])
    assert len(set(seen)) > 1


def test_without_adaptation_k_is_constant() -> None:
    attack = ClusterAttack(adaptive=False)
    state = attack.initial_state()
    assert attack.forge(attacker_view(), state, Streams(0)).state == state


def test_k_outside_its_range_is_refused() -> None:
    with pytest.raises(ValueError, match="must lie in"):
        ClusterAttack(clusters=60)
