"""The reader of tables with one interaction a row: text, JSON lines or Parquet."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from fedrec.data.interactions import Interactions
from fedrec.data.readers import duck, parquet
from fedrec.data.readers.duck import Database, session, text, told
from fedrec.data.readers.fields import REMEDY, Fields
from fedrec.data.readers.rows import MissingIds, Rows, Rules
from fedrec.data.readers.times import check_format, check_zone
from fedrec.errors import DataError

Column = Annotated[int, Field(ge=0)] | Annotated[str, Field(min_length=1)]
Kind = Literal["text", "json_lines", "parquet"]
Loaded = tuple[Callable[[int], str], str]  # what a row is called; the format of its times


@dataclass(frozen=True)
class Table:
    """A file of one interaction a line or row.

    Text and JSON lines may be packed (`.gz`, `.bz2`, `.xz`, `.zst`) or inside a `.zip`.
    """

    user: Column
    """The column of the user's label: counted from 0, or its name."""
    item: Column
    """The column of the item's label, likewise."""
    time: Column | None = None
    """The column of the time, likewise; none where `time_format` is `order`."""
    clock: Column | None = None
    """The column of the time of day, where `time` is that of the date alone."""
    time_format: str = "unix"
    """`unix`, `unix_ms`, `unix_us` or `unix_ns`: seconds, milli-, micro- or nanoseconds since
    1970-01-01 UTC, with or without a fraction. `iso8601`. A pattern, such as `%d/%m/%Y %H:%M:%S`.
    `order`: there are no times, and the rows stand in the order of time."""
    time_zone: str = "UTC"
    """Of times that name none, such as Europe/Berlin."""
    rating: Column | None = None
    """The column of a rating, likewise; only for `min_rating`."""
    min_rating: float | None = None
    """The lowest rating of an interaction that is kept."""
    numeric_ids: bool = False
    """Whether a user or item that is no whole number is refused; otherwise any text will do."""
    missing_ids: MissingIds = "refuse"
    """What becomes of rows whose user or item is NULL, None, \\N, NA or the like."""
    kind: Kind = "text"
    """`text`, `json_lines` (an object on each line) or `parquet`."""
    separator: Annotated[str, Field(min_length=1)] = ","
    """What stands between two fields of a text, one character or more."""
    quote: Annotated[str, Field(max_length=1)] = '"'
    """What a field of a text may stand in; nothing: quotes are letters."""
    member: str | None = None
    """The file within the `.zip` archive."""
    skip: Annotated[int, Field(ge=0)] = 0
    """Lines left out at the start of the file, whatever they hold; before the header, if any."""
    header: bool = False
    """Whether the first line (of those not left out) holds names, not data."""

    def __post_init__(self) -> None:
        check_format(self.time_format)
        check_zone(self.time_zone)
        named = [isinstance(column, str) for column in self._wanted.values()]
        if self.kind == "text" and not self.header and any(named):
            raise ValueError("columns have names only in a file with `header: true`")
        if self.kind != "text" and not all(named):
            raise ValueError(f"columns go by their names in `kind: {self.kind}`")
        if (self.rating is None) != (self.min_rating is None):
            raise ValueError("`rating` and `min_rating` belong together")
        if (self.time is None) != (self.time_format == "order"):
            raise ValueError("give `time`, or `time_format: order` if the rows stand in its order")
        if self.separator == self.quote or set(self.separator) & {"\n", "\r"}:
            raise ValueError("`separator` is the end of a line, or the quote")
        if self.clock is not None and "time" not in self._wanted:
            raise ValueError("`clock` stands beside a `time`")

    def read(self, path: Path) -> Interactions:
        """The interactions in the file `path`.

        Raises:
            DataError: the file cannot be read, or a row is malformed.
        """
        load = {"text": self._text, "json_lines": self._json, "parquet": self._parquet}[self.kind]
        with session() as db, told(path):
            place, time_format = load(db, path)
            rules = replace(self._rules, time_format=time_format)
            return Rows(db, path, rules, place).interactions()

    @property
    def _wanted(self) -> dict[str, int | str]:
        columns = {"user": self.user, "item": self.item, "time": self.time, "clock": self.clock}
        found = {**columns, "rating": self.rating}
        return {what: column for what, column in found.items() if column is not None}

    @property
    def _rules(self) -> Rules:
        columns = {what: place for what, place in self._wanted.items() if what != "clock"}
        return Rules(
            columns, self.time_format, self.time_zone, self.min_rating, self.numeric_ids,
            self.missing_ids,
        )  # fmt: skip

    def _select(self, fields: dict[str, str], fault: str) -> str:
        """The columns of `rows`, from those of a table."""
        time = fields.get("time", "NULL")
        if self.clock is not None:
            time = f"{time} || ' ' || {fields['clock']}"
        rating = fields.get("rating", "NULL")
        columns = {"u": fields["user"], "i": fields["item"], "t": time, "r": rating}
        texts = ", ".join(f"CAST({value} AS VARCHAR) AS {key}" for key, value in columns.items())
        return f"CREATE TABLE rows AS SELECT {texts}, {fault} AS fault"

    def _text(self, db: Database, path: Path) -> Loaded:
        before = self.skip + self.header
        fields = Fields(path, self.member, self.separator, self.quote, before)
        line, first = fields.first(self.header)
        width = len(first)
        fault = text(f"has not {width} fields, as line {line} has")
        rows = self._select(
            {what: f"c{place}" for what, place in self._places(path, line, first).items()},
            f"CASE WHEN c{width - 1} IS NULL OR c{width} IS NOT NULL THEN {fault} END",
        )
        fields.load(db, rows, width + 1)
        return (lambda row: f"line {fields.line(row)}"), self.time_format

    def _places(self, path: Path, line: int, first: Sequence[str]) -> dict[str, int]:
        """Where the wanted columns stand in the first line, counted from 0."""
        wanted = self._wanted
        for column in wanted.values():
            if isinstance(column, str) and (found := first.count(column)) != 1:
                raise DataError(
                    f"{path}: line {line}: the header {', '.join(first)} has {found or 'no'} "
                    f"columns {column!r}: correct the config, or give the column's number, from 0"
                )
        places = {
            what: first.index(column) if isinstance(column, str) else column
            for what, column in wanted.items()
        }
        if max(places.values()) >= len(first):
            columns = ", ".join(map(str, wanted.values()))
            raise DataError(
                f"{path}: line {line}: needs {', '.join(wanted)} in columns {columns}: {REMEDY}"
            )
        return places

    def _json(self, db: Database, path: Path) -> Loaded:
        valid = "CASE WHEN json_valid(c0) THEN json_type(c0) = 'OBJECT' ELSE false END"
        values = {
            what: f"CASE WHEN {valid} THEN c0 ->> {text('$.' + duck.name(str(column)))} END"
            for what, column in self._wanted.items()
        }
        fault = (
            "CASE WHEN trim(coalesce(c0, '')) = '' THEN 'blank' "
            f"WHEN NOT {valid} THEN 'holds no JSON object' END"
        )
        # No JSON holds the separator, so that each line is one field.
        fields = Fields(path, self.member, "\x02", "", self.skip)
        fields.load(db, self._select(values, fault), width=1)
        db.execute("DELETE FROM rows WHERE fault = 'blank'")
        return (lambda row: f"line {fields.line(row)}"), self.time_format

    def _parquet(self, db: Database, path: Path) -> Loaded:
        names = list(map(str, self._wanted.values()))
        columns = dict(zip(self._wanted, parquet.columns_named(db, path, names), strict=True))
        values = {what: duck.name(column.alias) for what, column in columns.items()}
        parquet.load(db, path, self._select(values, "NULL"))
        moments = "time" in columns and columns["time"].is_moment
        return (lambda row: f"row {row + 1}"), "iso8601" if moments else self.time_format
