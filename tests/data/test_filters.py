from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedrec.data.filters import Filtered, IdLists, KCore, Passes
from fedrec.data.interactions import Counts, DataError, from_columns
from fedrec.data.sources import Source


def log(pairs):
    users, items = zip(*pairs, strict=True)
    return from_columns(np.array(users), np.array(items), np.arange(len(pairs)))


def pairs_of(log):
    labels = zip(log.user_labels[log.user], log.item_labels[log.item], strict=True)
    return [(str(user), str(item)) for user, item in labels]


def slow_core(pairs, k):
    while True:
        users, items = Counter(user for user, _ in pairs), Counter(item for _, item in pairs)
        kept = [(user, item) for user, item in pairs if users[user] >= k and items[item] >= k]
        if kept == pairs:
            return pairs
        pairs = kept


def test_a_user_falls_once_its_items_have_fallen():
    # s is rare; without it c has one item left; without c, r is rare.
    square = [("a", "p"), ("a", "q"), ("b", "p"), ("b", "q")]
    found = KCore(k=2).apply(log([*square, ("b", "r"), ("c", "r"), ("c", "s")]))
    assert pairs_of(found.kept) == square
    assert found.kept.item.tolist() == [0, 1, 0, 1]
    dropped = [Counts(0, 1, 1), Counts(1, 0, 1), Counts(0, 1, 1), Counts(0, 0, 0)]
    assert found.passes == Passes(Counts(3, 4, 7), tuple(dropped))


def test_passes_end_with_one_that_drops_nothing():
    # The first pass drops s (one user) and r (c and b: two, stays); c falls in the second.
    square = [("a", "p"), ("a", "q"), ("b", "p"), ("b", "q")]
    passes = KCore(k=2).passes(log([*square, ("b", "r"), ("c", "r"), ("c", "s")]))
    assert [len(rows) for rows in passes] == [6, 5, 4, 4]


def test_no_filter_drops_nothing_in_no_pass():
    whole = log([("a", "p"), ("a", "q")])
    found = Filtered.through([], whole)
    assert found.kept is whole and found.passes == Passes(whole.counts, ())


@given(
    st.lists(st.tuples(st.sampled_from("abcde"), st.sampled_from("pqrst")), min_size=1),
    st.integers(1, 4),
)
def test_the_core_is_the_slow_one(pairs, k):
    whole = log(pairs)
    expected = slow_core(pairs_of(whole), k)
    if expected:
        assert pairs_of(KCore(k=k).apply(whole).kept) == expected
    else:
        with pytest.raises(DataError, match=f"{k}-core"):
            KCore(k=k).apply(whole)


LISTS = IdLists(
    users=Source("https://example.org/users.txt", "0" * 64, "terms", "citation"),
    items=Source("https://example.org/items.txt", "0" * 64, "terms", "citation"),
)


@pytest.fixture
def listed(tmp_path):
    """What is kept of a log by two lists: users a and b, item q."""
    paths = tmp_path / "users.txt", tmp_path / "items.txt"
    paths[0].write_text("org_id remap_id\nb 0\nabsent 1\na 2\n")
    paths[1].write_text("org_id remap_id\nq 0\n")
    return lambda interactions: LISTS.apply(interactions, *paths).kept


def test_only_listed_labels_stay(listed):
    found = listed(log([("a", "p"), ("a", "q"), ("c", "q"), ("b", "q")]))
    assert pairs_of(found) == [("a", "q"), ("b", "q")]
    assert found.user.tolist() == [0, 1]


def test_the_header_lists_nobody(listed):
    assert pairs_of(listed(log([("org_id", "q"), ("a", "q")]))) == [("a", "q")]


def test_lists_of_another_dataset_are_refused(listed):
    with pytest.raises(DataError, match=r"users\.txt.*items\.txt"):
        listed(log([("a", "p"), ("c", "q")]))


def test_a_bad_list_is_named(listed, tmp_path):
    (tmp_path / "items.txt").write_text("org_id remap_id\nq 0\nr\n")
    with pytest.raises(DataError, match=r"items\.txt: line 3"):
        listed(log([("a", "q")]))
    (tmp_path / "users.txt").unlink()
    with pytest.raises(DataError, match=r"users\.txt: cannot be read"):
        listed(log([("a", "q")]))
