import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedrec.data.interactions import (
    Counts,
    DataError,
    Interactions,
    check_counts,
    from_columns,
)


def log(*rows):
    users, items, times = zip(*rows, strict=True)
    return from_columns(np.array(users), np.array(items), np.array(times))


def rows_of(log):
    labels = zip(log.user_labels[log.user], log.item_labels[log.item], log.time, strict=True)
    return [(str(user), str(item), int(time)) for user, item, time in labels]


def test_rows_are_sorted_by_user_and_time_and_ids_follow_first_appearance():
    found = log(("z", "q", 30), ("a", "p", 5), ("z", "p", 10), ("a", "r", 4))
    assert found.user_labels.tolist() == ["z", "a"]
    assert found.item_labels.tolist() == ["q", "p", "r"]
    assert found.user.tolist() == [0, 0, 1, 1]
    assert found.item.tolist() == [1, 0, 2, 1]
    assert found.time.tolist() == [10, 30, 4, 5]


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from("pqrs"), st.integers(0, 3)), min_size=1
    )
)
def test_order_is_that_of_a_stable_sort(rows):
    users = list(dict.fromkeys(user for user, _, _ in rows))
    assert rows_of(log(*rows)) == sorted(rows, key=lambda row: (users.index(row[0]), row[2]))


def test_numbers_serve_as_labels():
    assert log((7, 12, 0), (7, 3, 1)).item_labels.tolist() == ["12", "3"]


def test_counts_worked_by_hand():
    counts = log(("a", "p", 0), ("a", "q", 1), ("b", "p", 0)).counts
    assert counts == Counts(users=2, items=2, interactions=3)
    assert counts.avg_length == 1.5
    assert counts.density == 0.75


def test_unexpected_counts_show_both():
    check_counts(Counts(1, 2, 3), Counts(1, 2, 3), "tiny")
    with pytest.raises(
        DataError, match=r"tiny: found 1 users, 2 items, 3 .*, expected 1,000 users"
    ):
        check_counts(Counts(1, 2, 3), Counts(1000, 2, 3), "tiny")
    with pytest.raises(DataError, match=r"\(users: 999 too few, interactions: 1 too many\): check"):
        check_counts(Counts(1, 2, 4), Counts(1000, 2, 3), "tiny")


def test_select_compacts_ids_and_keeps_order_and_labels():
    found = log(("long", "p", 0), ("b", "q", 1), ("b", "wide", 2), ("c", "q", 3))
    kept = found.select(np.array([False, True, False, True]))
    assert rows_of(kept) == [("b", "q", 1), ("c", "q", 3)]
    assert kept.counts == Counts(2, 1, 2)
    assert kept.checksum == log(("b", "q", 1), ("c", "q", 3)).checksum


def test_saved_interactions_are_loaded_as_they_were(tmp_path):
    found = log(("ä", "p", 3), ("b", "q", -1))
    found.save(tmp_path / "log.npz")
    loaded = Interactions.load(tmp_path / "log.npz")
    assert rows_of(loaded) == rows_of(found)
    assert loaded.checksum == found.checksum


@pytest.mark.parametrize("changed", [("a", "p", 4), ("b", "p", 3), ("a", "q", 3)])
def test_checksum_covers_users_items_and_times(changed):
    assert log(("a", "p", 3)).checksum != log(changed).checksum


def test_a_file_of_another_version_is_to_be_made_again(tmp_path):
    found = log(("a", "p", 3))
    names = ("user", "item", "time", "user_labels", "item_labels")
    np.savez(tmp_path / "old.npz", **{name: getattr(found, name) for name in names})
    with pytest.raises(
        DataError, match=r"old\.npz: was written by another version .*schema 1, not"
    ):
        Interactions.load(tmp_path / "old.npz")
