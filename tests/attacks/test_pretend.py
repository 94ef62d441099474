"""Attacks beyond the paper on the pretend GPU: the same rounds, and the host seldom waits."""

from dataclasses import replace
from typing import Any

import pytest
from torch.testing import assert_close

from fedrec.attacks.bit_flip import BitFlip
from fedrec.attacks.cluster_attack_matched import ClusterAttackMatched
from fedrec.attacks.ipm import IPM
from fedrec.attacks.ipm_search import IPMSearch
from fedrec.attacks.lie_search import LIESearch
from fedrec.attacks.mimic import Mimic
from fedrec.attacks.min_max import MinMax
from fedrec.attacks.min_sum import MinSum
from fedrec.attacks.spattack_l import SpattackL
from fedrec.attacks.spattack_o import SpattackO
from fedrec.attacks.ua_fedrec import UAFedRec
from fedrec.bench.pretend import pretending
from fedrec.config.cell_config import CellConfig
from fedrec.config.study import Study
from fedrec.federation import play_round, set_up
from fedrec.plan.cells import Cell
from fedrec.training.simulation import Simulation
from tests.builders import tiny_split

SPLIT = tiny_split()
ATTACKS = [
    BitFlip(),
    IPM(),
    MinMax(),
    MinMax(perturbation="unit"),
    MinSum(),
    MinSum(reference="nearest"),
    Mimic(),
    Mimic(warmup=2),
    LIESearch(trials=3),
    IPMSearch(objective="norm", trials=1),
    ClusterAttackMatched(steps=4),
    SpattackO(),
    SpattackL(),
    UAFedRec(),
]
KNOWING = [
    (LIESearch(trials=3), "MultiKrum"),
    (IPMSearch(trials=3), "TrimmedMean"),
    (LIESearch(trials=1), "NormBound+UNION"),
]
every_attack = pytest.mark.parametrize("attack", ATTACKS, ids=repr)


def a_cell(model: str, attack: Any, defense: str = "FedAvg") -> CellConfig:
    cell = Cell(dataset="synthetic", model=model, attack="LIE", defense=defense, ratio=0.1, seed=0)
    config = Study.load("config/miniature.yaml").cell_config(cell)
    few: dict[str, Any] = {"rounds": 4, "clients_per_round": 20, "evaluate_every": 2, "pool": 0.2}
    return replace(config, attack=attack, protocol=replace(config.protocol, **few))


def play(run: Simulation) -> Simulation:
    while not run.over:
        run.play()
    return run


@every_attack
@pytest.mark.parametrize("model", ["MF", "SASRec", "NCF"])
def test_rounds_are_those_of_the_cpu(model: str, attack: Any) -> None:
    same_on_the_pretend_gpu(a_cell(model, attack))


@pytest.mark.parametrize(("attack", "defense"), KNOWING)
def test_rounds_of_an_attack_that_knows_the_server_are_those_of_the_cpu(
    attack: Any, defense: str
) -> None:
    same_on_the_pretend_gpu(a_cell("MF", attack, defense))


def same_on_the_pretend_gpu(config: CellConfig) -> None:
    expected = play(Simulation(config, SPLIT, "cpu")).evaluations
    with pretending():
        run = play(Simulation(config, SPLIT, "cuda"))
        found = run.evaluations
    assert [e.loss for e in found] == pytest.approx([e.loss for e in expected], rel=1e-5)
    for ours, theirs in zip(found, expected, strict=True):
        assert_close(dict(ours.attack), dict(theirs.attack), atol=1e-4, rtol=1e-4)


@every_attack
def test_forging_makes_the_host_wait_for_no_result(attack: Any) -> None:
    """But for reading, once a round, what the attack has learnt."""
    waits_at_most_once(a_cell("MF", attack))


@pytest.mark.parametrize(("attack", "defense"), KNOWING[:2])
def test_an_attack_that_knows_the_server_makes_the_host_wait_for_no_result(
    attack: Any, defense: str
) -> None:
    waits_at_most_once(a_cell("MF", attack, defense))


def waits_at_most_once(config: CellConfig) -> None:
    """After the first rounds with as many attackers, in which what is made once is made."""
    with pretending() as counts:
        fed, _ = set_up(config, SPLIT, "cuda")
        waits: dict[int, list[int]] = {}
        for number in range(1, 9):
            before, attackers = counts.snapshot(), len(fed.attackers(fed.streams.at(number)))
            play_round(fed, number)
            waits.setdefault(attackers, []).append((counts - before).synchronisations)
    later = [count for counted in waits.values() for count in counted[1:]]
    assert later and max(later) <= 1
