"""The simulation: who takes part, what an attacker can reach, and that a cell can be repeated."""

import dataclasses
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from fedrec.attacks.base import AttackerView
from fedrec.attacks.cluster_attack import ClusterAttack
from fedrec.attacks.fed_attack import FedAttack
from fedrec.attacks.label_flip import LabelFlip
from fedrec.attacks.no_attack import NoAttack
from fedrec.config.cell_config import CellConfig
from fedrec.config.protocol import TrainingProtocol
from fedrec.data.split import Split
from fedrec.defenses.base import Defense
from fedrec.defenses.mean import Mean
from fedrec.errors import ConfigError
from fedrec.federation import (
    Population,
    expected_malicious,
    play_round,
    sample_clients,
    set_up,
)
from fedrec.models.mf import MF
from fedrec.plan.cells import Cell
from fedrec.reference.losses import mf_loss
from fedrec.rng import Streams
from fedrec.training.simulation import Evaluation, Simulation
from tests.builders import tiny_split

SPLIT = tiny_split()
RATIO = 0.1


def a_cell(
    attack: Any = None, seed: int = 0, model: MF | None = None, **protocol: Any
) -> CellConfig:
    """A cell on the tiny split: 60 clients, of whom 12 can be malicious."""
    attack = attack or NoAttack()
    return CellConfig(
        cell=Cell(
            dataset="synthetic",
            model="MF",
            attack=type(attack).__name__,
            defense="FedAvg",
            ratio=0.0 if isinstance(attack, NoAttack) else RATIO,
            seed=seed,
        ),
        protocol=TrainingProtocol(
            **{"rounds": 6, "clients_per_round": 20, "evaluate_every": 4, "pool": 0.2} | protocol
        ),
        model=model or MF(dim=8),
        attack=attack,
        defense=Defense.compose([Mean()]),
        values={},
    )


def simulate(config: CellConfig, split: Split, device: str) -> Iterator[Evaluation]:
    """Play all rounds of a cell; yields its evaluations."""
    run = Simulation(config, split, device)
    while not run.over:
        evaluation = run.play()
        if evaluation:
            yield evaluation


def test_a_cohort_depends_on_seed_and_round_alone() -> None:
    first = sample_clients(100, 50, Streams(0).at(3))
    assert len(set(first.tolist())) == 50
    assert np.array_equal(first, sample_clients(100, 50, Streams(0).at(3)))
    assert not np.array_equal(first, sample_clients(100, 50, Streams(0).at(4)))
    assert not np.array_equal(first, sample_clients(100, 50, Streams(1).at(3)))


def test_attacks_of_every_ratio_share_one_pool_and_one_evaluation() -> None:
    none, one, five = (Population.draw(1000, 0.05, r, Streams(0)) for r in (0.0, 0.01, 0.05))
    assert [len(p.malicious) for p in (none, one, five)] == [0, 10, 50]
    assert set(one.malicious.tolist()) <= set(five.malicious.tolist())
    assert np.array_equal(none.evaluated, one.evaluated)
    assert len(five.evaluated) == 950
    assert not set(five.malicious.tolist()) & set(five.evaluated.tolist())


def test_the_pool_is_drawn_once_for_all_seeds_or_for_each() -> None:
    def pool(seed: int, drawn: str) -> list[int]:
        _, population = set_up(a_cell(ClusterAttack(), seed, pool_drawn=drawn), SPLIT, "cpu")
        return population.malicious.tolist()

    assert pool(0, "once") == pool(1, "once") == pool(0, "per_seed") != pool(1, "per_seed")


@pytest.mark.parametrize(("users", "ratio", "malicious"), [(6040, 0.01, 60), (299, 0.01, 2)])
def test_a_share_of_users_is_rounded_down(users: int, ratio: float, malicious: int) -> None:
    assert len(Population.draw(users, 0.05, ratio, Streams(0)).malicious) == malicious


@pytest.mark.parametrize("attack", [LabelFlip, FedAttack])
def test_own_rows_follow_the_poisoned_pairs(attack: Any) -> None:
    """After a round the malicious clients' own rows differ, and nobody else's."""
    rows = []
    for own_row in ("poisoned", "benign"):
        fed, population = set_up(a_cell(attack(own_row=own_row)), SPLIT, "cpu")
        number = 1
        while not set(sample_clients(60, 20, Streams(0).at(number)).tolist()) & set(
            population.malicious.tolist()
        ):
            number += 1
        play_round(fed, number)
        rows.append(fed.devices.local.detach())
    changed = (rows[0] != rows[1]).any(1).nonzero()[:, 0].tolist()
    assert changed and set(changed) <= set(population.malicious.tolist())


