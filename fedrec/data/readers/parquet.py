"""Parquet files: their columns and rows, read by DuckDB."""

import glob
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fedrec.data.readers.duck import Database, text
from fedrec.errors import DataError

# A row takes some bits even where columns repeat themselves; a damaged count would fill the memory.
_ROWS_PER_BYTE = 1_000
_NESTED = ("[", "STRUCT", "MAP", "UNION", "VARIANT", "BLOB")


@dataclass(frozen=True)
class ParquetColumn:
    """A column of a Parquet file: its name there, and in DuckDB, where no two have the same."""

    name: str
    alias: str
    type: str

    @property
    def is_moment(self) -> bool:
        """Whether it holds dates or timestamps."""
        return self.type.startswith(("TIMESTAMP", "DATE"))


def parquet_columns(db: Database, path: Path) -> list[ParquetColumn]:
    """The columns of a Parquet file, nested ones as one.

    Raises:
        DataError: it claims more rows than a log could have.
    """
    place = text(glob.escape(str(path)))
    (count,) = db.execute(f"SELECT sum(num_rows) FROM parquet_file_metadata({place})").fetchone()
    if count > _ROWS_PER_BYTE * path.stat().st_size:
        raise DataError(
            f"{path}: claims {count:,} rows in {path.stat().st_size:,} bytes, as no log has: "
            "fetch the file again"
        )
    query = f"SELECT name, coalesce(num_children, 0) FROM parquet_schema({place})"
    names = _outermost(db.execute(query).fetchall())
    types = db.execute(f"DESCRIBE SELECT * FROM {source(path)}").fetchall()
    return [
        ParquetColumn(name, alias, kind)
        for name, (alias, kind, *_) in zip(names, types, strict=True)
    ]


def columns_named(db: Database, path: Path, names: Sequence[str]) -> list[ParquetColumn]:
    """The columns of a Parquet file that have these names.

    Raises:
        DataError: one is not there, there are two, or it holds more than one value a row.
    """
    known = parquet_columns(db, path)
    for name in names:
        if (found := sum(column.name == name for column in known)) != 1:
            raise DataError(
                f"{path}: has {found or 'no'} columns {name!r}, only "
                f"{', '.join(column.name for column in known)}: correct the config"
            )
    wanted = [next(column for column in known if column.name == name) for name in names]
    for column in wanted:
        if any(mark in column.type for mark in _NESTED):
            raise DataError(
                f"{path}: cannot be read (column {column.name!r} holds {column.type}): correct the "
                "config, or fetch the file again"
            )
    return wanted


def first_rows(
    db: Database, path: Path, count: int
) -> tuple[list[str], list[tuple[str | None, ...]]]:
    """The names of a Parquet file's columns, and its first rows, as texts."""
    names = [column.name for column in parquet_columns(db, path)]
    query = f"SELECT CAST(COLUMNS(*) AS VARCHAR) FROM {source(path)} LIMIT {count}"
    return names, db.execute(query).fetchall()


def source(path: Path) -> str:
    """A Parquet file as SQL has it."""
    return f"read_parquet({text(glob.escape(str(path)))})"


def _outermost(schema: Sequence[tuple[str, int]]) -> list[str]:
    """The names directly below the root of a tree that is listed depth first."""
    left, found = [schema[0][1]], []
    for column, children in schema[1:]:
        while not left[-1]:
            left.pop()
        left[-1] -= 1
        if len(left) == 1:
            found.append(column)
        if children:
            left.append(children)
    return found
