"""Metrics, masked histories and repeated targets."""

import numpy as np
import pytest
import torch

from fedrec.data.split import Split
from fedrec.metrics.ranking import LeaveOneOut, ranking_metrics
from fedrec.models.base import Sequences
from fedrec.records import Hits


def test_metrics_by_hand() -> None:
    values = ranking_metrics(np.array([1.0, 3.0, 8.0, np.inf]))
    assert values["hr@5"] == 0.5 and values["hr@10"] == 0.75
    assert values["ndcg@5"] == pytest.approx((1 + 0.5) / 4)  # 1/log2(2), 1/log2(4)
    assert values["ndcg@10"] == pytest.approx((1 + 0.5 + 1 / np.log2(9)) / 4)
    assert values["mrr"] == pytest.approx((1 + 1 / 3 + 1 / 8) / 4)


# User 0 trained on items 0 and 1, user 1 on item 4; the highest item id scores highest.
PLAIN = Split(
    n_items=5,
    offsets=np.array([0, 2, 3]),
    train=np.array([0, 1, 4]),
    validation=np.array([2, 3]),
    test=np.array([3, 0]),
)


def by_item_id(users: torch.Tensor, past: Sequences) -> torch.Tensor:
    return torch.arange(5.0).repeat(len(users), 1)


def test_history_is_masked_and_validation_only_for_the_test() -> None:
    validation, test, hits = LeaveOneOut(PLAIN, np.array([0, 1]), "miss", "cpu")(by_item_id)
    # Validation: user 0 ranks item 2 below 3, 4 -> 3; user 1 ranks item 3 first, as 4 is masked.
    assert validation["mrr"] == pytest.approx((1 / 3 + 1) / 2)
    # Test: user 0 ranks item 3 below 4 -> 2; user 1 ranks item 0 below 1, 2 (3 and 4 masked) -> 3.
    assert test["mrr"] == pytest.approx((1 / 2 + 1 / 3) / 2)
    assert hits == Hits(users=2, user=[0, 1], position=[2.0, 3.0])


# User 0 tests on a training item, user 1 on its validation item; user 2 repeats nothing.
REPEATS = Split(
    n_items=5,
    offsets=np.array([0, 2, 3, 4]),
    train=np.array([3, 0, 4, 4]),
    validation=np.array([1, 2, 2]),
    test=np.array([3, 2, 1]),
)


@pytest.mark.parametrize(
    ("rule", "mrr"),
    # unmask: item 3 below 4 -> 2; item 2 below 3 -> 2; item 1 below 3 -> 2 (4 and 2 masked)
    [("miss", (0 + 0 + 1 / 2) / 3), ("drop_user", 1 / 2), ("unmask", (1 / 2 + 1 / 2 + 1 / 2) / 3)],
)
def test_repeated_targets(rule: str, mrr: float) -> None:
    _, test, hits = LeaveOneOut(REPEATS, np.array([0, 1, 2]), rule, "cpu")(by_item_id)
    assert test["mrr"] == pytest.approx(mrr)
    assert hits.users == (1 if rule == "drop_user" else 3)
    assert hits.user == ([0, 1, 2] if rule == "unmask" else [2])


@pytest.mark.usefixtures("either_way")
@pytest.mark.parametrize("sequential", [True, False])
def test_equals_a_slow_ranking_on_random_scores(sequential: bool) -> None:
    rng = np.random.default_rng(0)
    users, items = 300, 40  # more than one block
    orders = np.stack([rng.permutation(items) for _ in range(users)])
    split = Split(
        n_items=items,
        offsets=np.arange(users + 1) * 6,
        train=orders[:, :6].ravel(),
        validation=orders[:, 6],
        test=orders[:, 7],
    )
    scores = torch.from_numpy(rng.integers(0, 9, (users, items)).astype(np.float32))  # many ties
    expected = []
    for u in range(users):
        rest = [i for i in range(items) if i not in orders[u, :7]]
        above = sum(scores[u, i] > scores[u, split.test[u]] for i in rest)
        level = sum(scores[u, i] == scores[u, split.test[u]] for i in rest)
        expected.append(float(above) + (1 + float(level)) / 2)
    _, test, hits = LeaveOneOut(split, np.arange(users), "miss", "cpu")(
        lambda who, past: scores[who], sequential
    )
    assert test == pytest.approx(ranking_metrics(np.array(expected)))
    assert dict(zip(hits.user, hits.position, strict=True)) == {
        user: position for user, position in enumerate(expected) if position <= 20
    }
