"""LIESearch and IPMSearch: the factor that moves the aggregate most, by the server's own rule."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from fedrec.attacks._rule_search import RuleSearch, best_factor
from fedrec.attacks.base import AttackerView, KnowingView, knowledge_of
from fedrec.attacks.ipm_search import IPMSearch
from fedrec.attacks.lie_search import LIESearch
from fedrec.defenses.base import DefensePart
from fedrec.defenses.bulyan import Bulyan
from fedrec.defenses.coordinate_median import CoordinateMedian
from fedrec.defenses.dnc import DnC
from fedrec.defenses.fl_wbc import FLWBC
from fedrec.defenses.geometric_median import GeometricMedian
from fedrec.defenses.krum import Krum
from fedrec.defenses.mean import Mean
from fedrec.defenses.norm_bound import NormBound
from fedrec.defenses.trimmed_mean import TrimmedMean
from fedrec.defenses.union import Union
from fedrec.models.mf import MF
from fedrec.reference.rules import clipped, krum_scores, trimmed_mean, weighted_mean
from fedrec.rng import Streams
from fedrec.testing.federation import rule_of
from fedrec.updates import Gradient, Updates
from tests.attacks.views import attacker_view
from tests.oracles.attacks import flat, searched, statistics, three_clients, told_view
from tests.oracles.dense import random_updates

STREAMS = Streams(0).at(1)
ATTACKS: Sequence[type[RuleSearch]] = [LIESearch, IPMSearch]
both = pytest.mark.parametrize("attack", ATTACKS)


def knowing(view: AttackerView, *defense: DefensePart, f: int = 1, clients: int = 5) -> KnowingView:
    shown = rule_of(view, defense or (Mean(),), f, clients).shown(view, "the aggregation rule")
    assert isinstance(shown, KnowingView)
    return shown


def short_enough(limit: float) -> Callable[[Updates], Gradient]:
    """The unweighted mean of the uploads whose squared norm is within a limit."""

    def aggregate(received: Updates) -> Gradient:
        kept = (received.norms().square() <= limit).float()
        return received.weighted_sum(kept / kept.sum())

    return aggregate


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        (100.0, 2.5),  # up to z = 2.75, and 2.5 · ⁴√2 = 2.97
        (200.0, 2.5 * 2**0.75),  # up to 4.44, and 2.5 · √2 · ⁴√2 = 4.20
        (1000.0, 10.0),  # up to 11.2
    ],
)
def test_the_factor_against_a_filter_by_hand(limit: float, expected: float) -> None:
    """‖μ − zσ‖² = 22.25 + 9z + 7z² with μ = 2, −4, 1.5, 0 and σ = 1, 2, 1, 1.

    The factors are 10/256, 10/64, 10/16, 10/4 and 10, and then three higher ones.
    """
    view = replace(knowing(told_view(three_clients(), [0, 2])), aggregate=short_enough(limit))
    forged = LIESearch().forge(view, None, STREAMS)
    assert forged.trace == {"factor": pytest.approx(expected)}
    first = [2 - expected, -4 - 2 * expected, 1.5 - expected, -expected]
    assert_close(flat(forged.updates), np.array([first] * 2), atol=1e-5, rtol=1e-5)
    assert forged.updates.weight.tolist() == [1.0, 4.0]


def test_a_plain_mean_is_moved_as_far_as_is_allowed() -> None:
    """The shift grows with the factor."""
    view = knowing(told_view(three_clients(), [1]))
    for largest in (0.5, 100.0):
        forged = IPMSearch(largest=largest).forge(view, None, STREAMS)
        assert forged.trace == {"factor": largest}
        expected = np.array([[-2.0, 4.0, -1.5, 0.0]]) * largest
        assert_close(flat(forged.updates), expected, atol=1e-4, rtol=1e-5)


def mean_of(stack: Tensor, weight: Tensor, f: int) -> Tensor:
    return weighted_mean(stack, weight)


def trimmed(stack: Tensor, weight: Tensor, f: int) -> Tensor:
    return trimmed_mean(stack, f)


def nearest(stack: Tensor, weight: Tensor, f: int) -> Tensor:
    scores = krum_scores(stack, len(stack) - f - 2, squared=True)
    return stack[scores.index(min(scores))]


def bounded(stack: Tensor, weight: Tensor, f: int) -> Tensor:
    return weighted_mean(clipped(stack, 2.0), weight)


RULES: dict[str, tuple[list[DefensePart], Callable[[Tensor, Tensor, int], Tensor]]] = {
    "mean": ([Mean()], mean_of),
    "trimmed mean": ([TrimmedMean()], trimmed),
    "krum": ([Krum(), Mean()], nearest),
    "norm bound": ([NormBound(bound=2.0), Mean()], bounded),
}


@pytest.mark.parametrize("objective", ["along", "norm"])
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("seed", [1, 2])
@both
def test_factors_equal_those_of_the_dense_uploads(
    attack: Any, seed: int, rule: str, objective: str
) -> None:
    """Of a cohort of seven normal clients and two malicious ones, with f = 2."""
    normal, selected = random_updates(n=7, items=9, seed=seed), [0, 3]
    defense, aggregate = RULES[rule]
    view = knowing(told_view(normal, selected), *defense, f=2, clients=9)
    method = attack(objective=objective)
    forged = method.forge(view, None, STREAMS)
    honest = torch.from_numpy(flat(normal))
    weight = torch.cat([normal.weight, normal.weight[selected]])
    before = aggregate(torch.cat([honest, honest[selected]]), weight, 2)
    mean, deviation = (torch.tensor(x, dtype=torch.float64) for x in statistics(normal))
    start, step = (mean, -deviation) if attack is LIESearch else (0 * mean, -mean)

    def score(factor: float) -> float:
        moved = (start + factor * step).expand(2, -1)
        shift = aggregate(torch.cat([honest, moved]), weight, 2) - before
        return float(shift @ step if objective == "along" else shift @ shift)

    found = forged.trace["factor"]
    assert found == pytest.approx(searched(score, method.largest, 8), rel=1e-5)
    assert_close(flat(forged.updates)[0], (start + found * step).numpy(), atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("trials", [1, 2, 3, 8, 13])
def test_the_rule_runs_once_for_each_factor_and_once_without(trials: int) -> None:
    calls: list[int] = []
    view = knowing(told_view(three_clients(), [0, 1]))

    def counted(received: Updates) -> Gradient:
        calls.append(len(received))
        return view.aggregate(received)

    LIESearch(trials=trials).forge(replace(view, aggregate=counted), None, STREAMS)
    assert calls == [3 + 2] * (trials + 1)


def test_honest_uploads_are_not_overwritten_by_candidates() -> None:
    kept: list[np.ndarray] = []
    view = knowing(told_view(three_clients(), [2]))

    def spying(received: Updates) -> Gradient:
        kept.append(flat(received)[:3])
        return view.aggregate(received)

    LIESearch().forge(replace(view, aggregate=spying), None, STREAMS)
    assert all((one == kept[0]).all() for one in kept)


@pytest.mark.parametrize("trials", [1, 2, 7, 8])
def test_the_search_finds_the_best_of_what_it_tries(trials: int) -> None:
    """Two peaks: a low one at high factors and a high one at low factors."""

    def score(factor: float | Tensor) -> Tensor:
        x = torch.as_tensor(factor, dtype=torch.float64)
        return x.where(x < 1.5, 0.01 * x)

    found = float(best_factor(score, 20.0, trials))
    assert found == pytest.approx(searched(lambda x: float(score(x)), 20.0, trials))
    assert trials < 3 or 0.75 <= found < 1.5


def test_a_score_that_is_no_number_is_never_chosen() -> None:
    def score(factor: float | Tensor) -> Tensor:
        x = torch.as_tensor(factor, dtype=torch.float64)
        return x.where(x < 3, torch.nan)

    assert 0 < float(best_factor(score, 10.0, 8)) < 3


def test_equal_scores_give_the_smallest_factor() -> None:
    assert float(best_factor(lambda factor: torch.zeros((), dtype=torch.float64), 16.0, 5)) == 1.0


DEFENSES: dict[str, list[DefensePart]] = {
    "CoordinateMedian": [CoordinateMedian()],
    "GeometricMedian": [GeometricMedian()],
    "Bulyan": [Bulyan()],
    "DnC": [DnC(), Mean()],
    "MultiKrum": [Krum(keep="n-f"), Mean()],
    "FLWBC": [FLWBC(), Mean()],
    "UNION": [Union(), Mean()],
}


@pytest.mark.parametrize("defense", DEFENSES)
@both
def test_no_factor_that_is_tried_moves_the_aggregate_farther(attack: Any, defense: str) -> None:
    """Under each defence, with a real model."""
    view = knowing(attacker_view(MF(dim=4), users=9), *DEFENSES[defense], f=2, clients=11)
    scores: dict[float, float] = {}
    method = attack()

    class Watched(attack):  # type: ignore[misc]
        def measured(self, shift: Gradient, step: Gradient) -> Tensor:
            found: Tensor = super().measured(shift, step)
            scores[len(scores)] = float(found)
            return found

    found = Watched().forge(view, None, STREAMS)
    assert found.trace == method.forge(view, None, STREAMS).trace
    assert len(scores) == 8
    # Once more with the factor that was found alone.
    alone = Watched(largest=found.trace["factor"], trials=1)
    scores_before, scores = scores, {}
    assert alone.forge(view, None, STREAMS).trace == found.trace
    assert scores[0] == pytest.approx(max(scores_before.values()), rel=1e-4, abs=1e-12)


def test_the_attackers_draws_are_not_the_servers() -> None:
    """DnC's items are drawn once more, so a filter may decide otherwise; and always the same."""
    view = attacker_view(MF(dim=4), users=9)
    seeds: list[int] = []

    class Spy(DnC):
        def judge(self, received: Updates, among: Tensor, view: Any) -> Any:
            seeds.append(view.streams.seed)
            return super().judge(received, among, view)

    LIESearch().forge(knowing(view, Spy(), Mean()), None, STREAMS)
    assert set(seeds) == {-1}


