"""Fields of text lines: read by DuckDB; headers, samples and lines to name by Python's `csv`."""

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

_UNIT = "\x1f"  # stands for a separator of several characters; no text holds it
_NOTHING = "\x01"  # what a field never is, so that an empty one is told from none
_END = "\x03"  # each field of a line after the last, which an open quote would swallow
_OPEN = (
    "has a quote that does not end where its field does (if quotes are letters, say `quote: ''`, "
    "or --quote '')"
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
    """How many lines stand before the data."""

    def first(self, header: bool) -> tuple[int, list[str]]:
        """The header, or else the first line of data: its number and its fields.

        Raises:
            DataError: there is neither.
        """
        for number, found in self._records(self.before - header):
            return number, [field.strip() for field in found]
        raise DataError(f"{self.path}: holds no line of data: fetch the file again")

    def load(self, db: Database, create: Callable[[str], str], width: int) -> None:
        """Have DuckDB create a table `rows`, with a text `u`, from columns `c0`, `c1`, … of texts.

        There are `width` of them; a field that is not there is NULL. Nothing is left to guesses.

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
        """Where lines may be short, DuckDB is silent about a quote that never ends."""
        row, last = db.execute("SELECT max(rowid), arg_max(u, rowid) FROM rows").fetchone()
        if last != _END:
            *_, (number, _) = self._records(self.before)
            line = next(islice(text_lines(blocks(self.path, self.member)), number - 1, None))
            self._refuse(number, f"{shortened(line.strip())} {_OPEN}")
        db.execute(f"DELETE FROM rows WHERE rowid = {row}")

    def _refuse(self, number: int, problem: str) -> None:
        raise DataError(f"{self.path}: line {number}: {problem}: {REMEDY}")

    def line(self, row: int) -> int:
        """The line on which a row begins: blank lines are no rows, and quotes hold line ends."""
        rows = (number for number, fields in self._records(self.before) if fields)
        return next(islice(rows, row, None))

    def _records(self, before: int) -> Iterator[tuple[int, list[str]]]:
        """The fields after so many lines, and the line on which they begin; of a blank one none."""
        rest = after_lines(before, blocks(self.path, self.member))
        reader = records(text_lines(rest), self.separator, self.quote)
        number = before + 1
        for fields in reader:
            yield number, fields
            number = before + reader.line_num + 1


def _with_line(data: Iterable[bytes], line: bytes) -> Iterator[bytes]:
    """Blocks, and a line after them."""
    block = b"\n"
    for block in data:
        yield block
    yield line if block.endswith(b"\n") else b"\n" + line


def records(lines: Iterable[str], separator: str, quote: str) -> Any:
    """What yields the fields of each line, and counts lines as `line_num`."""
    csv.field_size_limit(2 * LONGEST_LINE)
    if len(separator) > 1:  # the module knows no longer ones
        lines = (line.replace(separator, _UNIT) for line in lines)
    delimiter = separator if len(separator) == 1 else _UNIT
    if not quote:
        return csv.reader(lines, delimiter=delimiter, quoting=csv.QUOTE_NONE)
    return csv.reader(lines, delimiter=delimiter, quotechar=quote)


def text_lines(found: Iterable[bytes]) -> Iterator[str]:
    """The lines of blocks, with their ends."""
    return chain.from_iterable(io.StringIO(block.decode(), newline="\n") for block in found)


def shortened(value: str) -> str:
    """A text between quotes, so long that it fits into a message."""
    return repr(value if len(value) <= 60 else f"{value[:59]}…")
