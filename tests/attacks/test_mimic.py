"""Mimic: copies of the client that is farthest out where normal gradients vary most."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from fedrec.attacks.mimic import Choice, Mimic, most_extreme
from fedrec.models.mf import MF
from fedrec.rng import Streams
from fedrec.updates import Updates
from tests.attacks.views import attacker_view
from tests.oracles.attacks import flat, in_order, mimicked, told_view
from tests.oracles.dense import random_updates

STREAMS = Streams(0).at(1)


def four_clients(extreme: float) -> Updates:
    """An item's gradients are 0, 0, 0 and `extreme`; a dense parameter's 101, 99, 101 and 99.

    With ±5 they vary most along the item: by a mean square of 4.7, against 1.
    """
    return Updates(
        table=torch.zeros(1, 1),
        owner=torch.tensor([3]),
        item=torch.tensor([0]),
        value=torch.tensor([[extreme]]),
        ridge=torch.zeros(4),
        dense=torch.tensor([[101.0], [99.0], [101.0], [99.0]]),
        weight=torch.tensor([1.0, 2.0, 3.0, 4.0]),
    )


@pytest.mark.parametrize("extreme", [5.0, -5.0])
def test_the_client_farthest_out_is_copied(extreme: float) -> None:
    """Neither the longest upload, of the first or third client, nor only one side of the mean."""
    view = told_view(four_clients(extreme), [0, 2])
    forged = Mimic().forge(view, Choice(), STREAMS)
    assert_close(flat(forged.updates), np.array([[extreme, 99.0]] * 2))
    assert forged.updates.weight.tolist() == [1.0, 3.0]
    assert forged.state == Choice(1, 3) and forged.trace == {"target": 3}


@pytest.mark.parametrize("seed", range(6))
def test_the_choice_is_that_of_the_dense_uploads(seed: int) -> None:
    normal = random_updates(n=8, items=9, seed=seed)
    forged = Mimic().forge(told_view(normal, [3, 0]), Choice(), STREAMS)
    chosen = mimicked(normal)
    assert forged.state.target == chosen
    expected = np.stack([flat(normal)[chosen]] * 2)
    assert_close(flat(forged.updates), expected, atol=1e-5, rtol=1e-5)


def test_the_choice_does_not_depend_on_a_common_part_or_on_the_size() -> None:
    normal = torch.from_numpy(flat(random_updates(n=8, items=9, seed=7)))
    chosen = most_extreme(normal @ normal.T)
    for other in (normal + 3, 1e-4 * normal, -normal):
        assert torch.equal(most_extreme(other @ other.T), chosen)


def test_later_rounds_copy_what_the_chosen_client_would_upload_then() -> None:
    view = attacker_view(MF(dim=4, l2=0.05))
    first = Mimic().forge(view, Choice(), STREAMS)
    target = first.state.target
    assert target is not None
    uploads = []
    for number in (2, 3):
        streams = STREAMS.at(number)
        own = view.devices.gradients(view.shared, torch.tensor([target]), streams).updates
        forged = Mimic().forge(view, first.state, streams)
        assert_close(flat(forged.updates), np.repeat(flat(own), 2, 0), atol=1e-7, rtol=1e-5)
        assert forged.state == first.state and forged.trace == {"target": target}
        uploads.append(flat(forged.updates))
    assert (uploads[0] != uploads[1]).any()  # another dropout


def test_the_choice_against_a_real_model_is_that_of_the_dense_uploads() -> None:
    view = attacker_view(MF(dim=4, l2=0.05))
    normal = view.devices.gradients(view.shared, torch.arange(5), STREAMS).updates
    forged = Mimic().forge(view, Choice(), STREAMS)
    assert forged.state.target == mimicked(normal)
    assert_close(flat(forged.updates)[0], flat(normal)[mimicked(normal)], atol=1e-7, rtol=1e-5)


def test_the_warm_up_chooses_anew_and_its_last_choice_is_kept() -> None:
    attack, state = Mimic(warmup=2), Choice()
    for extreme in (5.0, -5.0):
        moved = in_order(four_clients(extreme), [3, 0, 1, 2] if extreme < 0 else [0, 1, 2, 3])
        state = attack.forge(told_view(moved, [0]), state, STREAMS).state
        assert state.target == (0 if extreme < 0 else 3)
    kept = attack.forge(told_view(four_clients(5.0), [1]), state, STREAMS)
    assert state == Choice(2, 0) == kept.state
    assert_close(flat(kept.updates), np.array([[0.0, 101.0]]))


def test_a_single_client_is_copied() -> None:
    alone = in_order(four_clients(5.0), [3])
    forged = Mimic().forge(told_view(alone, [0]), Choice(), STREAMS)
    assert_close(flat(forged.updates), np.array([[5.0, 99.0]]))


def test_the_choice_is_among_as_many_clients_as_asked_for() -> None:
    """Of one client, each in its turn: the chosen one is the drawn one."""
    view = told_view(four_clients(5.0), [0])
    attack = Mimic(normal_clients=1)
    states = [attack.forge(view, Choice(), Streams(0).at(r)).state for r in range(40)]
    assert {state.target for state in states} == {0, 1, 2, 3}
