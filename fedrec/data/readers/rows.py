"""Rows of a table: which column means what, and which values are refused."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import pandas as pd
from pydantic import Field

from fedrec.data.interactions import Interactions, from_columns
from fedrec.errors import DataError

Column = Annotated[int, Field(ge=0)] | Annotated[str, Field(min_length=1)]
TimeFormat = Literal["unix", "unix_ms", "iso8601"]

REMEDY = "correct or delete it, or check the dataset's format in the config"
_ZONE = r"(?:[Zz]|[+-]\d\d:?\d\d)$"
_YEAR_10000 = 253_402_300_800  # seconds since 1970


@dataclass(frozen=True)
class Rows:
    """How the rows of a table are read, whatever file holds them."""

    columns: Mapping[str, int | str | None]
    """Where user, item, time and rating stand; no rating is read where it is None."""
    time_format: TimeFormat
    """Of times that are no timestamps already."""
    time_zone: str
    """Of times that name none."""
    min_rating: float | None
    """The lowest rating that is kept."""
    numeric_ids: bool
    """Whether a user or item that is no whole number is refused."""

    def __post_init__(self) -> None:
        if ("rating" in self.wanted) != (self.min_rating is not None):
            raise ValueError("`rating` and `min_rating` belong together")
        try:
            ZoneInfo(self.time_zone)
        except (ZoneInfoNotFoundError, ValueError):
            raise ValueError(f"there is no time zone {self.time_zone!r}") from None

    @property
    def wanted(self) -> dict[str, int | str]:
        """The columns that are read, by what they hold."""
        return {name: column for name, column in self.columns.items() if column is not None}

    def read(self, table: pd.DataFrame, first_time: object, place: str, start: int) -> pd.DataFrame:
        """The rows of `table` with times in seconds, but for those whose rating is too low.

        Its columns are called as those of `wanted`. `first_time` is that of the file's first row.
        In an error a row is named by `place` and its number, the first one's being `start`.

        Raises:
            DataError: a row is malformed.
        """
        time = self._seconds(table["time"])
        problems = self._problems(table, time, first_time)
        malformed = np.logical_or.reduce([bad.to_numpy(dtype=bool) for bad in problems.values()])
        if malformed.any():
            row = int(malformed.argmax())
            problem = next(text for text, bad in problems.items() if bad.iloc[row])
            raise DataError(f"{place} {start + row}: {problem}: {REMEDY}")
        found = table.assign(time=time.astype(np.int64))
        return (
            found if self.min_rating is None else found[_number(table["rating"]) >= self.min_rating]
        )

    def interactions(self, found: pd.DataFrame, path: object) -> Interactions:
        """The interactions that `read` found in a file.

        Raises:
            DataError: there are none.
        """
        if found.empty and self.min_rating is not None:
            raise DataError(f"{path}: no rating is {self.min_rating:g} or more: lower `min_rating`")
        if found.empty:
            raise DataError(f"{path}: holds no line of data: fetch the file again")
        return from_columns(*(found[name].to_numpy() for name in ("user", "item", "time")))

    def _problems(
        self, table: pd.DataFrame, time: "pd.Series[float]", first_time: object
    ) -> dict[str, "pd.Series[bool]"]:
        """What may be wrong with a row, and the rows where it is."""
        places = ", ".join(map(str, self.wanted.values()))
        problems = {
            f"needs {', '.join(self.wanted)} in columns {places}": table.isna().any(axis=1),
            f"its time is not {self.time_format}": time.isna(),
            "its time is before 1970": time < 0,
            "its time is after 9999 (milliseconds are `unix_ms`)": time >= _YEAR_10000,
        }
        if self.numeric_ids:
            for name in ("user", "item"):
                numeric = table[name].str.fullmatch(r"-?[0-9]+", na=False)
                problems[f"its {name} is no whole number, as `numeric_ids` demands"] = ~numeric
        if _is_text(table["time"]) and self.time_format == "iso8601":
            mixed = _zoned(table["time"]) != _zoned(pd.Series([first_time])).iloc[0]
            problems["its time names a zone, or none, unlike the first"] = mixed
        if self.min_rating is not None:
            problems["its rating is not a number"] = _number(table["rating"]).isna()
        return problems

    def _seconds(self, time: "pd.Series[Any]") -> "pd.Series[float]":
        """Seconds since 1970-01-01 UTC; missing where it is no time."""
        if pd.api.types.is_datetime64_any_dtype(time):
            return _since_1970(self._in_utc(time))
        if self.time_format == "iso8601":
            return _since_1970(self._moments(time))
        number = _number(time)
        whole = number.where((number % 1 == 0) & np.isfinite(number))
        return whole if self.time_format == "unix" else whole // 1000

    def _moments(self, text: "pd.Series[str]") -> "pd.Series[pd.Timestamp]":
        zoned = _zoned(text)
        if self.time_zone == "UTC" or zoned.all():
            return pd.to_datetime(text, errors="coerce", utc=True, format="ISO8601")
        local = pd.to_datetime(text.where(~zoned), errors="coerce", format="ISO8601")
        named = pd.to_datetime(text.where(zoned), errors="coerce", utc=True, format="ISO8601")
        return named.fillna(self._in_utc(local))

    def _in_utc(self, time: "pd.Series[pd.Timestamp]") -> "pd.Series[pd.Timestamp]":
        if time.dt.tz is not None:
            return time.dt.tz_convert("UTC")
        # Of an hour that comes twice in autumn the first; of one that is left out in spring
        # what the clock shows after it.
        return time.dt.tz_localize(
            self.time_zone, ambiguous=np.ones(len(time), bool), nonexistent="shift_forward"
        )


def _since_1970(moments: "pd.Series[pd.Timestamp]") -> "pd.Series[float]":
    return (moments - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(seconds=1) // 1


def _number(values: "pd.Series[Any]") -> "pd.Series[float]":
    return pd.to_numeric(values, errors="coerce").astype(float)


def _is_text(values: "pd.Series[Any]") -> bool:
    return bool(pd.api.types.is_string_dtype(values))


def _zoned(text: "pd.Series[str]") -> "pd.Series[bool]":
    """Whether each time names its zone."""
    if text.str.endswith("Z", na=False).all():  # quickly, in most files
        return pd.Series(True, index=text.index)
    return text.str.contains(_ZONE, na=False)
