"""Interactions: who took which item, and when; and the reader of delimited text files."""

import csv
import gzip
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedIOBase, BytesIO
from pathlib import Path
from typing import Annotated, Literal, cast

import numpy as np
import pandas as pd
from jaxtyping import Bool, Int64, Shaped
from pydantic import Field

from fedrec.data.errors import DataError as DataError
from fedrec.data.npz import checksum_arrays, load_arrays, save_arrays

Column = Annotated[int, Field(ge=0)]

_FIELDS = ("user", "item", "time", "user_labels", "item_labels")
_CHUNK_LINES = 500_000
_UNIT_SEPARATOR = "\x1f"
_LINE_REMEDY = "correct or delete the line, or check separator and columns in the config"


@dataclass(frozen=True)
class Counts:
    """The size of a dataset (the paper's Table 2)."""

    users: int
    items: int
    interactions: int

    @property
    def avg_length(self) -> float:
        """Interactions per user."""
        return self.interactions / self.users

    @property
    def density(self) -> float:
        """The share of all (user, item) pairs, between 0 and 1 where no pair repeats."""
        return self.interactions / (self.users * self.items)

    def __str__(self) -> str:
        return f"{self.users:,} users, {self.items:,} items, {self.interactions:,} interactions"


def check_counts(found: Counts, expected: Counts, name: str) -> None:
    """Refuse a dataset of another size than documented.

    Raises:
        DataError: `found` is not `expected`.
    """
    if found != expected:
        raise DataError(
            f"{name}: found {found}, expected {expected}: check the source "
            "file, the filter and the columns in the dataset's config"
        )


@dataclass(frozen=True, eq=False)
class Interactions:
    """A log of n interactions, sorted by (user, time), ties in file order.

    Ids count from 0 in the order in which the labels first appear in the file. Times are
    seconds since 1970-01-01 UTC.
    """

    user: Int64[np.ndarray, "n"]
    item: Int64[np.ndarray, "n"]
    time: Int64[np.ndarray, "n"]
    user_labels: Shaped[np.ndarray, "users"]
    item_labels: Shaped[np.ndarray, "items"]

    @property
    def n_users(self) -> int:
        """The number of users."""
        return len(self.user_labels)

    @property
    def n_items(self) -> int:
        """The number of items."""
        return len(self.item_labels)

    @property
    def counts(self) -> Counts:
        """The size of the log."""
        return Counts(self.n_users, self.n_items, len(self.user))

    @property
    def checksum(self) -> str:
        """The sha256 over all arrays, labels included."""
        return checksum_arrays(self._arrays())

    def select(self, keep: Bool[np.ndarray, "n"]) -> "Interactions":
        """The rows where `keep` holds, in their order; users and items without a row are gone."""
        user, user_labels = _compact(self.user[keep], self.user_labels)
        item, item_labels = _compact(self.item[keep], self.item_labels)
        return Interactions(user, item, self.time[keep], user_labels, item_labels)

    def save(self, path: Path) -> None:
        """Write to an `.npz` file, atomically; equal interactions give equal bytes."""
        save_arrays(path, self._arrays())

    @classmethod
    def load(cls, path: Path) -> "Interactions":
        """Read what `save` wrote.

        Raises:
            DataError: the file is missing or holds something else.
        """
        return cls(**load_arrays(path, _FIELDS))

    def _arrays(self) -> dict[str, np.ndarray]:
        return {name: getattr(self, name) for name in _FIELDS}


def from_columns(
    user_labels: Shaped[np.ndarray, "n"],
    item_labels: Shaped[np.ndarray, "n"],
    time: Int64[np.ndarray, "n"],
) -> Interactions:
    """Interactions from the columns of a file: one label, label and time (s, UTC) per row."""
    user, users = pd.factorize(user_labels)
    item, items = pd.factorize(item_labels)
    order = np.lexsort((time, user))
    return Interactions(
        user[order].astype(np.int64),
        item[order].astype(np.int64),
        time[order],
        _as_labels(users),
        _as_labels(items),
    )


def _as_labels(values: Shaped[np.ndarray, "n"]) -> Shaped[np.ndarray, "n"]:
    # A string array no wider than its longest label, so that equal labels have equal bytes.
    return np.array(values.tolist(), dtype=np.str_)


