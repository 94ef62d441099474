"""UNION's filter: previews, uniformities, and which cluster goes. (Its task: test_contrastive.)"""

from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from fedrec.clients.contrastive import Contrastive
from fedrec.defenses.base import ServerView
from fedrec.defenses.union import Union
from fedrec.models.base import Shared
from fedrec.models.mf import MF
from fedrec.rng import Streams
from fedrec.server import Server
from fedrec.settings import preset_values
from fedrec.updates import Gradient, Updates
from tests.defenses.views import client_view, marked, server_view, uploads
from tests.oracles.defenses import after_adam, mean_distance
from tests.oracles.dense import dense_items, random_updates

PAPER = preset_values(Union, "paper")


# Uniformities


def three_uploads() -> Updates:
    """Items at 0, 3 and 6, d = 1; the uploads move the last one by 0, −2 and +4 (η = 1)."""
    received = uploads([[[0.0], [0.0], [g]] for g in (0.0, 2.0, -4.0)])
    return replace(received, table=torch.tensor([[0.0], [3.0], [6.0]]))


@pytest.mark.parametrize(
    ("distance", "expected"),
    [
        # pairs (0, 3), (0, 6), (3, 6); (0, 3), (0, 4), (3, 4); (0, 3), (0, 10), (3, 10)
        ("unsquared", [12 / 3, 8 / 3, 20 / 3]),
        ("squared", [54 / 3, 26 / 3, 158 / 3]),
    ],
)
@pytest.mark.parametrize("items", ["shared", "per_client"])
def test_uniformities_by_hand(distance: Any, items: Any, expected: list[float]) -> None:
    method = Union(preview="sgd", distance=distance, items=items)
    received = three_uploads()
    found = method.uniformities(received, server_view(received, learning_rate=1.0))
    assert_close(found.float(), torch.tensor(expected))


def test_adams_first_step_is_the_learning_rate_in_the_gradients_direction() -> None:
    """The last item moves by 0, −1 and +1, whatever the size of the gradient."""
    received = three_uploads()
    method = Union(preview="adam", distance="unsquared")
    found = method.uniformities(received, server_view(received, learning_rate=1.0))
    assert_close(found, torch.tensor([12 / 3, 10 / 3, 14 / 3]))


ETA = 0.05


def a_trained_server(received: Updates, steps: int) -> tuple[ServerView, list[Tensor], Tensor]:
    """A view of a server after some Adam steps, the gradients it took, and where it started."""
    generator = torch.Generator().manual_seed(5)
    start = received.table.clone()
    params = received.dense.shape[1]
    server = Server(Shared(received.table, torch.zeros(params)), ETA)
    taken = [torch.randn(start.shape, generator=generator) for _ in range(steps)]
    for gradient in taken:
        server.apply(Gradient(gradient, torch.zeros(params)))
    return ServerView(server.shared, server.preview, 1, Streams(0, round=9)), taken, start


CASES = list(product(["sgd", "adam"], ["unsquared", "squared"], ["shared", "per_client"], [0, 3]))


@pytest.mark.parametrize(("preview", "distance", "items", "steps"), CASES)
def test_uniformities_equal_the_dense_ones(
    preview: Any, distance: Any, items: Any, steps: int
) -> None:
    received = random_updates(n=6, items=20, d=4, seed=2)
    view, taken, start = a_trained_server(received, steps)
    method = Union(preview=preview, distance=distance, items=items, sample=9)
    found = method.uniformities(received, view)
    expected = []
    for i, gradient in enumerate(dense_items(received)):
        stream = view.streams.of("uniformity-items", i if items == "per_client" else 0)
        chosen = stream.chosen(20, 9)
        if preview == "sgd":
            after = received.table - ETA * gradient
        else:
            after = after_adam(start, [*taken, gradient], ETA)
        expected.append(mean_distance(after[chosen], distance == "squared"))
    assert_close(found.tolist(), expected, rtol=1e-5, atol=1e-6)


def test_no_more_items_are_drawn_than_there_are() -> None:
    received = random_updates(n=3, items=20)
    found = Union(preview="sgd", sample=500).uniformities(received, server_view(received))
    after = received.table - 2e-3 * dense_items(received)
    assert_close(found.tolist(), [mean_distance(x, False) for x in after], rtol=1e-5, atol=0)


def test_a_round_draws_items_of_its_own() -> None:
    received, method = random_updates(n=3, items=40), Union(sample=5)
    first, second = (
        method.uniformities(received, server_view(received, streams=Streams(0, round)))
        for round in (1, 2)
    )
    assert not torch.equal(first, second)


def test_previews_leave_the_server_unchanged() -> None:
    received = random_updates(n=6, items=20, d=4)
    (view, *_), (untouched, *_) = a_trained_server(received, 2), a_trained_server(received, 0)
    before = view.shared.items.clone()
    first = Union().uniformities(received, view)
    assert torch.equal(view.shared.items, before)
    assert torch.equal(Union().uniformities(received, view), first)
    assert not torch.equal(Union().uniformities(received, untouched), first)


