"""Detection of a file's format from names and values, with questions where two formats fit."""

import json
import re
import zipfile
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from fedrec.data.columns import TYPED, Known, Sample, Unsure, meanings, roles
from fedrec.data.readers.duck import session, told
from fedrec.data.readers.fields import REMEDY, records, shortened, text_lines
from fedrec.data.readers.item_lists import ItemLists
from fedrec.data.readers.parquet import first_rows
from fedrec.data.readers.streams import blocks, members
from fedrec.data.readers.table import Table
from fedrec.errors import DataError

Reader = Table | ItemLists

FIRST_LINES = 2_000
MAGIC = b"PAR1"  # how every Parquet file begins
SEPARATORS = ("\t", "::", ",", ";", "|", " ")  # the likelier first; a time may contain a blank
_NUMBER = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?$|\d{4}-\d\d-\d\d")


@dataclass(frozen=True)
class Guess:
    """A reader that fits a file, and the first rows of the file."""

    path: Path
    reader: Reader
    sample: Sample


def guess(path: Path, known: Known) -> Guess:
    """Find the reader of a file: a table with one interaction per line or row, or item lists.

    If `path` is a folder, as in RecBole, its only file of interactions (`.inter`) is used.

    Raises:
        Unsure: two interpretations fit; the message names the option that decides.
        DataError: the file cannot be read, or its format is not recognised.
    """
    path = _file(path)
    try:
        if _begins_with(path, MAGIC):
            return _parquet(path, known)
        member = known.member or _only_member(path)
        with told(path):
            lines = list(islice(text_lines(blocks(path, member)), FIRST_LINES))
        skip = next((i for i, line in enumerate(lines) if line.strip() and line[0] not in "%#"), 0)
        lines = lines[skip:]
        if not lines or not lines[0].strip():
            raise DataError("has no line of data: fetch the file again")
        if lines[0].startswith("{") and known.separator is None:
            return _json(path, known, {"member": member, "skip": skip}, lines)
        return _text(path, known, {"member": member, "skip": skip}, lines)
    except Unsure as question:
        raise Unsure(f"{path}: {question}", question.options) from None
    except (DataError, ValueError) as error:
        if str(error).startswith(f"{path}: "):
            raise
        raise DataError(f"{path}: {error}") from None


def _file(path: Path) -> Path:
    if not path.is_dir():
        return path
    match sorted(path.glob("*.inter")):
        case [file]:
            return file
        case files:
            names = ", ".join(file.name for file in files) or "no .inter file"
            raise DataError(f"{path}: is a folder with {names}: name the file to look at")


def _begins_with(path: Path, magic: bytes) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(magic)) == magic
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}): correct its name") from error


def _only_member(path: Path) -> str | None:
    """Return the only file in a zip archive, or None if `path` is not an archive."""
    if not zipfile.is_zipfile(path):
        return None
    match members(path):
        case [name]:
            return name
        case names:
            raise DataError(
                f"{path}: contains {', '.join(names) or 'no file'}: choose one with --member"
            )


def _parquet(path: Path, known: Known) -> Guess:
    with session() as db, told(path):
        names, rows = first_rows(db, path, FIRST_LINES)
    return _table(path, known, {"kind": "parquet"}, _sample(names, rows))


def _json(path: Path, known: Known, settings: dict[str, Any], lines: Sequence[str]) -> Guess:
    numbered = enumerate(lines, settings["skip"] + 1)
    objects = [_object(number, line) for number, line in numbered if line.strip()]
    names = dict.fromkeys(name for found in objects for name in found)
    rows = [[_text_of(found.get(name)) for name in names] for found in objects]
    return _table(path, known, {"kind": "json_lines", **settings}, _sample(tuple(names), rows))


def _object(number: int, line: str) -> dict[str, Any]:
    with suppress(json.JSONDecodeError, RecursionError):
        found = json.loads(line, parse_int=str, parse_float=str)
        if isinstance(found, dict):
            return found
    raise DataError(f"line {number}: {shortened(line.strip())} is not a JSON object: {REMEDY}")


def _text_of(value: object) -> str:
    return value if isinstance(value, str) else "" if value is None else json.dumps(value)


def _text(path: Path, known: Known, settings: dict[str, Any], lines: Sequence[str]) -> Guess:
    separator = known.separator or _separator(lines, known.quote)
    if known.item_lists or separator is None:
        return _item_lists(path, known.separator, lines)
    rows = [row for row in records(lines, separator, known.quote) if row]
    header = _is_header(rows) if known.header is None else known.header
    width = Counter(map(len, rows[header:])).most_common(1)[0][0] if rows[header:] else len(rows[0])
    if header and len(rows[0]) != width:
        line = settings["skip"] + 2
        raise DataError(
            f"line {line}: has {width} fields, but the header has {len(rows[0])} names: give the "
            "first column a name if it has the names of rows, or skip the header with `skip: 1` in "
            "an entry that gives columns by number"
        )
    names = tuple(name.strip() for name in rows[0]) if header else ()
    sample = _sample(names, [row for row in rows[header:] if len(row) == width])
    if not header and len(set(map(len, rows))) > 1 and known.time is None and not sample.times:
        return _item_lists(path, separator, lines)
    settings |= {"separator": separator, "quote": known.quote, "header": header}
    return _table(path, known, settings, sample)


def _separator(lines: Sequence[str], quote: str) -> str | None:
    """Find the first separator that splits most lines into the same number of fields.

    Separators that give at least three fields come before those that give two.
    """
    for fewest in (3, 2):
        for separator in SEPARATORS:
            widths = Counter(map(len, records(lines, separator, quote)))
            fields, how_many = widths.most_common(1)[0]
            if fields >= fewest and how_many > len(lines) / 2:
                return separator
    return None


def _is_header(rows: Sequence[Sequence[str]]) -> bool:
    """Tell whether the first line is a header.

    It is one if it has no number, and if other lines have numbers or its names are known.
    """
    first, others = rows[0], rows[1:]
    if all(map(TYPED.match, first)):
        return True
    if any(map(_NUMBER.match, first)):
        return False
    return any(_NUMBER.match(field) for row in others for field in row) or roles(first) > 1


def _item_lists(path: Path, separator: str | None, lines: Sequence[str]) -> Guess:
    """Make a reader of item lists, with the first separator that occurs in most lines."""
    separators = [separator] if separator else SEPARATORS
    for found in separators:
        if 2 * sum(found in line for line in lines) > len(lines):
            rows = [line.rstrip("\n").split(found) for line in lines]
            columns = zip(*((row[0], found.join(row[1:])) for row in rows), strict=True)
            return Guess(path, ItemLists(found), Sample(("user", "items"), tuple(columns)))
    raise DataError(
        f"line 1: {shortened(lines[0].strip())} has no fields separated by a tab, a comma or the "
        "like: give the separator with --separator"
    )


def _sample(names: Sequence[str], rows: Sequence[Sequence[str | None]]) -> Sample:
    width = len(names) or len(rows[0])
    texts = [[value or "" for value in row] for row in rows]
    return Sample(tuple(names), tuple(zip(*texts, strict=True)) or ((),) * width)


def _table(path: Path, known: Known, settings: dict[str, Any], sample: Sample) -> Guess:
    reader = Table(
        **settings,
        **meanings(sample, known),  # type: ignore[arg-type]
        time_zone=known.time_zone,
        rating=known.rating,
        min_rating=known.min_rating,
        missing_ids=known.missing_ids or "refuse",
    )
    return Guess(path, reader, sample)
