"""The reader of text files with one interaction a line."""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from io import BufferedIOBase, BytesIO
from itertools import islice
from pathlib import Path
from typing import Annotated

import pandas as pd
from pydantic import Field

from fedrec.data.interactions import Interactions
from fedrec.data.readers.opening import opened
from fedrec.data.readers.rows import REMEDY, Column, Rows, TimeFormat
from fedrec.errors import DataError

_CHUNK_LINES = 500_000
_UNIT_SEPARATOR = "\x1f"


@dataclass(frozen=True)
class Delimited:
    """A text file of one interaction a line: plain, gzipped (`.gz`) or inside a `.zip`."""

    separator: Annotated[str, Field(min_length=1)]
    """What stands between two fields, one character or more."""
    user: Column
    """The column of the user's label: counted from 0, or its name in the header."""
    item: Column
    """The column of the item's label, likewise."""
    time: Column
    """The column of the time, likewise."""
    time_format: TimeFormat = "unix"
    """Whole seconds or milliseconds since 1970-01-01 UTC, or ISO 8601."""
    time_zone: str = "UTC"
    """Of ISO times that name none, such as Europe/Berlin."""
    rating: Column | None = None
    """The column of a rating, likewise; only for `min_rating`."""
    min_rating: float | None = None
    """The lowest rating of an interaction that is kept."""
    member: str | None = None
    """The file within the `.zip` archive."""
    skip: Annotated[int, Field(ge=0)] = 0
    """Lines left out at the start of the file, whatever they hold; before the header, if any."""
    header: bool = False
    """Whether the first line (of those not left out) holds names, not data."""
    numeric_ids: bool = False
    """Whether a user or item that is no whole number is refused; otherwise any text will do."""

    def __post_init__(self) -> None:
        wanted = self._rows.wanted.values()
        if not self.header and any(isinstance(column, str) for column in wanted):
            raise ValueError("columns have names only in a file with `header: true`")

    def read(self, path: Path) -> Interactions:
        """The interactions in the file `path`.

        Raises:
            DataError: the file cannot be read, or a line is malformed.
        """
        try:
            with opened(path, self.member) as stream:
                for _ in islice(stream, self.skip):
                    pass
                rows = replace(self._rows, columns=self._places(path, stream))
                found = pd.concat(self._found(path, stream, rows))
        except pd.errors.EmptyDataError as error:
            raise DataError(f"{path}: holds no line of data: fetch the file again") from error
        except pd.errors.ParserError as error:
            raise DataError(f"{path}: {self._reason(error)}: {REMEDY}") from error
        return rows.interactions(found, path)

    @property
    def _rows(self) -> Rows:
        columns = {"user": self.user, "item": self.item, "time": self.time, "rating": self.rating}
        return Rows(columns, self.time_format, self.time_zone, self.min_rating, self.numeric_ids)

    @property
    def _lines_before(self) -> int:
        """How many lines of the file stand before its data."""
        return self.skip + self.header

    def _reason(self, error: pd.errors.ParserError) -> str:
        """What pandas says, which counts lines from the first of the data."""
        reason = str(error).strip().rpartition("C error: ")[2]
        return re.sub(
            r"(?<=line )\d+", lambda number: str(int(number[0]) + self._lines_before), reason
        )

    def _places(self, path: Path, stream: BufferedIOBase) -> dict[str, int | str | None]:
        """Where the wanted columns stand, counted from 0; takes the header off."""
        wanted = self._rows.wanted
        if not self.header:
            return {**wanted}
        line = stream.readline().decode("utf-8", "backslashreplace").rstrip("\r\n")
        names = [name.strip().strip('"') for name in line.split(self.separator)]
        for column in wanted.values():
            if isinstance(column, str) and (found := names.count(column)) != 1:
                raise DataError(
                    f"{path}: line {self._lines_before}: the header {', '.join(names)} has "
                    f"{found or 'no'} columns {column!r}: correct the config, or give the column's "
                    "number, from 0"
                )
        return {
            name: names.index(column) if isinstance(column, str) else column
            for name, column in wanted.items()
        }

    def _found(self, path: Path, stream: BufferedIOBase, rows: Rows) -> Iterator[pd.DataFrame]:
        first_time = None
        for chunk in self._chunks(stream):
            start = int(chunk.index[0]) + 1 + self._lines_before
            table = chunk.reindex(columns=list(rows.wanted.values()))
            table.columns = pd.Index(list(rows.wanted))
            first_time = table["time"].iloc[0] if first_time is None else first_time
            yield rows.read(table, first_time, f"{path}: line", start)

    def _chunks(self, stream: BufferedIOBase) -> Iterator[pd.DataFrame]:
        # Every column is parsed, because pandas checks no line's length once told to skip some;
        # in chunks, because a large file's unused columns would fill the memory.
        separator, readable = self.separator, stream
        if len(separator.encode()) > 1:
            # pandas' fast parser knows separators of one byte only.
            readable = BytesIO(stream.read().replace(separator.encode(), _UNIT_SEPARATOR.encode()))
            separator = _UNIT_SEPARATOR
        with pd.read_csv(
            readable,
            sep=separator,
            header=None,
            dtype="str",
            keep_default_na=False,
            na_values=["", "nan", "NaN"],
            quoting=csv.QUOTE_NONE,
            skip_blank_lines=False,
            encoding_errors="backslashreplace",
            chunksize=_CHUNK_LINES,
        ) as chunks:
            yield from chunks