def test_noise_is_previewed_too() -> None:
    from fedrec.defenses.fl_wbc import FLWBC

    client = client_view(MF(dim=4))
    noisy = FLWBC(scale=1e-2).on_clients(client.plain, client).updates
    method = Union(preview="sgd")
    found, written = (
        method.uniformities(x, server_view(noisy)) for x in (noisy, noisy.written_out())
    )
    assert_close(found, written)
    assert not torch.equal(method.uniformities(client.plain.updates, server_view(noisy)), found)


# Which cluster goes


def majority(values: list[float], expected: int = 1, **settings: Any) -> list[bool]:
    view = server_view(random_updates(n=2), expected_malicious=expected)
    return Union(**settings).in_majority(np.array(values), view).tolist()


TIGHT = [0.90, 0.91, 0.92, 0.93, 0.94, 0.95]


@pytest.mark.parametrize("outlier", [0.1, 1.9])
def test_the_larger_cluster_is_kept_on_whichever_side_it_lies(outlier: float) -> None:
    assert majority([*TIGHT, outlier]) == [True] * 6 + [False]
    assert majority([outlier, *TIGHT]) == [False] + [True] * 6


@pytest.mark.parametrize("rule", [True, False])
def test_two_clear_clusters_lose_the_smaller_one_with_or_without_the_minority_rule(
    rule: bool,
) -> None:
    values = [*(x - 0.8 for x in TIGHT[:4]), *TIGHT]
    assert majority(values, minority_rule=rule) == [False] * 4 + [True] * 6


def test_clusters_of_equal_size_lose_the_lower_one() -> None:
    values = [*TIGHT, *(x - 0.8 for x in TIGHT)]
    assert majority(values, minority_rule=False) == [True] * 6 + [False] * 6


EVEN = np.linspace(0, 1, 9).tolist()  # 4 below the best cut, 5 above; the first of two cuts


def test_numbers_that_do_not_fall_apart_all_stay() -> None:
    assert all(majority(EVEN, expected=3))
    assert all(majority(EVEN, expected=4, minority_rule=False))


def test_by_the_minority_rule_a_cluster_of_at_most_the_expected_size_goes_all_the_same() -> None:
    assert majority(EVEN, expected=4) == [False] * 4 + [True] * 5


@pytest.mark.parametrize("rule", [True, False])
@pytest.mark.parametrize("n", [1, 2, 3, 10])
def test_equal_values_filter_nothing(n: int, rule: bool) -> None:
    assert all(majority([0.3] * n, expected=5, minority_rule=rule))


def test_of_two_uploads_only_the_minority_rule_drops_one(recwarn: Any) -> None:
    assert majority([0.3, 0.2]) == [True, False]
    assert majority([0.3, 0.2], minority_rule=False) == [True, True]
    assert not recwarn.list


@pytest.mark.parametrize("preview", ["sgd", "adam"])
@pytest.mark.parametrize("items", [30, 250])
def test_equal_uploads_filter_nothing(preview: Any, items: int) -> None:
    """Rounding does not tell equal uploads apart, though any difference is a cluster."""
    received = random_updates(n=20, items=items, d=8)
    for position in range(1, 20):
        received = received.replaced(torch.tensor([position]), received.select(marked(20, 0)))
    view = server_view(received)
    decision = Union(preview=preview).judge(received, marked(20, *range(20)), view)
    assert decision.scores["uniformity"].unique().numel() == 1
    assert decision.keep.all()


def test_uploads_that_pull_items_together_are_dropped() -> None:
    received = random_updates(n=10, items=30, d=4).scaled(torch.full((10,), 0.1))
    pull = replace(received.select(marked(10, 2, 7)), ridge=torch.full((2,), 20.0))
    received = received.replaced(torch.tensor([2, 7]), pull)
    for settings in ({"preview": "sgd"}, PAPER):
        decision = Union(**settings).judge(
            received, marked(10, *range(10)), server_view(received, 2, learning_rate=0.02)
        )
        assert decision.keep.tolist() == (~marked(10, 2, 7)).tolist()


def test_only_the_judged_are_compared_but_all_are_measured() -> None:
    received, among = random_updates(n=8, items=30), marked(8, 0, 1, 4, 5, 6)
    method, view = Union(), server_view(received)
    decision = method.judge(received, among, view)
    values = decision.scores["uniformity"]
    assert_close(values, method.uniformities(received, view))
    expected = marked(8, 0, 1, 4, 5, 6)
    expected[among] = torch.from_numpy(method.in_majority(values[among].double().numpy(), view))
    assert torch.equal(decision.keep, expected)


# The task


def test_the_clients_task_is_the_contrastive_one_under_the_models_dropout() -> None:
    view = client_view(MF(dim=4, dropout=0.3))
    honest = Union(weight=2.0, negatives=3, reduction="sum").on_clients(view.plain, view)
    task = Contrastive(2.0, 3, 0.3, "sum")
    expected = task.added_to(view.plain.updates, view.batch, view.streams)
    assert torch.equal(honest.updates.item, expected.item)
    assert torch.equal(honest.updates.value, expected.value)


def test_without_weight_the_task_is_left_out() -> None:
    view = client_view()
    honest = Union(weight=0.0).on_clients(view.plain, view)
    assert torch.equal(dense_items(honest.updates), dense_items(view.plain.updates))
    contrastive = Union(weight=1.0).on_clients(view.plain, view)
    assert not torch.equal(dense_items(contrastive.updates), dense_items(honest.updates))
