"""The reader of item lists: a user and its items on each line, as in NGCF's datasets."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fedrec.data.interactions import Interactions, from_columns
from fedrec.data.readers.streams import blocks
from fedrec.errors import DataError

REMEDY = "correct the line, or fetch the file again"


@dataclass(frozen=True)
class ItemLists:
    """Text files with lines `user item item …`, whose items are in time order.

    A user may occur in several files; its items are concatenated in the order of the files.
    There are no times, so an interaction's time is its position in the user's list.
    """

    separator: str = " "
    """The separator between two labels."""

    def read(self, paths: Sequence[Path]) -> Interactions:
        """Read the interactions in the files `paths`, in this order.

        Raises:
            DataError: a file cannot be read, a line is malformed, or there are no interactions.
        """
        lists: dict[str, list[str]] = {}
        for path in paths:
            for user, items in self._lines(path):
                lists.setdefault(user, []).extend(items)
        sizes = [len(items) for items in lists.values()]
        if not sum(sizes):
            raise DataError(f"{', '.join(map(str, paths))}: no user has an item: {REMEDY}")
        return from_columns(
            np.repeat(np.array(list(lists)), sizes),
            np.array([item for items in lists.values() for item in items]),
            np.concatenate([np.arange(size) for size in sizes]),
        )

    def _lines(self, path: Path) -> Iterator[tuple[str, list[str]]]:
        """Yield the user and the items of each line; a line may have a user without items."""
        for number, line in enumerate(_lines_of(path), start=1):
            user, *items = line.strip().split(self.separator)
            if not user or "" in items:
                raise DataError(
                    f"{path}: line {number}: expected a user and its items, separated by "
                    f"{self.separator!r}, found {line.strip()[:60]!r}: {REMEDY}"
                )
            yield user, items


def _lines_of(path: Path) -> Iterator[str]:
    for block in blocks(path):
        yield from block.decode().removesuffix("\n").split("\n")