def test_one_round_equals_the_textbook() -> None:
    """Every client alone under autograd, FedAvg by sample count, one Adam step: no dropout."""
    fed, _ = set_up(a_cell(model=MF(dim=8, dropout=0.0, l2=0.01)), SPLIT, "cpu")
    items = fed.server.shared.items.clone().requires_grad_()
    users = fed.devices.local.clone().requires_grad_()
    cohort = torch.from_numpy(sample_clients(60, 20, Streams(0).at(1)))
    batch = fed.devices.pairs.batch(cohort, Streams(0).at(1))
    total = torch.zeros(())
    for i, client in enumerate(cohort.tolist()):
        mine = batch.owner == i
        ones = torch.ones(int(mine.sum()), 3, 8)
        loss, _ = mf_loss(
            users[client], items, batch.positive[mine], batch.negative[mine], ones, 0.0, 0.005
        )
        weight = batch.sizes[i] / batch.sizes.sum()
        (item_gradient, user_gradient) = torch.autograd.grad(loss, [items, users])
        items.grad = weight * item_gradient + (0 if items.grad is None else items.grad)
        users.grad = user_gradient + (0 if users.grad is None else users.grad)
        total = total + loss.detach()
    torch.optim.Adam([items, users], lr=2e-3).step()
    play_round(fed, 1)
    assert_close(fed.server.shared.items, items.detach(), atol=1e-5, rtol=1e-4)
    assert_close(fed.devices.local.detach(), users.detach(), atol=1e-5, rtol=1e-4)


def trajectory(config: CellConfig) -> list[dict[str, Any]]:
    return [dataclasses.asdict(e) for e in simulate(config, SPLIT, "cpu")]


@pytest.mark.parametrize("attack", [NoAttack(), ClusterAttack()], ids=["none", "cluster"])
def test_a_cell_can_be_repeated_to_the_bit(attack: Any) -> None:
    assert trajectory(a_cell(attack)) == trajectory(a_cell(attack))
    assert trajectory(a_cell(attack)) != trajectory(a_cell(attack, seed=1))


def test_evaluations_come_every_so_often_and_at_the_end() -> None:
    assert [e["round"] for e in trajectory(a_cell())] == [4, 6]


def test_without_malicious_clients_an_attack_is_no_attack() -> None:
    """Arms are comparable: they share cohorts, initial values, negatives and dropout."""
    attacked = a_cell(ClusterAttack())
    disarmed = dataclasses.replace(attacked, cell=attacked.cell.model_copy(update={"ratio": 0.0}))
    assert trajectory(disarmed) == trajectory(a_cell())
    assert trajectory(attacked) != trajectory(a_cell())


@pytest.mark.parametrize(("clients", "expected"), [(20, 2), (60, 6), (1000, 6)])
def test_a_server_prepares_for_the_clients_there_are(clients: int, expected: int) -> None:
    """A tenth of a cohort, which has 60 clients at most; not a tenth of what was asked for."""
    fed, _ = set_up(a_cell(ClusterAttack(), clients_per_round=clients), SPLIT, "cpu")
    assert fed.expected_malicious == expected


@pytest.mark.parametrize(
    ("clients", "ratio", "believed", "expected"),
    [
        (50, 0.05, 1.0, 3), (50, 0.05, 0.5, 2), (50, 0.05, 2.0, 5), (50, 0.01, 2.0, 1),
        (50, 0.1, 99.0, 50), (50, 0.0, 2.0, 0), (60, 0.1, 1.0, 6),
    ],
)  # fmt: skip
def test_a_server_may_be_wrong_about_the_ratio(
    clients: int, ratio: float, believed: float, expected: int
) -> None:
    """⌈n·m%·believed⌉, of n at most."""
    assert expected_malicious(clients, ratio, believed) == expected


def test_a_run_is_of_what_its_server_believes() -> None:
    for believed, expected in ((1.0, 2), (2.0, 4)):
        fed, _ = set_up(a_cell(ClusterAttack(), believed=believed), SPLIT, "cpu")
        assert fed.expected_malicious == expected


