"""Groups of users: by their activity, and by the popularity of their test items."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int, Num

from fedrec.data.split import Split

FIFTHS = 5


@dataclass(frozen=True)
class Groups:
    """For each user of a split, in order, one digit: the fifth of the evaluated users it is in.

    Fifths count from 1 (the smallest values) to 5. A user who is not evaluated has 0. There are no
    counts and no items, so the groups may be published where the data may not.
    """

    activity: str
    """Fifths by the number of training interactions."""
    popularity: str
    """Fifths by the number of training interactions that all users have with the test item."""


def groups(split: Split, evaluated: Int[np.ndarray, " evaluated"]) -> Groups:
    """Divide the evaluated users of a split into fifths."""
    activity = np.diff(split.offsets)
    popularity = np.bincount(split.train, minlength=split.n_items)[split.test]
    return Groups(*(_digits(values, evaluated) for values in (activity, popularity)))


def fifths(values: Num[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    """Return for each value its fifth, from 1 to 5; equal values are in the same one.

    A value is in the fifth that holds the middle of its place among all values.
    """
    ordered = np.sort(values)
    ends = [np.searchsorted(ordered, values, side) for side in ("left", "right")]
    return FIFTHS * (ends[0] + ends[1]) // (2 * len(values)) + 1


def _digits(values: Num[np.ndarray, " users"], chosen: Int[np.ndarray, " chosen"]) -> str:
    found = np.zeros(len(values), dtype=int)
    found[chosen] = fifths(values[chosen])
    return "".join(map(str, found.tolist()))
