"""Robust rules for each item, over the clients that touch it."""

from dataclasses import replace
from functools import partial
from typing import get_args

import pytest
import torch
from torch.testing import assert_close

from fedrec.defenses.base import Defense
from fedrec.defenses.coordinate_median import CoordinateMedian
from fedrec.defenses.fl_wbc import FLWBC
from fedrec.defenses.krum import Krum
from fedrec.defenses.mean import Mean
from fedrec.defenses.per_row import PerRow, RowRule
from fedrec.defenses.trimmed_mean import TrimmedMean
from fedrec.kernels.threads import use_threads
from fedrec.reference.rules import median, trimmed_mean
from fedrec.updates import Gradient, Updates
from tests.defenses.views import client_view, marked, on_a_line, server_view, uploads
from tests.oracles.defenses import by_touched_rows, one_vector, row_krum
from tests.oracles.dense import dense_items, random_updates

every_rule = pytest.mark.parametrize("rule", get_args(RowRule))


def reduced(received: Updates, rule: RowRule, f: int = 1) -> Gradient:
    everyone = marked(len(received), *range(len(received)))
    return PerRow(rule=rule).reduce(received, everyone, server_view(received, f))


def touched_by(k: int, *points: float) -> Updates:
    """Clients of one item with embedding 10 and ridge 0.1; only the first k have a row for it."""
    line = on_a_line(*points)
    return replace(
        line,
        owner=line.owner[:k],
        item=line.item[:k],
        value=line.value[:k],
        table=torch.tensor([[10.0]]),
        ridge=torch.full((len(points),), 0.1),
    )


@pytest.mark.parametrize(
    ("rule", "expected"),
    [("median", 3.0), ("trimmed_mean", 4.0), ("krum", 2.0)],
)
def test_by_hand(rule: RowRule, expected: float) -> None:
    """Five of eight clients touch the item; with the ridge of 1 they have 2, 1, 3, 7 and 98.

    Sorted: 1, 2, 3, 7, 98. The trimmed mean is (2 + 3 + 7) / 3. Krum takes two neighbours:
    2 has 1 + 1, 3 has 1 + 4, 1 has 1 + 4. Of the eight, three have their ridge of 1 alone.
    """
    received = touched_by(5, 1.0, 0.0, 2.0, 6.0, 97.0, 0.0, 0.0, 0.0)
    found = reduced(received, rule).items.item()
    assert found == pytest.approx((5 * expected + 3 * 1) / 8)


def test_a_row_that_few_touch_still_moves_the_item() -> None:
    """Under the median over all clients, one row of four changes nothing."""
    received, everyone = touched_by(1, 7.0, 0.0, 0.0, 0.0), marked(4, 0, 1, 2, 3)
    over_all = CoordinateMedian().reduce(received, everyone, server_view(received))
    assert over_all.items.item() == pytest.approx(1.0)
    assert reduced(received, "median").items.item() == pytest.approx((8 + 3) / 4)


@every_rule
def test_an_item_that_nobody_touches_gets_its_ridge(rule: RowRule) -> None:
    assert reduced(touched_by(0, 0.0, 0.0, 0.0), rule).items.item() == pytest.approx(1.0)


@every_rule
@pytest.mark.parametrize("params", [0, 5])
@pytest.mark.parametrize("f", [0, 1, 3, 9])
def test_it_equals_the_dense_definition(rule: RowRule, params: int, f: int) -> None:
    received = random_updates(n=11, items=14, d=5, params=params, seed=f)
    rules = {
        "median": median,
        "trimmed_mean": lambda rows: trimmed_mean(rows, min(f, (len(rows) - 1) // 2)),
        "krum": partial(row_krum, f=f),
    }
    expected = by_touched_rows(received, rules[rule])
    assert_close(one_vector(reduced(received, rule, f)), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("f", [1, 3])
def test_if_every_client_touches_every_item_the_rules_are_those_over_all(f: int) -> None:
    plain = random_updates(n=9, items=6)
    received = Updates.over_all_items(plain, dense_items(plain), plain.dense)
    everyone, view = marked(9, *range(9)), server_view(received, f)
    for rule, same in (("median", CoordinateMedian()), ("trimmed_mean", TrimmedMean())):
        expected = same.reduce(received, everyone, view)
        assert_close(one_vector(reduced(received, rule, f)), one_vector(expected))
    one = uploads(torch.randn(9, 1, 4).tolist())
    krum = Defense.compose([Krum(), Mean()])(one, server_view(one, f))
    assert_close(reduced(one, "krum", f).items, krum.gradient.items)


@every_rule
def test_without_malicious_clients_the_trimmed_mean_is_the_plain_one(rule: RowRule) -> None:
    received = random_updates(n=7, items=10)
    mean = dense_items(received).mean(0)
    assert torch.allclose(reduced(received, rule, 0).items, mean, atol=1e-6) == (
        rule == "trimmed_mean"
    )


@pytest.mark.parametrize("end", [1e3, 1e15, 1e30, -1e30])
@every_rule
def test_an_outlier_of_any_size_leaves_no_trace(rule: RowRule, end: float) -> None:
    """The square of 1e30 is no number of float32."""
    honest = (1.0, 2.5, 2.0, 4.0, 2.25)
    expected = reduced(on_a_line(*honest, 50.0 if end > 0 else -50.0), rule).items
    assert torch.equal(reduced(on_a_line(*honest, end), rule).items, expected)


@pytest.mark.parametrize(("points", "best"), [((3.0, 5.0), 3.0), ((9.0, 1.0, 2.0), 1.0)])
def test_of_equal_krum_scores_the_first_counts(points: tuple[float, ...], best: float) -> None:
    assert reduced(on_a_line(*points), "krum").items.item() == best


@every_rule
def test_sample_counts_have_no_say(rule: RowRule) -> None:
    received = random_updates(n=9, items=12)
    other = replace(received, weight=received.weight.flip(0))
    assert torch.equal(reduced(received, rule).items, reduced(other, rule).items)


def test_noisy_uploads_touch_all_items() -> None:
    view = client_view()
    noisy = FLWBC(scale=0.01).on_clients(view.plain, view).updates
    everyone = marked(len(noisy), *range(len(noisy)))
    expected = CoordinateMedian().reduce(noisy, everyone, server_view(noisy))
    assert_close(reduced(noisy, "median").items, expected.items)


@every_rule
@pytest.mark.usefixtures("one_thread_afterwards")
def test_results_do_not_depend_on_the_number_of_threads(rule: RowRule) -> None:
    received, found = random_updates(50, 500, 20, seed=3), []
    for count in (1, 2, 5):
        use_threads(count)
        found.append(one_vector(reduced(received, rule, 3)))
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])