@pytest.mark.parametrize(("uploads", "expected"), [(2, 1), (10, 1), (11, 2), (50, 5), (60, 5)])
def test_a_smaller_cohort_has_fewer_assumed_malicious_uploads(uploads: int, expected: int) -> None:
    """Of 50 uploads, the server assumes 5 to be malicious."""
    assumed: list[int] = []

    class Spy(Mean):
        def reduce(self, received: Updates, kept: Tensor, view: Any) -> Gradient:
            assumed.append(view.expected_malicious)
            return super().reduce(received, kept, view)

    view = knowing(told_view(three_clients(), [0]), Spy(), f=5, clients=50)
    view.aggregate(random_updates(n=uploads))
    assert assumed == [expected]


def test_honest_uploads_include_the_defences_task() -> None:
    view = attacker_view(MF(dim=4), users=6)
    positions = torch.tensor([4, 1])
    plain = knowing(view).honest(positions, STREAMS)
    own = view.devices.gradients(view.shared, positions, STREAMS).updates
    assert_close(flat(plain), flat(own), atol=0, rtol=0)
    with_task = knowing(view, Union(), Mean()).honest(positions, STREAMS)
    assert (flat(with_task) != flat(own)).any()


@both
def test_what_it_knows_is_declared(attack: Any) -> None:
    assert knowledge_of(attack) == knowledge_of(attack()) == "the aggregation rule"