def _compact(
    ids: Int64[np.ndarray, "n"], labels: Shaped[np.ndarray, "before"]
) -> tuple[Int64[np.ndarray, "n"], Shaped[np.ndarray, "after"]]:
    used, compacted = np.unique(ids, return_inverse=True)
    return compacted.astype(np.int64), _as_labels(labels[used])


@dataclass(frozen=True)
class Delimited:
    """A text file of one interaction a line: plain, gzipped (`.gz`) or inside a `.zip`."""

    separator: Annotated[str, Field(min_length=1)]
    """What stands between two fields, one character or more."""
    user: Column
    """The column of the user's label, counted from 0."""
    item: Column
    """The column of the item's label, counted from 0."""
    time: Column
    """The column of the time, counted from 0."""
    time_format: Literal["unix", "iso8601"] = "unix"
    """Whole seconds since 1970-01-01 UTC, or ISO 8601 (UTC where it names no zone)."""
    member: str | None = None
    """The file within the `.zip` archive."""
    header: bool = False
    """Whether the first line holds names, not data."""

    def read(self, path: Path) -> Interactions:
        """The interactions in the file `path`.

        Raises:
            DataError: the file cannot be read, or a line is malformed.
        """
        try:
            with self._open(path) as stream:
                columns = pd.concat(self._columns(path, stream))
        except (OSError, EOFError, KeyError, zlib.error, zipfile.BadZipFile) as error:
            raise DataError(f"{path}: cannot be read ({error}): fetch the file again") from error
        except pd.errors.EmptyDataError as error:
            raise DataError(f"{path}: holds no line of data: fetch the file again") from error
        except pd.errors.ParserError as error:
            reason = str(error).strip().rpartition("C error: ")[2]
            raise DataError(f"{path}: {reason}: {_LINE_REMEDY}") from error
        return from_columns(*(columns[name].to_numpy() for name in ("user", "item", "time")))

    def _open(self, path: Path) -> BufferedIOBase:
        if self.member is not None:
            return cast(BufferedIOBase, zipfile.ZipFile(path).open(self.member))
        return gzip.open(path) if path.suffix == ".gz" else path.open("rb")

    def _columns(self, path: Path, stream: BufferedIOBase) -> Iterator[pd.DataFrame]:
        # Every column is parsed, because pandas checks no line's length once told to skip some;
        # in chunks, because a large file's unused columns would fill the memory.
        separator = self.separator
        if len(separator.encode()) > 1:
            # pandas' fast parser knows separators of one byte only.
            stream = BytesIO(stream.read().replace(separator.encode(), _UNIT_SEPARATOR.encode()))
            separator = _UNIT_SEPARATOR
        with pd.read_csv(
            stream,
            sep=separator,
            header=None,
            skiprows=int(self.header),
            dtype="str",
            keep_default_na=False,
            na_values=[""],
            quoting=csv.QUOTE_NONE,
            skip_blank_lines=False,
            encoding_errors="backslashreplace",
            chunksize=_CHUNK_LINES,
        ) as chunks:
            for chunk in chunks:
                yield self._three_columns(path, chunk)

    def _three_columns(self, path: Path, chunk: pd.DataFrame) -> pd.DataFrame:
        wanted = chunk.reindex(columns=[self.user, self.item, self.time])
        wanted.columns = ["user", "item", "time"]
        time = self._seconds(wanted["time"])
        malformed = wanted.isna().any(axis=1) | time.isna()
        if malformed.any():
            line = int(chunk.index.to_numpy()[malformed.argmax()]) + 1 + self.header
            raise DataError(
                f"{path}: line {line}: needs a user, an item and a time ({self.time_format}) in "
                f"columns {self.user}, {self.item}, {self.time}: {_LINE_REMEDY}"
            )
        return wanted.assign(time=time.astype(np.int64))

    def _seconds(self, text: "pd.Series[str]") -> "pd.Series[float]":
        if self.time_format == "unix":
            seconds = pd.to_numeric(text, errors="coerce")
            return seconds.where(seconds % 1 == 0)
        moments = pd.to_datetime(text, errors="coerce", utc=True, format="ISO8601")
        return (moments - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(seconds=1) // 1
