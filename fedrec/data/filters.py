"""Filters, which keep some users and items of a log."""

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
    """The counts that a filter dropped in each pass, until nothing changed."""

    before: Counts
    dropped: tuple[Counts, ...]  # dropped users, items and interactions of each pass

    @staticmethod
    def of(left: Sequence[Counts]) -> "Passes":
        """Compute the passes from the counts left after each of them."""
        return Passes(left[0], tuple(before - after for before, after in pairwise(left)))


@dataclass(frozen=True)
class Filtered:
    """The result of a filter: the kept interactions, and the passes."""

    kept: Interactions
    passes: Passes

    @staticmethod
    def through(passes: Iterable[Rows], interactions: Interactions) -> "Filtered":
        """Select the rows that are left after the last pass."""
        rows, left = None, [interactions.counts]
        for rows in passes:
            left.append(interactions.count(rows))
        kept = interactions if rows is None else interactions.select(rows)
        return Filtered(kept, Passes.of(left))


@dataclass(frozen=True)
class KCore:
    """Keep the users and the items with at least k interactions, until nothing changes."""

    k: Annotated[int, Field(ge=1)]
    """The minimum number of interactions of each kept user and item."""

    def apply(self, interactions: Interactions) -> Filtered:
        """Return the k-core of `interactions`. Ids are renumbered; order and labels are kept.

        The last pass drops nothing.

        Raises:
            DataError: no interaction is left.
        """
        found = Filtered.through(self.passes(interactions), interactions)
        if not found.kept.n_users:
            raise DataError(f"the {self.k}-core has no interactions: choose a smaller k")
        return found

    def passes(self, interactions: Interactions) -> Iterator[Int64[np.ndarray, "left"]]:
        """Yield the rows left after each pass over users and items; the last pass drops none."""
        rows, before = np.arange(len(interactions.user)), -1
        user, item = interactions.user, interactions.item
        while len(rows) != before:
            before = len(rows)
            # Counts only decrease, so a dropped row never comes back.
            enough = self._enough(user) & self._enough(item)
            rows, user, item = rows[enough], user[enough], item[enough]
            yield rows

    def _enough(self, ids: Int64[np.ndarray, "n"]) -> Bool[np.ndarray, "n"]:
        enough: np.ndarray = np.bincount(ids) >= self.k
        return enough[ids]


@dataclass(frozen=True)
class IdLists:
    """Keep the users and items in two lists (in the format of NGCF, Wang et al. 2019).

    A list is a text file with lines `label number` below one header line; the numbers are ignored.
    """

    users: RawFile
    """The list of users."""
    items: RawFile
    """The list of items."""

    def apply(self, interactions: Interactions, users_list: Path, items_list: Path) -> Filtered:
        """Return the listed part of `interactions`. Ids are renumbered; order and labels are kept.

        Raises:
            DataError: a list is missing or malformed, or no interaction is left.
        """
        users = np.isin(interactions.user_labels, _listed(users_list))
        items = np.isin(interactions.item_labels, _listed(items_list))
        keep = users[interactions.user] & items[interactions.item]
        if not keep.any():
            raise DataError(
                f"{users_list} and {items_list}: no interaction has a listed user and a listed "
                "item: give the lists of this dataset"
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
