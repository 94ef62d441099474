"""Interactions of users with items, with their times."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from jaxtyping import Bool, Int64, Shaped
from pydantic import Field

from fedrec.data.npz import checksum_arrays, load_arrays, save_arrays
from fedrec.errors import DataError as DataError

Rows = Bool[np.ndarray, "n"] | Int64[np.ndarray, "rows"]  # a mask, or ascending row numbers
Positive = Annotated[int, Field(ge=1)]  # checked when it is read from the config or a file

SCHEMA = 2  # version of the file format; version 1 had times in seconds
_FIELDS = ("user", "item", "time", "user_labels", "item_labels")


@dataclass(frozen=True)
class Counts:
    """The size of a dataset (the paper's Table 2)."""

    users: Positive
    items: Positive
    interactions: Positive

    @property
    def avg_length(self) -> float:
        """Interactions per user."""
        return self.interactions / self.users

    @property
    def density(self) -> float:
        """The share of all (user, item) pairs; between 0 and 1 if no pair repeats."""
        return self.interactions / (self.users * self.items)

    def __sub__(self, other: "Counts") -> "Counts":
        return Counts(
            self.users - other.users,
            self.items - other.items,
            self.interactions - other.interactions,
        )

    def __str__(self) -> str:
        return f"{self.users:,} users, {self.items:,} items, {self.interactions:,} interactions"


def check_counts(found: Counts, expected: Counts, name: str) -> None:
    """Check that a dataset has the expected size.

    Raises:
        DataError: `found` differs from `expected`.
    """
    if found != expected:
        raise DataError(
            f"{name}: found {found}, expected {expected} ({_apart(found, expected)}): check the "
            "source file, and the filter, the columns and `skip` in the dataset's config"
        )


def _apart(found: Counts, expected: Counts) -> str:
    """Describe the differences between two counts."""
    return ", ".join(
        f"{what}: {abs(count):,} too {'many' if count > 0 else 'few'}"
        for what, count in vars(found - expected).items()
        if count
    )


@dataclass(frozen=True, eq=False)
class Interactions:
    """A log of n interactions, sorted by (user, time), with ties in file order.

    Ids count from 0 in the order in which the labels first appear in the file. Times are
    microseconds since 1970-01-01 UTC.
    """

    user: Int64[np.ndarray, "n"]
    item: Int64[np.ndarray, "n"]
    time: Int64[np.ndarray, "n"]
    user_labels: Shaped[np.ndarray, "users"]
    item_labels: Shaped[np.ndarray, "items"]

    @property
    def n_users(self) -> int:
        """The number of users."""
        return len(self.user_labels)

    @property
    def n_items(self) -> int:
        """The number of items."""
        return len(self.item_labels)

    @property
    def counts(self) -> Counts:
        """The size of the log."""
        return Counts(self.n_users, self.n_items, len(self.user))

    def count(self, rows: Rows) -> Counts:
        """Return the size of some rows of the log."""
        user, item = self.user[rows], self.item[rows]
        users, items = (np.count_nonzero(np.bincount(ids)) for ids in (user, item))
        return Counts(int(users), int(items), len(user))

    @property
    def checksum(self) -> str:
        """The sha256 over all arrays, labels included."""
        return checksum_arrays(self._arrays())

    def select(self, rows: Rows) -> "Interactions":
        """Select some rows in their order; users and items without a row are removed."""
        user, user_labels = _compact(self.user[rows], self.user_labels)
        item, item_labels = _compact(self.item[rows], self.item_labels)
        return Interactions(user, item, self.time[rows], user_labels, item_labels)

    def save(self, path: Path) -> None:
        """Write to an `.npz` file atomically; equal interactions give equal bytes."""
        save_arrays(path, {**self._arrays(), "schema": np.array(SCHEMA)})

    @classmethod
    def load(cls, path: Path) -> "Interactions":
        """Read a file that `save` wrote.

        Raises:
            DataError: the file is missing, has another version, or has other contents.
        """
        return cls(**load_arrays(path, _FIELDS, SCHEMA))

    def _arrays(self) -> dict[str, np.ndarray]:
        return {name: getattr(self, name) for name in _FIELDS}


def from_columns(
    user_labels: Shaped[np.ndarray, "n"],
    item_labels: Shaped[np.ndarray, "n"],
    time: Int64[np.ndarray, "n"],
) -> Interactions:
    """Build interactions from columns: user label, item label, time (µs since 1970-01-01 UTC)."""
    import pandas as pd  # imported here, because most files are read without it

    user, users = pd.factorize(user_labels)
    item, items = pd.factorize(item_labels)
    order = np.lexsort((time, user))
    return Interactions(
        user[order].astype(np.int64),
        item[order].astype(np.int64),
        time[order],
        as_labels(users),
        as_labels(items),
    )


def as_labels(values: Shaped[np.ndarray, "n"]) -> Shaped[np.ndarray, "n"]:
    """Convert labels to a string array as wide as the longest, so equal labels have equal bytes."""
    return np.array(values.tolist(), dtype=np.str_)


def _compact(
    ids: Int64[np.ndarray, "n"], labels: Shaped[np.ndarray, "before"]
) -> tuple[Int64[np.ndarray, "n"], Shaped[np.ndarray, "after"]]:
    used = np.bincount(ids, minlength=len(labels)) > 0
    return (np.cumsum(used) - 1)[ids], as_labels(labels[used])
