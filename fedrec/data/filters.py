"""Filters: which users and items of a log are kept."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import numpy as np
from jaxtyping import Bool, Int64
from pydantic import Field

from fedrec.data.interactions import Counts, DataError, Interactions, Rows
from fedrec.data.sources import RawFile


@dataclass(frozen=True)
class Passes:
    """What a filter dropped, pass after pass, until nothing changed."""

    before: Counts
    dropped: tuple[Counts, ...]  # users, items and interactions, for each pass

    @staticmethod
    def of(left: Sequence[Counts]) -> "Passes":
        """The passes between counts of what was left."""
        return Passes(left[0], tuple(before - after for before, after in pairwise(left)))


@dataclass(frozen=True)
class Filtered:
    """What a filter leaves of a log."""

    kept: Interactions
    passes: Passes

    @staticmethod
    def through(passes: Iterable[Rows], interactions: Interactions) -> "Filtered":
        """Select the rows that are left after the last of some passes."""
        rows, left = None, [interactions.counts]
        for rows in passes:
            left.append(interactions.count(rows))
        kept = interactions if rows is None else interactions.select(rows)
        return Filtered(kept, Passes.of(left))


@dataclass(frozen=True)
class KCore:
    """Keep the users and the items with at least k interactions, until nothing changes."""

    k: Annotated[int, Field(ge=1)]
    """The fewest interactions of a user, and of an item, that is kept."""

    def apply(self, interactions: Interactions) -> Filtered:
        """The k-core of `interactions`: ids are compacted; order and labels stay.

        The last pass drops nothing.

        Raises:
            DataError: nothing is left.
        """
        found = Filtered.through(self.passes(interactions), interactions)
        if not found.kept.n_users:
            raise DataError(f"the {self.k}-core holds no interaction: choose a smaller k")
        return found

    def passes(self, interactions: Interactions) -> Iterator[Int64[np.ndarray, "left"]]:
        """The rows that are left after each pass over users and items; the last drops none."""
        rows, before = np.arange(len(interactions.user)), -1
        user, item = interactions.user, interactions.item
        while len(rows) != before:
            before = len(rows)
            # Counts only fall, so a row that was dropped never comes back.
            enough = self._enough(user) & self._enough(item)
            rows, user, item = rows[enough], user[enough], item[enough]
            yield rows

    def _enough(self, ids: Int64[np.ndarray, "n"]) -> Bool[np.ndarray, "n"]:
        enough: np.ndarray = np.bincount(ids) >= self.k
        return enough[ids]


@dataclass(frozen=True)
class IdLists:
    """Keep the users and the items that two lists name (as NGCF, Wang et al. 2019, gives them).

    A list is a text file of lines `label number` under one header line; the numbers are ignored.
    """

    users: RawFile
    """The list of users."""
    items: RawFile
    """The list of items."""

    def apply(self, interactions: Interactions, users_list: Path, items_list: Path) -> Filtered:
        """The listed part of `interactions`: ids are compacted; order and labels stay.

        Raises:
            DataError: a list is missing or malformed, or nothing is left.
        """
        users = np.isin(interactions.user_labels, _listed(users_list))
        items = np.isin(interactions.item_labels, _listed(items_list))
        keep = users[interactions.user] & items[interactions.item]
        if not keep.any():
            raise DataError(
                f"{users_list} and {items_list}: no interaction has both its user and its item "
                "listed: give the lists of this dataset"
            )
        return Filtered.through([keep], interactions)


def _listed(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({error}): fetch the file again") from error
    return [_label(path, number, line) for number, line in enumerate(lines[1:], start=2)]


def _label(path: Path, number: int, line: str) -> str:
    match line.split():
        case [label, _]:
            return label
    raise DataError(f"{path}: line {number}: expected `label number`, found {line!r}: correct it")
