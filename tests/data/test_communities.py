"""Made-up communities: what users pick, and that popularity does not tell it."""

import numpy as np
import pytest

from fedrec.data.communities import Communities
from fedrec.data.interactions import Interactions
from fedrec.data.split import Split, leave_one_out
from fedrec.errors import DataError

SMALL = Communities(users=300, items=120, communities=12, liked=2, mean_length=8, seed=3)


@pytest.fixture(scope="module")
def log() -> Interactions:
    return SMALL.generate()


def test_the_same_fields_give_the_same_data(log: Interactions) -> None:
    assert SMALL.generate().checksum == log.checksum
    assert Communities(users=300).generate().checksum != log.checksum


def test_lengths_and_that_nobody_takes_an_item_twice(log: Interactions) -> None:
    lengths = np.bincount(log.user)
    assert log.n_users == 300 and lengths.min() >= 5 and lengths.max() <= 10
    assert len(np.unique(log.user * log.n_items + log.item)) == len(log.user)


def test_the_community_of_an_item_is_that_by_which_users_picked(log: Interactions) -> None:
    """Each user likes two of twelve."""
    community = SMALL.of_items()[log.item_labels.astype(int)]
    assert np.bincount(SMALL.of_items()).tolist() == [10] * 12
    for user in range(log.n_users):
        assert len(set(community[log.item[log.user == user]])) <= 2


def test_a_user_who_has_all_of_a_community_goes_on_with_what_else_it_likes() -> None:
    """One liked community of four items, another of four: whoever takes four may have one whole."""
    small = Communities(
        users=200, items=40, communities=10, liked=3, drift=0.0, mean_length=6, seed=0
    )
    log = small.generate()
    longest = np.bincount(log.user).max()
    assert longest == 6  # half of twelve, more than the four of one community
    assert len(np.unique(log.user * log.n_items + log.item)) == len(log.user)


def test_which_items_go_together_says_more_than_popularity(log: Interactions) -> None:
    split = leave_one_out(log)
    together = np.zeros((split.n_users, split.n_items))
    together[np.repeat(np.arange(split.n_users), np.diff(split.offsets)), split.train] = 1
    hits = {
        name: _hits(split, together, score)
        for name, score in {
            "neighbours": together @ (together.T @ together),
            "popularity": np.tile(together.sum(0), (split.n_users, 1)),
        }.items()
    }
    assert hits["neighbours"] > 3 * hits["popularity"]


def _hits(split: Split, seen: np.ndarray, score: np.ndarray) -> float:
    ranked = np.where(seen > 0, -np.inf, score)
    target = ranked[np.arange(split.n_users), split.test][:, None]
    return float(np.mean((ranked > target).sum(axis=1) < 5))


def test_too_few_items_are_refused() -> None:
    with pytest.raises(DataError, match="hold 30 items, too few for mean_length 30"):
        Communities(items=200, communities=20).generate()
