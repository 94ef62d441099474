"""The reader of text files with one interaction a line."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedIOBase, BytesIO
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import pandas as pd
from pydantic import Field

from fedrec.data.errors import DataError
from fedrec.data.interactions import Interactions, from_columns
from fedrec.data.opening import opened

Column = Annotated[int, Field(ge=0)] | Annotated[str, Field(min_length=1)]

_CHUNK_LINES = 500_000
_UNIT_SEPARATOR = "\x1f"
_REMEDY = "correct or delete the line, or check separator and columns in the config"
_ZONE = r"(?:[Zz]|[+-]\d\d:?\d\d)$"


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
    time_format: Literal["unix", "unix_ms", "iso8601"] = "unix"
    """Whole seconds or milliseconds since 1970-01-01 UTC, or ISO 8601."""
    time_zone: str = "UTC"
    """Of ISO times that name none, such as Europe/Berlin."""
    rating: Column | None = None
    """The column of a rating, likewise; only for `min_rating`."""
    min_rating: float | None = None
    """The lowest rating of an interaction that is kept."""
    member: str | None = None
    """The file within the `.zip` archive."""
    header: bool = False
    """Whether the first line holds names, not data."""

    def __post_init__(self) -> None:
        if not self.header and any(isinstance(column, str) for column in self._wanted.values()):
            raise ValueError("columns have names only in a file with `header: true`")
        if (self.rating is None) != (self.min_rating is None):
            raise ValueError("`rating` and `min_rating` belong together")
        try:
            ZoneInfo(self.time_zone)
        except (ZoneInfoNotFoundError, ValueError):
            raise ValueError(f"there is no time zone {self.time_zone!r}") from None

    def read(self, path: Path) -> Interactions:
        """The interactions in the file `path`.

        Raises:
            DataError: the file cannot be read, or a line is malformed.
        """
        try:
            with opened(path, self.member) as stream:
                places = self._places(path, stream)
                columns = pd.concat(self._columns(path, stream, places))
        except pd.errors.EmptyDataError as error:
            raise DataError(f"{path}: holds no line of data: fetch the file again") from error
        except pd.errors.ParserError as error:
            reason = str(error).strip().rpartition("C error: ")[2]
            raise DataError(f"{path}: {reason}: {_REMEDY}") from error
        if columns.empty:
            raise DataError(f"{path}: no rating is {self.min_rating:g} or more: lower `min_rating`")
        return from_columns(*(columns[name].to_numpy() for name in ("user", "item", "time")))

    @property
    def _wanted(self) -> dict[str, int | str]:
        """The columns that are read, by what they hold."""
        wanted = {"user": self.user, "item": self.item, "time": self.time}
        return wanted if self.rating is None else wanted | {"rating": self.rating}

    def _places(self, path: Path, stream: BufferedIOBase) -> dict[str, int]:
        """Where the wanted columns stand, counted from 0; takes the header off."""
        wanted = self._wanted
        if not self.header:
            return {name: int(column) for name, column in wanted.items()}
        line = stream.readline().decode("utf-8", "backslashreplace").rstrip("\r\n")
        names = [name.strip().strip('"') for name in line.split(self.separator)]
        for column in wanted.values():
            if isinstance(column, str) and (found := names.count(column)) != 1:
                raise DataError(
                    f"{path}: line 1: the header {', '.join(names)} has {found or 'no'} columns "
                    f"{column!r}: correct the config, or give the column's number, from 0"
                )
        return {
            name: names.index(column) if isinstance(column, str) else column
            for name, column in wanted.items()
        }

    def _columns(
        self, path: Path, stream: BufferedIOBase, places: dict[str, int]
    ) -> Iterator[pd.DataFrame]:
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
            for chunk in chunks:
                yield self._checked(path, chunk, places)

    def _checked(self, path: Path, chunk: pd.DataFrame, places: dict[str, int]) -> pd.DataFrame:
        """The wanted columns of some lines, times in seconds, without ratings that are too low."""
        wanted = chunk.reindex(columns=list(places.values()))
        wanted.columns = pd.Index(list(places))
        time = self._seconds(wanted["time"])
        problems = {
            f"needs {', '.join(places)} in columns {', '.join(map(str, places.values()))}": (
                wanted.isna().any(axis=1)
            ),
            f"its time is not {self.time_format}": time.isna(),
            "its time is before 1970": time < 0,
        }
        if self.time_format == "iso8601":
            problems["its time names a zone, or none, unlike the first"] = _mixed(wanted["time"])
        if self.min_rating is not None:
            rating = pd.to_numeric(wanted["rating"], errors="coerce")
            problems["its rating is not a number"] = rating.isna()
        malformed = np.logical_or.reduce([bad.to_numpy() for bad in problems.values()])
        if malformed.any():
            row = int(malformed.argmax())
            problem = next(text for text, bad in problems.items() if bad.iloc[row])
            line = int(chunk.index[row]) + 1 + self.header
            raise DataError(f"{path}: line {line}: {problem}: {_REMEDY}")
        found = wanted.assign(time=time.astype(np.int64))
        return found if self.min_rating is None else found[rating >= self.min_rating]

    def _seconds(self, text: "pd.Series[str]") -> "pd.Series[float]":
        """Seconds since 1970-01-01 UTC; missing where it is no time."""
        if self.time_format != "iso8601":
            number = pd.to_numeric(text, errors="coerce")
            whole = number.where((number % 1 == 0) & np.isfinite(number))
            return whole if self.time_format == "unix" else whole // 1000
        if self.time_zone == "UTC" or text.str.contains(_ZONE, na=False).all():
            moments = pd.to_datetime(text, errors="coerce", utc=True, format="ISO8601")
        else:
            local = pd.to_datetime(text, errors="coerce", format="ISO8601")
            # Of an hour that comes twice in autumn the first; of one that is left out in spring
            # what the clock shows after it.
            moments = local.dt.tz_localize(
                self.time_zone, ambiguous=np.ones(len(local), bool), nonexistent="shift_forward"
            )
        return (moments - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(seconds=1) // 1


def _mixed(text: "pd.Series[str]") -> "pd.Series[bool]":
    """Times that name a zone where the first does not, or the other way round."""
    if text.str.endswith("Z", na=False).all():
        return pd.Series(False, index=text.index)
    zoned = text.str.contains(_ZONE, na=False)
    return zoned != zoned.iloc[0]
