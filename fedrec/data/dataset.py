"""A dataset's entry in the config: its source, format and filter."""

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path

from pydantic import Field, model_validator

from fedrec.data.communities import Communities
from fedrec.data.filters import IdLists, KCore
from fedrec.data.interactions import Counts, Interactions
from fedrec.data.readers.item_lists import ItemLists
from fedrec.data.readers.of_packages import ReaderEntry, reader
from fedrec.data.readers.table import Table
from fedrec.data.sources import LocalFile, RawFile, Source
from fedrec.data.synthetic import Synthetic
from fedrec.settings import Section
from fedrec.yaml_files import Place


class Dataset(Section):
    """The origin of interactions: a file with its format, or a generator."""

    source: RawFile | None = Field(
        default=None, description="The file to read: a `url` with its checksum, or a `path`."
    )
    further: tuple[RawFile, ...] = Field(
        default=(), description="More files, which are read after `source`."
    )
    format: Table | None = Field(
        default=None, description="Format of a file with one interaction per line or row."
    )
    item_lists: ItemLists | None = Field(
        default=None, description="Format of files with a user and its items on each line."
    )
    reader: ReaderEntry | None = Field(
        default=None, description="A reader from another package: its `kind`, and its settings."
    )
    synthetic: Synthetic | None = None
    communities: Communities | None = None
    k_core: KCore | None = None
    id_lists: IdLists | None = None
    expect: Counts | None = Field(
        default=None, description="The counts that the dataset must have."
    )

    @property
    def generator(self) -> Synthetic | Communities | None:
        """The generator of interactions, or None if they come from a file."""
        return self.synthetic or self.communities

    @property
    def raw(self) -> tuple[Source | LocalFile, ...]:
        """The files that hold the interactions."""
        return (self.source, *self.further) if self.source else ()

    @property
    def lists(self) -> tuple[Source | LocalFile, ...]:
        """The files that list the users and items to keep."""
        return (self.id_lists.users, self.id_lists.items) if self.id_lists else ()

    def read(self, paths: Sequence[Path]) -> Interactions:
        """Read the interactions in the raw files at `paths`.

        Raises:
            DataError: a file cannot be read, or is malformed.
        """
        if self.item_lists:
            return self.item_lists.read(paths)
        if self.reader:
            return reader(self.reader).read(paths)
        assert self.format  # `_possible` ensures it if there is a source
        return self.format.read(paths[0])

    @model_validator(mode="after")
    def _possible(self) -> "Dataset":
        formats = [f for f in (self.format, self.item_lists, self.reader) if f is not None]
        if len(formats) > 1:
            raise ValueError("give only one of `format`, `item_lists` and `reader`")
        if (self.source is None) != (not formats):
            raise ValueError("a file needs `source`, and `format`, `item_lists` or `reader`")
        origins = (self.source, self.synthetic, self.communities)
        if sum(origin is not None for origin in origins) != 1:
            raise ValueError("give either `source` and `format`, or `synthetic`, or `communities`")
        if self.further and not (self.item_lists or self.reader):
            raise ValueError("`further` files need `item_lists` or a `reader`")
        if self.k_core and self.id_lists:
            raise ValueError("give either `k_core` or `id_lists`, not both")
        names = [source.name for source in (*self.raw, *self.lists)]
        if len(set(names)) < len(names):
            raise ValueError("two files have the same name at the end of their URLs")
        return self


_WITHIN = {
    "download": Source,
    "file": LocalFile,
    "format": Table,
    "item_lists": ItemLists,
    "synthetic": Synthetic,
    "communities": Communities,
    "expect": Counts,
}


def known_keys(place: Place) -> Iterable[str]:
    """Return the keys that are allowed next to the last key of `place` in an entry."""
    kind = _WITHIN.get(str(place[-2])) if len(place) > 1 else None
    return [field.name for field in dataclasses.fields(kind)] if kind else Dataset.model_fields
