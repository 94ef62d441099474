"""Defences on whole uploads, as on a GPU, do what they do on rows."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from typing import get_args

import pytest
import torch
from torch.testing import assert_close

from fedrec.bench.pretend import pretending
from fedrec.defenses.base import Defense, DefensePart
from fedrec.defenses.bucketing import Bucketing
from fedrec.defenses.bulyan import Bulyan
from fedrec.defenses.centred_clipping import CentredClipping
from fedrec.defenses.coordinate_median import CoordinateMedian
from fedrec.defenses.dnc import DnC
from fedrec.defenses.dp_fedavg import DPFedAvg
from fedrec.defenses.fools_gold import FoolsGold
from fedrec.defenses.geometric_median import GeometricMedian
from fedrec.defenses.krum import Krum
from fedrec.defenses.mean import Mean
from fedrec.defenses.nnm import NNM
from fedrec.defenses.per_row import PerRow, RowRule
from fedrec.defenses.union import Union
from fedrec.errors import ConfigError
from fedrec.federation import play_round, set_up
from fedrec.training.simulation import Simulation
from tests.bench.test_pretend import SPLIT, a_cell, cost, play
from tests.defenses.views import server_view
from tests.oracles.defenses import one_vector
from tests.oracles.dense import random_updates

DEFENSES: dict[str, Sequence[DefensePart]] = {
    "bulyan": [Bulyan()],
    "coordinate_median": [CoordinateMedian()],
    "dnc": [DnC(sample=5, iterations=2), Mean()],
    "dnc and bulyan": [DnC(sample=5), Bulyan()],
    "dp_fedavg": [DPFedAvg(bound=5.0)],
    "fools_gold": [FoolsGold()],
    "geometric_median": [GeometricMedian()],
    "nnm and krum": [NNM(), Krum(keep="n-f"), Mean()],
    "nnm and coordinate_median": [NNM(), CoordinateMedian()],
    "nnm and union": [NNM(), Union(sample=10), Mean()],
    "bucketing and krum": [Bucketing(), Krum(), Mean()],
    "bucketing and geometric_median": [Bucketing(size=4), GeometricMedian()],
    "centred_clipping": [CentredClipping(radius=3.0, iterations=2)],
    "dnc and centred_clipping": [DnC(sample=5), CentredClipping()],
}
every_defense = pytest.mark.parametrize("name", DEFENSES)


@pytest.mark.parametrize(("name", "in_turn", "f"), [*product(DEFENSES, [False, True], [0, 1, 3])])
def test_they_decide_the_same(name: str, in_turn: bool, f: int) -> None:
    received = random_updates(n=15, items=20, seed=f)
    defense, view = Defense.compose(DEFENSES[name], in_turn), server_view(received, f)
    rows, whole = (
        defense(some, view) for some in (received, replace(received.in_whole(), whole=True))
    )
    assert torch.equal(rows.kept, whole.kept)
    found, expected = one_vector(whole.gradient), one_vector(rows.gradient)
    assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("rule", get_args(RowRule))
def test_a_rule_for_touched_rows_refuses_them(rule: RowRule) -> None:
    """They do not record which rows are touched."""
    received = random_updates(n=4)
    whole = replace(received.in_whole(), whole=True)
    defense = Defense.compose([PerRow(rule=rule)])
    with pytest.raises(ConfigError, match="not recorded; run this cell with --device cpu"):
        defense(whole, server_view(received))


@pytest.mark.parametrize("name", ["dp_fedavg", "fools_gold"])
def test_rounds_are_those_of_the_cpu(name: str) -> None:
    config = replace(a_cell("MF", "LIE", "FedAvg"), defense=Defense.compose(DEFENSES[name]))
    expected = play(Simulation(config, SPLIT, "cpu"))
    with pretending():
        found = play(Simulation(config, SPLIT, "cuda"))
    assert [e.loss for e in found] == pytest.approx([e.loss for e in expected], rel=1e-5)


@every_defense
def test_they_do_not_wait_for_a_gpu(name: str) -> None:
    config = a_cell("MF", "LIE", "FedAvg")

    def waits(parts: Sequence[DefensePart]) -> int:
        with pretending() as counts:
            fed, _ = set_up(replace(config, defense=Defense.compose(parts)), SPLIT, "cuda")
            costs = [cost(counts, partial(play_round, fed, number)) for number in range(1, 8)]
        return max(c[1] for c in costs[4:])

    assert waits(DEFENSES[name]) == waits([Mean()])


def test_a_memory_is_saved_and_restored_on_a_gpu() -> None:
    config = a_cell("MF", "LIE", "FedAvg")
    config = replace(config, defense=Defense.compose([CentredClipping(radius=1e-3)]))
    expected = play(Simulation(config, SPLIT, "cpu"))
    with pretending():
        first, rest = (Simulation(config, SPLIT, "cuda") for _ in range(2))
        first.play()
        while not first.can_be_saved:
            first.play()
        rest.restore(first.snapshot())
        assert rest.snapshot().arrays["defense/0/items"].any()
        found = play(first)
        assert play(rest) == found
    assert [e.loss for e in found] == pytest.approx([e.loss for e in expected], rel=1e-5)
