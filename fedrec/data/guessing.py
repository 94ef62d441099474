"""How a file is to be read, guessed from its first lines."""

import re
import zipfile
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from fedrec.data.readers.delimited import Delimited
from fedrec.data.readers.item_lists import ItemLists
from fedrec.data.readers.opening import members, opened
from fedrec.data.readers.parquet import MAGIC, Parquet, first_rows
from fedrec.data.readers.rows import Column, TimeFormat
from fedrec.errors import DataError

Reader = Delimited | ItemLists | Parquet
T = TypeVar("T", Delimited, Parquet)

FIRST_LINES = 100
SEPARATORS = ("\t", "::", ",", ";", "|", " ")  # the likelier first: a blank may stand within a time
# Names of columns without case and punctuation, the likelier first.
NAMES = {
    "user": (
        "user",
        "userid",
        "uid",
        "reviewerid",
        "customer",
        "customerid",
        "listener",
        "visitor",
    ),
    "item": (
        *("item", "itemid", "iid", "movie", "movieid", "asin", "product", "productid", "book"),
        *("bookid", "track", "trackid", "song", "location", "locationid", "venue", "business"),
    ),
    "time": (
        *("time", "timestamp", "ts", "datetime", "date", "unixreviewtime", "reviewtime"),
        *("checkintime", "playedat", "createdat"),
    ),
}
_ISO = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d.*)?$")
_SECONDS = range(10**8, 10**11)  # 1973 to 5138
_MILLISECONDS = range(10**11, 10**14)


@dataclass(frozen=True)
class Known:
    """What need not be guessed."""

    separator: str | None = None
    header: bool | None = None
    user: Column | None = None
    item: Column | None = None
    time: Column | None = None
    time_format: TimeFormat | None = None
    time_zone: str = "UTC"
    rating: Column | None = None
    min_rating: float | None = None
    member: str | None = None
    item_lists: bool = False


@dataclass(frozen=True)
class Sample:
    """The first rows of a table: its columns' names, where it has any, and their values."""

    names: tuple[str, ...]
    columns: tuple[tuple[str, ...], ...]

    def values(self, column: Column | None) -> tuple[str, ...]:
        """The first values of a column, by its name or number; none where there is no such."""
        place = self.names.index(column) if column in self.names else column
        return self.columns[place] if isinstance(place, int) and place < len(self.columns) else ()


@dataclass(frozen=True)
class Guess:
    """A reader that fits a file, and what the file begins with."""

    reader: Reader
    sample: Sample


def guess(path: Path, known: Known) -> Guess:
    """The reader that fits a file: Parquet, text with one interaction a line, or item lists.

    Raises:
        DataError: it cannot be read, or not be understood; the message says which option helps.
    """
    if _begins_with(path, MAGIC):
        return _parquet(path, known)
    member = known.member or _only_member(path)
    with opened(path, member) as stream:
        lines = [line.decode("utf-8", "backslashreplace") for line in islice(stream, FIRST_LINES)]
    texts = [line.rstrip("\r\n") for line in lines]
    if not texts:
        raise DataError(f"{path}: holds no line of data: fetch the file again")
    separator = known.separator or _separator(texts)
    if known.item_lists or separator is None:
        return _item_lists(path, known.separator or " ", texts)
    return _delimited(path, known, member, separator, texts)


def _begins_with(path: Path, magic: bytes) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(magic)) == magic
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}): correct its name") from error


def _only_member(path: Path) -> str | None:
    """The file within a zip archive that holds no other; None where it is no archive."""
    if not zipfile.is_zipfile(path):
        return None
    match members(path):
        case [name]:
            return name
        case names:
            raise DataError(f"{path}: holds {', '.join(names) or 'no file'}: choose by --member")


def _separator(lines: Sequence[str]) -> str | None:
    """The first separator that cuts most lines into the same number of fields, three at least."""
    for separator in SEPARATORS:
        counts = Counter(line.count(separator) + 1 for line in lines)
        fields, how_many = counts.most_common(1)[0]
        if fields >= 3 and how_many > len(lines) / 2:
            return separator
    return None


def _item_lists(path: Path, separator: str, lines: Sequence[str]) -> Guess:
    rows = [line.split(separator) for line in lines]
    if max(map(len, rows)) < 2:
        raise DataError(
            f"{path}: line 1: {lines[0][:60]!r} has no fields that a tab, a comma or the like "
            "separates: name the separator by --separator"
        )
    columns = tuple(row[0] for row in rows), tuple(separator.join(row[1:]) for row in rows)
    return Guess(ItemLists(separator), Sample(("user", "items"), columns))


