"""The reader of tables with one interaction per row: text, JSON lines or Parquet."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from fedrec.data.interactions import Interactions
from fedrec.data.readers import duck, parquet
from fedrec.data.readers.duck import Database, session, text, told
from fedrec.data.readers.fields import REMEDY, Fields, shortened
from fedrec.data.readers.rows import Meaning, Rows
from fedrec.data.readers.times import check_format, check_zone
from fedrec.errors import DataError


@dataclass(frozen=True)
class Table(Meaning):
    """A file with one interaction per line or row.

    Text and JSON lines may be compressed (`.gz`, `.bz2`, `.xz`, `.zst`) or inside a `.zip`.
    """

    kind: Literal["text", "json_lines", "parquet"] = "text"
    """`text`, `json_lines` (an object on each line) or `parquet`."""
    separator: Annotated[str, Field(min_length=1)] = ","
    """The separator between two fields of a text, one or more characters."""
    quote: Annotated[str, Field(max_length=1)] = '"'
    """The quote character around fields of a text; empty: quotes are ordinary characters."""
    member: str | None = None
    """The file within the `.zip` archive."""
    skip: Annotated[int, Field(ge=0)] = 0
    """The number of lines to skip at the start of the file, before the header if there is one."""
    header: bool = False
    """Whether the first line that is not skipped has names instead of data."""

    def __post_init__(self) -> None:
        check_format(self.time_format)
        check_zone(self.time_zone)
        named = [isinstance(column, str) for column in self.columns.values()]
        if self.kind == "text" and not self.header and any(named):
            raise ValueError("columns can be given by name only with `header: true`")
        if self.kind != "text" and not all(named):
            raise ValueError(f"give columns by name in a file of `kind: {self.kind}`")
        if (self.rating is None) != (self.min_rating is None):
            raise ValueError("give both `rating` and `min_rating`, or neither")
        if (self.time is None) != (self.time_format == "order"):
            raise ValueError("give `time`, or `time_format: order` if the rows are in time order")
        if self.separator == self.quote or set(self.separator) & {"\n", "\r"}:
            raise ValueError("`separator` must not be a line end or the quote")
        if self.clock is not None and self.time is None:
            raise ValueError("`clock` needs a `time`")

    def read(self, path: Path) -> Interactions:
        """Read the interactions in the file `path`.

        Raises:
            DataError: the file cannot be read, or a row is malformed.
        """
        load = {"text": self._text, "json_lines": self._json, "parquet": self._parquet}[self.kind]
        with session() as db, told(path):
            return load(db, path).interactions()

    def _text(self, db: Database, path: Path) -> Rows:
        before = self.skip + self.header
        fields = Fields(path, self.member, self.separator, self.quote, before)
        line, first = fields.first(self.header)
        names = {what: f"c{place}" for what, place in self._places(path, line, first).items()}
        width = len(first)
        whole = ", ".join(f"c{i}" for i in range(width + 1))
        fault = (
            f"CASE WHEN c{width - 1} IS NULL OR c{width} IS NOT NULL "
            f"THEN concat_ws({text(self.separator)}, {whole}) END"
        )
        fields.load(db, partial(self.create, names, fault), width + 1)
        problem = f"does not have {width} fields, as line {line} has"
        return Rows(db, path, self, lambda row: f"line {fields.line(row)}", problem)

    def _places(self, path: Path, line: int, first: Sequence[str]) -> dict[str, int]:
        """Return the positions of the wanted columns in the first line, counted from 0."""
        for column in self.columns.values():
            if isinstance(column, str) and (found := first.count(column)) != 1:
                raise DataError(
                    f"{path}: line {line}: the header {', '.join(first)} has {found or 'no'} "
                    f"columns {column!r}: correct the config, or give the column's number, from 0"
                )
        places = {
            what: first.index(column) if isinstance(column, str) else column
            for what, column in self.columns.items()
        }
        if max(places.values()) >= len(first):
            columns = ", ".join(map(str, self.columns.values()))
            raise DataError(
                f"{path}: line {line}: needs {', '.join(places)} in columns {columns}, but has "
                f"{shortened(self.separator.join(first))}: {REMEDY}"
            )
        return places

    def _json(self, db: Database, path: Path) -> Rows:
        valid = "CASE WHEN json_valid(c0) THEN json_type(c0) = 'OBJECT' ELSE false END"
        values = {
            what: f"CASE WHEN {valid} THEN c0 ->> {text('$.' + duck.name(str(column)))} END"
            for what, column in self.columns.items()
        }
        # No JSON text contains this separator, so each line is one field.
        fields = Fields(path, self.member, "\x02", "", self.skip)
        fault = f"CASE WHEN NOT {valid} THEN coalesce(c0, '') END"
        fields.load(db, partial(self.create, values, fault), width=1)
        db.execute("DELETE FROM rows WHERE trim(fault) = ''")
        place = lambda row: f"line {fields.line(row)}"  # noqa: E731
        return Rows(db, path, self, place, "is not a JSON object")

    def _parquet(self, db: Database, path: Path) -> Rows:
        columns = self.columns.items()
        found = {what: parquet.column_named(db, path, str(name)) for what, name in columns}
        moments = "time" in found and found["time"].type.startswith(("TIMESTAMP", "DATE"))
        meaning = replace(self, time_format="iso8601") if moments else self
        values = {what: duck.name(column.alias) for what, column in found.items()}
        db.execute(meaning.create(values, "NULL", parquet.source(path)))
        return Rows(db, path, meaning, lambda row: f"row {row + 1}")
