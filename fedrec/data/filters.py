"""Filters: which users and items of a log are kept."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from jaxtyping import Bool
from pydantic import Field

from fedrec.data.interactions import DataError, Interactions
from fedrec.data.sources import Source


@dataclass(frozen=True)
class KCore:
    """Keep the users and the items with at least k interactions, until nothing changes."""

    k: Annotated[int, Field(ge=1)]
    """The fewest interactions of a user, and of an item, that is kept."""

    def apply(self, interactions: Interactions) -> Interactions:
        """The k-core of `interactions`: ids are compacted; order and labels stay.

        Each pass says what it leaves.

        Raises:
            DataError: nothing is left.
        """
        for number, keep in enumerate(self.passes(interactions), start=1):
            print(f"{self.k}-core, pass {number}: {keep.sum():,} left", file=sys.stderr)
        if not keep.any():
            raise DataError(f"the {self.k}-core holds no interaction: choose a smaller k")
        return interactions.select(keep)

    def passes(self, interactions: Interactions) -> Iterator[Bool[np.ndarray, "n"]]:
        """The rows that are left after each pass over users and items; the last drops none."""
        keep, before = np.ones(len(interactions.user), dtype=bool), -1
        while keep.sum() != before:
            before = int(keep.sum())
            keep = self._enough(interactions, keep)
            yield keep

    def _enough(
        self, interactions: Interactions, keep: Bool[np.ndarray, "n"]
    ) -> Bool[np.ndarray, "n"]:
        # Counts only fall, so a row that was dropped never comes back.
        user, item = interactions.user, interactions.item
        per_user = np.bincount(user[keep], minlength=interactions.n_users)
        per_item = np.bincount(item[keep], minlength=interactions.n_items)
        enough: np.ndarray = (per_user[user] >= self.k) & (per_item[item] >= self.k)
        return enough


@dataclass(frozen=True)
class IdLists:
    """Keep the users and the items that two lists name (as NGCF, Wang et al. 2019, gives them).

    A list is a text file of lines `label number` under one header line; the numbers are ignored.
    """

    users: Source
    """The list of users."""
    items: Source
    """The list of items."""

    def apply(self, interactions: Interactions, users_list: Path, items_list: Path) -> Interactions:
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
        return interactions.select(keep)


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
