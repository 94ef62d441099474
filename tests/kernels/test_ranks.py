"""Positions of targets, ties, and what is out of the ranking."""

import numpy as np
import pytest
import torch

from fedrec.kernels.ranks import positions


def position(scores: list[list[float]], target: list[int], seen: tuple[int, ...] = ()) -> list:
    rows, items = np.arange(len(scores)), len(scores[0])
    hidden = torch.from_numpy(np.isin(rows * items + np.array(target), seen))
    cells = torch.tensor(seen, dtype=torch.long)
    return positions(torch.tensor(scores), torch.tensor(target), cells, hidden).tolist()


@pytest.mark.usefixtures("either_way")
def test_positions_count_from_one() -> None:
    assert position([[0.1, 0.9, 0.5], [3.0, 1.0, 2.0]], [2, 0]) == [2.0, 1.0]


@pytest.mark.usefixtures("either_way")
def test_ties_share_their_positions() -> None:
    # All four level: positions 1 to 4, mean 2.5. One above, three level: 2 to 4, mean 3.
    assert position([[7.0, 7.0, 7.0, 7.0], [7.0, 9.0, 7.0, 7.0]], [1, 3]) == [2.5, 3.0]


@pytest.mark.usefixtures("either_way")
def test_what_was_seen_is_out_of_the_ranking() -> None:
    """Row 0 lacks its best item; row 1 its target, which is ranked all the same."""
    scores = [[0.9, 0.5, 0.1], [0.9, 0.5, 0.1]]
    assert position(scores, [1, 1], seen=(0, 4)) == [1.0, 2.0]


@pytest.mark.usefixtures("either_way")
def test_a_score_that_is_no_number_is_an_error() -> None:
    with pytest.raises(FloatingPointError, match="diverged"):
        position([[1.0, torch.nan]], [1])
