"""Attacks beyond the paper on the pretend GPU: the same rounds, and the host seldom waits."""

from dataclasses import replace
from typing import Any

import pytest
from torch.testing import assert_close

from fedrec.attacks.bit_flip import BitFlip
from fedrec.attacks.ipm import IPM
from fedrec.attacks.mimic import Mimic
from fedrec.attacks.min_max import MinMax
from fedrec.attacks.min_sum import MinSum
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
]
every_attack = pytest.mark.parametrize("attack", ATTACKS, ids=repr)


def a_cell(model: str, attack: Any) -> CellConfig:
    cell = Cell(dataset="synthetic", model=model, attack="LIE", defense="FedAvg", ratio=0.1, seed=0)
    config = Study.load("config/miniature.yaml").cell_config(cell)
    few: dict[str, Any] = {"rounds": 4, "clients_per_round": 20, "evaluate_every": 2, "pool": 0.2}
    return replace(config, attack=attack, protocol=replace(config.protocol, **few))


def play(run: Simulation) -> Simulation:
    while not run.over:
        run.play()
    return run


@every_attack
@pytest.mark.parametrize("model", ["MF", "SASRec"])
def test_rounds_are_those_of_the_cpu(model: str, attack: Any) -> None:
    config = a_cell(model, attack)
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
    with pretending() as counts:
        fed, _ = set_up(a_cell("MF", attack), SPLIT, "cuda")
        waits = []
        for number in range(1, 9):
            before = counts.snapshot()
            play_round(fed, number)
            waits.append((counts - before).synchronisations)
    assert max(waits[4:]) <= 1
