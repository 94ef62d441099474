"""The leave-one-out split, and the drawing of negatives."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int, Int64

from fedrec.data.interactions import DataError, Interactions
from fedrec.data.npz import checksum_arrays, load_arrays, save_arrays

_FIELDS = ("n_items", "offsets", "train", "validation", "test")


@dataclass(frozen=True)
class Repeats:
    """The numbers of users to whom `protocol.repeat_targets` applies."""

    users: int
    """All users."""
    validation: int
    """Users whose validation item is among their training items."""
    test: int
    """Users whose test item is their validation item or among their training items."""


@dataclass(frozen=True, eq=False)
class Split:
    """The items of every user: the last is the test item, the one before it the validation item.

    The other items are for training. User u's training items, in time order, are
    `train[offsets[u]:offsets[u + 1]]`.
    """

    n_items: int
    offsets: Int64[np.ndarray, "users_plus_1"]
    train: Int64[np.ndarray, "n"]
    validation: Int64[np.ndarray, "users"]
    test: Int64[np.ndarray, "users"]

    @property
    def n_users(self) -> int:
        """The number of users."""
        return len(self.test)

    @property
    def checksum(self) -> str:
        """The sha256 over all arrays."""
        return checksum_arrays(self._arrays())

    def history(self, user: int) -> Int64[np.ndarray, "length"]:
        """Return the training items of one user, in time order."""
        return self.train[self.offsets[user] : self.offsets[user + 1]]

    @property
    def repeats(self) -> "Repeats":
        """The numbers of users whose targets are items that they had before."""
        validation, test = self._trained(self.validation).sum(), self.test_seen.sum()
        return Repeats(self.n_users, int(validation), int(test))

    @property
    def test_seen(self) -> Bool[np.ndarray, "users"]:
        """Tell for each user whether its test item is one that it had before."""
        return self._trained(self.test) | (self.test == self.validation)

    def _trained(self, items: Int64[np.ndarray, "users"]) -> Bool[np.ndarray, "users"]:
        """Tell for each user whether its entry of `items` is among its training items."""
        lengths = np.diff(self.offsets)
        users = np.repeat(np.arange(self.n_users), lengths)
        hits = users[self.train == np.repeat(items, lengths)]
        found: np.ndarray = np.bincount(hits, minlength=self.n_users) > 0
        return found

    def save(self, path: Path) -> None:
        """Write to an `.npz` file atomically; equal splits give equal bytes."""
        save_arrays(path, self._arrays())

    @classmethod
    def load(cls, path: Path) -> "Split":
        """Read a file that `save` wrote.

        Raises:
            DataError: the file is missing or has other contents.
        """
        arrays = load_arrays(path, _FIELDS)
        return cls(n_items=int(arrays.pop("n_items")), **arrays)

    def _arrays(self) -> dict[str, np.ndarray]:
        return {name: np.asarray(getattr(self, name), dtype=np.int64) for name in _FIELDS}


def leave_one_out(interactions: Interactions) -> Split:
    """Split every user's interactions by time (paper, section 5.1).

    Raises:
        DataError: a user has fewer than three interactions.
    """
    lengths = np.bincount(interactions.user, minlength=interactions.n_users)
    if short := int((lengths < 3).sum()):
        raise DataError(
            f"{short:,} of {len(lengths):,} users have fewer than 3 interactions, too few for "
            "training, validation and test: filter the dataset by a k-core with k of 3 or more"
        )
    ends = np.cumsum(lengths)
    return Split(
        n_items=interactions.n_items,
        offsets=np.concatenate(([0], np.cumsum(lengths - 2))).astype(np.int64),
        train=np.delete(interactions.item, np.concatenate((ends - 2, ends - 1))),
        validation=interactions.item[ends - 2],
        test=interactions.item[ends - 1],
    )


def draw_negatives(
    split: Split,
    users: Int[np.ndarray, "cohort"],
    generator_for: Callable[[int], np.random.Generator],
) -> Int64[np.ndarray, "pairs"]:
    """Draw one negative per training positive of each of `users`, user after user.

    Negatives are uniform over the items that are not in the user's training, validation or test
    items. A user's draw depends only on `generator_for(user)`.

    Raises:
        DataError: a user has interacted with every item.
    """
    draws = [_negatives_of(split, user, generator_for(user)) for user in users.tolist()]
    return np.concatenate([np.empty(0, dtype=np.int64), *draws])


def _negatives_of(
    split: Split, user: int, generator: np.random.Generator
) -> Int64[np.ndarray, "pairs"]:
    history = split.history(user)
    taken = np.unique(np.append(history, (split.validation[user], split.test[user])))
    free = split.n_items - len(taken)
    if free == 0:
        raise DataError(
            f"user {user} has interacted with all {split.n_items:,} items, so no negative can be "
            "drawn: leave this user out of the dataset"
        )
    # The r-th free item is r plus the number of taken items below it.
    free_below = taken - np.arange(len(taken))
    ranks = generator.integers(free, size=len(history))
    return np.add(ranks, np.searchsorted(free_below, ranks, "right"))
