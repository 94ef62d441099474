"""One dataset's entry in the config: where it comes from, its format, its filter."""

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
    """Where interactions come from: a file and its format, or a generator."""

    source: RawFile | None = Field(
        default=None, description="The file that is read: a `url` with its checksum, or a `path`."
    )
    further: tuple[RawFile, ...] = Field(default=(), description="Files that are read after it.")
    format: Table | None = Field(default=None, description="One interaction a line or row.")
    item_lists: ItemLists | None = Field(default=None, description="A user's items on each line.")
    reader: ReaderEntry | None = Field(
        default=None, description="A reader from another package: its `kind`, and its settings."
    )
    synthetic: Synthetic | None = None
    communities: Communities | None = None
    k_core: KCore | None = None
    id_lists: IdLists | None = None
    expect: Counts | None = Field(default=None, description="Counts that the data must give.")

    @property
    def made_up(self) -> Synthetic | Communities | None:
        """The generator of interactions, if they come from no file."""
        return self.synthetic or self.communities

    @property
    def raw(self) -> tuple[Source | LocalFile, ...]:
        """The files that hold the interactions."""
        return (self.source, *self.further) if self.source else ()

    @property
    def lists(self) -> tuple[Source | LocalFile, ...]:
        """The files that say which users and items are kept."""
        return (self.id_lists.users, self.id_lists.items) if self.id_lists else ()

    def read(self, paths: Sequence[Path]) -> Interactions:
        """The interactions in the raw files, which lie at `paths`.

        Raises:
            DataError: a file cannot be read, or is malformed.
        """
        if self.item_lists:
            return self.item_lists.read(paths)
        if self.reader:
            return reader(self.reader).read(paths)
        assert self.format  # of a source, as `_possible` has it
        return self.format.read(paths[0])

    @model_validator(mode="after")
    def _possible(self) -> "Dataset":
        formats = [f for f in (self.format, self.item_lists, self.reader) if f is not None]
        if len(formats) > 1:
            raise ValueError("give one of `format`, `item_lists` and `reader`")
        if (self.source is None) != (not formats):
            raise ValueError("a file needs `source`, and `format`, `item_lists` or `reader`")
        origins = (self.source, self.synthetic, self.communities)
        if sum(origin is not None for origin in origins) != 1:
            raise ValueError("give either `source` and `format`, or `synthetic`, or `communities`")
        if self.further and not (self.item_lists or self.reader):
            raise ValueError("`further` files are read as `item_lists`, or by a `reader`, only")
        if self.k_core and self.id_lists:
            raise ValueError("give either `k_core` or `id_lists`")
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
    """The keys that may stand beside the last one of `place` in an entry."""
    kind = _WITHIN.get(str(place[-2])) if len(place) > 1 else None
    return [field.name for field in dataclasses.fields(kind)] if kind else Dataset.model_fields
