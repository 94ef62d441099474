"""PIECK's defence: terms against cold items that look popular (Zhang et al., ICDE 2024)."""

from dataclasses import replace
from math import log
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from fedrec.attacks.cluster_attack import ClusterAttack
from fedrec.attacks.no_attack import NoAttack
from fedrec.bench.pretend import pretending
from fedrec.config.cell_config import CellConfig
from fedrec.config.protocol import TrainingProtocol
from fedrec.defenses.base import ClientView, Defense
from fedrec.defenses.mean import Mean
from fedrec.defenses.pieck import PIECK, Mined, falling_weights, pulls
from fedrec.defenses.union import Union
from fedrec.errors import ConfigError
from fedrec.federation import Federation, play_round, set_up
from fedrec.models.base import LocalGradients, Shared
from fedrec.models.mf import MF
from fedrec.models.ncf import NCF
from fedrec.models.sas_rec import SASRec
from fedrec.plan.cells import Cell
from fedrec.reference.losses import pieck_terms
from fedrec.rng import Streams
from tests.builders import tiny_split
from tests.defenses.views import client_view
from tests.oracles.dense import dense_items

CPU = torch.device("cpu")
CLOSE = {"rtol": 1e-4, "atol": 1e-7}


def late_view(model: Any = None, moved: tuple[int, ...] = (7, 2, 11)) -> ClientView:
    """Round 200, when some items have changed since the first, each less than the one before."""
    view = client_view(model, streams=Streams(0, round=200))
    items = view.shared.items.clone()
    for place, item in enumerate(moved):
        items[item] += torch.linspace(1, 2, items.shape[1]) * (len(moved) - place)
    shared = Shared(items, view.shared.dense)
    plain = view.devices.train(shared, view.positions, view.batch, view.streams)
    return replace(view, shared=shared, plain=plain)


def added(method: PIECK, view: ClientView) -> tuple[Tensor, Tensor]:
    """What the method adds to each client's gradient of the items, and of its own embedding."""
    honest = method.on_clients(view.plain, view)
    items = dense_items(honest.updates) - dense_items(view.plain.updates)
    return items, honest.local - view.plain.local


def by_autograd(method: PIECK, view: ClientView, client: int) -> tuple[Tensor, Tensor]:
    """The same for one client, by autograd over the terms as the authors' code has them."""
    items, local = view.shared.items, view.devices.local[view.positions[client]]
    items, own = (x.clone().requires_grad_() for x in (items, local))
    of_client = view.batch.owner == client
    pairs = torch.cat([view.batch.positive[of_client], view.batch.negative[of_client]])
    near_items, apart = pieck_terms(own, items, pairs, method.mined(view).items, method.falling)
    (method.items_weight * near_items + method.user_weight * apart).backward()
    assert items.grad is not None and own.grad is not None
    return items.grad, own.grad


def test_pulls_by_hand() -> None:
    """Towards (1, 0), of length 5 or not: what is at (0, 2) goes there by ½, (3, 0) is there."""
    table = torch.tensor([[5.0, 0.0], [0.0, 2.0], [3.0, 0.0], [-1.0, 0.0], [3.0, 4.0]])
    found = pulls(table, Mined(torch.tensor([0]), torch.ones(1)))
    expected = [[0, 0], [0.5, 0], [0, 0], [0, 0], [0.64 / 5, -0.48 / 5]]
    assert_close(found, torch.tensor(expected))


def test_weights_fall_as_squares_or_exponentials() -> None:
    assert_close(falling_weights(3, "squares", CPU), torch.tensor([9.0, 4.0, 1.0]) / 14)
    assert_close(
        falling_weights(2, "exponentials", CPU), torch.tensor([1, 1 / 2.718281828]) / 1.3678794
    )


def test_a_user_of_two_numbers_by_hand() -> None:
    """softmax(u) = (¾, ¼), a popular item of equal numbers: KL = ¾ ln 3/2 + ¼ ln 1/2.

    Its derivative by the first number is ¾ · ¼ · ln 3, and minus that by the second.
    """
    view = client_view(MF(dim=2), streams=Streams(0, round=200))
    items = view.shared.items.clone()
    items[4] = torch.tensor([9.0, 9.0])
    local = view.devices.local.clone()
    local[view.positions[1]] = torch.tensor([log(3), 0.0])
    view = replace(
        view, shared=Shared(items, view.shared.dense), devices=replace(view.devices, local=local)
    )
    _, found = added(PIECK(popular=1, user_weight=2.0), view)
    slope = 3 / 16 * log(3)
    assert_close(
        found[1], -torch.tensor([slope, -slope]), **CLOSE
    )  # a weight of 2, a mean of d = 2


