"""Fields of text lines: read by DuckDB; headers, samples and lines to name by Python's `csv`."""

import csv
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from fedrec.data.readers.duck import Database, piped, text
from fedrec.data.readers.streams import LONGEST_LINE, after_lines, blocks
from fedrec.errors import DataError

REMEDY = "correct or delete it, or check the dataset's format in the config"

_UNIT = "\x1f"  # stands for a separator of several characters; no text holds it
_NOTHING = "\x01"  # what a field never is, so that an empty one is told from none
_END = "\x03"  # each field of a line after the last, which an open quote would swallow
_REJECTED = {
    "UNQUOTED VALUE": "has a quote that does not end where its field does (if quotes are letters, "
    "say `quote: ''`, or --quote '')",
    "TOO MANY COLUMNS": "has more fields than the first line",
}


@dataclass(frozen=True)
class Fields:
    """A text file as lines of fields."""

    path: Path
    member: str | None
    separator: str
    quote: str
    before: int
    """How many lines stand before the data."""

    def first(self, header: bool) -> tuple[int, list[str]]:
        """The header, or else the first line of data: its number and its fields.

        Raises:
            DataError: there is neither.
        """
        number = self.before - header
        found = next(self._records(number), None)
        if found is None:
            raise DataError(f"{self.path}: holds no line of data: fetch the file again")
        return number + 1, [field.strip() for field in found]

    def load(self, db: Database, rows: str, width: int) -> None:
        """Have DuckDB make a table, with a text `u`, from columns `c0`, `c1`, …: `width` texts.

        A field that is not there is NULL. Nothing is left to DuckDB's guesses.

        Raises:
            DataError: a line cannot be read.
        """
        _, data = after_lines(self.before, blocks(self.path, self.member))
        columns = ", ".join(f"'c{i}': 'VARCHAR'" for i in range(width))
        last = self.separator.join([_END] * max(width - 1, 1))
        with piped(_with_line(data, last.encode() + b"\n") if self.quote else data) as pipe:
            db.execute(
                f"{rows} FROM read_csv({text(pipe)}, columns = {{{columns}}}, "
                f"delim = {text(self.separator)}, quote = {text(self.quote)}, "
                f"escape = {text(self.quote)}, auto_detect = false, header = false, "
                f"new_line = '\\n', strict_mode = true, nullstr = {text(_NOTHING)}, "
                f"null_padding = {width > 1}, parallel = false, store_rejects = true, "
                f"max_line_size = {LONGEST_LINE + 1})"
            )
        query = "SELECT line_byte_position, csv_line, error_type FROM reject_errors"
        if found := db.execute(f"{query} ORDER BY 1 LIMIT 1").fetchone():
            raise DataError(f"{self.path}: {self._rejected(*found)}: {REMEDY}")
        if self.quote:
            self._refuse_open_quote(db)

    def _refuse_open_quote(self, db: Database) -> None:
        """Where lines may be short, DuckDB is silent about a quote that never ends."""
        count, last = db.execute("SELECT count(*), arg_max(u, rowid) FROM rows").fetchone()
        if last != _END:
            *_, start = self._starts()
            raise DataError(f"{self.path}: line {start}: {_REJECTED['UNQUOTED VALUE']}: {REMEDY}")
        db.execute(f"DELETE FROM rows WHERE rowid = {count - 1}")

    def line(self, row: int) -> int:
        """The line on which a row ends: blank lines are no rows, and quotes may hold line ends."""
        reader = self._records(self.before)
        for fields in reader:
            if fields and (row := row - 1) < 0:
                break
        return self.before + int(reader.line_num)

    def _records(self, before: int) -> Any:
        _, rest = after_lines(before, blocks(self.path, self.member))
        return records(text_lines(rest), self.separator, self.quote)

    def _starts(self) -> Iterator[int]:
        """The line on which each row begins, or a blank line stands."""
        reader = self._records(self.before)
        start = self.before + 1
        for _ in reader:
            yield start
            start = self.before + int(reader.line_num) + 1

    def _rejected(self, position: int, line: str, error: str) -> str:
        """What is wrong with a line that begins after so many bytes of the data."""
        _, data = after_lines(self.before, blocks(self.path, self.member))
        number, left = self.before + 1, position
        for block in data:
            number += block.count(b"\n", 0, max(left, 0))
            left -= len(block)
        # Of blank lines before it DuckDB counts the first as passed, and shows all.
        number += max(len(line) - len(line.lstrip("\n")) - 1, 0)
        return f"line {number}: {line.strip()[:60]!r} {_REJECTED.get(error, error.lower())}"


def _with_line(data: Iterable[bytes], line: bytes) -> Iterator[bytes]:
    """Blocks, and a line after them."""
    block = b"\n"
    for block in data:
        yield block
    yield line if block.endswith(b"\n") else b"\n" + line


def records(lines: Iterable[str], separator: str, quote: str) -> Any:
    """What yields the fields of each line, and counts lines as `line_num`."""
    csv.field_size_limit(2 * LONGEST_LINE)
    quoting = csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE
    dialect: dict[str, Any] = {"quotechar": quote or None, "quoting": quoting}
    if len(separator) == 1:
        return csv.reader(lines, delimiter=separator, **dialect)
    joined = (line.replace(separator, _UNIT) for line in lines)  # the module knows no longer ones
    return csv.reader(joined, delimiter=_UNIT, **dialect)


def text_lines(found: Iterable[bytes]) -> Iterator[str]:
    """The lines of blocks, with their ends."""
    return chain.from_iterable(io.StringIO(block.decode(), newline="\n") for block in found)
