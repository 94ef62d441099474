"""The reader of Parquet files with one interaction a row."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import pandas as pd
from pydantic import Field

from fedrec.data.interactions import Interactions
from fedrec.data.readers.rows import Rows, TimeFormat
from fedrec.errors import DataError

if TYPE_CHECKING:
    from pyarrow import ChunkedArray
    from pyarrow.parquet import ParquetFile

Name = Annotated[str, Field(min_length=1)]

MAGIC = b"PAR1"  # how every Parquet file begins
# A row takes some bits even where columns repeat themselves; a damaged count would fill the memory.
_ROWS_PER_BYTE = 1_000


@dataclass(frozen=True)
class Parquet:
    """A Parquet file of one interaction a row (needs pyarrow)."""

    user: Name
    """The column of the user's label: text or numbers."""
    item: Name
    """The column of the item's label, likewise."""
    time: Name
    """The column of the time: timestamps, numbers or text."""
    time_format: TimeFormat = "unix"
    """Of numbers whole seconds or milliseconds since 1970-01-01 UTC, of text ISO 8601."""
    time_zone: str = "UTC"
    """Of timestamps and ISO times that name none, such as Europe/Berlin."""
    rating: Name | None = None
    """The column of a rating; only for `min_rating`."""
    min_rating: float | None = None
    """The lowest rating of an interaction that is kept."""
    numeric_ids: bool = False
    """Whether a user or item that is no whole number is refused; otherwise any text will do."""

    def __post_init__(self) -> None:
        _ = self._rows  # refuses what does not go together

    def read(self, path: Path) -> Interactions:
        """The interactions in the file `path`.

        Raises:
            DataError: the file cannot be read, lacks a column, or a row is malformed; or pyarrow
                is not installed.
        """
        rows = self._rows
        with _opened(path) as file:
            names = [str(column) for column in rows.wanted.values()]
            _check(path, file, names)
            columns = file.read(columns=names)
            columns.validate(full=True)
            table = pd.DataFrame(
                {
                    what: (_labels if what in ("user", "item") else _values)(columns[name])
                    for what, name in zip(rows.wanted, names, strict=True)
                }
            )
        first_time = table["time"].iloc[0] if len(table) else None
        found = rows.read(table, first_time, f"{path}: row", start=1)
        return rows.interactions(found, path)

    @property
    def _rows(self) -> Rows:
        columns = {"user": self.user, "item": self.item, "time": self.time, "rating": self.rating}
        return Rows(columns, self.time_format, self.time_zone, self.min_rating, self.numeric_ids)


def first_rows(path: Path, count: int) -> dict[str, list[str]]:
    """The first values of each column of a Parquet file, as text.

    Raises:
        DataError: the file cannot be read.
    """
    with _opened(path) as file:
        batch = next(file.iter_batches(batch_size=count), None)
        columns = file.schema_arrow.empty_table() if batch is None else batch
        return {
            name: [str(value) for value in columns.column(i).to_pylist()]
            for i, name in enumerate(columns.schema.names)
        }


@contextmanager
def _opened(path: Path) -> Iterator["ParquetFile"]:
    try:
        import pyarrow
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise DataError(
            f'{path}: Parquet files need pyarrow: pip install "fedrec[parquet]"'
        ) from None
    try:
        with ParquetFile(path, page_checksum_verification=True) as file:
            yield file
    except (OSError, ValueError, MemoryError, pyarrow.ArrowException) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{path}: cannot be read ({reason}): fetch the file again") from error


def _check(path: Path, file: "ParquetFile", names: list[str]) -> None:
    """Refuse a file that lacks a column, or that would unpack to more than a log could hold."""
    known = file.schema_arrow.names
    for name in names:
        if (found := known.count(name)) != 1:
            raise DataError(
                f"{path}: has {found or 'no'} columns {name!r}, only {', '.join(known)}: "
                "correct the config"
            )
    if file.metadata.num_rows > _ROWS_PER_BYTE * path.stat().st_size:
        raise DataError(
            f"{path}: claims {file.metadata.num_rows:,} rows in {path.stat().st_size:,} bytes, as "
            "no log has: fetch the file again"
        )


def _labels(column: "ChunkedArray") -> "pd.Series[str]":
    text = column.cast("string").to_pandas()
    return text.mask(text.isin(["", "nan", "NaN"]))


def _values(column: "ChunkedArray") -> "pd.Series[Any]":
    """Times or ratings: timestamps and text as they are, all else as numbers."""
    from pyarrow import types

    if types.is_date(column.type):
        return column.cast("timestamp[s]").to_pandas()
    if types.is_timestamp(column.type):
        return column.to_pandas()
    text = types.is_string(column.type) or types.is_large_string(column.type)
    return column.cast("string" if text else "double").to_pandas()