@pytest.mark.parametrize("falling", ["squares", "exponentials"])
@pytest.mark.parametrize("model", [MF(dim=5), NCF(dim=5, layers=(4, 3))])
def test_gradients_are_those_of_the_codes_terms(model: Any, falling: Any) -> None:
    method = PIECK(popular=3, items_weight=2.0, user_weight=0.7, falling=falling)
    view = late_view(model)
    items, own = added(method, view)
    for client in range(len(view.positions)):
        expected = by_autograd(method, view, client)
        assert_close(items[client], expected[0], **CLOSE)
        assert_close(own[client], expected[1], **CLOSE)
    assert items.any() and own.any()


def test_items_that_changed_most_are_popular_and_are_not_pulled() -> None:
    view = late_view()
    assert PIECK(popular=3).mined(view).items.tolist() == [7, 2, 11]
    items, _ = added(PIECK(popular=3), view)
    assert not items[:, [7, 2, 11]].any()


def test_no_more_items_are_popular_than_there_are() -> None:
    method, view = PIECK(popular=1000), late_view()
    assert len(method.mined(view).items) == 30
    items, own = added(method, view)  # none is left to be pulled
    assert not items.any() and own.any()


def test_before_it_begins_nothing_is_added() -> None:
    early = replace(late_view(), streams=Streams(0, round=120))
    assert PIECK().on_clients(early.plain, early) is early.plain
    first = replace(early, streams=Streams(0, round=121))
    items, own = added(PIECK(), first)
    assert items.any() and own.any()


def test_weights_of_zero_add_nothing() -> None:
    view = late_view()
    items, own = added(PIECK(items_weight=0.0), view)
    assert not items.any() and own.any()
    items, own = added(PIECK(user_weight=0.0), view)
    assert items.any() and not own.any()


def test_a_model_without_user_embeddings_has_the_first_term() -> None:
    items, own = added(PIECK(popular=3), late_view(SASRec(dim=4, hidden=4, heads=2, length=6)))
    assert items.any()
    assert own.shape == (3, 0)


def test_after_unions_task_the_same_is_added() -> None:
    """UNION's task adds rows to the uploads."""
    view, method = late_view(), PIECK(popular=3)
    spread_out = Union(negatives=4).on_clients(view.plain, view)
    assert len(spread_out.updates.item) > len(view.plain.updates.item)
    both = method.on_clients(spread_out, view)
    expected, own = added(method, view)
    assert_close(dense_items(both.updates) - dense_items(spread_out.updates), expected, **CLOSE)
    assert_close(both.local - spread_out.local, own)


def test_users_of_another_size_cannot_be_compared() -> None:
    view = late_view()
    wide = replace(view, devices=replace(view.devices, local=torch.ones(6, 7)))
    honest = replace(view.plain, local=torch.ones(3, 7))
    with pytest.raises(ConfigError, match=r"7 numbers of their own and items 4.*user_weight: 0"):
        PIECK().on_clients(honest, wide)
    assert PIECK(user_weight=0.0).on_clients(honest, wide).local.shape == (3, 7)


class Still:
    """Takes the gradient of every client's own embedding away."""

    def on_clients(self, honest: LocalGradients, view: ClientView) -> LocalGradients:
        return replace(honest, local=torch.zeros_like(honest.local))


def played(
    parts: list[Any], device: str = "cpu", attack: Any = None, rounds: int = 3
) -> Federation:
    """A federation after some rounds; with an attack, a fifth of its users is malicious."""
    ratio = 0.2 if attack else 0.0
    cell = Cell(dataset="d", model="m", attack="a", defense="d", ratio=ratio, seed=0)
    protocol, defense = TrainingProtocol(clients_per_round=20, pool=0.2), Defense.compose(parts)
    config = CellConfig(cell, protocol, MF(dim=8), attack or NoAttack(), defense, {})
    fed, _ = set_up(config, tiny_split(), device)
    for number in range(1, rounds + 1):
        play_round(fed, number)
    return fed


def test_clients_step_by_the_gradient_that_a_task_leaves() -> None:
    start = played([Mean()], rounds=0).devices.local
    assert torch.equal(played([Still(), Mean()]).devices.local, start)


def test_malicious_clients_have_no_task() -> None:
    """ClusterAttack says nothing about its clients' embeddings: they learn without any task."""
    start = played([Mean()], rounds=0).devices.local
    fed = played([Still(), Mean()], attack=ClusterAttack())
    learnt = (fed.devices.local != start).any(1)
    assert learnt.any()
    assert not (learnt & ~torch.from_numpy(fed.is_malicious)).any()


def test_a_gpu_adds_the_same() -> None:
    parts = [PIECK(begins=2, popular=3), Mean()]
    fed, plain = played(parts), played([Mean()])
    with pretending():
        other = played(parts, "cuda")
        items, local = other.server.shared.items.cpu(), other.devices.local.cpu()
    assert_close(items, fed.server.shared.items, rtol=1e-4, atol=2e-5)
    assert_close(local, fed.devices.local, rtol=1e-4, atol=2e-5)
    assert not torch.allclose(fed.server.shared.items, plain.server.shared.items, atol=1e-3)
