"""Fields of text lines: data are read by DuckDB, headers and line numbers by Python's `csv`."""

import csv
import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

from fedrec.data.readers.duck import Database, piped, text
from fedrec.data.readers.streams import LONGEST_LINE, after_lines, blocks
from fedrec.errors import DataError

REMEDY = "correct or delete it, or check the dataset's format in the config"

_UNIT = "\x1f"  # replaces a separator of several characters; no text contains it
_NOTHING = "\x01"  # a value that no field has, so that empty fields differ from missing ones
_END = "\x03"  # the fields of an extra last line, which an open quote would swallow
_OPEN = (
    "has a quote that does not end with its field (if quotes are ordinary characters, set "
    "`quote: ''` or use --quote '')"
)
_REJECTED = {"UNQUOTED VALUE": _OPEN, "TOO MANY COLUMNS": "has more fields than the first line"}


@dataclass(frozen=True)
class Fields:
    """A text file as lines of fields."""

    path: Path
    member: str | None
    separator: str
    quote: str
    before: int
    """The number of lines before the data."""

    def first(self, header: bool) -> tuple[int, list[str]]:
        """Return number and fields of the header, or of the first line of data without a header.

        Raises:
            DataError: the file has neither.
        """
        for number, found in self._records(self.before - header):
            return number, [field.strip() for field in found]
        raise DataError(f"{self.path}: has no line of data: fetch the file again")

    def load(self, db: Database, create: Callable[[str], str], width: int) -> None:
        """Create a table `rows` in DuckDB, with a text `u`, from text columns `c0`, `c1`, ….

        There are `width` columns; a missing field is NULL. All reader options are set explicitly.

        Raises:
            DataError: a line cannot be read.
        """
        data = after_lines(self.before, blocks(self.path, self.member))
        columns = ", ".join(f"'c{i}': 'VARCHAR'" for i in range(width))
        last = self.separator.join([_END] * max(width - 1, 1))
        with piped(_with_line(data, last.encode() + b"\n") if self.quote else data) as pipe:
            source = (
                f"read_csv({text(pipe)}, columns = {{{columns}}}, delim = {text(self.separator)}, "
                f"quote = {text(self.quote)}, escape = {text(self.quote)}, auto_detect = false, "
                f"header = false, new_line = '\\n', strict_mode = true, parallel = false, "
                f"nullstr = {text(_NOTHING)}, null_padding = {width > 1}, store_rejects = true, "
                f"max_line_size = {LONGEST_LINE + 1})"
            )
            db.execute(create(source))
        rejected = "SELECT line, csv_line, error_type FROM reject_errors ORDER BY line LIMIT 1"
        if found := db.execute(rejected).fetchone():
            record, line, error = found
            (number, _), *_ = islice(self._records(self.before), record - 1, None)
            self._refuse(number, f"{shortened(line.strip())} {_REJECTED.get(error, error.lower())}")
        if self.quote:
            self._refuse_open_quote(db)

    def _refuse_open_quote(self, db: Database) -> None:
        """Raise an error for a quote that never ends; DuckDB gives none if lines may be short."""
        row, last = db.execute("SELECT max(rowid), arg_max(u, rowid) FROM rows").fetchone()
        if last != _END:
            *_, (number, _) = self._records(self.before)
            line = next(islice(text_lines(blocks(self.path, self.member)), number - 1, None))
            self._refuse(number, f"{shortened(line.strip())} {_OPEN}")
        db.execute(f"DELETE FROM rows WHERE rowid = {row}")

    def _refuse(self, number: int, problem: str) -> None:
        raise DataError(f"{self.path}: line {number}: {problem}: {REMEDY}")

    def line(self, row: int) -> int:
        """Return the line on which a row begins; blank lines are skipped, quotes may span lines."""
        rows = (number for number, fields in self._records(self.before) if fields)
        return next(islice(rows, row, None))

    def _records(self, before: int) -> Iterator[tuple[int, list[str]]]:
        """Yield line and fields of each record after `before` lines; a blank line has no fields."""
        rest = after_lines(before, blocks(self.path, self.member))
        reader = records(text_lines(rest), self.separator, self.quote)
        number = before + 1
        for fields in reader:
            yield number, fields
            number = before + reader.line_num + 1


def _with_line(data: Iterable[bytes], line: bytes) -> Iterator[bytes]:
    """Yield blocks, and then a line."""
    block = b"\n"
    for block in data:
        yield block
    yield line if block.endswith(b"\n") else b"\n" + line


def records(lines: Iterable[str], separator: str, quote: str) -> Any:
    """Return a reader that yields the fields of each line and counts lines in `line_num`."""
    csv.field_size_limit(2 * LONGEST_LINE)
    if len(separator) > 1:  # `csv` supports only single characters
        lines = (line.replace(separator, _UNIT) for line in lines)
    delimiter = separator if len(separator) == 1 else _UNIT
    if not quote:
        return csv.reader(lines, delimiter=delimiter, quoting=csv.QUOTE_NONE)
    return csv.reader(lines, delimiter=delimiter, quotechar=quote)


def text_lines(found: Iterable[bytes]) -> Iterator[str]:
    """Yield the lines of blocks, with their line ends."""
    return chain.from_iterable(io.StringIO(block.decode(), newline="\n") for block in found)


def shortened(value: str) -> str:
    """Quote a text, and shorten it so that it fits into a message."""
    return repr(value if len(value) <= 60 else f"{value[:59]}…")