def _delimited(
    path: Path, known: Known, member: str | None, separator: str, lines: Sequence[str]
) -> Guess:
    rows = [line.split(separator) for line in lines]
    named = [c for c in (known.user, known.item, known.time, known.rating) if isinstance(c, str)]
    header = bool(named) or _is_header(rows) if known.header is None else known.header
    names = tuple(name.strip().strip('"') for name in rows[0]) if header else ()
    width = Counter(map(len, rows)).most_common(1)[0][0]
    body = [row for row in rows[header:] if len(row) == width]
    sample = Sample(names, tuple(zip(*body, strict=True)))
    text = {"separator": separator, "member": member, "header": header}
    reader = _valid(path, Delimited, **text, **_settings(path, known, sample))
    return Guess(reader, sample)


def _parquet(path: Path, known: Known) -> Guess:
    first = first_rows(path, FIRST_LINES)
    sample = Sample(tuple(first), tuple(map(tuple, first.values())))
    return Guess(_valid(path, Parquet, **_settings(path, known, sample)), sample)


def _is_header(rows: Sequence[Sequence[str]]) -> bool:
    """Whether no field of the first line is a number or a time, but some of the second are."""
    first, second = [*rows, []][:2]
    return not any(map(_is_number, first)) and any(map(_is_number, second))


def _is_number(text: str) -> bool:
    return re.fullmatch(r"-?\d+(\.\d+)?", text) is not None or _ISO.match(text) is not None


def _settings(path: Path, known: Known, sample: Sample) -> dict[str, Any]:
    """What a table's columns mean, as a reader takes it."""
    time = _column(sample, "time", known.time, _time_columns(sample))
    taken = (time, known.user, known.item, known.rating)
    others = [column for column in _label_columns(sample) if column not in taken]
    user = _column(sample, "user", known.user, others)
    item = _column(sample, "item", known.item, [c for c in others if c != user])
    for what, column in (("user", user), ("item", item), ("time", time)):
        if column is None:
            raise DataError(
                f"{path}: line 1: which column is the {what} cannot be told from "
                f"{', '.join(sample.names or (c[0] for c in sample.columns if c))}: name it by "
                f"--{what}, or the separator by --separator"
            )
    return {
        "user": user,
        "item": item,
        "time": time,
        "time_format": known.time_format or _time_format(sample.values(time)) or "unix",
        "time_zone": known.time_zone,
        "rating": known.rating,
        "min_rating": known.min_rating,
    }


def _column(
    sample: Sample, what: str, known: Column | None, candidates: Sequence[Column]
) -> Column | None:
    """The column that is given, or has a likely name, or else looks like it."""
    if known is not None:
        return known
    for likely in NAMES[what]:
        for name in sample.names:
            if re.sub(r"[^a-z]", "", name.lower()) == likely:
                return name
    return next(iter(candidates), None)


def _all_columns(sample: Sample) -> list[Column]:
    return list(sample.names or range(len(sample.columns)))


def _time_columns(sample: Sample) -> list[Column]:
    return [c for c in _all_columns(sample) if _time_format(sample.values(c)) is not None]


def _label_columns(sample: Sample) -> list[Column]:
    """Columns that are neither times nor numbers with a fraction."""
    return [
        column
        for column in _all_columns(sample)
        if (values := sample.values(column))
        and _time_format(values) is None
        and not all(re.fullmatch(r"-?\d+\.\d+", value) for value in values)
    ]


def _time_format(values: Iterable[str]) -> TimeFormat | None:
    """The format that a column's first values have; none where they are no times."""
    texts = [re.sub(r"\.0$", "", value) for value in values]
    if texts and all(map(_ISO.match, texts)):
        return "iso8601"
    numbers = [int(text) for text in texts if re.fullmatch(r"\d{9,14}", text)]
    if not texts or len(numbers) < len(texts):
        return None
    if all(number in _SECONDS for number in numbers):
        return "unix"
    return "unix_ms" if all(number in _MILLISECONDS for number in numbers) else None


def _valid(path: Path, reader: type[T], **settings: Any) -> T:
    try:
        return reader(**settings)
    except ValueError as error:
        raise DataError(f"{path}: {error}") from None
