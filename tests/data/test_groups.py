"""Fifths of users, worked by hand."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedrec.cli.main import main
from fedrec.data.groups import Groups, fifths, groups
from fedrec.data.split import Split
from fedrec.data.statistics import load_statistics
from fedrec.federation import Population
from fedrec.rng import Streams
from tests.builders import tiny_split

# Users 0 to 4 have one to five training items. Items 0, 1 and 2 are there 2, 4 and 9 times.
SPLIT = Split(
    n_items=3,
    offsets=np.array([0, 1, 3, 6, 10, 15]),
    train=np.repeat([0, 1, 2], [2, 4, 9]),
    validation=np.array([1, 0, 0, 0, 0]),
    test=np.array([0, 1, 2, 2, 1]),
)


def test_groups_by_hand() -> None:
    found = groups(SPLIT, np.arange(5))
    # The test items' popularity is 2, 4, 9, 9, 4: both fours lie about the middle of the users.
    assert found == Groups(activity="12345", popularity="13553")
    assert groups(SPLIT, np.arange(1, 5)).activity == "01245"  # of four, none is in the middle


def test_equal_values_share_a_fifth() -> None:
    assert fifths(np.array([7, 7, 7, 7])).tolist() == [3, 3, 3, 3]
    assert fifths(np.array([1, 1, 1, 1, 9])).tolist() == [3, 3, 3, 3, 5]


@given(st.integers(1, 40))
def test_different_values_fill_the_fifths_evenly_and_in_order(n: int) -> None:
    found = fifths(np.arange(n))
    assert (np.diff(found) >= 0).all() and found.min() >= 1 and found.max() <= 5
    sizes = np.bincount(found, minlength=6)[1:]
    assert np.ptp(sizes) <= 1


@pytest.mark.parametrize("rule", ["miss", "drop_user"])
def test_the_command_leaves_out_who_is_not_evaluated(tmp_path: Path, rule: str) -> None:
    split, out = tiny_split(), tmp_path / "groups.json"
    split.save(tmp_path / "split.npz")
    command = ["groups", "--input", str(tmp_path / "split.npz"), "--output", str(out)]
    assert main([*command, "--pool", "0.2", "--repeat-targets", rule]) == 0
    found = load_statistics(Groups, out)
    expected = set(Population.draw(60, 0.2, 0.0, Streams(0)).evaluated.tolist())
    expected -= set(np.flatnonzero(split.test_seen)) if rule == "drop_user" else set()
    for digits in (found.activity, found.popularity):
        assert {user for user, digit in enumerate(digits) if digit != "0"} == expected