@pytest.mark.parametrize(
    ("ratio", "pool", "remedy"),
    [
        (0.05, 0.2, "give a ratio of at least 0.1$"),
        (0.1, 0.09, "give a protocol.pool of at least 0.1$"),
        (0.05, 0.05, "give a ratio and a protocol.pool of at least 0.1$"),
    ],
)
def test_an_attack_by_nobody_is_refused(ratio: float, pool: float, remedy: str) -> None:
    """Of 10 users 5 % are half a user, which rounds to none."""
    config = a_cell(ClusterAttack(), pool=pool)
    config = dataclasses.replace(config, cell=config.cell.model_copy(update={"ratio": ratio}))
    name = f"synthetic/MF/ClusterAttack/FedAvg/m{ratio}/seed0.json"
    with pytest.raises(ConfigError, match=f"^{name}: none of its 10 users .*{remedy}"):
        set_up(config, tiny_split(users=10), "cpu")
    set_up(a_cell(pool=0.0), tiny_split(users=10), "cpu")


@given(st.integers(2, 10_000))
def test_the_remedies_against_an_attack_by_nobody_work(n_users: int) -> None:
    cell = a_cell(ClusterAttack()).cell.model_copy(update={"ratio": 1e-9})
    with pytest.raises(ConfigError) as refused:
        Population.draw(n_users, 0.0, cell.ratio, Streams(0)).check(cell, 0.0)
    (share,) = map(float, re.findall(r"of at least ([0-9.e-]+)", str(refused.value)))
    assert len(Population.draw(n_users, share, share, Streams(0)).malicious) == 1
    assert share < 1 / n_users * 1.002


class Spy:
    """An attack that keeps the views it is given."""

    def __init__(self) -> None:
        self.views: list[AttackerView] = []

    def initial_state(self) -> None:
        return None

    def forge(self, view: AttackerView, state: None, streams: Streams) -> Any:
        self.views.append(view)
        return NoAttack().forge(view, state, streams)


def test_an_attacker_reaches_its_own_clients_data_alone() -> None:
    spy = Spy()
    fed, population = set_up(a_cell(spy), SPLIT, "cpu")
    for number in range(1, 6):
        play_round(fed, number)
    malicious = population.malicious.tolist()
    assert spy.views and len(malicious) == 6
    for view in spy.views:
        assert view.devices.users.tolist() == malicious
        assert len(view.devices.local) == len(malicious)
        sizes = np.diff(SPLIT.offsets)[malicious]
        assert len(view.devices.pairs.positive) == sizes.sum()
        assert len(view.benign) == len(view.selected)


def test_a_behaving_attacker_changes_nothing() -> None:
    honest, _ = set_up(a_cell(), SPLIT, "cpu")
    spied, _ = set_up(a_cell(Spy()), SPLIT, "cpu")
    for number in range(1, 4):
        play_round(honest, number)
        play_round(spied, number)
    assert_close(spied.server.shared.items, honest.server.shared.items)


def test_malicious_uploads_stand_in_their_clients_places(monkeypatch: pytest.MonkeyPatch) -> None:
    """The order of uploads does not give malicious clients away."""
    fed, population = set_up(a_cell(ClusterAttack()), SPLIT, "cpu")
    seen = []
    real = Defense.__call__
    monkeypatch.setattr(
        Defense, "__call__", lambda self, got, view: seen.append(got) or real(self, got, view)
    )
    for number in range(1, 6):
        play_round(fed, number)
        cohort = sample_clients(60, 20, Streams(0).at(number))
        forged = np.isin(cohort, population.malicious.numpy())
        rows = torch.bincount(seen[-1].owner, minlength=20).numpy()
        assert np.array_equal(rows == SPLIT.n_items, forged)
    assert forged.any()


def test_resampled_negatives_and_lazy_users_run() -> None:
    plain = trajectory(a_cell())
    for change in ({"negatives": "resampled"}, {"user_optimizer": "lazy"}):
        assert trajectory(a_cell(**change)) != plain


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_gpu_agrees_with_the_cpu() -> None:
    config = a_cell(ClusterAttack())
    (here, *_), (there, *_) = (list(simulate(config, SPLIT, d)) for d in ("cpu", "cuda"))
    assert here.loss == pytest.approx(there.loss, rel=1e-4)
    assert here.test["mrr"] == pytest.approx(there.test["mrr"], rel=0.05)


def test_the_clusters_are_recorded() -> None:
    last = trajectory(a_cell(ClusterAttack()))[-1]
    assert last["attack"]["clusters"] == 2 and last["attack"]["attack_loss"] > 0


def test_training_learns() -> None:
    """On drifting tastes, HR@10 climbs well above the 10 / 50 of a random ranking."""
    *_, last = simulate(a_cell(rounds=150, clients_per_round=60), SPLIT, "cpu")
    assert last.test["hr@10"] > 0.3
