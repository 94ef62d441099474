from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedrec.data.interactions import DataError, from_columns
from fedrec.data.split import Repeats, Split, draw_negatives, leave_one_out


def log(*histories):
    """User u took the items of histories[u], in this order; the file is user after user."""
    users = np.repeat(np.arange(len(histories)), [len(items) for items in histories])
    items = np.array([item for history in histories for item in history])
    return from_columns(users, items, np.arange(len(users)))


def stream(user):
    return np.random.default_rng([3, user])


def test_split_worked_by_hand():
    split = leave_one_out(log([0, 1, 2, 3], [2, 0, 4], [1, 1, 3, 0, 5]))
    assert split.n_items == 6
    assert split.n_users == 3
    assert split.offsets.tolist() == [0, 2, 3, 6]
    assert split.train.tolist() == [0, 1, 2, 1, 1, 3]
    assert split.validation.tolist() == [2, 0, 0]
    assert split.test.tolist() == [3, 4, 5]
    assert split.history(2).tolist() == [1, 1, 3]


def test_targets_that_their_users_took_before_are_counted():
    # The test item is the validation item; it is in training; only validation's is; none is.
    split = leave_one_out(log([0, 1, 2, 2], [3, 4, 5, 3], [6, 7, 6, 8], [0, 1, 2], [3, 3, 3]))
    assert split.repeats == Repeats(users=5, validation=2, test=3)
    assert leave_one_out(log([0, 1, 2], [2, 1, 0])).repeats == Repeats(2, 0, 0)


@given(st.lists(st.lists(st.integers(0, 9), min_size=3, max_size=8), min_size=1, max_size=6))
def test_repeats_are_those_of_each_user(histories):
    validation = sum(history[-2] in history[:-2] for history in histories)
    test = sum(history[-1] in history[:-1] for history in histories)
    expected = Repeats(len(histories), validation, test)
    assert leave_one_out(log(*histories)).repeats == expected


def test_time_decides_not_the_order_of_the_file():
    users, items = np.array(["a"] * 4), np.array(["p", "q", "r", "s"])
    split = leave_one_out(from_columns(users, items, np.array([40, 10, 30, 20])))
    assert split.train.tolist() == [1, 3]
    assert (split.validation.tolist(), split.test.tolist()) == ([2], [0])


@given(st.lists(st.lists(st.integers(0, 9), min_size=3, max_size=8), min_size=1, max_size=6))
def test_the_parts_put_together_are_the_log(histories):
    whole = log(*histories)
    split = leave_one_out(whole)
    parts = [
        [*split.history(user), split.validation[user], split.test[user]]
        for user in range(split.n_users)
    ]
    assert np.concatenate(parts).tolist() == whole.item.tolist()


def test_short_histories_are_counted_and_the_remedy_named():
    with pytest.raises(DataError, match=r"2 of 3 users .* k-core"):
        leave_one_out(log([0, 1], [0, 1, 2], [3]))


def test_a_saved_split_is_loaded_as_it_was(tmp_path):
    split = leave_one_out(log([0, 1, 2, 3], [2, 0, 4]))
    split.save(tmp_path / "a.npz")
    split.save(tmp_path / "b.npz")
    loaded = Split.load(tmp_path / "a.npz")
    assert loaded.checksum == split.checksum
    assert loaded.n_items == 5
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_checksum_covers_the_number_of_items():
    split = leave_one_out(log([0, 1, 2, 3]))
    assert replace(split, n_items=9).checksum != split.checksum


@given(
    st.lists(st.lists(st.integers(0, 9), min_size=3, max_size=8), min_size=1, max_size=5),
    st.integers(0, 5),
)
def test_there_is_one_unseen_negative_per_training_positive(histories, seed):
    split = replace(leave_one_out(log(*histories)), n_items=12)
    users = np.array(range(split.n_users)[::-1])
    negatives = draw_negatives(split, users, lambda user: np.random.default_rng([seed, user]))
    start = 0
    for user in users.tolist():
        mine = negatives[start : (start := start + len(split.history(user)))]
        taken = {*split.history(user).tolist(), split.validation[user], split.test[user]}
        assert len(mine) == len(split.history(user))
        assert all(0 <= item < 12 and item not in taken for item in mine)
    assert start == len(negatives)


def test_negatives_are_uniform_over_the_free_items():
    # Items 2, 4 and 7 are taken (4 three times); 1,000 training positives, so 1,000 draws.
    history = np.tile([4, 2], 500)
    split = Split(9, np.array([0, 1000]), history, np.array([4]), np.array([7]))
    counts = np.bincount(draw_negatives(split, np.array([0]), stream), minlength=9)
    assert counts[[2, 4, 7]].tolist() == [0, 0, 0]
    expected = 1000 / 6
    chi_square = sum((counts[item] - expected) ** 2 / expected for item in (0, 1, 3, 5, 6, 8))
    assert chi_square < 20.5  # the 99.9 % quantile at 5 degrees of freedom


def test_a_draw_depends_on_its_user_alone():
    split = replace(leave_one_out(log([0, 1, 2, 3], [2, 0, 4], [1, 1, 3, 0, 5])), n_items=1000)
    together = draw_negatives(split, np.array([0, 1, 2]), stream)
    alone = [draw_negatives(split, np.array([user]), stream) for user in (0, 1, 2)]
    assert together.tolist() == np.concatenate(alone).tolist()
    assert len(set(together.tolist())) > 1


def test_no_users_draw_nothing():
    split = leave_one_out(log([0, 1, 2, 3]))
    assert draw_negatives(split, np.array([], dtype=np.int64), stream).tolist() == []


def test_a_user_who_took_everything_is_refused():
    split = leave_one_out(log([0, 1, 2], [0, 1, 2, 3]))
    with pytest.raises(DataError, match="user 1 has interacted with all 4 items"):
        draw_negatives(split, np.array([0, 1]), stream)
